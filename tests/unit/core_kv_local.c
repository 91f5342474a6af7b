/* What the suite (core_kv.c) cannot see from outside: who wakes whom, and who owns the store. */
#include "failing_memory.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/backend.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/store.h"
#include "soon.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct waiter {
    pthread_t thread;
    struct mst_kv *kv;
    uint64_t version;
    int code;
};

static void *watch_forever(void *arg)
{
    struct waiter *self = arg;
    char value[8];
    size_t size;
    struct mst_span room = {.data = value, .size_bytes = sizeof value};
    self->code = mst_kv_watch(self->kv, "key", &self->version, &room, &size, soon());
    return NULL;
}

static void start_waiter(struct waiter *waiter, struct mst_kv_store *store, uint32_t generation)
{
    assert_int_equal(mst_kv_local(store, generation, &waiter->kv), 0);
    assert_int_equal(pthread_create(&waiter->thread, NULL, watch_forever, waiter), 0);
}

static int join_waiter(struct waiter *waiter)
{
    assert_int_equal(pthread_join(waiter->thread, NULL), 0);
    mst_kv_close(waiter->kv);
    return waiter->code;
}

static void every_change_wakes(void **state)
{
    (void)state;
    struct mst_kv_store *store;
    assert_int_equal(mst_kv_store_create(&store), 0);
    struct mst_kv *kv;
    assert_int_equal(mst_kv_local(store, 1, &kv), 0);
    struct waiter on_add = {0};
    start_waiter(&on_add, store, 1);
    assert_int_equal(mst_kv_add(kv, "key", 1, NULL, soon()), 0);
    assert_int_equal(join_waiter(&on_add), 0);
    struct waiter on_set = {.version = on_add.version};
    start_waiter(&on_set, store, 1);
    assert_int_equal(mst_kv_set(kv, "key", "a", 1, soon()), 0);
    assert_int_equal(join_waiter(&on_set), 0);
    struct waiter on_cas = {.version = on_set.version};
    start_waiter(&on_cas, store, 1);
    struct mst_cspan held = {.data = "a", .size_bytes = 1};
    assert_int_equal(mst_kv_cas(kv, "key", &held, NULL, soon()), 0);
    assert_int_equal(join_waiter(&on_cas), 0);
    assert_true(on_cas.version > on_set.version);
    mst_kv_close(kv);
    mst_kv_store_destroy(store);
}

static void advance_ends_only_older_waits(void **state)
{
    (void)state;
    struct waiter old = {0}, new = {0};
    struct mst_kv_store *store;
    assert_int_equal(mst_kv_store_create(&store), 0);
    start_waiter(&old, store, 1);
    start_waiter(&new, store, 2);
    mst_kv_store_advance(store, 2);
    assert_int_equal(join_waiter(&old), -ESTALE);
    struct mst_kv *kv;
    assert_int_equal(mst_kv_local(store, 2, &kv), 0);
    assert_int_equal(mst_kv_set(kv, "key", "a", 1, soon()), 0);
    assert_int_equal(join_waiter(&new), 0);
    mst_kv_close(kv);
    mst_kv_store_destroy(store);
    mst_kv_store_destroy(NULL);
}

/* Leaks and use after free are the sanitizers' to find. */
static void private_table_goes_with_its_last_handle(void **state)
{
    (void)state;
    struct mst_kv *first, *second, *third;
    assert_int_equal(kv_local_private(0, &first), 0);
    assert_int_equal(mst_kv_clone(first, soon(), &second, NULL), 0);
    assert_int_equal(mst_kv_set(first, "key", "abcd", 4, soon()), 0);
    mst_kv_close(first);
    assert_int_equal(mst_kv_clone(second, soon(), &third, NULL), 0);
    mst_kv_close(second);
    char value[4];
    assert_int_equal(mst_kv_get(third, "key", value, sizeof value, NULL, soon()), 0);
    assert_memory_equal(value, "abcd", 4);
    mst_kv_close(third);
}

static void no_memory_for_a_clone_is_told(void **state)
{
    (void)state;
    struct mst_err err = {0};
    struct mst_kv *first, *second = NULL;
    assert_int_equal(kv_local_private(0, &first), 0);
    fail_allocations_after(0);
    int rc = mst_kv_clone(first, soon(), &second, &err);
    allow_allocations();
    assert_int_equal(rc, -ENOMEM);
    assert_int_equal(err.code, -ENOMEM);
    assert_string_equal(err.text, "no memory for a key-value handle");
    assert_null(second);
    mst_kv_close(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_wakes),
        cmocka_unit_test(advance_ends_only_older_waits),
        cmocka_unit_test(private_table_goes_with_its_last_handle),
        cmocka_unit_test(no_memory_for_a_clone_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

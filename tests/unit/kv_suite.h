/* What every back end of kv must do. The including test says how a handle is made:
 *   struct mst_kv *open_kv(void **state, uint32_t generation)   fails the test if it cannot
 *   void end_generations(void **state, uint32_t generation)     older ones are over from now on */
#ifndef MUSTER_TESTS_UNIT_KV_SUITE_H
#define MUSTER_TESTS_UNIT_KV_SUITE_H

#include "muster/core/clock.h"
#include "muster/core/kv/gather.h"
#include "muster/core/kv/kv.h"
#include "soon.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mst_kv *open_kv(void **state, uint32_t generation);
static void end_generations(void **state, uint32_t generation);

static void assert_value(struct mst_kv *kv, const char *key, const char *expected)
{
    size_t size = 0;
    char value[64];
    assert_int_equal(mst_kv_get(kv, key, value, sizeof value, &size, soon()), 0);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(value, expected, size);
}

static void suite_set_and_get(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    size_t size = 77;
    char value[4];
    assert_int_equal(mst_kv_get(kv, "a", value, sizeof value, &size, soon()), -ENOENT);
    assert_int_equal(size, 77);
    assert_int_equal(mst_kv_set(kv, "a", "one", 3, soon()), 0);
    assert_value(kv, "a", "one");
    assert_int_equal(mst_kv_set(kv, "a", "longer", 6, soon()), 0);
    assert_value(kv, "a", "longer");
    assert_int_equal(mst_kv_get(kv, "a", value, sizeof value, &size, soon()), -ENOSPC);
    assert_int_equal(size, 6);
    assert_int_equal(mst_kv_set(kv, "empty", NULL, 0, soon()), 0);
    assert_value(kv, "empty", "");
    mst_kv_close(kv);
}

static void suite_gather(void **state)
{
    struct mst_kv *kv = open_kv(state, 1), *other = open_kv(state, 1);
    struct mst_kv_part part = {.index = 1, .count = 3, .value = "one", .size_bytes = 3};
    struct mst_kv_gathered all = {0};
    assert_int_equal(mst_kv_gather_peek(kv, "g", 3, &all, soon()), -ENOENT);
    assert_int_equal(mst_kv_gather_put(kv, "g", &part, soon()), 0);
    assert_int_equal(mst_kv_gather_put(kv, "g", &part, soon()), 0);
    assert_int_equal(mst_kv_gather_wait(kv, "g", 3, &all, mst_deadline_ms(3)), -ETIMEDOUT);
    assert_int_equal(mst_kv_gather_peek(other, "g", 3, &all, soon()), 0);
    assert_null(all.parts[0].data);
    assert_memory_equal(all.parts[1].data, "one", 3);
    mst_kv_gathered_free(&all);
    part.value = "two";
    assert_int_equal(mst_kv_gather_put(other, "g", &part, soon()), -EEXIST);
    part.index = 0, part.count = 4;
    assert_int_equal(mst_kv_gather_put(other, "g", &part, soon()), -EINVAL);
    part.count = 3;
    assert_int_equal(mst_kv_gather_put(other, "g", &part, soon()), 0);
    assert_int_equal(mst_kv_set(kv, "g", "x", 1, soon()), -EINVAL);
    assert_int_equal(mst_kv_add(kv, "g", 1, NULL, soon()), -EINVAL);
    part.index = 3;
    assert_int_equal(mst_kv_gather_put(other, "g", &part, soon()), -EINVAL);
    part.index = 2, part.size_bytes = 0;
    assert_int_equal(mst_kv_gather_put(other, "g", &part, soon()), 0);
    assert_int_equal(mst_kv_gather_put(other, "g", &part, soon()), 0); /* it is whole */
    assert_int_equal(mst_kv_gather_wait(kv, "g", 3, &all, soon()), 0);
    assert_int_equal(all.count, 3);
    assert_memory_equal(all.parts[0].data, "two", 3);
    assert_int_equal(all.parts[2].size_bytes, 0);
    mst_kv_gathered_free(&all);
    part.index = 1;
    assert_int_equal(mst_kv_gather_put(kv, "g", &part, soon()), -EEXIST);
    assert_int_equal(mst_kv_delete_prefix(kv, "g", soon()), 0);
    assert_int_equal(mst_kv_gather_peek(kv, "g", 3, &all, soon()), -ENOENT);
    mst_kv_close(kv);
    mst_kv_close(other);
}

static void suite_bad_arguments(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    char key[MST_KV_KEY_MAX + 2];
    memset(key, 'k', sizeof key);
    key[MST_KV_KEY_MAX + 1] = '\0';
    assert_int_equal(mst_kv_set(kv, key, "v", 1, soon()), -EINVAL);
    assert_int_equal(mst_kv_barrier(kv, key, 1, soon()), -EINVAL);
    key[MST_KV_KEY_MAX] = '\0';
    assert_int_equal(mst_kv_set(kv, key, "v", 1, soon()), 0);
    assert_value(kv, key, "v");
    assert_int_equal(mst_kv_set(kv, "", "v", 1, soon()), -EINVAL);
    assert_int_equal(mst_kv_set(kv, "tab\t", "v", 1, soon()), -EINVAL);
    assert_int_equal(mst_kv_set(kv, "\xc3\xa9", "v", 1, soon()), -EINVAL);
    assert_int_equal(mst_kv_set(kv, "big", key, (size_t)MST_KV_VALUE_MAX + 1, soon()), -EINVAL);
    assert_int_equal(mst_kv_barrier(kv, "nobody", 0, soon()), -EINVAL);
    mst_kv_close(kv);
}

static void suite_big_value(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    uint8_t *out = malloc(MST_KV_VALUE_MAX), *in = calloc(1, MST_KV_VALUE_MAX);
    assert_non_null(out);
    assert_non_null(in);
    for (size_t i = 0; i < MST_KV_VALUE_MAX; i++)
        out[i] = (uint8_t)(i * 2654435761U >> 13);
    assert_int_equal(mst_kv_set(kv, "big", out, MST_KV_VALUE_MAX, soon()), 0);
    size_t size = 0;
    assert_int_equal(mst_kv_wait(kv, "big", in, MST_KV_VALUE_MAX, &size, soon()), 0);
    assert_int_equal(size, MST_KV_VALUE_MAX);
    assert_memory_equal(in, out, MST_KV_VALUE_MAX);
    free(in);
    free(out);
    mst_kv_close(kv);
}

static void suite_add(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    int64_t value = 0;
    assert_int_equal(mst_kv_add(kv, "n", 5, &value, soon()), 0);
    assert_int_equal(value, 5);
    assert_int_equal(mst_kv_add(kv, "n", -7, &value, soon()), 0);
    assert_int_equal(value, -2);
    uint8_t bytes[8];
    size_t size = 0;
    assert_int_equal(mst_kv_get(kv, "n", bytes, sizeof bytes, &size, soon()), 0);
    assert_int_equal(size, 8);
    assert_int_equal(bytes[0], 0xfe);
    assert_int_equal(bytes[7], 0xff);
    assert_int_equal(mst_kv_add(kv, "n", INT64_MIN, &value, soon()), -EINVAL);
    assert_int_equal(mst_kv_add(kv, "n", 0, &value, soon()), 0);
    assert_int_equal(value, -2);
    assert_int_equal(mst_kv_set(kv, "text", "12345678", 8, soon()), 0);
    assert_int_equal(mst_kv_add(kv, "text", 1, &value, soon()), -EINVAL);
    mst_kv_close(kv);
}

static int cas(struct mst_kv *kv, const char *expected, const char *value)
{
    struct mst_cspan from = {.data = expected, .size_bytes = expected ? strlen(expected) : 0};
    struct mst_cspan to = {.data = value, .size_bytes = strlen(value)};
    return mst_kv_cas(kv, "leader", expected ? &from : NULL, &to, soon());
}

static void suite_cas(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    assert_int_equal(cas(kv, "x", "a"), -EEXIST);
    assert_int_equal(cas(kv, NULL, "a"), 0);
    assert_int_equal(cas(kv, NULL, "b"), -EEXIST);
    assert_int_equal(cas(kv, "", "b"), -EEXIST);
    assert_int_equal(cas(kv, "b", "c"), -EEXIST);
    assert_value(kv, "leader", "a");
    assert_int_equal(cas(kv, "a", "bb"), 0);
    assert_value(kv, "leader", "bb");
    struct mst_cspan held = {.data = "bb", .size_bytes = 2}, far = held;
    far.mem = MST_MEM_DEVICE;
    assert_int_equal(mst_kv_cas(kv, "leader", &held, &far, soon()), -EINVAL);
    assert_int_equal(mst_kv_cas(kv, "leader", &far, &held, soon()), -EINVAL);
    assert_int_equal(mst_kv_cas(kv, "leader", &held, NULL, soon()), 0);
    assert_value(kv, "leader", "");
    mst_kv_close(kv);
}

static void suite_delete_prefix(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    char key[32];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(key, sizeof key, "%s/%d", i % 2 ? "odd" : "even", i);
        assert_int_equal(mst_kv_set(kv, key, "v", 1, soon()), 0);
    }
    assert_int_equal(mst_kv_delete_prefix(kv, "odd/", soon()), 0);
    assert_int_equal(mst_kv_get(kv, "odd/1", key, sizeof key, NULL, soon()), -ENOENT);
    assert_int_equal(mst_kv_get(kv, "odd/199", key, sizeof key, NULL, soon()), -ENOENT);
    assert_value(kv, "even/0", "v");
    assert_value(kv, "even/198", "v");
    assert_int_equal(mst_kv_delete_prefix(kv, "", soon()), 0);
    assert_int_equal(mst_kv_get(kv, "even/0", key, sizeof key, NULL, soon()), -ENOENT);
    mst_kv_close(kv);
}

static void suite_deadline(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    size_t size = 0;
    char value[8];
    assert_int_equal(mst_kv_wait(kv, "late", value, 8, &size, mst_deadline_ms(5)), -ETIMEDOUT);
    uint64_t version = 0;
    struct mst_span room = {.data = value, .size_bytes = sizeof value};
    assert_int_equal(mst_kv_watch(kv, "late", &version, &room, &size, mst_deadline_ms(5)),
                     -ETIMEDOUT);
    assert_int_equal(mst_kv_wait(kv, "late", value, 8, &size, mst_now_ns()), -ETIMEDOUT);
    /* The handle goes on, and what the earlier calls may still be answered is not taken for its
     * own. */
    assert_int_equal(mst_kv_set(kv, "late", "now", 3, soon()), 0);
    assert_int_equal(mst_kv_set(kv, "other", "x", 1, soon()), 0);
    assert_value(kv, "other", "x");
    assert_value(kv, "late", "now");
    mst_kv_close(kv);
}

struct suite_thread {
    pthread_t thread;
    struct mst_kv *kv;
    int index, code;
    char value[16];
    size_t size;
    uint64_t version;
    int64_t number;
};

static void *wait_for_key(void *arg)
{
    struct suite_thread *self = arg;
    self->code = mst_kv_wait(self->kv, "answer", self->value, sizeof self->value, &self->size,
                             soon());
    return NULL;
}

static void *watch_for_key(void *arg)
{
    struct suite_thread *self = arg;
    struct mst_span room = {.data = self->value, .size_bytes = sizeof self->value};
    self->code = mst_kv_watch(self->kv, "answer", &self->version, &room, &self->size, soon());
    return NULL;
}

/* Who waits is woken by the last part, not before. */
static void suite_gather_wakes(void **state)
{
    struct suite_thread waiter = {.kv = open_kv(state, 1)};
    struct mst_kv *kv = open_kv(state, 1);
    assert_int_equal(pthread_create(&waiter.thread, NULL, wait_for_key, &waiter), 0);
    for (uint32_t i = 0; i < 3; i++) {
        const struct mst_kv_part part = {.index = i, .count = 3, .value = "x", .size_bytes = 1};
        assert_int_equal(mst_kv_gather_put(kv, "answer", &part, soon()), 0);
    }
    assert_int_equal(pthread_join(waiter.thread, NULL), 0);
    assert_int_equal(waiter.code, 0);
    assert_int_equal(waiter.size, 15); /* not what was there of it before */
    mst_kv_close(kv);
    mst_kv_close(waiter.kv);
}

static void suite_wait(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    struct suite_thread threads[4] = {0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(mst_kv_clone(kv, soon(), &threads[i].kv, NULL), 0);
        assert_int_equal(pthread_create(&threads[i].thread, NULL,
                                        i % 2 ? watch_for_key : wait_for_key, &threads[i]),
                         0);
    }
    assert_int_equal(mst_kv_set(kv, "not-it", "41", 2, soon()), 0);
    assert_int_equal(mst_kv_set(kv, "answer", "42", 2, soon()), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
        assert_int_equal(threads[i].code, 0);
        assert_int_equal(threads[i].size, 2);
        assert_memory_equal(threads[i].value, "42", 2);
        mst_kv_close(threads[i].kv);
    }
    mst_kv_close(kv);
}

static void suite_watch(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    uint64_t version = 0, first;
    assert_int_equal(mst_kv_set(kv, "answer", "1", 1, soon()), 0);
    char value[16];
    struct mst_span room = {.data = value, .size_bytes = sizeof value};
    size_t size = 0;
    assert_int_equal(mst_kv_watch(kv, "answer", &version, &room, &size, soon()), 0);
    assert_true(version > 0);
    first = version;
    room.size_bytes = 0;
    assert_int_equal(mst_kv_watch(kv, "answer", &version, &room, &size, mst_deadline_ms(5)),
                     -ETIMEDOUT);
    assert_int_equal(version, first);
    struct suite_thread watcher = {.version = version};
    assert_int_equal(mst_kv_clone(kv, soon(), &watcher.kv, NULL), 0);
    assert_int_equal(pthread_create(&watcher.thread, NULL, watch_for_key, &watcher), 0);
    assert_int_equal(mst_kv_set(kv, "answer", "22", 2, soon()), 0);
    assert_int_equal(pthread_join(watcher.thread, NULL), 0);
    assert_int_equal(watcher.code, 0);
    assert_true(watcher.version > first);
    assert_memory_equal(watcher.value, "22", 2);
    room.size_bytes = 1;
    assert_int_equal(mst_kv_watch(kv, "answer", &version, &room, &size, soon()), -ENOSPC);
    assert_int_equal(size, 2);
    assert_int_equal(version, first);
    room.mem = MST_MEM_DEVICE;
    assert_int_equal(mst_kv_watch(kv, "answer", &version, &room, &size, soon()), -EINVAL);
    mst_kv_close(watcher.kv);
    mst_kv_close(kv);
}

#define SUITE_THREADS 8
#define SUITE_ADDS 100

static void *meet_and_add(void *arg)
{
    struct suite_thread *self = arg;
    for (int i = 0; i < SUITE_ADDS && self->code == 0; i++)
        self->code = mst_kv_add(self->kv, "sum", self->index, NULL, soon());
    if (self->code == 0)
        self->code = mst_kv_barrier(self->kv, "added", SUITE_THREADS, soon());
    if (self->code == 0)
        self->code = mst_kv_add(self->kv, "sum", 0, &self->number, soon());
    char key[16], next[16];
    (void)snprintf(key, sizeof key, "from/%d", self->index);
    (void)snprintf(next, sizeof next, "from/%d", (self->index + 1) % SUITE_THREADS);
    if (self->code == 0)
        self->code = mst_kv_set(self->kv, key, key, strlen(key), soon());
    if (self->code == 0)
        self->code = mst_kv_wait(self->kv, next, self->value, sizeof self->value, &self->size,
                                 soon());
    return NULL;
}

static void suite_eight_threads(void **state)
{
    struct mst_kv *kv = open_kv(state, 1);
    struct suite_thread threads[SUITE_THREADS] = {0};
    for (int i = 0; i < SUITE_THREADS; i++) {
        threads[i].index = i;
        threads[i].kv = open_kv(state, 1);
        assert_int_equal(pthread_create(&threads[i].thread, NULL, meet_and_add, &threads[i]), 0);
    }
    for (int i = 0; i < SUITE_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
        assert_int_equal(threads[i].code, 0);
        assert_int_equal(threads[i].number, SUITE_ADDS * SUITE_THREADS * (SUITE_THREADS - 1) / 2);
        assert_int_equal(threads[i].size, 6);
        assert_int_equal(threads[i].value[5], '0' + (i + 1) % SUITE_THREADS);
        mst_kv_close(threads[i].kv);
    }
    assert_int_equal(mst_kv_barrier(kv, "added", SUITE_THREADS, soon()), -EINVAL);
    mst_kv_close(kv);
}

static void suite_generations(void **state)
{
    struct mst_kv *old = open_kv(state, 1);
    assert_int_equal(mst_kv_set(old, "a", "old", 3, soon()), 0);
    struct suite_thread waiter = {0};
    assert_int_equal(mst_kv_clone(old, soon(), &waiter.kv, NULL), 0);
    assert_int_equal(pthread_create(&waiter.thread, NULL, wait_for_key, &waiter), 0);
    end_generations(state, 2);
    assert_int_equal(pthread_join(waiter.thread, NULL), 0);
    /* A wait that the server had not seen yet finds its connection closed. */
    assert_true(waiter.code == -ESTALE || waiter.code == -ECONNRESET);
    int rc = mst_kv_set(old, "a", "zombie", 6, soon());
    assert_true(rc == -ESTALE || rc == -ECONNRESET);
    struct mst_kv *new = open_kv(state, 2);
    char value[16];
    assert_int_equal(mst_kv_get(new, "a", value, sizeof value, NULL, soon()), -ENOENT);
    assert_int_equal(mst_kv_set(new, "a", "new", 3, soon()), 0);
    assert_value(new, "a", "new");
    mst_kv_close(new);
    mst_kv_close(waiter.kv);
    mst_kv_close(old);
}

#define KV_SUITE(setup, teardown)                                                                  \
    cmocka_unit_test_setup_teardown(suite_set_and_get, setup, teardown),                           \
        cmocka_unit_test_setup_teardown(suite_bad_arguments, setup, teardown),                     \
        cmocka_unit_test_setup_teardown(suite_gather, setup, teardown),                            \
        cmocka_unit_test_setup_teardown(suite_gather_wakes, setup, teardown),                      \
        cmocka_unit_test_setup_teardown(suite_big_value, setup, teardown),                         \
        cmocka_unit_test_setup_teardown(suite_add, setup, teardown),                               \
        cmocka_unit_test_setup_teardown(suite_cas, setup, teardown),                               \
        cmocka_unit_test_setup_teardown(suite_delete_prefix, setup, teardown),                     \
        cmocka_unit_test_setup_teardown(suite_deadline, setup, teardown),                          \
        cmocka_unit_test_setup_teardown(suite_wait, setup, teardown),                              \
        cmocka_unit_test_setup_teardown(suite_watch, setup, teardown),                             \
        cmocka_unit_test_setup_teardown(suite_eight_threads, setup, teardown),                     \
        cmocka_unit_test_setup_teardown(suite_generations, setup, teardown)

#endif

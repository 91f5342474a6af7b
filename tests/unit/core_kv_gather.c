/* How memory runs out, and what a server may answer; what it does on every back end is the suite's
 * (unit/kv_suite.h). */
#include "muster/core/kv/gather.h"
#include "soon.h"

#include "failing_memory.h"

#include "muster/core/clock.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct table {
    struct mst_kv_store *store;
    struct mst_kv *kv;
};

static void open_table(struct table *table)
{
    assert_int_equal(mst_kv_store_create(&table->store), 0);
    assert_int_equal(mst_kv_local(table->store, 1, &table->kv), 0);
}

static void close_table(struct table *table)
{
    mst_kv_close(table->kv);
    mst_kv_store_destroy(table->store);
}

static int put(struct table *table, uint32_t index, const char *text)
{
    const struct mst_kv_part part = {
        .index = index, .count = 2, .value = text, .size_bytes = strlen(text)};
    return mst_kv_gather_put(table->kv, "all", &part, soon());
}

/* Whichever allocation fails, the part can be brought again, and then the value is whole. */
static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    for (size_t left = 0;; left++) {
        struct table table;
        struct mst_kv_gathered all = {0};
        open_table(&table);
        fail_allocations_after(left);
        int first = put(&table, 0, "a");
        int second = put(&table, 1, "b");
        int read = mst_kv_gather_wait(table.kv, "all", 2, &all, mst_now_ns());
        allow_allocations();
        assert_true(first == 0 || first == -ENOMEM);
        assert_true(second == 0 || second == -ENOMEM);
        mst_kv_gathered_free(&all);
        assert_int_equal(put(&table, 0, "a"), 0);
        assert_int_equal(put(&table, 1, "b"), 0);
        assert_int_equal(mst_kv_gather_wait(table.kv, "all", 2, &all, soon()), 0);
        assert_memory_equal(all.parts[0].data, "a", 1);
        assert_memory_equal(all.parts[1].data, "b", 1);
        mst_kv_gathered_free(&all);
        close_table(&table);
        if (first == 0 && second == 0 && read == 0)
            break;
    }
}

static void what_is_not_gathered_is_no_answer(void **state)
{
    (void)state;
    struct table table;
    struct mst_kv_gathered all = {.count = 77};
    open_table(&table);
    assert_int_equal(mst_kv_set(table.kv, "all", "text", 4, soon()), 0);
    assert_int_equal(mst_kv_gather_wait(table.kv, "all", 2, &all, soon()), -EPROTO);
    assert_int_equal(mst_kv_gather_peek(table.kv, "all", 2, &all, soon()), -EPROTO);
    assert_int_equal(put(&table, 0, "a"), -EINVAL);
    assert_int_equal(all.count, 77);
    close_table(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(what_is_not_gathered_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

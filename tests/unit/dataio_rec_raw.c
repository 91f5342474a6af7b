#include "muster/core/err.h"
#include "muster/dataio/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static int cut(enum mst_dtype dtype, uint32_t elems, uint32_t stride, uint64_t size_bytes,
               struct record_table *table, struct mst_err *err)
{
    struct record_shape shape = {
        .format = MST_FORMAT_RAW, .dtype = dtype, .elems = elems, .stride = stride};
    return rec_raw.cut(&shape, size_bytes, (struct mst_cspan){0}, table, err);
}

static void test_counts(void **state)
{
    (void)state;
    static const struct {
        uint32_t elems, stride;
        uint64_t size_bytes, count;
    } cases[] = {
        {1, 1, 0, 0},   {1, 1, 1, 1},   {4, 4, 3, 0},     {4, 4, 4, 1},
        {4, 4, 7, 1},   {4, 4, 8, 2},   {4, 1, 8, 5},     {4, 2, 9, 3},
        {4, 10, 13, 1}, {4, 10, 14, 2}, {65, 64, 129, 2}, {65, 64, 128, 1},
    };
    struct record_table table;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t offset, size;
        assert_int_equal(
            cut(MST_U8, cases[i].elems, cases[i].stride, cases[i].size_bytes, &table, NULL), 0);
        assert_int_equal(table.count, cases[i].count);
        if (table.count == 0)
            continue;
        record_locate(&table, table.count - 1, &offset, &size);
        assert_int_equal(size, cases[i].elems);
        assert_true(offset + size <= cases[i].size_bytes);
        assert_true(offset + cases[i].stride + size > cases[i].size_bytes);
    }
}

static void test_elements_are_whole(void **state)
{
    (void)state;
    struct record_table table = {.count = 99};
    uint64_t offset, size;
    assert_int_equal(cut(MST_I32, 3, 2, 4 * 100, &table, NULL), 0);
    assert_int_equal(table.count, 49);
    record_locate(&table, 48, &offset, &size);
    assert_int_equal(offset, 48 * 8);
    assert_int_equal(size, 12);
    struct mst_err err = {0};
    assert_int_equal(cut(MST_I32, 3, 2, 4 * 100 + 2, &table, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "402 bytes"));
    assert_int_equal(table.count, 49);
}

static void test_the_largest_shape_does_not_overflow(void **state)
{
    (void)state;
    struct record_table table;
    assert_int_equal(cut(MST_F64, UINT32_MAX, UINT32_MAX, UINT64_MAX - 7, &table, NULL), 0);
    assert_int_equal(table.size_bytes, UINT64_C(8) * UINT32_MAX);
    assert_int_equal(table.count, (UINT64_MAX - 7) / (UINT64_C(8) * UINT32_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_elements_are_whole),
        cmocka_unit_test(test_the_largest_shape_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

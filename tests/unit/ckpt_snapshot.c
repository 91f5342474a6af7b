#include "unit/ckpt_fixture.h"

#include "muster/ckpt/snapshot.h"

#include <errno.h>

#define MIB ((size_t)1 << 20)

static void test_pool_is_aligned(void **state)
{
    (void)state;
    struct snapshot pool = {0};
    assert_int_equal(snapshot_reserve(&pool, 5 * MIB), 1);
    assert_int_equal((uintptr_t)pool.base % (2 * MIB), 0);
    assert_int_equal(pool.cap_bytes, 6 * MIB);
    snapshot_fini(&pool);
    assert_null(pool.base);
}

static void test_pool_is_reused(void **state)
{
    (void)state;
    struct snapshot pool = {0};
    assert_int_equal(snapshot_reserve(&pool, 3 * MIB), 1);
    uint8_t *base = pool.base;
    base[0] = 7;
    assert_int_equal(snapshot_reserve(&pool, MIB), 0);
    assert_ptr_equal(pool.base, base);
    assert_int_equal(pool.base[0], 7);
    assert_int_equal(snapshot_reserve(&pool, 9 * MIB), 1);
    assert_true(pool.cap_bytes >= 9 * MIB);
    assert_int_equal(pool.base[0], 0);
    snapshot_fini(&pool);
}

static void test_trim(void **state)
{
    (void)state;
    struct snapshot pool = {0};
    assert_int_equal(snapshot_reserve(&pool, 9 * MIB), 1);
    uint8_t *base = pool.base;
    base[3 * MIB] = 7;
    snapshot_trim(&pool, 3 * MIB + 1);
    assert_ptr_equal(pool.base, base);
    assert_int_equal(pool.cap_bytes, 4 * MIB);
    assert_int_equal(pool.base[3 * MIB], 7);
    snapshot_trim(&pool, 5 * MIB);
    snapshot_trim(&pool, 0);
    assert_int_equal(pool.cap_bytes, 4 * MIB);
    snapshot_fini(&pool);
}

static void test_too_large(void **state)
{
    (void)state;
    struct snapshot pool = {0};
    assert_int_equal(snapshot_reserve(&pool, SIZE_MAX), -ENOMEM);
    assert_int_equal(snapshot_reserve(&pool, SIZE_MAX / 4), -ENOMEM);
    assert_null(pool.base);
}

/* A share of a replica comes from the middle of the caller's rows, a shard from their start. */
static void test_copy(void **state)
{
    uint8_t rows[] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct layout_tensor described[2] = {{.row_bytes = 2}, {.row_bytes = 2}};
    struct mst_tensor tensors[2] = {
        {.data = {rows, 8, MST_MEM_HOST}},
        {.sharded = true, .row_start = 10, .data = {rows, 8, MST_MEM_HOST}}};
    struct layout_part parts[2] = {
        {.tensor = 0, .row_start = 1, .row_count = 2, .size_bytes = 4, .offset = 100},
        {.tensor = 1, .row_start = 10, .row_count = 4, .size_bytes = 8, .offset = 200}};
    (void)state;
    struct snapshot pool = {0};
    assert_int_equal(snapshot_reserve(&pool, 4096), 1);
    struct device device = {0};
    const struct snapshot_source source = {.parts = parts,
                                           .part_count = 2,
                                           .described = described,
                                           .tensors = tensors,
                                           .device = &device};
    assert_int_equal(snapshot_copy(&pool, &source, NULL), 0);
    assert_memory_equal(pool.base + 100, rows + 2, 4);
    assert_memory_equal(pool.base + 200, rows, 8);
    assert_int_equal(pool.base[99] + pool.base[104], 0);
    snapshot_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_is_aligned),
        cmocka_unit_test(test_pool_is_reused),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The check data: exact in every order, and blind to no fault that a collective can make. */
#include "muster/perf/verifiable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ELEMS 301
#define RANKS_MAX 300

static const enum mst_dtype dtypes[] = {MST_I32, MST_I64, MST_F16, MST_BF16, MST_F32, MST_F64};
static const uint32_t worlds[] = {1, 2, 3, 5, 8, 17, 256, RANKS_MAX};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    double magnitude = exponent ? (double)((bits & 1023) | 1024) : (double)(bits & 1023);
    for (int e = exponent ? exponent : 1; e < 25; e++)
        magnitude /= 2;
    for (int e = 25; e < exponent; e++)
        magnitude *= 2;
    return bits & 0x8000 ? -magnitude : magnitude;
}

static double load(enum mst_dtype dtype, const void *value)
{
    union {
        int32_t i32;
        int64_t i64;
        uint16_t u16;
        uint32_t u32;
        float f32;
        double f64;
    } u = {.i64 = 0};
    memcpy(&u, value, mst_dtype_size(dtype));
    switch (dtype) {
    case MST_I32: return u.i32;
    case MST_I64: return (double)u.i64;
    case MST_F16: return half_value(u.u16);
    case MST_BF16: u.u32 = (uint32_t)u.u16 << 16; return u.f32;
    case MST_F32: return u.f32;
    default: return u.f64;
    }
}

/* Stores a value that the type holds exactly, or its neighbour towards zero. */
static void save(enum mst_dtype dtype, double value, void *out)
{
    float single = (float)value;
    int32_t i32 = dtype == MST_I32 ? (int32_t)value : 0;
    uint32_t bits;
    memcpy(&bits, &single, sizeof(bits));
    uint16_t upper = (uint16_t)(bits >> 16);
    if (dtype == MST_F16) {
        uint16_t low = 0, high = 0x7c00;
        double magnitude = value < 0 ? -value : value;
        while (high - low > 1) {
            uint16_t middle = (uint16_t)((low + high) / 2);
            *(half_value(middle) <= magnitude ? &low : &high) = middle;
        }
        upper = (uint16_t)(low | (value < 0 ? 0x8000 : 0));
    }
    switch (dtype) {
    case MST_I32: memcpy(out, &i32, sizeof(i32)); return;
    case MST_F32: memcpy(out, &single, sizeof(single)); return;
    case MST_F64: memcpy(out, &value, sizeof(value)); return;
    default: memcpy(out, &upper, sizeof(upper)); return;
    }
}

static double combine(enum mst_op op, double a, double b)
{
    if (op == MST_MIN)
        return a < b ? a : b;
    if (op == MST_MAX)
        return a > b ? a : b;
    return a + b;
}

/* Reduces all ranks' inputs in rank order, starting from rank `start`, rounding every partial
 * result to the type: so it finds out whether they are exact. `skip` leaves one rank out. */
static void reduce(const struct verifiable *v, uint32_t start, uint32_t skip, void *out)
{
    size_t elem_bytes = mst_dtype_size(v->dtype);
    char input[ELEMS * 8];
    bool empty = true;
    for (uint32_t i = 0; i < v->rank_count; i++) {
        uint32_t rank = (start + i) % v->rank_count;
        if (rank == skip)
            continue;
        verifiable_input(v, rank, 0, input, ELEMS);
        for (size_t k = 0; k < ELEMS; k++) {
            char *at = (char *)out + k * elem_bytes;
            double own = load(v->dtype, input + k * elem_bytes);
            save(v->dtype, empty ? own : combine(v->op, load(v->dtype, at), own), at);
        }
        empty = false;
    }
    if (v->op == MST_AVG)
        for (size_t k = 0; k < ELEMS; k++)
            save(v->dtype, load(v->dtype, (char *)out + k * elem_bytes) / v->rank_count,
                 (char *)out + k * elem_bytes);
}

/* 64-bit integers do not fit the doubles of this reference: they have a test of their own. */
static void for_all(void (*check)(const struct verifiable *v))
{
    for (size_t t = 0; t < COUNT(dtypes); t++)
        for (int op = 0; op < MST_OP_COUNT; op++)
            for (size_t w = 0; w < COUNT(worlds); w++)
                if (dtypes[t] != MST_I64)
                    check(&(struct verifiable){dtypes[t], (enum mst_op)op, worlds[w], 77 + w});
}

static void check_any_order(const struct verifiable *v)
{
    char result[ELEMS * 8];
    for (uint32_t start = 0; start < v->rank_count; start += v->rank_count / 3 + 1) {
        reduce(v, start, UINT32_MAX, result);
        assert_int_equal(verifiable_wrong(v, 0, result, ELEMS), 0);
    }
}

static void test_any_order_is_exact(void **state)
{
    (void)state;
    for_all(check_any_order);
}

static void check_lost_rank(const struct verifiable *v)
{
    char result[ELEMS * 8];
    if (v->op != MST_SUM || v->rank_count == 1 || v->rank_count > 17)
        return;
    reduce(v, 0, v->rank_count - 1, result);
    assert_true(verifiable_wrong(v, 0, result, ELEMS) > ELEMS / 2);
}

static void test_lost_rank_shows(void **state)
{
    (void)state;
    for_all(check_lost_rank);
}

static void check_flipped_bit(const struct verifiable *v)
{
    char result[ELEMS * 8];
    if (v->op == MST_AVG)
        return;
    reduce(v, 0, UINT32_MAX, result);
    result[13 * mst_dtype_size(v->dtype)] ^= 1;
    assert_int_equal(verifiable_wrong(v, 0, result, ELEMS), 1);
}

static void test_flipped_bit_shows(void **state)
{
    (void)state;
    for_all(check_flipped_bit);
}

static void test_int64_sum(void **state)
{
    (void)state;
    for (size_t w = 0; w < COUNT(worlds); w++) {
        struct verifiable v = {MST_I64, MST_SUM, worlds[w], 5};
        int64_t sum[ELEMS] = {0}, input[ELEMS];
        for (uint32_t rank = 0; rank < v.rank_count; rank++) {
            verifiable_input(&v, rank, 0, input, ELEMS);
            for (size_t i = 0; i < ELEMS; i++)
                assert_false(__builtin_add_overflow(sum[i], input[i], &sum[i]));
        }
        assert_int_equal(verifiable_wrong(&v, 0, sum, ELEMS), 0);
        sum[7]++;
        assert_int_equal(verifiable_wrong(&v, 0, sum, ELEMS), 1);
    }
}

/* A part of the data is the same data: what reduce_scatter relies on. */
static void test_parts(void **state)
{
    (void)state;
    struct verifiable v = {MST_F32, MST_SUM, 4, 9};
    float whole[ELEMS], part[100];
    verifiable_input(&v, 2, 0, whole, ELEMS);
    verifiable_input(&v, 2, 150, part, 100);
    assert_memory_equal(whole + 150, part, sizeof(part));
}

static void test_one_rank_is_moved_data(void **state)
{
    (void)state;
    struct verifiable v = {MST_F16, MST_SUM, 1, 3}, other = {MST_F16, MST_SUM, 1, 4};
    uint16_t data[ELEMS];
    verifiable_input(&v, 0, 0, data, ELEMS);
    assert_int_equal(verifiable_wrong(&v, 0, data, ELEMS), 0);
    assert_true(verifiable_wrong(&other, 0, data, ELEMS) > ELEMS / 2);
    assert_true(verifiable_wrong(&v, 1, data, ELEMS) > ELEMS / 2);
}

static void test_nan_is_wrong(void **state)
{
    (void)state;
    struct verifiable v = {MST_F32, MST_AVG, 3, 1};
    uint32_t nans[4] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff};
    assert_int_equal(verifiable_wrong(&v, 0, nans, 4), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order_is_exact),
        cmocka_unit_test(test_lost_rank_shows),
        cmocka_unit_test(test_flipped_bit_shows),
        cmocka_unit_test(test_int64_sum),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_one_rank_is_moved_data),
        cmocka_unit_test(test_nan_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The loops: the same bits on every instruction set, the right ones at the edges of the 16-bit
 * formats, and any stream as the output. Whole reductions are comm_conformance's. */
#include "muster/comm/reduce.h"

#include "muster/core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STREAMS 5
#define COUNT 1301 /* two blocks and a tail that fills no vector */

static const struct reduce_isa *portable(void)
{
    const struct reduce_isa *const *isa = reduce_isas;
    while (isa[1])
        isa++;
    return *isa;
}

static void fill_random(uint64_t *words, size_t count, uint64_t seed)
{
    struct mst_rng rng;
    mst_rng_init(&rng, seed, 1);
    for (size_t i = 0; i < count; i++)
        words[i] = (uint64_t)mst_rng_next(&rng) << 32 | mst_rng_next(&rng);
}

/* Random bits are NaNs now and then, and the sum of two NaNs may be either: floats are drawn from
 * numbers, Infs and subnormals. */
static void without_nans(uint64_t *words, size_t count, enum mst_dtype dtype)
{
    uint32_t *singles = (void *)words;
    uint16_t *halves = (void *)words;
    for (size_t i = 0; i < count && dtype == MST_F64; i++)
        words[i] &= ~(UINT64_C(1) << 62);
    for (size_t i = 0; i < 2 * count && dtype == MST_F32; i++)
        singles[i] &= ~(UINT32_C(1) << 30);
    for (size_t i = 0; i < 4 * count && (dtype == MST_F16 || dtype == MST_BF16); i++)
        halves[i] &= (uint16_t)~0x4000;
}

static void compare_isas(enum mst_dtype dtype, enum mst_op op, enum reduce_stage stage)
{
    static uint64_t in[STREAMS][COUNT], expected[COUNT], got[COUNT];
    const void *streams[STREAMS];
    enum mst_dtype in_type = stage == REDUCE_FINISH && reduce_acc_size(dtype) == 4 &&
                                     mst_dtype_size(dtype) == 2
                                 ? MST_F32
                                 : dtype;
    for (size_t s = 0; s < STREAMS; s++) {
        fill_random(in[s], COUNT, s);
        without_nans(in[s], COUNT, in_type);
        streams[s] = in[s];
    }
    struct reduce reduce = {
        .isa = portable(), .stage = stage, .dtype = dtype, .op = op, .divisor = STREAMS};
    for (size_t n = 1; n <= STREAMS; n++) {
        memset(expected, 0, sizeof expected);
        reduce.isa = portable();
        reduce_fold(&reduce, expected, streams, n, COUNT);
        for (const struct reduce_isa *const *isa = reduce_isas; *isa; isa++) {
            if (!reduce_isa_usable(*isa))
                continue;
            memset(got, 0, sizeof got);
            reduce.isa = *isa;
            reduce_fold(&reduce, got, streams, n, COUNT);
            if (memcmp(got, expected, sizeof got) != 0)
                fail_msg("%s differs: %s, op %d, stage %d, %zu streams", reduce_isa_name(*isa),
                         mst_dtype_name(dtype), (int)op, (int)stage, n);
        }
    }
}

static void every_isa_gives_the_same_bits(void **state)
{
    (void)state;
    for (unsigned dtype = 0; dtype < MST_DTYPE_COUNT; dtype++)
        for (unsigned op = 0; op < MST_OP_COUNT; op++)
            for (unsigned stage = REDUCE_WHOLE; stage <= REDUCE_FINISH; stage++)
                if (reduce_acc_size((enum mst_dtype)dtype) > 0)
                    compare_isas((enum mst_dtype)dtype, (enum mst_op)op, (enum reduce_stage)stage);
}

/* One element through a whole reduction of one stream: widened and narrowed. */
static uint16_t round_trip(const struct reduce_isa *isa, enum mst_dtype dtype, uint16_t half)
{
    struct reduce reduce = {.isa = isa, .stage = REDUCE_WHOLE, .dtype = dtype, .op = MST_SUM};
    const void *stream = &half;
    uint16_t out;
    reduce_fold(&reduce, &out, &stream, 1, 1);
    return out;
}

static void all_halves_survive_the_way_to_f32_and_back(void **state)
{
    (void)state;
    for (const struct reduce_isa *const *isa = reduce_isas; *isa; isa++) {
        if (!reduce_isa_usable(*isa))
            continue;
        for (uint32_t half = 0; half < 65536; half++) {
            bool bf16_nan = (half & 0x7fff) > 0x7f80, f16_nan = (half & 0x7fff) > 0x7c00;
            assert_int_equal(round_trip(*isa, MST_BF16, (uint16_t)half),
                             half | (bf16_nan ? 0x40 : 0));
            assert_int_equal(round_trip(*isa, MST_F16, (uint16_t)half),
                             half | (f16_nan ? 0x200 : 0));
        }
    }
}

static uint16_t narrow(enum mst_dtype dtype, float value)
{
    struct reduce reduce = {
        .isa = portable(), .stage = REDUCE_FINISH, .dtype = dtype, .op = MST_SUM};
    const void *stream = &value;
    uint16_t out;
    reduce_fold(&reduce, &out, &stream, 1, 1);
    return out;
}

static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        enum mst_dtype dtype;
        float value;
        uint16_t bits;
    } cases[] = {
        {MST_F16, 2049, 0x6800},         /* a tie, down to even */
        {MST_F16, 2051, 0x6802},         /* a tie, up to even */
        {MST_F16, 65519.996F, 0x7bff},   /* the largest that rounds to a number */
        {MST_F16, 65520, 0x7c00},        /* a tie, to Inf */
        {MST_F16, 1e30F, 0x7c00},        /* overflow */
        {MST_F16, 0x1p-24F, 0x0001},     /* the smallest subnormal */
        {MST_F16, 0x1p-25F, 0x0000},     /* half of it, a tie, to zero */
        {MST_F16, 0x1.8p-25F, 0x0001},   /* more than half */
        {MST_F16, 0x1.ffep-15F, 0x0400}, /* a subnormal that rounds to a normal number */
        {MST_F16, -0.0F, 0x8000},        /* the sign of zero */
        {MST_BF16, 257, 0x4380},         /* a tie, down to even */
        {MST_BF16, 259, 0x4382},         /* a tie, up to even */
        {MST_BF16, 3.4e38F, 0x7f80},     /* to Inf */
        {MST_BF16, 9e-39F, 0x0062},      /* subnormals are not flushed */
        {MST_BF16, -0.0F, 0x8000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(narrow(cases[i].dtype, cases[i].value), cases[i].bits);
}

static void sixteen_bits_are_rounded_once(void **state)
{
    (void)state;
    uint16_t in[4] = {0x4380, 0x3f80, 0x3f80, 0x3f80}; /* bf16: 256 + 1 + 1 + 1 */
    const void *streams[4] = {&in[0], &in[1], &in[2], &in[3]};
    struct reduce reduce = {
        .isa = reduce_best(), .stage = REDUCE_WHOLE, .dtype = MST_BF16, .op = MST_SUM};
    uint16_t out;
    reduce_fold(&reduce, &out, streams, 4, 1);
    assert_int_equal(out, 0x4382); /* 259 → 260; rounding each time would stay at 256 */
}

static void the_output_may_be_any_stream(void **state)
{
    (void)state;
    static int32_t in[STREAMS][COUNT];
    struct reduce reduce = {
        .isa = reduce_best(), .stage = REDUCE_WHOLE, .dtype = MST_I32, .op = MST_SUM};
    for (size_t n = 1; n <= STREAMS; n++) {
        for (size_t out = 0; out < n; out++) {
            const void *streams[STREAMS];
            for (size_t s = 0; s < n; s++) {
                streams[s] = in[s];
                for (size_t i = 0; i < COUNT; i++)
                    in[s][i] = (int32_t)(i + s);
            }
            reduce_fold(&reduce, in[out], streams, n, COUNT);
            for (size_t i = 0; i < COUNT; i++)
                assert_int_equal(in[out][i], n * i + n * (n - 1) / 2);
        }
    }
}

static void integers_wrap_and_divide_towards_zero(void **state)
{
    (void)state;
    int8_t a = 127, b = 2, out8;
    int64_t c = -7, d = 0, out64;
    const void *bytes[2] = {&a, &b}, *longs[2] = {&c, &d};
    struct reduce sum = {
        .isa = reduce_best(), .stage = REDUCE_WHOLE, .dtype = MST_I8, .op = MST_SUM};
    struct reduce average = {
        .isa = reduce_best(), .stage = REDUCE_WHOLE, .dtype = MST_I64, .op = MST_AVG, .divisor = 2};
    reduce_fold(&sum, &out8, bytes, 2, 1);
    reduce_fold(&average, &out64, longs, 2, 1);
    assert_int_equal(out8, -127);
    assert_int_equal(out64, -3);
}

static void types_that_cannot_be_reduced_have_no_size(void **state)
{
    (void)state;
    assert_int_equal(reduce_acc_size(MST_F8E4M3), 0);
    assert_int_equal(reduce_acc_size(MST_BF16), 4);
    assert_int_equal(reduce_acc_size(MST_F64), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_isa_gives_the_same_bits),
        cmocka_unit_test(all_halves_survive_the_way_to_f32_and_back),
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(sixteen_bits_are_rounded_once),
        cmocka_unit_test(the_output_may_be_any_stream),
        cmocka_unit_test(integers_wrap_and_divide_towards_zero),
        cmocka_unit_test(types_that_cannot_be_reduced_have_no_size),
    };
    return cmocka_run_group_tests_name("comm_reduce", tests, NULL, NULL);
}

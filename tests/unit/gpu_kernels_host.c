/* The kernels' source, run as host code with many shapes of a launch, against a reference in double
 * that shares nothing with it. */
#include "muster/gpu/kernels_host.h"

#include "muster/core/crc32c.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct shape {
    uint32_t blocks, threads;
} shapes[] = {{1, 1}, {1, 256}, {7, 3}, {3, 32}, {40, 8}};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static void run(struct kernel_launch *launch, size_t shape)
{
    launch->blocks = shapes[shape].blocks;
    kernels_run(launch, shapes[shape].threads);
}

/* ---- conversions ----------------------------------------------------------------------------- */

static const struct small_float {
    int bits, fraction, bias;
    uint32_t greatest; /* its code */
    bool has_infinity;
} small_floats[] = {
    [KERNEL_F16] = {16, 10, 15, 0x7bff, true},
    [KERNEL_BF16] = {16, 7, 127, 0x7f7f, true},
    [KERNEL_F8E4M3] = {8, 3, 7, 0x7e, false},
    [KERNEL_F8E5M2] = {8, 2, 15, 0x7b, true},
};

static float value_of(uint32_t code, enum kernel_type type)
{
    const struct small_float *is = &small_floats[type];
    uint32_t sign = 1U << (is->bits - 1), size = code & (sign - 1);
    int exponent = (int)(size >> is->fraction), mantissa = (int)(size & ((1U << is->fraction) - 1));
    double value = exponent > 0
                       ? ldexp((1 << is->fraction) + mantissa, exponent - is->bias - is->fraction)
                       : ldexp(mantissa, 1 - is->bias - is->fraction);
    if (size > is->greatest)
        value = is->has_infinity && size == is->greatest + 1 ? INFINITY : NAN;
    return (float)(code & sign ? -value : value);
}

/* Codes of a type, as it stores them. */
static uint32_t code_at(const void *codes, enum kernel_type type, size_t i)
{
    return small_floats[type].bits == 8 ? ((const uint8_t *)codes)[i]
                                        : ((const uint16_t *)codes)[i];
}

static void put_code(void *codes, enum kernel_type type, size_t i, uint32_t code)
{
    if (small_floats[type].bits == 8)
        ((uint8_t *)codes)[i] = (uint8_t)code;
    else
        ((uint16_t *)codes)[i] = (uint16_t)code;
}

static void cast(void *out, enum kernel_type out_type, const void *in, enum kernel_type in_type,
                 size_t count, size_t shape)
{
    struct kernel_launch launch = {
        .id = KERNEL_CAST,
        .args.cast = {
            .out = out, .out_type = out_type, .in = in, .in_type = in_type, .count = count}};
    run(&launch, shape);
}

/* All of each type: each is widened exactly, and comes back as it was. */
static void every_code_is_widened(void **state)
{
    uint16_t *codes = calloc(65536, sizeof *codes), *back = calloc(65536, sizeof *back);
    float *wide = calloc(65536, sizeof *wide);
    (void)state;
    assert_true(codes && back && wide);
    for (enum kernel_type type = KERNEL_F16; type <= KERNEL_F8E5M2; type++) {
        uint32_t count = 1U << small_floats[type].bits;
        for (uint32_t i = 0; i < count; i++)
            put_code(codes, type, i, i);
        cast(wide, KERNEL_F32, codes, type, count, 2);
        cast(back, type, wide, KERNEL_F32, count, 1);
        for (uint32_t i = 0; i < count; i++) {
            float expected = value_of(i, type);
            uint32_t again = code_at(back, type, i);
            assert_true(isnan(expected)
                            ? isnan(wide[i])
                            : wide[i] == expected && !signbit(wide[i]) == !signbit(expected));
            assert_true(again == i || (isnan(expected) && isnan(value_of(again, type))));
        }
    }
    free(codes);
    free(back);
    free(wide);
}

/* Between two neighbours: the nearer one, and of two as near the even one. */
static void narrowing_goes_to_the_nearest_even(void **state)
{
    (void)state;
    for (enum kernel_type type = KERNEL_F16; type <= KERNEL_F8E5M2; type++) {
        uint32_t sign = 1U << (small_floats[type].bits - 1);
        for (uint32_t low = 0; low < small_floats[type].greatest;
             low += 1 + low % 3 * (sign > 128)) {
            float a = value_of(low, type), b = value_of(low + 1, type);
            float middle = (float)(((double)a + (double)b) / 2); /* exact */
            float in[] = {nextafterf(middle, 0), middle, nextafterf(middle, INFINITY), -middle};
            uint32_t even = low + low % 2;
            uint16_t out[4] = {0};
            cast(out, type, in, KERNEL_F32, 4, 0);
            assert_int_equal(code_at(out, type, 0), low);
            assert_int_equal(code_at(out, type, 1), even);
            assert_int_equal(code_at(out, type, 2), low + 1);
            assert_int_equal(code_at(out, type, 3), even | sign);
        }
    }
}

/* Elements that a quad does not fill, and addresses that it does not fit. */
static void casts_any_count_and_alignment(void **state)
{
    static float in[64];
    uint8_t out[64], expected;
    (void)state;
    for (size_t count = 0; count <= 21; count++) {
        for (size_t shift = 0; shift < 4; shift++) {
            for (size_t i = 0; i < 64; i++)
                in[i] = (float)i / 3;
            memset(out, 0xaa, sizeof out);
            cast(out + shift, KERNEL_F8E4M3, in + 3 - shift, KERNEL_F32, count, count % SHAPES);
            for (size_t i = 0; i < count; i++) {
                cast(&expected, KERNEL_F8E4M3, in + 3 - shift + i, KERNEL_F32, 1, 0);
                assert_int_equal(out[shift + i], expected);
            }
            assert_int_equal(out[shift + count], 0xaa);
        }
    }
}

static void what_is_too_large_is_infinite(void **state)
{
    const float in[] = {65519.996F, 65520, INFINITY, -1e30F, NAN, 1e-30F, -0.0F};
    uint16_t out[7] = {0};
    (void)state;
    cast(out, KERNEL_F16, in, KERNEL_F32, 7, 0);
    assert_int_equal(out[0], 0x7bff);
    assert_int_equal(out[1], 0x7c00);
    assert_int_equal(out[2], 0x7c00);
    assert_int_equal(out[3], 0xfc00);
    assert_true((out[4] & 0x7fff) > 0x7c00);
    assert_int_equal(out[5], 0);
    assert_int_equal(out[6], 0x8000);
    const float large[] = {3.4e38F, 3.3895314e38F};
    cast(out, KERNEL_BF16, large, KERNEL_F32, 2, 0);
    assert_int_equal(out[0], 0x7f80);
    assert_int_equal(out[1], 0x7f7f);
}

/* As PyTorch: e4m3 has no infinity, and what is too large is no number. */
static void what_is_too_large_for_8_bits_shows(void **state)
{
    const float in[] = {448, 464, 464.00003F, -1e9F, INFINITY, NAN};
    const uint8_t e4m3[] = {0x7e, 0x7e, 0x7f, 0xff, 0x7f, 0x7f};
    const uint8_t e5m2[] = {0x5f, 0x5f, 0x5f, 0xfc, 0x7c, 0x7e};
    const float large[] = {57344, 61439.996F, 61440};
    uint8_t out[6] = {0};
    (void)state;
    cast(out, KERNEL_F8E4M3, in, KERNEL_F32, 6, 0);
    assert_memory_equal(out, e4m3, 6);
    cast(out, KERNEL_F8E5M2, in, KERNEL_F32, 6, 0);
    assert_memory_equal(out, e5m2, 6);
    cast(out, KERNEL_F8E5M2, large, KERNEL_F32, 3, 0);
    assert_int_equal(out[0], 0x7b);
    assert_int_equal(out[1], 0x7b);
    assert_int_equal(out[2], 0x7c);
}

/* ---- sums ------------------------------------------------------------------------------------ */

enum { COUNT = 1003, STREAMS = 64 };

static void sums_in_order_and_rounds_once(void **state)
{
    static uint16_t in[STREAMS][COUNT], out[COUNT];
    struct kernel_launch launch = {.id = KERNEL_SUM,
                                   .args.sum = {.out = out, .count = COUNT, .type = KERNEL_BF16}};
    (void)state;
    for (size_t s = 0; s < STREAMS; s++) {
        launch.args.sum.in[s] = in[s];
        for (size_t i = 0; i < COUNT; i++)
            in[s][i] = (uint16_t)(0x3f80 + (s * 131 + i * 7) % 1500 - 700);
    }
    for (size_t shape = 0; shape < SHAPES; shape++) {
        for (uint32_t count = 1; count <= STREAMS; count += 21) {
            launch.args.sum.in_count = count;
            memset(out, 0, sizeof out);
            run(&launch, shape);
            for (size_t i = 0; i < COUNT; i++) {
                float sum = value_of(in[0][i], KERNEL_BF16);
                uint16_t expected = 0;
                for (size_t s = 1; s < count; s++)
                    sum += value_of(in[s][i], KERNEL_BF16);
                cast(&expected, KERNEL_BF16, &sum, KERNEL_F32, 1, 0);
                assert_int_equal(out[i], expected);
            }
        }
    }
}

static void sums_in_place(void **state)
{
    float a[COUNT], b[COUNT];
    struct kernel_launch launch = {
        .id = KERNEL_SUM,
        .args.sum = {.out = a, .count = COUNT, .in_count = 2, .type = KERNEL_F32, .in = {b, a}}};
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        a[i] = (float)i;
        b[i] = 0.5F;
    }
    run(&launch, 3);
    for (int i = 0; i < COUNT; i++)
        assert_true(a[i] == (float)i + 0.5F);
}

/* ---- optimisers ------------------------------------------------------------------------------ */

enum { STATES = 3 };

static void fill_states(float states[STATES][COUNT], float *grads)
{
    for (size_t i = 0; i < COUNT; i++) {
        states[0][i] = (float)i / 7 - 60;
        states[1][i] = (float)(i % 13) - 6;
        states[2][i] = (float)(i % 5) + 0.25F;
        grads[i] = (float)(i % 11) - 5.5F;
    }
}

static bool is_near(double a, double b)
{
    return fabs(a - b) <= 4 * (double)FLT_EPSILON * fmax(fabs(a), fabs(b));
}

static void takes_steps_of_sgd(void **state)
{
    static float states[STATES][COUNT], before[STATES][COUNT], grads[COUNT];
    struct kernel_launch launch = {.id = KERNEL_SGD,
                                   .args.sgd = {.params = states[0],
                                                .momentum = states[1],
                                                .grads = grads,
                                                .count = COUNT,
                                                .grad_scale = 0.25F,
                                                .momentum_decay = 0.9F,
                                                .lr = 0.05F}};
    (void)state;
    for (size_t shape = 0; shape < SHAPES; shape++) {
        fill_states(states, grads);
        memcpy(before, states, sizeof states);
        run(&launch, shape);
        for (size_t i = 0; i < COUNT; i++) {
            float momentum = 0.9F * before[1][i] + 0.25F * grads[i];
            assert_true(states[1][i] == momentum);
            assert_true(states[0][i] == before[0][i] - 0.05F * momentum);
        }
    }
}

static void takes_steps_of_adamw(void **state)
{
    static float states[STATES][COUNT], before[STATES][COUNT], grads[COUNT];
    struct kernel_launch launch = {.id = KERNEL_ADAMW,
                                   .args.adamw = {.params = states[0],
                                                  .means = states[1],
                                                  .squares = states[2],
                                                  .grads = grads,
                                                  .count = COUNT,
                                                  .grad_scale = 0.5F,
                                                  .mean_blend = 0.125F,
                                                  .square_decay = 0.75F,
                                                  .square_blend = 0.25F,
                                                  .square_bias_root = 0.5F,
                                                  .epsilon = 0.0625F,
                                                  .param_decay = 0.875F,
                                                  .step_size = 0.03125F}};
    (void)state;
    for (size_t shape = 0; shape < SHAPES; shape++) {
        fill_states(states, grads);
        memcpy(before, states, sizeof states);
        run(&launch, shape);
        for (size_t i = 0; i < COUNT; i++) {
            double grad = 0.5 * (double)grads[i];
            double mean = (double)before[1][i] + 0.125 * (grad - (double)before[1][i]);
            double square = 0.75 * (double)before[2][i] + 0.25 * grad * grad;
            double step = mean / (sqrt(square) / 0.5 + 0.0625) * 0.03125;
            assert_true(is_near((double)states[1][i], mean));
            assert_true(is_near((double)states[2][i], square));
            assert_true(fabs((double)states[0][i] - (0.875 * (double)before[0][i] - step)) < 1e-5);
        }
    }
}

/* ---- checksums ------------------------------------------------------------------------------- */

/* Blocks of any number of segments, the last of them shorter, at any address. */
static void checks_every_block(void **state)
{
    enum { BYTES = 5 * KERNEL_CRC_BYTES + 4321 };
    static const size_t sizes[] = {1,     3,     4,     7,     1023,   1024,
                                   65535, 65536, 65537, 70001, 262144, BYTES};
    char *data = malloc(BYTES + 8);
    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < BYTES + 8; i++)
        data[i] = (char)(i * 2654435761U >> 13);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (uint32_t segments = 1; segments <= 4; segments++) {
            uint32_t sums[7] = {0}, block_bytes = segments * KERNEL_CRC_BYTES;
            const char *from = data + s % 5;
            struct kernel_launch launch = {
                .id = KERNEL_CRC32C,
                .args.crc32c = {
                    .data = from, .bytes = sizes[s], .block_bytes = block_bytes, .sums = sums}};
            run(&launch, (s + segments) % SHAPES);
            size_t block = 0;
            for (size_t at = 0; at < sizes[s]; at += block_bytes, block++) {
                size_t left = sizes[s] - at;
                assert_int_equal(sums[block],
                                 mst_crc32c(0, from + at, left < block_bytes ? left : block_bytes));
            }
            assert_int_equal(sums[block], 0);
        }
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_widened),
        cmocka_unit_test(narrowing_goes_to_the_nearest_even),
        cmocka_unit_test(casts_any_count_and_alignment),
        cmocka_unit_test(what_is_too_large_is_infinite),
        cmocka_unit_test(what_is_too_large_for_8_bits_shows),
        cmocka_unit_test(sums_in_order_and_rounds_once),
        cmocka_unit_test(sums_in_place),
        cmocka_unit_test(takes_steps_of_sgd),
        cmocka_unit_test(takes_steps_of_adamw),
        cmocka_unit_test(checks_every_block),
    };
    return cmocka_run_group_tests_name("gpu_kernels_host", tests, NULL, NULL);
}

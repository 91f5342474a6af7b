/* The kernels' source, run as host code with many shapes of a launch, against a reference in double
 * that shares nothing with it. */
#include "muster/gpu/kernels_host.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct shape {
    uint32_t blocks_x, blocks_y, threads;
} shapes[] = {{1, 1, 1}, {1, 1, 256}, {7, 1, 3}, {3, 5, 32}, {40, 200, 8}};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static void run(struct kernel_launch *launch, size_t shape)
{
    launch->blocks_x = shapes[shape].blocks_x;
    launch->blocks_y = launch->id == KERNEL_PACK || launch->id == KERNEL_UNPACK
                           ? shapes[shape].blocks_y
                           : 1;
    kernels_run(launch, shapes[shape].threads);
}

/* ---- conversions ----------------------------------------------------------------------------- */

static float value_of(uint16_t half, enum kernel_type type)
{
    int fraction = type == KERNEL_F16 ? 10 : 7, bias = type == KERNEL_F16 ? 15 : 127;
    int exponent = (half & 0x7fff) >> fraction, mantissa = half & ((1 << fraction) - 1);
    double value = exponent > 0 ? ldexp((1 << fraction) + mantissa, exponent - bias - fraction)
                                : ldexp(mantissa, 1 - bias - fraction);
    if (exponent == 2 * bias + 1)
        value = mantissa ? NAN : INFINITY;
    return (float)(half & 0x8000 ? -value : value);
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

/* All 65536: each is widened exactly, and comes back as it was. */
static void every_half_is_widened(void **state)
{
    uint16_t *halves = malloc(65536 * sizeof *halves), *back = malloc(65536 * sizeof *back);
    float *wide = malloc(65536 * sizeof *wide);
    (void)state;
    assert_true(halves && back && wide);
    for (uint32_t i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    for (int type = KERNEL_F16; type <= KERNEL_BF16; type++) {
        cast(wide, KERNEL_F32, halves, (enum kernel_type)type, 65536, 2);
        cast(back, (enum kernel_type)type, wide, KERNEL_F32, 65536, 1);
        for (uint32_t i = 0; i < 65536; i++) {
            float expected = value_of((uint16_t)i, (enum kernel_type)type);
            assert_true(isnan(expected)
                            ? isnan(wide[i])
                            : wide[i] == expected && (signbit(wide[i]) != 0) == (i >> 15 != 0));
            assert_true(back[i] == i ||
                        (isnan(expected) && isnan(value_of(back[i], (enum kernel_type)type))));
        }
    }
    free(halves);
    free(back);
    free(wide);
}

/* Between two neighbours: the nearer one, and of two as near the even one. */
static void narrowing_goes_to_the_nearest_even(void **state)
{
    (void)state;
    for (int type = KERNEL_F16; type <= KERNEL_BF16; type++) {
        uint16_t last = type == KERNEL_F16 ? 0x7bff : 0x7f7f;
        for (uint16_t low = 0; low < last; low = (uint16_t)(low + 1 + low % 3)) {
            float a = value_of(low, (enum kernel_type)type);
            float b = value_of((uint16_t)(low + 1), (enum kernel_type)type);
            float middle = (float)(((double)a + (double)b) / 2); /* exact */
            float in[] = {nextafterf(middle, 0), middle, nextafterf(middle, INFINITY), -middle};
            uint16_t even = (uint16_t)(low + low % 2), out[4] = {0};
            cast(out, (enum kernel_type)type, in, KERNEL_F32, 4, 0);
            assert_int_equal(out[0], low);
            assert_int_equal(out[1], even);
            assert_int_equal(out[2], low + 1);
            assert_int_equal(out[3], even | 0x8000);
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

/* ---- packing --------------------------------------------------------------------------------- */

/* Every byte is moved once, whatever the alignment, and none beside it. */
static void packs_any_alignment(void **state)
{
    static _Alignas(16) char memory[KERNEL_PARTS_MAX][80], copy[sizeof memory];
    static _Alignas(16) char packed[sizeof memory];
    struct kernel_launch launch = {
        .id = KERNEL_PACK, .args.parts = {.packed = packed, .part_count = KERNEL_PARTS_MAX}};
    struct kernel_part *parts = launch.args.parts.parts;
    size_t used = 0;
    (void)state;
    for (size_t p = 0; p < KERNEL_PARTS_MAX; p++) {
        parts[p] = (struct kernel_part){&memory[p][p % 17], p % 60, used};
        used += p % 60;
    }
    for (size_t shape = 0; shape < SHAPES; shape++) {
        for (size_t i = 0; i < sizeof memory; i++)
            (&memory[0][0])[i] = (char)(i * 31 + i / 256);
        memcpy(copy, memory, sizeof memory);
        memset(packed, 0, sizeof packed);
        launch.id = KERNEL_PACK;
        run(&launch, shape);
        for (size_t p = 0; p < KERNEL_PARTS_MAX; p++)
            assert_memory_equal(packed + parts[p].packed_at, parts[p].data, parts[p].bytes);
        for (size_t p = 0; p < KERNEL_PARTS_MAX; p++)
            memset(parts[p].data, 0, parts[p].bytes);
        launch.id = KERNEL_UNPACK;
        run(&launch, shape);
        assert_memory_equal(memory, copy, sizeof memory);
        assert_int_equal(packed[used], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_widened),
        cmocka_unit_test(narrowing_goes_to_the_nearest_even),
        cmocka_unit_test(what_is_too_large_is_infinite),
        cmocka_unit_test(sums_in_order_and_rounds_once),
        cmocka_unit_test(sums_in_place),
        cmocka_unit_test(packs_any_alignment),
    };
    return cmocka_run_group_tests_name("gpu_kernels_host", tests, NULL, NULL);
}

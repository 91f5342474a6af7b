/* The order is a permutation, of every size, and looks like a random one. */
#include "muster/core/rng.h"
#include "muster/dataio/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void check_bijection(uint64_t seed, uint64_t count, uint64_t epoch)
{
    uint8_t *seen = calloc(count, 1);
    assert_non_null(seen);
    struct order order;
    order_init(&order, seed, count, false);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t sample = order_sample(&order, epoch * count + i);
        assert_true(sample < count);
        assert_int_equal(seen[sample]++, 0);
    }
    free(seen);
}

static void test_every_small_size_is_a_permutation(void **state)
{
    (void)state;
    for (uint64_t count = 1; count <= 700; count++)
        for (uint64_t epoch = 0; epoch < 3; epoch++)
            check_bijection(count * 7, count, epoch);
}

static void test_larger_sizes_are_permutations(void **state)
{
    (void)state;
    static const uint64_t counts[] = {4095, 4096, 4097, 65537, 99991, (1 << 17) + 1, 1000003};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        check_bijection(i, counts[i], i);
}

static void test_domain_is_below_twice_the_count(void **state)
{
    (void)state;
    struct order order;
    for (uint32_t bit = 1; bit < 62; bit++)
        for (uint64_t count = (UINT64_C(1) << bit) - 1; count <= (UINT64_C(1) << bit) + 1;
             count++) {
            order_init(&order, 1, count, false);
            /* The mean walk is domain / count. */
            assert_true((order.low_mask + 1) * (order.high_mask + 1) < 2 * count);
            assert_true((order.low_mask + 1) * (order.high_mask + 1) >= count);
        }
}

static int compare(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static void test_huge_sizes_do_not_collide(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    static uint64_t samples[COUNT];
    uint64_t size = (UINT64_C(1) << 61) + 12345;
    struct order order;
    order_init(&order, 5, size, false);
    for (uint64_t i = 0; i < COUNT; i++) {
        samples[i] = order_sample(&order, size * 3 + i * 977);
        assert_true(samples[i] < size);
    }
    qsort(samples, COUNT, sizeof samples[0], compare);
    for (size_t i = 1; i < COUNT; i++)
        assert_true(samples[i - 1] < samples[i]);
}

static void test_sequential_is_file_order(void **state)
{
    (void)state;
    struct order order;
    order_init(&order, 5, 10, true);
    for (uint64_t i = 0; i < 35; i++)
        assert_int_equal(order_sample(&order, i), i % 10);
    assert_int_equal(order_sample(&order, 3), 3); /* and back */
}

static void test_depends_on_seed_epoch_and_position_alone(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct order order, other;
    int same_epoch = 0, same_seed = 0;
    order_init(&order, 9, COUNT, false);
    order_init(&other, 10, COUNT, false);
    uint64_t first[3 * COUNT];
    for (uint64_t i = 0; i < 3 * COUNT; i++) {
        first[i] = order_sample(&order, i);
        same_seed += first[i] == order_sample(&other, i);
        same_epoch += i >= COUNT && first[i] == first[i - COUNT];
    }
    assert_true(same_seed < 30 && same_epoch < 30); /* 3 and 2 are expected */
    for (uint64_t i = 3 * COUNT; i-- > 0;)
        assert_int_equal(order_sample(&order, i), first[i]);
}

/* A cursor outlives the build that saved it: what follows it must be what would have. */
static void test_is_the_same_in_every_build(void **state)
{
    static const uint64_t first[] = {951, 768, 530, 470, 446, 713}, second[] = {568, 246, 357};
    static const uint64_t sixth[] = {714302438455, 803282251778, 857580791155, 1065280106233};
    const uint64_t vast = (UINT64_C(1) << 40) + 7;
    struct order order;
    (void)state;
    order_init(&order, 9, 1000, false);
    for (uint64_t i = 0; i < 6; i++)
        assert_int_equal(order_sample(&order, i), first[i]);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(order_sample(&order, 1000 + i), second[i]);
    order_init(&order, UINT64_MAX, vast, false);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(order_sample(&order, 5 * vast + i), sixth[i]);
}

/* Sum of (observed-expected)^2/expected over `bins`. */
static double chi_square(const uint32_t *observed, uint32_t bins, double expected)
{
    double sum = 0;
    for (uint32_t i = 0; i < bins; i++)
        sum += (observed[i] - expected) * (observed[i] - expected) / expected;
    return sum;
}

/* Which sample comes first and which in the middle, and how far the second is from the first, over
 * many epochs. With b bins the statistic has mean b-1 and deviation sqrt(2b-2): five may be. */
static void test_looks_random(void **state)
{
    (void)state;
    enum { EPOCHS = 20000, COUNT = 101, STEPS = COUNT - 1 };
    uint32_t first[COUNT] = {0}, middle[COUNT] = {0}, step[STEPS] = {0};
    struct order order;
    order_init(&order, 77, COUNT, false);
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        uint64_t a = order_sample(&order, epoch * COUNT);
        uint64_t b = order_sample(&order, epoch * COUNT + 1);
        first[a]++;
        middle[order_sample(&order, epoch * COUNT + COUNT / 2)]++;
        step[(b + COUNT - a) % COUNT - 1]++;
    }
    assert_true(chi_square(first, COUNT, (double)EPOCHS / COUNT) < 100 + 5 * 14.2);
    assert_true(chi_square(middle, COUNT, (double)EPOCHS / COUNT) < 100 + 5 * 14.2);
    assert_true(chi_square(step, STEPS, (double)EPOCHS / STEPS) < 99 + 5 * 14.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_small_size_is_a_permutation),
        cmocka_unit_test(test_larger_sizes_are_permutations),
        cmocka_unit_test(test_domain_is_below_twice_the_count),
        cmocka_unit_test(test_huge_sizes_do_not_collide),
        cmocka_unit_test(test_sequential_is_file_order),
        cmocka_unit_test(test_depends_on_seed_epoch_and_position_alone),
        cmocka_unit_test(test_is_the_same_in_every_build),
        cmocka_unit_test(test_looks_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

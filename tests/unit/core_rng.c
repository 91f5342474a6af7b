#include "muster/core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The numbers that O'Neill's pcg32-demo prints for seed 42, stream 54. */
static void is_the_published_sequence(void **state)
{
    (void)state;
    static const uint32_t expected[] = {0xA15C02B7, 0x7B47F409, 0xBA1D3330,
                                        0x83D2F293, 0xBFA4784B, 0xCBED606E};
    struct mst_rng rng;
    mst_rng_init(&rng, 42, 54);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(mst_rng_next(&rng), expected[i]);
}

static void resumes_from_its_two_words(void **state)
{
    (void)state;
    struct mst_rng rng, saved;
    mst_rng_init(&rng, 1, 2);
    for (int i = 0; i < 100; i++)
        (void)mst_rng_next(&rng);
    saved = rng;
    for (int i = 0; i < 100; i++)
        assert_int_equal(mst_rng_next(&rng), mst_rng_next(&saved));
}

static void streams_differ(void **state)
{
    (void)state;
    struct mst_rng a, b;
    mst_rng_init(&a, 7, 0);
    mst_rng_init(&b, 7, 1);
    int equal = 0;
    for (int i = 0; i < 1000; i++)
        equal += mst_rng_next(&a) == mst_rng_next(&b);
    assert_true(equal < 3);
}

static void below_keeps_its_bound_and_spreads(void **state)
{
    (void)state;
    struct mst_rng rng;
    mst_rng_init(&rng, 3, 3);
    for (uint32_t bound = 1; bound <= 17; bound++) {
        uint32_t count[17] = {0};
        for (uint32_t i = 0; i < 1000 * bound; i++) {
            uint32_t value = mst_rng_below(&rng, bound);
            assert_true(value < bound);
            count[value]++;
        }
        for (uint32_t i = 0; i < bound; i++)
            assert_in_range(count[i], 850, 1150);
    }
    assert_true(mst_rng_below(&rng, UINT32_MAX) < UINT32_MAX);
}

/* 2^31 + 1 is where the biased draws are almost half: each half of the range gets its share. */
static void below_is_unbiased_at_the_worst_bound(void **state)
{
    (void)state;
    struct mst_rng rng;
    mst_rng_init(&rng, 4, 4);
    const uint32_t bound = (UINT32_C(1) << 31) + 1;
    int even = 0;
    for (int i = 0; i < 10000; i++)
        even += mst_rng_below(&rng, bound) % 2 == 0;
    assert_in_range(even, 4750, 5250);
}

static void unit_is_half_open(void **state)
{
    (void)state;
    struct mst_rng rng;
    mst_rng_init(&rng, 5, 5);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        float value = mst_rng_unit(&rng);
        assert_true(value >= 0 && value < 1);
        sum += (double)value;
    }
    assert_true(sum > 4850 && sum < 5150);
}

/* The first outputs of SplitMix64 with seed 0: its state moves by the golden ratio. */
static void mix_is_the_splitmix_finaliser(void **state)
{
    (void)state;
    const uint64_t golden = UINT64_C(0x9E3779B97F4A7C15);
    assert_true(mst_mix64(golden) == UINT64_C(0xE220A8397B1DCDAF));
    assert_true(mst_mix64(2 * golden) == UINT64_C(0x6E789E6AA1B965F4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_published_sequence),
        cmocka_unit_test(resumes_from_its_two_words),
        cmocka_unit_test(streams_differ),
        cmocka_unit_test(below_keeps_its_bound_and_spreads),
        cmocka_unit_test(below_is_unbiased_at_the_worst_bound),
        cmocka_unit_test(unit_is_half_open),
        cmocka_unit_test(mix_is_the_splitmix_finaliser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

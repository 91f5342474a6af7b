#include "muster/dataio/mirror.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define S UINT64_C(1000000000)

static struct mirror_health healths[3];
static struct mirror_choice choices[3];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        healths[i] = (struct mirror_health){0};
        choices[i] = (struct mirror_choice){.health = &healths[i]};
    }
    return 0;
}

static void test_in_the_order_that_they_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(mirror_choose(choices, 3), i);
        choices[i].tried = true;
    }
    assert_int_equal(mirror_choose(choices, 3), 3);
}

static void test_one_that_failed_is_down_until_it_has_answered(void **state)
{
    (void)state;
    assert_false(mirror_wants_probe(&healths[0], 0));
    mirror_failed(&healths[0], 10 * S);
    assert_int_equal(mirror_choose(choices, 3), 1);
    assert_true(mirror_rests(&healths[0], 11 * S - 1));
    assert_false(mirror_wants_probe(&healths[0], 11 * S - 1));
    assert_true(mirror_wants_probe(&healths[0], 11 * S));
    healths[0].probed = true;
    assert_false(mirror_wants_probe(&healths[0], 12 * S)); /* one at a time */
    assert_int_equal(mirror_choose(choices, 3), 1);
    mirror_succeeded(&healths[0]);
    assert_int_equal(mirror_choose(choices, 3), 0);
}

static void test_rests_grow_up_to_a_minute(void **state)
{
    (void)state;
    static const uint64_t rests_s[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    uint64_t now_ns = 0;
    for (size_t i = 0; i < sizeof rests_s / sizeof *rests_s; i++) {
        mirror_failed(&healths[0], now_ns);
        mirror_failed(&healths[0], now_ns + 1); /* one that was in flight beside it */
        assert_int_equal(healths[0].rest_until_ns, now_ns + rests_s[i] * S);
        now_ns = healths[0].rest_until_ns;
        assert_false(mirror_rests(&healths[0], now_ns));
        assert_true(mirror_wants_probe(&healths[0], now_ns));
    }
    mirror_succeeded(&healths[0]);
    mirror_failed(&healths[0], now_ns);
    assert_int_equal(healths[0].rest_until_ns, now_ns + S);
}

static void test_if_all_rest_the_one_that_ends_first(void **state)
{
    (void)state;
    mirror_failed(&healths[0], 2 * S);
    mirror_failed(&healths[1], 1 * S);
    mirror_failed(&healths[2], 3 * S - 1);
    assert_int_equal(mirror_choose(choices, 3), 1);
    choices[1].tried = true;
    assert_int_equal(mirror_choose(choices, 3), 0);
}

static void test_a_refused_copy_comes_last(void **state)
{
    (void)state;
    choices[0].refused = true;
    mirror_failed(&healths[1], 0);
    mirror_failed(&healths[2], 0);
    assert_int_equal(mirror_choose(choices, 3), 1);
    choices[1].tried = choices[2].tried = true;
    assert_int_equal(mirror_choose(choices, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_in_the_order_that_they_are_named, setup),
        cmocka_unit_test_setup(test_one_that_failed_is_down_until_it_has_answered, setup),
        cmocka_unit_test_setup(test_rests_grow_up_to_a_minute, setup),
        cmocka_unit_test_setup(test_if_all_rest_the_one_that_ends_first, setup),
        cmocka_unit_test_setup(test_a_refused_copy_comes_last, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

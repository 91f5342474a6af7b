#include "muster/core/clock.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void time_does_not_go_back(void **state)
{
    (void)state;
    uint64_t before_ns = mst_now_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now_ns = mst_now_ns();
        assert_true(now_ns >= before_ns);
        before_ns = now_ns;
    }
}

static void deadlines_are_points_in_time(void **state)
{
    (void)state;
    uint64_t before_ns = mst_now_ns();
    uint64_t deadline_ns = mst_deadline_ms(60000);
    assert_true(deadline_ns >= before_ns + 60 * MST_NS_PER_S);
    assert_true(deadline_ns <= mst_now_ns() + 60 * MST_NS_PER_S);
    assert_false(mst_deadline_passed(deadline_ns));
    assert_true(mst_deadline_passed(mst_deadline_ms(0)));
    assert_true(mst_deadline_passed(0));
}

static void far_deadlines_never_pass(void **state)
{
    (void)state;
    assert_true(mst_deadline_ms(UINT64_MAX) == MST_NEVER);
    assert_true(mst_deadline_ms(UINT64_MAX / MST_NS_PER_MS) == MST_NEVER);
    assert_false(mst_deadline_passed(MST_NEVER));
}

static void what_is_left_is_rounded_up(void **state)
{
    (void)state;
    assert_int_equal(mst_deadline_left_ms(MST_NEVER), -1);
    assert_int_equal(mst_deadline_left_ms(0), 0);
    assert_int_equal(mst_deadline_left_ms(MST_NEVER - 1), INT_MAX);
    int left_ms = mst_deadline_left_ms(mst_deadline_ms(5000));
    assert_in_range(left_ms, 1, 5000);
    /* a deadline under a millisecond ahead is 1, never a busy 0, unless it passed meanwhile */
    uint64_t soon_ns = mst_now_ns() + MST_NS_PER_MS / 2;
    left_ms = mst_deadline_left_ms(soon_ns);
    assert_true(left_ms == 1 || mst_deadline_passed(soon_ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_does_not_go_back),
        cmocka_unit_test(deadlines_are_points_in_time),
        cmocka_unit_test(far_deadlines_never_pass),
        cmocka_unit_test(what_is_left_is_rounded_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

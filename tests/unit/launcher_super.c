#include "muster/launcher/super.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static unsigned after(enum super_state state, bool ending, enum super_event event,
                      enum super_state *ret_next)
{
    struct super super = {state, ending};
    unsigned actions = super_step(&super, event);
    *ret_next = super.state;
    return actions;
}

static void test_a_failure_is_told_once_and_escalates(void **state)
{
    (void)state;
    struct super super = {SUPER_IDLE, false};
    assert_int_equal(super_step(&super, SUPER_START), SUPER_DO_SPAWN);
    assert_int_equal(super_step(&super, SUPER_RANK_BAD),
                     SUPER_DO_FAILED | SUPER_DO_ABORT_WORD | SUPER_DO_ARM);
    assert_int_equal(super_step(&super, SUPER_RANK_BAD), 0);
    assert_int_equal(super_step(&super, SUPER_ABORT), 0);
    assert_int_equal(super_step(&super, SUPER_TIMER), SUPER_DO_TERM | SUPER_DO_ARM);
    assert_int_equal(super_step(&super, SUPER_TIMER), SUPER_DO_KILL | SUPER_DO_ARM);
    assert_int_equal(super_step(&super, SUPER_LAST_BAD), SUPER_DO_DOWN);
    assert_int_equal(super.state, SUPER_IDLE);
    assert_int_equal(super_step(&super, SUPER_START), SUPER_DO_SPAWN);
}

/* A rank in the kernel's hands, where no signal reaches it, does not keep the node for ever. */
static void test_what_no_signal_ends_is_given_up(void **state)
{
    (void)state;
    struct super super = {SUPER_KILLING, false};
    assert_int_equal(super_step(&super, SUPER_TIMER), SUPER_DO_KILL | SUPER_DO_ARM);
    assert_int_equal(super.state, SUPER_STUCK);
    assert_int_equal(super_step(&super, SUPER_TIMER), SUPER_DO_ABANDON | SUPER_DO_DOWN);
    assert_int_equal(super.state, SUPER_IDLE);
    super = (struct super){SUPER_STUCK, true};
    assert_int_equal(super_step(&super, SUPER_TIMER),
                     SUPER_DO_ABANDON | SUPER_DO_DOWN | SUPER_DO_QUIT);
    super = (struct super){SUPER_STUCK, false};
    assert_int_equal(super_step(&super, SUPER_LAST_BAD), SUPER_DO_DOWN); /* it came back */
}

/* Timers alone lead out of every state that waits for ranks to end. */
static void test_every_state_that_waits_for_an_end_ends(void **state)
{
    (void)state;
    const enum super_state waiting[] = {SUPER_LEAVING, SUPER_TERMINATING, SUPER_KILLING,
                                        SUPER_STUCK};
    for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++) {
        struct super super = {waiting[i], false};
        for (int timers = 0; timers < 4; timers++)
            super_step(&super, SUPER_TIMER);
        assert_int_equal(super.state, SUPER_IDLE);
    }
}

/* A node of one rank has no time to leave. */
static void test_the_failure_of_the_last_is_told_as_well(void **state)
{
    (void)state;
    struct super super = {SUPER_RUNNING, false};
    assert_int_equal(super_step(&super, SUPER_LAST_BAD), SUPER_DO_FAILED | SUPER_DO_DOWN);
    assert_int_equal(super.state, SUPER_IDLE);
}

static void test_done_waits_for_the_others(void **state)
{
    (void)state;
    struct super super = {SUPER_RUNNING, false};
    assert_int_equal(super_step(&super, SUPER_RANK_OK), 0);
    assert_int_equal(super_step(&super, SUPER_LAST_OK), SUPER_DO_DONE);
    assert_int_equal(super.state, SUPER_DONE);
    assert_int_equal(super_step(&super, SUPER_ABORT), SUPER_DO_DOWN);
    assert_int_equal(super.state, SUPER_IDLE);
}

static void test_no_state_with_ranks_quits(void **state)
{
    (void)state;
    for (int s = 0; s < SUPER_STATE_COUNT; s++) {
        bool has_ranks = s == SUPER_RUNNING || s == SUPER_LEAVING || s == SUPER_TERMINATING ||
                         s == SUPER_KILLING || s == SUPER_STUCK;
        for (int e = 0; e < SUPER_EVENT_COUNT; e++) {
            enum super_state next;
            bool last = e == SUPER_LAST_OK || e == SUPER_LAST_BAD;
            unsigned actions = after((enum super_state)s, true, (enum super_event)e, &next);
            if (has_ranks && !last && !(actions & SUPER_DO_ABANDON))
                assert_false(actions & SUPER_DO_QUIT);
            if (actions & SUPER_DO_QUIT)
                assert_int_equal(next, SUPER_OVER);
        }
    }
}

static void test_every_end_leads_to_over(void **state)
{
    (void)state;
    const enum super_event ends[] = {SUPER_END, SUPER_LINK_LOST, SUPER_GRACE_OVER};
    for (int s = 0; s < SUPER_STATE_COUNT; s++) {
        for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++) {
            struct super super = {(enum super_state)s, false};
            super_step(&super, ends[e]);
            for (int timers = 0; timers < 3; timers++)
                super_step(&super, SUPER_TIMER);
            super_step(&super, SUPER_LAST_BAD);
            assert_int_equal(super.state, SUPER_OVER);
        }
    }
}

static void test_spawn_only_from_idle(void **state)
{
    (void)state;
    for (int s = 0; s < SUPER_STATE_COUNT; s++) {
        enum super_state next;
        unsigned actions = after((enum super_state)s, false, SUPER_START, &next);
        assert_int_equal(!!(actions & SUPER_DO_SPAWN), s == SUPER_IDLE);
        assert_non_null(super_name((enum super_state)s));
    }
}

static void test_escalating_states_rearm(void **state)
{
    (void)state;
    for (int s = 0; s < SUPER_STATE_COUNT; s++) {
        for (int e = 0; e < SUPER_EVENT_COUNT; e++) {
            enum super_state next;
            unsigned actions = after((enum super_state)s, false, (enum super_event)e, &next);
            bool patient = next == SUPER_LEAVING || next == SUPER_TERMINATING ||
                           next == SUPER_KILLING || next == SUPER_STUCK;
            if (patient && (int)next != s)
                assert_true(actions & SUPER_DO_ARM);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failure_is_told_once_and_escalates),
        cmocka_unit_test(test_what_no_signal_ends_is_given_up),
        cmocka_unit_test(test_every_state_that_waits_for_an_end_ends),
        cmocka_unit_test(test_the_failure_of_the_last_is_told_as_well),
        cmocka_unit_test(test_done_waits_for_the_others),
        cmocka_unit_test(test_no_state_with_ranks_quits),
        cmocka_unit_test(test_every_end_leads_to_over),
        cmocka_unit_test(test_spawn_only_from_idle),
        cmocka_unit_test(test_escalating_states_rearm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "muster/launcher/drain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NO_STEP MST_PAGE_NO_STEP

static uint32_t answered[3];

static struct msg steps(const struct drain *drain, uint64_t highest, uint64_t lowest)
{
    return (struct msg){.type = MSG_STEPS,
                        .generation = drain->generation,
                        .round = drain->round,
                        .step = highest,
                        .lowest_step = lowest};
}

static bool answer(struct drain *drain, uint32_t node, uint64_t highest, uint64_t lowest,
                   struct msg *out)
{
    struct msg msg = steps(drain, highest, lowest);
    return drain_steps(drain, node, &msg, out);
}

static void test_agrees_one_past_the_highest(void **state)
{
    (void)state;
    struct drain drain;
    struct msg out;
    drain_init(&drain, 7, 2, answered);
    assert_true(drain_request(&drain, MST_GATE_STOP, &out));
    assert_int_equal(out.type, MSG_QUERY);
    assert_false(answer(&drain, 0, 41, 40, &out));
    assert_false(answer(&drain, 0, 90, 90, &out)); /* a second answer counts nothing */
    assert_true(answer(&drain, 1, 40, 40, &out));
    assert_int_equal(out.type, MSG_PROPOSE);
    assert_int_equal(out.step, 42);
    assert_false(answer(&drain, 0, 41, 41, &out));
    assert_true(answer(&drain, 1, 41, 41, &out));
    assert_int_equal(out.type, MSG_AGREED);
    assert_int_equal(out.step, 42);
    assert_int_equal(out.action, MST_GATE_STOP);
    assert_false(drain_request(&drain, MST_GATE_STOP, &out)); /* the last word is spoken */
}

static void test_a_step_that_may_have_passed_moves_the_proposal(void **state)
{
    (void)state;
    struct drain drain;
    struct msg out;
    uint64_t at = 10, room = 1;
    drain_init(&drain, 0, 1, answered);
    drain_request(&drain, MST_GATE_STOP, &out);
    assert_true(answer(&drain, 0, at, at, &out));
    for (int i = 0; i < 8; i++) {
        assert_int_equal(out.type, MSG_PROPOSE);
        assert_int_equal(out.step, at + room);
        at = out.step; /* equal is not safe: the rank may have looked before the gate was shut */
        room *= 2;
        assert_true(answer(&drain, 0, at, at, &out));
    }
}

static void test_ranks_without_steps_get_the_signal(void **state)
{
    (void)state;
    struct drain drain;
    struct msg out;
    drain_init(&drain, 0, 2, answered);
    drain_request(&drain, MST_GATE_STOP, &out);
    assert_false(answer(&drain, 0, NO_STEP, 0, &out));
    assert_true(answer(&drain, 1, NO_STEP, 0, &out));
    assert_int_equal(out.type, MSG_FORWARD);
    assert_int_equal(drain.state, DRAIN_STOPPING);
}

static void agree_checkpoint(struct drain *drain, struct msg *out)
{
    drain_init(drain, 0, 1, answered);
    assert_true(drain_request(drain, MST_GATE_CHECKPOINT, out));
    assert_true(answer(drain, 0, 5, 5, out));
    assert_true(answer(drain, 0, 5, 5, out));
    assert_int_equal(out->type, MSG_AGREED);
    assert_int_equal(out->action, MST_GATE_CHECKPOINT);
    assert_int_equal(out->step, 6);
}

static void test_a_stop_waits_until_the_checkpoint_is_taken(void **state)
{
    (void)state;
    struct drain drain;
    struct msg out;
    agree_checkpoint(&drain, &out);
    assert_true(drain_request(&drain, MST_GATE_STOP, &out));
    assert_int_equal(out.type, MSG_QUERY);
    assert_false(answer(&drain, 0, 6, 6, &out)); /* at the step: it may not have looked yet */
    assert_int_equal(drain.state, DRAIN_SETTLING);
    assert_true(drain_tick(&drain, &out));
    assert_int_equal(out.type, MSG_QUERY);
    assert_int_equal(out.action, MST_GATE_STOP);
    assert_true(answer(&drain, 0, 8, 7, &out));
    assert_int_equal(out.type, MSG_PROPOSE);
    assert_int_equal(out.step, 9);
}

static void test_a_stop_overtakes_a_checkpoint_under_way(void **state)
{
    (void)state;
    struct drain drain;
    struct msg out;
    drain_init(&drain, 0, 1, answered);
    drain_request(&drain, MST_GATE_CHECKPOINT, &out);
    assert_false(drain_request(&drain, MST_GATE_STOP, &out));
    answer(&drain, 0, 5, 5, &out);
    answer(&drain, 0, 5, 5, &out);
    assert_int_equal(out.type, MSG_AGREED);
    assert_true(drain_tick(&drain, &out));
    assert_int_equal(out.action, MST_GATE_STOP);
}

/* For those who come and go. The last word is of the kind that was asked for last. */
static void test_a_stop_for_another_world_becomes_the_job_s(void **state)
{
    (void)state;
    struct drain drain;
    struct msg out;
    drain_init(&drain, 0, 1, answered);
    assert_true(drain_request(&drain, MST_GATE_REGROUP, &out));
    assert_int_equal(out.action, MST_GATE_REGROUP);
    answer(&drain, 0, 5, 5, &out);
    assert_int_equal(out.action, MST_GATE_REGROUP);
    assert_false(drain_request(&drain, MST_GATE_STOP, &out));
    assert_false(drain_request(&drain, MST_GATE_REGROUP, &out));
    answer(&drain, 0, 5, 5, &out);
    assert_int_equal(out.type, MSG_AGREED);
    assert_int_equal(out.action, MST_GATE_STOP);
    assert_false(drain_request(&drain, MST_GATE_STOP, &out));
}

static void test_what_stops_behind_a_checkpoint(void **state)
{
    (void)state;
    const enum mst_gate_action wishes[][3] = {
        {MST_GATE_REGROUP, MST_GATE_CHECKPOINT, MST_GATE_REGROUP},
        {MST_GATE_REGROUP, MST_GATE_STOP, MST_GATE_STOP},
        {MST_GATE_STOP, MST_GATE_REGROUP, MST_GATE_STOP}};
    for (int i = 0; i < 3; i++) {
        struct drain drain;
        struct msg out;
        drain_init(&drain, 0, 1, answered);
        drain_request(&drain, MST_GATE_CHECKPOINT, &out);
        assert_false(drain_request(&drain, wishes[i][0], &out));
        assert_false(drain_request(&drain, wishes[i][1], &out));
        answer(&drain, 0, 5, 5, &out);
        answer(&drain, 0, 5, 5, &out);
        assert_int_equal(out.action, MST_GATE_CHECKPOINT);
        assert_true(drain_tick(&drain, &out));
        assert_int_equal(out.action, wishes[i][2]);
    }
}

static void test_a_stop_may_be_withdrawn_before_ranks_count(void **state)
{
    (void)state;
    struct drain drain;
    struct msg out;
    drain_init(&drain, 0, 1, answered);
    drain_request(&drain, MST_GATE_REGROUP, &out);
    assert_true(answer(&drain, 0, NO_STEP, 0, &out));
    assert_int_equal(out.type, MSG_FORWARD);
    drain_withdraw(&drain);
    assert_false(drain_tick(&drain, &out));
    assert_true(drain_request(&drain, MST_GATE_STOP, &out));
    assert_int_equal(out.type, MSG_QUERY);
}

static void test_old_answers_are_ignored(void **state)
{
    (void)state;
    struct drain drain;
    struct msg out;
    drain_init(&drain, 3, 1, answered);
    drain_request(&drain, MST_GATE_STOP, &out);
    struct msg old_round = steps(&drain, 1, 1), old_generation = steps(&drain, 1, 1);
    old_round.round--;
    old_generation.generation--;
    assert_false(drain_steps(&drain, 0, &old_round, &out));
    assert_false(drain_steps(&drain, 0, &old_generation, &out));
    assert_false(drain_tick(&drain, &out));
    assert_int_equal(drain.state, DRAIN_QUERYING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_one_past_the_highest),
        cmocka_unit_test(test_a_step_that_may_have_passed_moves_the_proposal),
        cmocka_unit_test(test_ranks_without_steps_get_the_signal),
        cmocka_unit_test(test_a_stop_waits_until_the_checkpoint_is_taken),
        cmocka_unit_test(test_a_stop_overtakes_a_checkpoint_under_way),
        cmocka_unit_test(test_a_stop_for_another_world_becomes_the_job_s),
        cmocka_unit_test(test_what_stops_behind_a_checkpoint),
        cmocka_unit_test(test_a_stop_may_be_withdrawn_before_ranks_count),
        cmocka_unit_test(test_old_answers_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "muster/launcher/exitcode.h"
#include "muster/launcher/rdzv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SLOTS 4
#define TIMEOUT 10000
#define CALL 1000
#define SENT_MAX 256

struct sent {
    uint32_t node;
    struct msg msg;
};

/* A world of 2 to 3 nodes and one spare. */
struct fixture {
    struct rdzv rdzv;
    struct rdzv_node nodes[SLOTS];
    uint32_t answered[SLOTS];
    struct sent sent[SENT_MAX];
    size_t count;
    uint64_t now;
};

static void on_send(void *arg, uint32_t node, const struct msg *msg)
{
    struct fixture *f = arg;
    assert_true(f->count < SENT_MAX);
    f->sent[f->count++] = (struct sent){node, *msg};
}

static void begin(struct fixture *f, uint32_t least, uint32_t most, uint32_t spares)
{
    const struct rdzv_config config = {.node_count = most,
                                       .least_count = least,
                                       .spare_count = spares,
                                       .last_call_ns = CALL,
                                       .max_restarts = 1,
                                       .timeout_ns = TIMEOUT,
                                       .job_id = "job",
                                       .job_nonce = 7,
                                       .version = "1",
                                       .send = on_send,
                                       .arg = f};
    *f = (struct fixture){.now = 1};
    rdzv_init(&f->rdzv, &config, f->nodes, f->answered, f->now);
}

static void tell(struct fixture *f, uint32_t node, struct msg msg)
{
    msg.generation = f->rdzv.generation;
    assert_int_equal(rdzv_message(&f->rdzv, node, &msg, f->now), 0);
}

static void join(struct fixture *f, uint32_t node)
{
    tell(f, node,
         (struct msg){.type = MSG_JOIN,
                      .version = "1",
                      .local_size = 2,
                      .node_count = f->rdzv.config.node_count,
                      .grace_ms = 1000});
}

static void wait_for(struct fixture *f, uint64_t ns)
{
    f->now += ns;
    rdzv_tick(&f->rdzv, f->now);
}

/* The last message of this type to the node, or NULL. */
static const struct msg *heard(const struct fixture *f, uint32_t node, enum msg_type type)
{
    for (size_t i = f->count; i-- > 0;) {
        const struct sent *sent = &f->sent[i];
        if (sent->msg.type == type && (sent->node == node || sent->node == RDZV_ALL))
            return &sent->msg;
    }
    return NULL;
}

static void forget(struct fixture *f)
{
    f->count = 0;
}

static void down(struct fixture *f, uint32_t node)
{
    tell(f, node,
         (struct msg){.type = MSG_DOWN, .rank = MST_PAGE_CAUSE_JOB, .step = MST_PAGE_NO_STEP});
}

static void leave(struct fixture *f, uint32_t node)
{
    tell(f, node, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
}

static void steps(struct fixture *f, uint32_t node, uint64_t step)
{
    const struct msg *asked = heard(f, node, MSG_PROPOSE);
    asked = asked ? asked : heard(f, node, MSG_QUERY);
    assert_non_null(asked);
    tell(f, node,
         (struct msg){.type = MSG_STEPS, .round = asked->round, .step = step, .lowest_step = step});
}

/* The nodes below `count` agree on a stop, by two rounds. */
static const struct msg *agree(struct fixture *f, uint32_t count, uint64_t step)
{
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < count; i++)
            steps(f, i, step);
    }
    return heard(f, 0, MSG_AGREED);
}

/* They have stopped, and their ranks are gone. */
static void stop_all(struct fixture *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        tell(f, i, (struct msg){.type = MSG_DONE, .code = EXITCODE_DRAINED});
    const struct msg *abort = heard(f, 0, MSG_ABORT);
    assert_non_null(abort);
    assert_int_equal(abort->code, EXITCODE_OK);
    assert_int_equal(abort->rank, MST_PAGE_CAUSE_JOB);
    for (uint32_t i = 0; i < count; i++)
        down(f, i);
}

static void begin_running(struct fixture *f, uint32_t count)
{
    begin(f, 2, 3, 1);
    for (uint32_t i = 0; i < count; i++)
        join(f, i);
    wait_for(f, CALL);
    assert_int_equal(f->rdzv.state, RDZV_RUNNING);
    assert_int_equal(f->rdzv.generation, 0);
    assert_int_equal(f->rdzv.size, count < 3 ? count : 3);
}

/* ---- a start --------------------------------------------------------------------------------- */

static void test_enough_wait_for_the_last_call(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 2, 3, 0);
    join(&f, 0);
    wait_for(&f, 2 * CALL);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    join(&f, 2);
    wait_for(&f, CALL - 1);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    wait_for(&f, 1);
    assert_int_equal(f.rdzv.state, RDZV_RUNNING);
    assert_int_equal(heard(&f, 0, MSG_START)->node_count, 2);
    assert_int_equal(heard(&f, 0, MSG_START)->world_size, 4);
    assert_int_equal(heard(&f, 0, MSG_SEAT)->rank, 0);
    assert_int_equal(heard(&f, 2, MSG_SEAT)->rank, 1); /* without a gap */
    assert_int_equal(heard(&f, 2, MSG_SEAT)->present, 2);
    assert_null(heard(&f, 1, MSG_START));
}

static void test_all_start_at_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 2, 3, 0);
    for (uint32_t i = 0; i < 3; i++)
        join(&f, i);
    assert_int_equal(heard(&f, 2, MSG_START)->node_count, 3);
    assert_int_equal(heard(&f, 2, MSG_SEAT)->rank, 2);
}

/* The call is over when too few are left, and begins anew. */
static void test_a_last_call_ends_with_those_who_heard_it(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 2, 3, 0);
    join(&f, 0);
    join(&f, 1);
    rdzv_lost(&f.rdzv, 1, f.now);
    wait_for(&f, CALL);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    join(&f, 1);
    wait_for(&f, CALL - 1);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    wait_for(&f, 1);
    assert_int_equal(f.rdzv.state, RDZV_RUNNING);
}

static void test_too_few_are_the_end_at_the_deadline(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 2, 3, 0);
    join(&f, 0);
    wait_for(&f, TIMEOUT);
    assert_int_equal(heard(&f, 0, MSG_END)->code, EXITCODE_RENDEZVOUS);
}

static void test_nothing_starts_without_node_0(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 2, 3, 0);
    join(&f, 1);
    join(&f, 2);
    wait_for(&f, 2 * CALL);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    join(&f, 0);
    assert_int_equal(f.rdzv.size, 3);
}

/* A fixed world hears nothing new. */
static void test_a_fixed_world_has_no_seats(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 2, 2, 0);
    assert_false(rdzv_is_elastic(&f.rdzv));
    join(&f, 0);
    join(&f, 1);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.sent[0].node, RDZV_ALL);
    assert_int_equal(f.sent[0].msg.type, MSG_START);
}

/* ---- coming ---------------------------------------------------------------------------------- */

static void test_a_late_node_comes_in_at_an_agreed_step(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 2);
    uint32_t used = f.rdzv.restart.used;
    forget(&f);
    join(&f, 2); /* the world is full with it: no call */
    assert_int_equal(heard(&f, 2, MSG_SEAT)->rank, MST_PAGE_CAUSE_JOB);
    assert_int_equal(heard(&f, 1, MSG_SEAT)->rank, 1);
    assert_int_equal(heard(&f, 1, MSG_SEAT)->present, 3);
    wait_for(&f, 0);
    assert_int_equal(heard(&f, 0, MSG_QUERY)->action, MST_GATE_REGROUP);
    assert_null(heard(&f, 2, MSG_QUERY));
    assert_int_equal(agree(&f, 2, 7)->step, 8);
    stop_all(&f, 2);
    assert_int_equal(f.rdzv.generation, 1);
    assert_int_equal(heard(&f, 2, MSG_START)->node_count, 3);
    assert_int_equal(heard(&f, 2, MSG_START)->world_size, 6);
    assert_int_equal(f.rdzv.restart.used, used);
}

static void test_one_of_several_late_nodes_waits_for_a_last_call(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1, 3, 0);
    join(&f, 0);
    wait_for(&f, CALL);
    forget(&f);
    join(&f, 1);
    wait_for(&f, CALL - 1);
    assert_null(heard(&f, 0, MSG_QUERY));
    wait_for(&f, 1);
    assert_non_null(heard(&f, 0, MSG_QUERY));
}

/* Whoever counts no step is not told to stop before he can have begun to. */
static void test_ranks_that_start_are_not_disturbed(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 2);
    forget(&f);
    join(&f, 2);
    wait_for(&f, 0);
    steps(&f, 0, MST_PAGE_NO_STEP);
    steps(&f, 1, MST_PAGE_NO_STEP);
    assert_null(heard(&f, 0, MSG_FORWARD));
    assert_false(f.rdzv.regrouping);
    forget(&f);
    wait_for(&f, CALL);
    steps(&f, 0, MST_PAGE_NO_STEP);
    steps(&f, 1, MST_PAGE_NO_STEP);
    assert_int_equal(heard(&f, 0, MSG_FORWARD)->action, MST_GATE_REGROUP);
}

static void test_nobody_is_let_in_when_the_work_is_done(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 2);
    forget(&f);
    tell(&f, 1, (struct msg){.type = MSG_DONE});
    join(&f, 2);
    wait_for(&f, 2 * CALL);
    assert_null(heard(&f, 0, MSG_QUERY));
    tell(&f, 0, (struct msg){.type = MSG_DONE});
    assert_int_equal(heard(&f, 2, MSG_END)->code, EXITCODE_OK);
}

/* The work is done without it: that is no failure to be tried again. */
static void test_who_comes_after_the_end_hears_it(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 2);
    tell(&f, 0, (struct msg){.type = MSG_DONE});
    tell(&f, 1, (struct msg){.type = MSG_DONE, .code = EXITCODE_SAVE_LOST});
    forget(&f);
    join(&f, 2);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.sent[0].node, 2);
    assert_int_equal(f.sent[0].msg.type, MSG_END);
    assert_int_equal(f.sent[0].msg.code, EXITCODE_SAVE_LOST);
}

/* ---- going ----------------------------------------------------------------------------------- */

static void test_a_node_leaves_alone(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    forget(&f);
    leave(&f, 1);
    assert_int_equal(agree(&f, 3, 7)->action, MST_GATE_REGROUP);
    stop_all(&f, 3);
    assert_int_equal(heard(&f, 1, MSG_END)->code, EXITCODE_DRAINED);
    assert_null(heard(&f, 0, MSG_END));
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    tell(&f, 1, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP}); /* passed over */
    rdzv_lost(&f.rdzv, 1, f.now);
    wait_for(&f, CALL / 10);
    assert_int_equal(f.rdzv.generation, 1);
    assert_int_equal(heard(&f, 0, MSG_START)->node_count, 2);
    assert_int_equal(heard(&f, 2, MSG_SEAT)->rank, 1);
    assert_int_equal(f.rdzv.restart.used, 0);
}

static void test_a_spare_takes_a_leaver_s_place_at_once(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 4);
    assert_int_equal(heard(&f, 3, MSG_SEAT)->rank, MST_PAGE_CAUSE_JOB);
    forget(&f);
    wait_for(&f, 2 * CALL);
    assert_null(heard(&f, 0, MSG_QUERY)); /* it waits: the world is full */
    leave(&f, 1);
    agree(&f, 3, 7);
    stop_all(&f, 3);
    assert_int_equal(f.rdzv.generation, 1);
    assert_int_equal(heard(&f, 3, MSG_SEAT)->rank, 2);
    assert_int_equal(heard(&f, 0, MSG_START)->node_count, 3);
}

static void test_all_leave_where_too_few_would_stay(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 2);
    forget(&f);
    leave(&f, 1);
    assert_int_equal(agree(&f, 2, 7)->action, MST_GATE_STOP);
    for (uint32_t i = 0; i < 2; i++)
        tell(&f, i, (struct msg){.type = MSG_DONE, .code = EXITCODE_DRAINED});
    assert_int_equal(heard(&f, 0, MSG_END)->code, EXITCODE_DRAINED);
    assert_int_equal(f.sent[f.count - 1].node, RDZV_ALL);
}

static void test_all_leave_with_node_0(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    forget(&f);
    leave(&f, 1);
    steps(&f, 0, 7);
    leave(&f, 0);
    steps(&f, 1, 7);
    steps(&f, 2, 7);
    assert_int_equal(heard(&f, 0, MSG_PROPOSE)->action, MST_GATE_STOP);
}

/* Nothing is told of how a member's grace ended, but that the others go on. */
static void test_a_grace_that_ends_is_the_leaver_s(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    leave(&f, 2);
    tell(&f, 2, (struct msg){.type = MSG_GRACE_OVER});
    for (uint32_t i = 0; i < 3; i++)
        down(&f, i);
    assert_int_equal(heard(&f, 2, MSG_END)->code, EXITCODE_DRAINED);
    wait_for(&f, CALL / 10);
    assert_int_equal(f.rdzv.size, 2);
    assert_int_equal(f.rdzv.restart.used, 0);
}

static void test_a_lost_node_is_replaced_or_done_without(void **state)
{
    (void)state;
    for (int returns = 0; returns < 2; returns++) {
        struct fixture f;
        begin_running(&f, 3);
        rdzv_lost(&f.rdzv, 1, f.now);
        assert_int_equal(heard(&f, 0, MSG_ABORT)->code, EXITCODE_RENDEZVOUS);
        down(&f, 0);
        down(&f, 2);
        assert_int_equal(f.rdzv.state, RDZV_GATHERING);
        if (returns)
            join(&f, 1);
        else
            wait_for(&f, CALL / 10);
        assert_int_equal(f.rdzv.state, RDZV_RUNNING);
        assert_int_equal(heard(&f, 2, MSG_SEAT)->rank, returns ? 2 : 1);
    }
}

/* A failure in a drain for others is one, but costs no restart; what is final ends the job. */
static void test_a_failure_as_nodes_come(void **state)
{
    (void)state;
    for (int is_final = 0; is_final < 2; is_final++) {
        struct fixture f;
        begin_running(&f, 2);
        join(&f, 2);
        wait_for(&f, 0);
        tell(
            &f, 1,
            (struct msg){.type = MSG_FAILED, .rank = 2, .code = is_final ? EXITCODE_NOT_FOUND : 9});
        down(&f, 0);
        down(&f, 1);
        assert_int_equal(f.rdzv.state, is_final ? RDZV_ENDED : RDZV_RUNNING);
        assert_int_equal(f.rdzv.restart.used, 0);
    }
}

/* ---- every pair ------------------------------------------------------------------------------ */

/* Node 2 of three that run, or of two and one at the door; of three that gather, the third of which
 * is awaited; of three whose ranks are being stopped. */
enum place { GATHERS, WAITS, RUNS, IS_DONE, STOPS, PLACE_COUNT };
enum event { JOINS, LEAVES, IS_LOST, FAILS, FINISHES, GOES_DOWN, SAVES, EVENT_COUNT };

static void put(struct fixture *f, enum place place)
{
    if (place == GATHERS) {
        begin(f, 2, 4, 0);
        join(f, 0);
        join(f, 2);
        return;
    }
    begin_running(f, place == WAITS ? 2 : 3);
    if (place == WAITS)
        join(f, 2);
    if (place == IS_DONE)
        tell(f, 2, (struct msg){.type = MSG_DONE});
    if (place == STOPS)
        tell(f, 1, (struct msg){.type = MSG_FAILED, .rank = 2, .code = 9});
}

static int happen(struct fixture *f, enum event event)
{
    static const struct msg said[EVENT_COUNT] = {
        [JOINS] = {.type = MSG_JOIN, .version = "1", .local_size = 1, .grace_ms = 1},
        [LEAVES] = {.type = MSG_DRAIN, .action = MST_GATE_STOP},
        [FAILS] = {.type = MSG_FAILED, .rank = 4, .code = 9},
        [FINISHES] = {.type = MSG_DONE},
        [GOES_DOWN] = {.type = MSG_DOWN, .step = MST_PAGE_NO_STEP, .rank = MST_PAGE_CAUSE_JOB},
        [SAVES] = {.type = MSG_DRAIN, .action = MST_GATE_CHECKPOINT},
    };
    struct msg msg = said[event];
    msg.generation = f->rdzv.generation;
    msg.node_count = f->rdzv.config.node_count;
    forget(f);
    if (event != IS_LOST)
        return rdzv_message(&f->rdzv, 2, &msg, f->now);
    rdzv_lost(&f->rdzv, 2, f->now);
    return 0;
}

/* What comes of it: node 2's phase and the job's state; "!" where no agent says this. */
static const char *describe(const struct fixture *f, int rc, char text[64])
{
    static const char *const phases[] = {"absent", "refused", "left", "ready", "live", "done"};
    static const char *const states[] = {"gathering", "running", "stopping", "ended"};
    const char *drain = f->rdzv.drain.state == DRAIN_IDLE          ? ""
                        : f->rdzv.drain.action == MST_GATE_REGROUP ? " regroup"
                                                                   : " save";
    (void)snprintf(text, 64, "%s%s %s%s", rc ? "!" : "", phases[f->nodes[2].phase],
                   states[f->rdzv.state], drain);
    return text;
}

static void test_every_pair_is_decided(void **state)
{
    (void)state;
    static const char *const table[PLACE_COUNT][EVENT_COUNT] = {
        [GATHERS] = {[JOINS] = "!ready gathering",
                     [LEAVES] = "left gathering",
                     [IS_LOST] = "absent gathering",
                     [FAILS] = "ready gathering",
                     [FINISHES] = "ready gathering",
                     [GOES_DOWN] = "ready gathering",
                     [SAVES] = "ready gathering"},
        [WAITS] = {[JOINS] = "!ready running",
                   [LEAVES] = "left running",
                   [IS_LOST] = "absent running",
                   [FAILS] = "!ready running",
                   [FINISHES] = "!ready running",
                   [GOES_DOWN] = "!ready running",
                   [SAVES] = "ready running save"},
        [RUNS] = {[JOINS] = "!live running",
                  [LEAVES] = "live running regroup",
                  [IS_LOST] = "absent stopping",
                  [FAILS] = "live stopping",
                  [FINISHES] = "done running",
                  [GOES_DOWN] = "!live running",
                  [SAVES] = "live running save"},
        [IS_DONE] = {[JOINS] = "!done running",
                     [LEAVES] = "done running",
                     [IS_LOST] = "done running",
                     [FAILS] = "done stopping",
                     [FINISHES] = "done running",
                     [GOES_DOWN] = "!done running",
                     [SAVES] = "done running save"},
        [STOPS] = {[JOINS] = "!live stopping",
                   [LEAVES] = "live stopping",
                   [IS_LOST] = "absent stopping",
                   [FAILS] = "live stopping",
                   [FINISHES] = "done stopping",
                   [GOES_DOWN] = "ready stopping",
                   [SAVES] = "live stopping"},
    };
    for (int place = 0; place < PLACE_COUNT; place++) {
        for (int event = 0; event < EVENT_COUNT; event++) {
            struct fixture f;
            char text[64];
            put(&f, (enum place)place);
            int rc = happen(&f, (enum event)event);
            if (strcmp(describe(&f, rc, text), table[place][event]) != 0)
                print_error("place %d, event %d\n", place, event);
            assert_string_equal(text, table[place][event]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enough_wait_for_the_last_call),
        cmocka_unit_test(test_all_start_at_once),
        cmocka_unit_test(test_a_last_call_ends_with_those_who_heard_it),
        cmocka_unit_test(test_too_few_are_the_end_at_the_deadline),
        cmocka_unit_test(test_nothing_starts_without_node_0),
        cmocka_unit_test(test_a_fixed_world_has_no_seats),
        cmocka_unit_test(test_a_late_node_comes_in_at_an_agreed_step),
        cmocka_unit_test(test_one_of_several_late_nodes_waits_for_a_last_call),
        cmocka_unit_test(test_ranks_that_start_are_not_disturbed),
        cmocka_unit_test(test_nobody_is_let_in_when_the_work_is_done),
        cmocka_unit_test(test_who_comes_after_the_end_hears_it),
        cmocka_unit_test(test_a_node_leaves_alone),
        cmocka_unit_test(test_a_spare_takes_a_leaver_s_place_at_once),
        cmocka_unit_test(test_all_leave_where_too_few_would_stay),
        cmocka_unit_test(test_all_leave_with_node_0),
        cmocka_unit_test(test_a_grace_that_ends_is_the_leaver_s),
        cmocka_unit_test(test_a_lost_node_is_replaced_or_done_without),
        cmocka_unit_test(test_a_failure_as_nodes_come),
        cmocka_unit_test(test_every_pair_is_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

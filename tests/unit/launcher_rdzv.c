#include "muster/launcher/rdzv.h"

#include "muster/launcher/exitcode.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NODES 2

struct fixture {
    struct rdzv rdzv;
    struct rdzv_node nodes[NODES];
    uint32_t answered[NODES];
    struct msg last;
    uint32_t last_node, sent;
};

static void on_send(void *arg, uint32_t node, const struct msg *msg)
{
    struct fixture *f = arg;
    f->last = *msg;
    f->last_node = node;
    f->sent++;
}

static void begin(struct fixture *f, uint32_t max_restarts)
{
    const struct rdzv_config config = {.node_count = NODES,
                                       .max_restarts = max_restarts,
                                       .timeout_ns = 100,
                                       .job_id = "job",
                                       .job_nonce = 7,
                                       .version = "1.2.3",
                                       .send = on_send,
                                       .arg = f};
    *f = (struct fixture){.sent = 0};
    rdzv_init(&f->rdzv, &config, f->nodes, f->answered, 1000);
}

static int tell(struct fixture *f, uint32_t node, struct msg msg)
{
    return rdzv_message(&f->rdzv, node, &msg, 1000);
}

static struct msg joining(uint32_t node)
{
    return (struct msg){.type = MSG_JOIN,
                        .version = "1.2.3",
                        .host = "worker",
                        .local_size = node + 1,
                        .node_count = NODES,
                        .grace_ms = 30000 - node};
}

static void join(struct fixture *f, uint32_t node)
{
    assert_int_equal(tell(f, node, joining(node)), 0);
}

static void down(struct fixture *f, uint32_t node, uint64_t step)
{
    struct msg msg = {.type = MSG_DOWN, .generation = f->rdzv.generation, .step = step};
    assert_int_equal(tell(f, node, msg), 0);
}

/* Rank 2 fails with `code`, both nodes come down having reached `step`. */
static void crash(struct fixture *f, uint32_t code, uint64_t step)
{
    struct msg msg = {
        .type = MSG_FAILED, .generation = f->rdzv.generation, .rank = 2, .code = code};
    assert_int_equal(tell(f, 1, msg), 0);
    assert_int_equal(f->last.type, MSG_ABORT);
    assert_int_equal(f->last.rank, 2);
    down(f, 0, step);
    down(f, 1, step);
}

static void begin_running(struct fixture *f, uint32_t max_restarts)
{
    begin(f, max_restarts);
    join(f, 0);
    assert_int_equal(f->sent, 0);
    join(f, 1);
    assert_int_equal(f->last.type, MSG_START);
    assert_int_equal(f->last_node, RDZV_ALL);
}

static void test_starts_when_all_are_there(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 0);
    assert_int_equal(f.last.generation, 0);
    assert_int_equal(f.last.world_size, 3);
    for (uint32_t node = 0; node < 2; node++) {
        rdzv_address(&f.rdzv, node, &f.last);
        assert_int_equal(f.last.rank, node);
        assert_int_equal(f.last.local_size, 1 + node);
    }
    assert_string_equal(f.last.job_id, "job");
    assert_int_equal(f.last.job_nonce, 7);
    assert_int_equal(f.last.max_restarts, 0);
    begin_running(&f, 5);
    assert_int_equal(f.last.max_restarts, 5);
}

static void test_budget_counts_restarts_without_progress(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 1);
    for (uint64_t step = 10; step < 15; step++) { /* each got further: restarts are free */
        crash(&f, 9, step);
        assert_int_equal(f.last.type, MSG_START);
    }
    crash(&f, 9, 14);
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, 9);
    assert_int_equal(f.last.rank, 2);
}

/* All nodes hear of it, and at the end only if the job ends for it. */
static void test_what_is_known_of_a_death_is_told(void **state)
{
    (void)state;
    for (uint32_t drains = 0; drains < 2; drains++) {
        struct fixture f;
        begin_running(&f, 0);
        if (drains)
            tell(&f, 0, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
        tell(&f, 1, (struct msg){.type = MSG_FAILED, .rank = 2, .code = 137, .text = "no memory"});
        assert_int_equal(f.last.type, MSG_ABORT);
        assert_string_equal(f.last.text, "no memory");
        down(&f, 0, 1);
        down(&f, 1, 1);
        assert_int_equal(f.last.type, MSG_END);
        assert_int_equal(f.last.code, drains ? 143 : 137);
        assert_string_equal(f.last.text, drains ? "" : "no memory");
    }
}

/* A first failure may be somebody's fault, and a second at the same step is the program's. */
static void test_how_a_job_ends_is_told(void **state)
{
    (void)state;
    static const struct {
        uint32_t restarts, code, end, told;
    } cases[] = {
        {0, 137, 0, EXITCODE_END_RETRYABLE},
        {1, 137, 0, EXITCODE_END_FOR_GOOD},
        {0, 9, 0, EXITCODE_END_FOR_GOOD},
        {1, 127, 0, EXITCODE_END_REFUSED},
        {0, 137, EXITCODE_END_NO_MEMORY, EXITCODE_END_NO_MEMORY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        begin_running(&f, cases[i].restarts);
        while (f.last.type != MSG_END) {
            tell(&f, 1,
                 (struct msg){.type = MSG_FAILED,
                              .generation = f.rdzv.generation,
                              .rank = 2,
                              .code = cases[i].code,
                              .end = cases[i].end});
            down(&f, 0, 7);
            down(&f, 1, 7);
        }
        assert_int_equal(f.last.code, cases[i].code);
        assert_int_equal(f.last.end, cases[i].told);
    }
}

/* It is drained, and says that it was not a preemption. */
static void test_a_job_has_its_own_time(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 3);
    f.rdzv.config.end_ns = 1000;
    rdzv_tick(&f.rdzv, 999);
    assert_int_equal(f.sent, 0);
    rdzv_tick(&f.rdzv, 1000); /* nobody has come */
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_DEADLINE);
    assert_int_equal(f.last.end, EXITCODE_END_DEADLINE);
    begin_running(&f, 3);
    f.rdzv.config.end_ns = 1000;
    rdzv_tick(&f.rdzv, 1000);
    assert_int_equal(f.last.type, MSG_QUERY);
    assert_int_equal(f.last.action, MST_GATE_STOP);
    assert_int_equal(f.last.end, EXITCODE_END_DEADLINE); /* for who hears no END */
    uint32_t sent = f.sent;
    rdzv_tick(&f.rdzv, 1001);
    assert_int_equal(f.sent, sent);
    for (uint32_t node = 0; node < 2; node++)
        tell(&f, node, (struct msg){.type = MSG_DONE, .code = EXITCODE_DRAINED});
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_DEADLINE);
}

/* What a generation reached is what its best node did, whichever comes down last. */
static void test_a_step_of_one_node_is_progress(void **state)
{
    (void)state;
    const uint64_t firsts[] = {12, 14}, lasts[] = {3, 15};
    const struct msg failed = {.type = MSG_FAILED, .rank = 2, .code = 9};
    struct fixture f;
    begin_running(&f, 1);
    crash(&f, 9, 8);
    for (size_t i = 0; i < 2; i++) {
        struct msg msg = failed;
        msg.generation = f.rdzv.generation;
        assert_int_equal(f.last.type, MSG_START);
        assert_int_equal(tell(&f, 1, msg), 0);
        down(&f, 0, firsts[i]);
        down(&f, 1, lasts[i]);
    }
    assert_int_equal(f.last.type, MSG_START);
    crash(&f, 9, 15);
    assert_int_equal(f.last.type, MSG_END);
}

/* A pause is time to gather in: nothing starts before its end, from which the deadline counts. */
static void test_a_restart_waits_for_its_pause(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 5);
    crash(&f, 9, MST_PAGE_NO_STEP);
    assert_int_equal(f.last.type, MSG_START);
    crash(&f, 9, MST_PAGE_NO_STEP);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    assert_int_equal(f.rdzv.decision.why, RESTART_PAUSED);
    uint64_t end_ns = 1000 + f.rdzv.decision.pause_ns;
    rdzv_tick(&f.rdzv, end_ns - 1);
    assert_int_equal(f.last.type, MSG_ABORT);
    rdzv_lost(&f.rdzv, 1, end_ns - 1);
    rdzv_tick(&f.rdzv, end_ns + 99);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    join(&f, 1);
    assert_int_equal(f.last.type, MSG_START);
    assert_int_equal(f.last.generation, 2);
}

static void test_a_drain_ends_a_pause(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 5);
    crash(&f, 9, MST_PAGE_NO_STEP);
    crash(&f, 9, MST_PAGE_NO_STEP);
    tell(&f, 0, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_DRAINED);
}

/* Any rank's library may have met it, not only the first to die. */
static void test_what_a_library_found_past_cure_ends_the_job(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 5);
    tell(&f, 1, (struct msg){.type = MSG_FAILED, .rank = 2, .code = 1});
    down(&f, 1, MST_PAGE_NO_STEP);
    tell(&f, 0, (struct msg){.type = MSG_DOWN, .step = 7, .rank = 0, .verdict = ENOTSUP});
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, 1);
    assert_int_equal(f.rdzv.decision.why, RESTART_FINAL);
    assert_int_equal(f.rdzv.verdict_rank, 0);
}

static void test_a_missing_program_is_not_restarted(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 5);
    crash(&f, EXITCODE_NOT_FOUND, MST_PAGE_NO_STEP);
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_NOT_FOUND);
}

/* 143 and 138 are what a job says of itself, and nobody asked for a drain. */
static void test_a_ranks_143_is_no_preemption(void **state)
{
    (void)state;
    const uint32_t codes[] = {EXITCODE_DRAINED, EXITCODE_RENDEZVOUS};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        begin_running(&f, 1);
        crash(&f, codes[i], MST_PAGE_NO_STEP);
        assert_int_equal(f.last.type, MSG_START); /* a failure like any other */
        crash(&f, codes[i], MST_PAGE_NO_STEP);
        assert_int_equal(f.last.type, MSG_END);
        assert_int_equal(f.last.code, 1);
    }
}

static void test_a_lost_last_save_is_told_by_the_code(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 0);
    assert_int_equal(tell(&f, 0, (struct msg){.type = MSG_DONE, .code = EXITCODE_SAVE_LOST}), 0);
    assert_int_equal(tell(&f, 1, (struct msg){.type = MSG_DONE}), 0);
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_SAVE_LOST);
}

static void test_a_lost_node_is_waited_for(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    rdzv_lost(&f.rdzv, 1, 1000);
    assert_int_equal(f.last.type, MSG_ABORT);
    assert_int_equal(f.last.rank, MST_PAGE_CAUSE_JOB);
    down(&f, 0, 5);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    rdzv_tick(&f.rdzv, 1099);
    assert_int_equal(f.rdzv.state, RDZV_GATHERING);
    join(&f, 1);
    assert_int_equal(f.last.type, MSG_START);
    assert_int_equal(f.last.generation, 1);
}

static void test_gathering_has_a_deadline(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 3);
    join(&f, 0);
    rdzv_tick(&f.rdzv, 1100);
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_RENDEZVOUS);
}

static void test_a_node_that_cannot_stop_does_not_hold_the_job(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    tell(&f, 1, (struct msg){.type = MSG_FAILED, .rank = 2, .code = 137});
    down(&f, 0, 5);
    rdzv_tick(&f.rdzv, 1099);
    assert_int_equal(f.rdzv.state, RDZV_STOPPING);
    rdzv_tick(&f.rdzv, 1100);
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_RENDEZVOUS);
}

static void test_a_node_lost_after_its_end_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    tell(&f, 1, (struct msg){.type = MSG_DONE});
    rdzv_lost(&f.rdzv, 1, 1000);
    assert_int_equal(f.rdzv.state, RDZV_RUNNING);
    tell(&f, 0, (struct msg){.type = MSG_DONE});
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_OK);
}

static void test_a_failure_during_a_drain_ends_as_drained(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    tell(&f, 0, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
    assert_int_equal(f.last.type, MSG_QUERY);
    crash(&f, 1, 4);
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_DRAINED);
}

static void test_a_drain_before_the_start_ends_at_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 3);
    join(&f, 0);
    tell(&f, 0, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_DRAINED);
}

static void test_a_gone_node_does_not_hold_up_a_drain(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    tell(&f, 1, (struct msg){.type = MSG_DONE});
    rdzv_lost(&f.rdzv, 1, 1000);
    tell(&f, 0, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
    tell(&f, 0,
         (struct msg){.type = MSG_STEPS, .round = f.last.round, .step = 3, .lowest_step = 3});
    assert_int_equal(f.last.type, MSG_PROPOSE);
    tell(&f, 0,
         (struct msg){.type = MSG_STEPS, .round = f.last.round, .step = 3, .lowest_step = 3});
    assert_int_equal(f.last.type, MSG_AGREED);
    assert_int_equal(f.last.step, 4);
}

static void test_nonsense_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 3);
    assert_int_equal(tell(&f, 0, (struct msg){.type = MSG_DONE}), -EPROTO);
    join(&f, 0);
    assert_int_equal(tell(&f, 0, joining(0)), -EPROTO);
    assert_int_equal(tell(&f, 0, (struct msg){.type = MSG_START}), -EPROTO);
    assert_int_equal(tell(&f, 0, (struct msg){.type = MSG_FAILED, .generation = 9}), -EPROTO);
}

/* What differs is told to the node, with both sides of it; the job goes on gathering. */
static void test_a_node_of_another_mind_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    for (int i = 0; i < 2; i++) {
        struct msg other = joining(1);
        begin(&f, 3);
        join(&f, 0);
        if (i == 0)
            other.node_count = NODES + 1;
        else
            memcpy(other.version, "1.2.4", 6);
        assert_int_equal(tell(&f, 1, other), 0);
        assert_int_equal(f.last.type, MSG_REFUSED);
        assert_int_equal(f.last_node, 1);
        assert_int_equal(f.last.code, EXITCODE_CONFIG);
        assert_non_null(strstr(f.last.text, i == 0 ? "3 nodes" : "1.2.4"));
        assert_non_null(strstr(f.last.text, i == 0 ? "counts 2" : "1.2.3"));
        assert_int_equal(tell(&f, 1, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP}), 0);
        assert_int_equal(f.rdzv.state, RDZV_GATHERING);
        rdzv_lost(&f.rdzv, 1, 1000);
        join(&f, 1);
        assert_int_equal(f.last.type, MSG_START);
    }
}

/* -n on a node and on node 0, and the ranks of the node; node 0 starts one. What is refused names
 * both. */
static void test_ranks_of_the_job_are_counted_alike(void **state)
{
    (void)state;
    static const struct {
        uint32_t theirs, ours, local_size;
        const char *says[2];
    } cases[] = {
        {0, 0, 2, {NULL}},
        {2, 2, 1, {NULL}},
        {2, 0, 1, {NULL}},
        {0, 2, 1, {NULL}},
        {4, 2, 2, {"-n 4", "-n 2"}},
        {4, 0, 2, {"starts 2", "starts 1"}},
        {0, 2, 3, {"starts 3", "starts 1"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        struct msg own = joining(0), other = joining(1);
        begin(&f, 3);
        f.rdzv.config.local_size = own.local_size = 1;
        f.rdzv.config.world_size = own.world_size = cases[i].ours;
        other.local_size = cases[i].local_size;
        other.world_size = cases[i].theirs;
        assert_int_equal(tell(&f, 0, own), 0);
        assert_int_equal(tell(&f, 1, other), 0);
        assert_int_equal(f.last.type, cases[i].says[0] ? MSG_REFUSED : MSG_START);
        for (int word = 0; word < 2 && cases[i].says[word]; word++)
            assert_non_null(strstr(f.last.text, cases[i].says[word]));
    }
}

static void test_the_grace_is_what_all_can_keep(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    assert_int_equal(f.last.grace_ms, 29999);
}

/* A node whose time is up kills its ranks: that ends the generation, and breaks no protocol. */
static void test_the_end_of_a_grace_is_a_message(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    tell(&f, 1, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
    assert_int_equal(tell(&f, 1, (struct msg){.type = MSG_GRACE_OVER}), 0);
    assert_int_equal(f.last.type, MSG_ABORT);
    assert_int_equal(tell(&f, 0, (struct msg){.type = MSG_GRACE_OVER}), 0); /* they cross */
    down(&f, 1, 5);
    down(&f, 0, 5);
    assert_int_equal(f.last.type, MSG_END);
    assert_int_equal(f.last.code, EXITCODE_DRAINED);
}

/* Its predecessor had finished: the new agent waits for the end of the generation with the others,
 * and is one of the next. */
static void test_a_node_may_return_after_its_end(void **state)
{
    (void)state;
    struct fixture f;
    begin_running(&f, 3);
    tell(&f, 1, (struct msg){.type = MSG_DONE});
    rdzv_lost(&f.rdzv, 1, 1000);
    join(&f, 1);
    assert_int_equal(f.rdzv.state, RDZV_RUNNING);
    tell(&f, 0, (struct msg){.type = MSG_FAILED, .rank = 0, .code = 9});
    down(&f, 0, 5);
    assert_int_equal(f.last.type, MSG_START);
    rdzv_address(&f.rdzv, 1, &f.last);
    assert_int_equal(f.last.local_size, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_when_all_are_there),
        cmocka_unit_test(test_budget_counts_restarts_without_progress),
        cmocka_unit_test(test_what_is_known_of_a_death_is_told),
        cmocka_unit_test(test_how_a_job_ends_is_told),
        cmocka_unit_test(test_a_job_has_its_own_time),
        cmocka_unit_test(test_a_step_of_one_node_is_progress),
        cmocka_unit_test(test_a_restart_waits_for_its_pause),
        cmocka_unit_test(test_a_drain_ends_a_pause),
        cmocka_unit_test(test_what_a_library_found_past_cure_ends_the_job),
        cmocka_unit_test(test_a_missing_program_is_not_restarted),
        cmocka_unit_test(test_a_ranks_143_is_no_preemption),
        cmocka_unit_test(test_a_lost_last_save_is_told_by_the_code),
        cmocka_unit_test(test_a_lost_node_is_waited_for),
        cmocka_unit_test(test_gathering_has_a_deadline),
        cmocka_unit_test(test_a_node_that_cannot_stop_does_not_hold_the_job),
        cmocka_unit_test(test_a_node_lost_after_its_end_changes_nothing),
        cmocka_unit_test(test_a_failure_during_a_drain_ends_as_drained),
        cmocka_unit_test(test_a_drain_before_the_start_ends_at_once),
        cmocka_unit_test(test_a_gone_node_does_not_hold_up_a_drain),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_a_node_of_another_mind_is_refused),
        cmocka_unit_test(test_ranks_of_the_job_are_counted_alike),
        cmocka_unit_test(test_the_grace_is_what_all_can_keep),
        cmocka_unit_test(test_the_end_of_a_grace_is_a_message),
        cmocka_unit_test(test_a_node_may_return_after_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

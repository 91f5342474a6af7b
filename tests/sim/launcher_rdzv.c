/* A whole job in one process: the coordinator, N simulated nodes with their ranks, links that delay
 * messages, and a fate that kills ranks and nodes and asks for drains. Time is a counter. The seed
 * is printed and is the first argument: sim_launcher_rdzv 123 runs that one only.
 *
 * Each rank is what mst_job_step makes of it: it tells each step or each third, waits at a proposed
 * one or past it, and acts so at an agreed one.
 * Ranks of one generation keep within one step of each other, as collectives would keep them, or
 * run free. */
#include "muster/core/rng.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/rdzv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES_MAX 5
#define LOCAL_MAX 3
#define MESSAGES_MAX 4096
#define TICK_NS UINT64_C(1000000)
#define TICKS_MAX 200000
#define LONG_LIFE 600000
#define EARLY 60000
#define LONGER_BY 250
#define NO_STEP MST_PAGE_NO_STEP

enum life { DEAD, ALIVE, FINISHED, STOPPED };

struct sim_rank {
    enum life life;
    uint64_t step;
    bool waiting;   /* at the gate */
    uint64_t saved; /* the agreed step of its last checkpoint */
};

struct sim_node {
    bool up; /* its agent lives */
    bool joined;
    bool told_end;
    uint32_t end_code;
    uint32_t generation;
    bool live;          /* its ranks belong to `generation` and are not torn down */
    uint64_t down_at;   /* tick at which teardown ends, 0: none under way */
    uint64_t return_at; /* tick at which a replacement joins */
    struct mst_gate gate;
    uint32_t local_size;
    struct sim_rank ranks[LOCAL_MAX];
    struct msg start;
};

struct sim_message {
    uint64_t at;
    uint64_t order;
    uint32_t node;
    bool to_coordinator;
    uint32_t incarnation;
    struct msg msg;
};

struct sim {
    struct mst_rng rng;
    uint64_t tick, order;
    struct rdzv rdzv;
    struct rdzv_node nodes_memory[NODES_MAX];
    uint32_t answered[NODES_MAX];
    uint32_t node_count;
    uint64_t goal; /* the step at which the work is done */
    bool counts_steps, in_lockstep;
    uint64_t from, stride; /* the steps that ranks of this generation tell */
    struct sim_node nodes[NODES_MAX];
    uint32_t incarnation[NODES_MAX];
    uint64_t last_at[NODES_MAX][2]; /* links keep order */
    struct sim_message *messages;
    size_t message_count;
    uint32_t starts, restarts_used;
    bool progress; /* the coordinator has heard of a higher step in this generation */
    uint64_t best_step;
    uint64_t started_at, failed_at, longest_life; /* ticks */
    uint64_t last_life;
    struct msg cause, last_cause; /* ABORTs */
    uint64_t agreed_stop;         /* of the generation */
    bool stop_asked;
};

static uint32_t chance(struct sim *sim, uint32_t bound)
{
    return mst_rng_below(&sim->rng, bound);
}

static void post(struct sim *sim, uint32_t node, bool to_coordinator, const struct msg *msg)
{
    uint64_t at = sim->tick + 1 + chance(sim, 20);
    uint64_t *last = &sim->last_at[node][to_coordinator];
    if (at < *last)
        at = *last;
    *last = at;
    assert_true(sim->message_count < MESSAGES_MAX);
    sim->messages[sim->message_count++] = (struct sim_message){
        at, sim->order++, node, to_coordinator, sim->incarnation[node], *msg};
}

static bool is_the_same_fault(const struct sim *sim)
{
    return sim->cause.rank != MST_PAGE_CAUSE_JOB && sim->cause.rank == sim->last_cause.rank &&
           sim->cause.code == sim->last_cause.code && sim->failed_at - sim->started_at < EARLY &&
           sim->last_life < EARLY;
}

/* Whether the generation that failed was progress. */
static bool got_further(const struct sim *sim)
{
    uint64_t life = sim->failed_at - sim->started_at;
    if (sim->best_step > 0)
        return sim->progress;
    return life >= LONG_LIFE || (sim->longest_life > 0 && life > sim->longest_life + LONGER_BY &&
                                 !is_the_same_fault(sim));
}

/* A restart that is not the first without progress has waited. */
static void check_restart(struct sim *sim)
{
    sim->restarts_used = got_further(sim) ? 1 : sim->restarts_used + 1;
    assert_true(sim->restarts_used <= sim->rdzv.config.max_restarts);
    if (sim->restarts_used > 1)
        assert_true(sim->tick - sim->failed_at >= UINT64_C(750) << (sim->restarts_used - 2));
    sim->last_life = sim->failed_at - sim->started_at;
    sim->last_cause = sim->cause;
    if (sim->last_life > sim->longest_life)
        sim->longest_life = sim->last_life;
}

/* The invariants of a START: generations rise, and none starts while an older one lives. */
static void check_start(struct sim *sim, const struct msg *msg)
{
    assert_int_equal(msg->generation, sim->starts);
    sim->starts++;
    sim->agreed_stop = NO_STEP;
    uint32_t world_size = 0;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        assert_true(sim->nodes[i].joined);
        assert_false(sim->nodes[i].live);
        struct msg own = *msg;
        rdzv_address(&sim->rdzv, i, &own);
        assert_int_equal(own.rank, world_size);
        assert_int_equal(own.local_size, sim->nodes[i].local_size);
        world_size += own.local_size;
    }
    assert_int_equal(msg->world_size, world_size);
    if (msg->generation > 0)
        check_restart(sim);
    sim->progress = false;
    sim->started_at = sim->tick;
}

/* What is counted is what there is. */
static void check_counts(const struct rdzv *rdzv)
{
    uint32_t counts[RDZV_PHASE_COUNT] = {0};
    for (uint32_t i = 0; i < rdzv->config.node_count; i++)
        counts[rdzv->nodes[i].phase]++;
    assert_memory_equal(counts, rdzv->counts, sizeof counts);
}

/* The job may end for a failure only when the budget is spent, and never over living ranks. */
static void check_end_message(const struct sim *sim, const struct msg *msg)
{
    if (msg->code == EXITCODE_RENDEZVOUS)
        return;
    for (uint32_t i = 0; i < sim->node_count; i++)
        assert_false(sim->nodes[i].live);
    if (msg->code == 137)
        assert_true((got_further(sim) ? 0 : sim->restarts_used) >= sim->rdzv.config.max_restarts);
}

static void on_send(void *arg, uint32_t node, const struct msg *msg)
{
    struct sim *sim = arg;
    if (msg->type == MSG_START)
        check_start(sim, msg);
    if (msg->type == MSG_ABORT) {
        sim->failed_at = sim->tick;
        sim->cause = *msg;
    }
    if (msg->type == MSG_END)
        check_end_message(sim, msg);
    if (msg->type == MSG_AGREED && msg->action == MST_GATE_STOP)
        sim->agreed_stop = msg->step;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if ((node == RDZV_ALL || node == i) && sim->nodes[i].up)
            post(sim, i, false, msg);
    }
}

static void say(struct sim *sim, uint32_t i, struct msg msg)
{
    msg.generation = sim->nodes[i].generation;
    post(sim, i, true, &msg);
}

static void join(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    *node = (struct sim_node){.up = true, .joined = true, .local_size = 1 + chance(sim, LOCAL_MAX)};
    sim->incarnation[i]++;
    post(sim, i, true,
         &(struct msg){.type = MSG_JOIN,
                       .version = "sim",
                       .local_size = node->local_size,
                       .node_count = sim->node_count,
                       .grace_ms = 1});
}

static void lose(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    *node = (struct sim_node){.return_at = sim->tick + 50 + chance(sim, 300)};
    sim->incarnation[i]++; /* what was on its way is lost */
    rdzv_lost(&sim->rdzv, i, sim->tick * TICK_NS);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void steps_of(const struct sim_node *node, uint64_t *highest, uint64_t *lowest)
{
    *highest = *lowest = NO_STEP;
    for (uint32_t i = 0; i < node->local_size; i++) {
        uint64_t step = node->ranks[i].step;
        if (step != NO_STEP && (*highest == NO_STEP || step > *highest))
            *highest = step;
        bool owes = node->gate.state == MST_GATE_AGREED &&
                    node->gate.action == MST_GATE_CHECKPOINT &&
                    node->ranks[i].saved != node->gate.step;
        uint64_t at = step == NO_STEP ? 0 : owes ? least(step, node->gate.step) : step;
        if (node->ranks[i].life == ALIVE && at < *lowest)
            *lowest = at;
    }
}

static void answer(struct sim *sim, uint32_t i, uint32_t round)
{
    struct msg msg = {.type = MSG_STEPS, .round = round};
    steps_of(&sim->nodes[i], &msg.step, &msg.lowest_step);
    say(sim, i, msg);
}

static void tear_down(struct sim *sim, struct sim_node *node)
{
    if (node->live && node->down_at == 0)
        node->down_at = sim->tick + 1 + chance(sim, 40);
    else if (!node->live)
        node->down_at = sim->tick; /* nothing to stop: answer at once */
}

static void spawn(struct sim *sim, struct sim_node *node, const struct msg *msg)
{
    node->generation = msg->generation;
    node->start = *msg;
    node->live = true;
    node->down_at = 0;
    node->gate = (struct mst_gate){MST_GATE_OPEN, MST_GATE_STOP, 0};
    sim->from = sim->best_step == 0 ? 0 : sim->best_step - 1;
    for (uint32_t i = 0; i < node->local_size; i++)
        node->ranks[i] = (struct sim_rank){.life = ALIVE,
                                           .step = sim->counts_steps ? sim->from : NO_STEP};
}

static void finish_rank(struct sim *sim, uint32_t i, struct sim_rank *rank, enum life life)
{
    struct sim_node *node = &sim->nodes[i];
    bool stopped = false;
    rank->life = life;
    for (uint32_t k = 0; k < node->local_size; k++) {
        if (node->ranks[k].life == ALIVE)
            return;
        stopped = stopped || node->ranks[k].life == STOPPED;
    }
    node->live = false;
    say(sim, i, (struct msg){.type = MSG_DONE, .code = stopped ? EXITCODE_DRAINED : EXITCODE_OK});
}

/* Before a gate forgets an agreed checkpoint, every rank that still runs must have taken it. */
static void check_forgotten(const struct sim_node *node)
{
    bool holds_one = node->gate.state == MST_GATE_AGREED &&
                     node->gate.action == MST_GATE_CHECKPOINT;
    for (uint32_t k = 0; holds_one && node->live && k < node->local_size; k++) {
        if (node->ranks[k].life == ALIVE)
            assert_int_equal(node->ranks[k].saved, node->gate.step);
    }
}

static void deliver_to_node(struct sim *sim, uint32_t i, const struct msg *msg)
{
    struct sim_node *node = &sim->nodes[i];
    bool current = msg->generation == node->generation;
    switch (msg->type) {
    case MSG_START: spawn(sim, node, msg); return;
    case MSG_ABORT:
        if (current)
            tear_down(sim, node);
        return;
    case MSG_END:
        node->told_end = true;
        node->end_code = msg->code;
        node->live = false;
        return;
    case MSG_QUERY: answer(sim, i, msg->round); return;
    case MSG_PROPOSE:
        check_forgotten(node);
        node->gate = (struct mst_gate){MST_GATE_PROPOSED, (enum mst_gate_action)msg->action,
                                       msg->step};
        answer(sim, i, msg->round);
        return;
    case MSG_AGREED:
        node->gate = (struct mst_gate){MST_GATE_AGREED, (enum mst_gate_action)msg->action,
                                       msg->step};
        return;
    case MSG_FORWARD:
        for (uint32_t k = 0; node->live && msg->action == MST_GATE_STOP && k < node->local_size;
             k++)
            if (node->ranks[k].life == ALIVE)
                finish_rank(sim, i, &node->ranks[k], STOPPED);
        return;
    default: fail();
    }
}

static void account(struct sim *sim, const struct msg *down)
{
    if (down->step != NO_STEP && down->step + 1 > sim->best_step) {
        sim->best_step = down->step + 1;
        sim->progress = true;
    }
}

static void deliver_due(struct sim *sim)
{
    for (;;) {
        size_t next = sim->message_count;
        for (size_t i = 0; i < sim->message_count; i++) {
            const struct sim_message *m = &sim->messages[i];
            if (m->at <= sim->tick &&
                (next == sim->message_count || m->order < sim->messages[next].order))
                next = i;
        }
        if (next == sim->message_count)
            return;
        struct sim_message message = sim->messages[next];
        sim->messages[next] = sim->messages[--sim->message_count];
        if (message.incarnation != sim->incarnation[message.node])
            continue;
        if (message.to_coordinator && message.msg.type == MSG_DOWN &&
            message.msg.generation + 1 == sim->starts)
            account(sim, &message.msg);
        if (!message.to_coordinator)
            deliver_to_node(sim, message.node, &message.msg);
        else
            assert_int_equal(
                rdzv_message(&sim->rdzv, message.node, &message.msg, sim->tick * TICK_NS), 0);
    }
}

/* The slowest live rank of the generation holds the others back, if they do collectives. */
static uint64_t slowest(const struct sim *sim)
{
    uint64_t lowest = NO_STEP;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        uint64_t high, low;
        if (!sim->nodes[i].live)
            continue;
        steps_of(&sim->nodes[i], &high, &low);
        if (low < lowest)
            lowest = low;
    }
    return lowest;
}

/* The first step from `step` on that a rank tells. */
static uint64_t told_from(const struct sim *sim, uint64_t step)
{
    return sim->from + (step - sim->from + sim->stride - 1) / sim->stride * sim->stride;
}

/* The verdict of mst_job_step, once: the gate is read when the step is entered, and again only by a
 * rank that waits at it. */
static void look_at_gate(struct sim *sim, uint32_t i, struct sim_rank *rank)
{
    const struct mst_gate gate = sim->nodes[i].gate;
    rank->waiting = gate.state == MST_GATE_PROPOSED && rank->step >= gate.step;
    if (gate.state != MST_GATE_AGREED || rank->step < gate.step)
        return;
    if (gate.action == MST_GATE_CHECKPOINT) {
        assert_true(rank->saved == gate.step || rank->step == told_from(sim, gate.step));
        rank->saved = gate.step;
        return;
    }
    assert_int_equal(rank->step, told_from(sim, sim->agreed_stop)); /* the same everywhere */
    finish_rank(sim, i, rank, STOPPED);
}

/* Whoever is at or past an agreed step has acted on it. */
static void check_agreed(const struct sim_node *node)
{
    for (uint32_t k = 0; node->gate.state == MST_GATE_AGREED && k < node->local_size; k++) {
        const struct sim_rank *rank = &node->ranks[k];
        if (rank->life != ALIVE || rank->step == NO_STEP || rank->step < node->gate.step ||
            rank->waiting)
            continue;
        assert_int_equal(node->gate.action, MST_GATE_CHECKPOINT);
        assert_int_equal(rank->saved, node->gate.step);
    }
}

static void advance(struct sim *sim, uint32_t i, struct sim_rank *rank)
{
    if (rank->life != ALIVE || rank->step == NO_STEP)
        return;
    if (rank->waiting) {
        look_at_gate(sim, i, rank);
    } else if (rank->step >= sim->goal) {
        finish_rank(sim, i, rank, FINISHED);
    } else if (chance(sim, 3) == 0 && (!sim->in_lockstep || rank->step <= slowest(sim))) {
        rank->step += sim->stride;
        look_at_gate(sim, i, rank);
    }
}

static void run_nodes(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (!node->up && sim->tick >= node->return_at)
            join(sim, i);
        for (uint32_t k = 0; node->up && node->live && node->down_at == 0 && k < node->local_size;
             k++)
            advance(sim, i, &node->ranks[k]);
        if (node->up && node->live && node->down_at == 0)
            check_agreed(node);
        if (node->up && node->down_at && sim->tick >= node->down_at) {
            struct msg msg = {.type = MSG_DOWN};
            uint64_t low;
            steps_of(node, &msg.step, &low);
            node->live = false;
            node->down_at = 0;
            say(sim, i, msg);
        }
    }
}

static void kill_rank(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    struct sim_rank *rank = &node->ranks[chance(sim, node->local_size)];
    if (!node->live || node->down_at || rank->life != ALIVE)
        return;
    rank->life = DEAD;
    say(sim, i, (struct msg){.type = MSG_FAILED, .rank = i, .code = 137});
    tear_down(sim, node);
}

static void strike(struct sim *sim, uint32_t violence)
{
    uint32_t i = chance(sim, sim->node_count);
    struct sim_node *node = &sim->nodes[i];
    if (violence == 0 || chance(sim, 6000 / violence) != 0 || !node->up || node->told_end)
        return;
    switch (chance(sim, 4)) {
    case 0: lose(sim, i); return;
    case 1: say(sim, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_CHECKPOINT}); return;
    case 2:
        if (chance(sim, 4) == 0) {
            say(sim, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
            sim->stop_asked = true;
        }
        return;
    default: kill_rank(sim, i); return;
    }
}

static bool all_told(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (sim->nodes[i].up && !sim->nodes[i].told_end)
            return false;
    }
    return true;
}

static void check_end(const struct sim *sim)
{
    uint32_t code = UINT32_MAX;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (!sim->nodes[i].told_end)
            continue;
        if (code == UINT32_MAX)
            code = sim->nodes[i].end_code;
        assert_int_equal(sim->nodes[i].end_code, code); /* all hear the same */
    }
    if (code == EXITCODE_DRAINED)
        assert_true(sim->stop_asked);
    if (code == EXITCODE_OK && sim->counts_steps && !sim->stop_asked) {
        for (uint32_t i = 0; i < sim->node_count; i++) {
            for (uint32_t k = 0; sim->nodes[i].up && k < sim->nodes[i].local_size; k++)
                assert_int_equal(sim->nodes[i].ranks[k].step, told_from(sim, sim->goal));
        }
    }
}

static void set_the_scene(struct sim *sim, uint64_t seed)
{
    mst_rng_init(&sim->rng, seed, 1);
    sim->node_count = 1 + chance(sim, NODES_MAX);
    sim->counts_steps = chance(sim, 8) != 0;
    sim->in_lockstep = chance(sim, 3) != 0;
    sim->stride = chance(sim, 3) == 0 ? 3 : 1;
    sim->goal = sim->counts_steps ? 100 + chance(sim, 900) : 0;
    sim->agreed_stop = NO_STEP;
    struct rdzv_config config = {.node_count = sim->node_count,
                                 .max_restarts = chance(sim, 5),
                                 .timeout_ns = 2000 * TICK_NS,
                                 .job_id = "sim",
                                 .job_nonce = 1 + seed,
                                 .version = "sim",
                                 .send = on_send,
                                 .arg = sim};
    rdzv_init(&sim->rdzv, &config, sim->nodes_memory, sim->answered, 0);
    for (uint32_t i = 0; i < sim->node_count; i++)
        sim->nodes[i].return_at = 1 + chance(sim, 200);
}

static void run_seed(uint64_t seed)
{
    struct sim *sim = calloc(1, sizeof *sim);
    assert_non_null(sim);
    sim->messages = calloc(MESSAGES_MAX, sizeof *sim->messages);
    assert_non_null(sim->messages);
    set_the_scene(sim, seed);
    uint32_t violence = chance(sim, 4) * 10;
    printf("seed %llu: %u nodes, violence %u\n", (unsigned long long)seed, sim->node_count,
           violence);
    for (;;) {
        sim->tick++;
        assert_true(sim->tick < TICKS_MAX); /* a job always ends */
        deliver_due(sim);
        check_counts(&sim->rdzv);
        if (sim->rdzv.state == RDZV_ENDED && all_told(sim))
            break;
        run_nodes(sim);
        strike(sim, violence);
        if (!sim->counts_steps && sim->tick == 3000) { /* a server: it ends by a drain */
            sim->stop_asked = true;
            for (uint32_t i = 0; i < sim->node_count; i++) {
                if (sim->nodes[i].up)
                    say(sim, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
            }
        }
        if (sim->tick % 50 == 0)
            rdzv_tick(&sim->rdzv, sim->tick * TICK_NS);
    }
    check_end(sim);
    free(sim->messages);
    free(sim);
}

static uint64_t only_seed;

static void test_random_jobs(void **state)
{
    (void)state;
    if (only_seed) {
        run_seed(only_seed);
        return;
    }
    for (uint64_t seed = 1; seed <= 400; seed++)
        run_seed(seed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_jobs)};
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

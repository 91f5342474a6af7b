/* A job whose nodes come and go, in one process: the coordinator, simulated nodes, links that delay
 * messages and lose those of a node that is lost, and a fate that has nodes join late, leave, fail
 * and vanish. Time is a counter. Of a failure the seed is printed; sim_launcher_elastic 123 runs
 * that one only, sim_launcher_elastic 1 1000000 a million from the first on.
 *
 * A node's ranks are one here, that counts steps once it is up, in lockstep with the others, as
 * collectives would keep them. What is saved is what a regroup or every tenth step leaves. */
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

#define NODES_MAX 6
#define MESSAGES_MAX 1024
#define TICK_NS UINT64_C(1000000)
#define TICKS_MAX 60000
#define LAST_CALL 300
#define TIMEOUT 3000
#define GRACE 700
#define SEEDS 100000
#define NO_STEP MST_PAGE_NO_STEP
#define NO_SEAT MST_PAGE_CAUSE_JOB

enum life { NONE, ALIVE, STOPPED, FINISHED, DEAD };

struct sim_node {
    bool up;       /* its agent lives */
    bool told_end; /* and is about to go */
    uint32_t end_code;
    uint64_t go_at;     /* when an agent that leaves hangs up */
    uint64_t return_at; /* when another one joins in its place; 0: never */
    uint64_t over_at;   /* when its grace ends; 0: it is not to leave */
    uint32_t local_size;
    uint32_t seat, seat_generation;
    uint32_t generation;
    enum life life;    /* of its ranks */
    uint64_t boot_at;  /* before that they count no step */
    uint64_t down_at;  /* when teardown ends; 0: none goes on */
    uint64_t step;     /* NO_STEP before boot_at */
    uint64_t waits_at; /* since when it waits at the door */
    bool waiting;      /* at the gate */
    struct mst_gate gate;
};

struct sim_message {
    uint64_t at, order;
    uint32_t node, incarnation;
    bool to_coordinator;
    struct msg msg;
};

struct sim {
    struct mst_rng rng;
    uint64_t tick, order;
    struct rdzv rdzv;
    struct rdzv_node nodes_memory[NODES_MAX];
    uint32_t answered[NODES_MAX];
    uint32_t count; /* nodes, spares too */
    struct sim_node nodes[NODES_MAX];
    uint32_t incarnation[NODES_MAX];
    uint64_t last_at[NODES_MAX][2]; /* links keep order */
    struct sim_message messages[MESSAGES_MAX];
    size_t message_count;
    bool counts_steps;
    uint32_t violence;
    uint64_t goal, saved, agreed;
    uint32_t starts;
    bool was_member[NODES_MAX]; /* of the generation before */
    bool stop_asked, left_asked;
    uint32_t used; /* restarts, when the generation ended */
};

static uint32_t chance(struct sim *sim, uint32_t bound)
{
    return mst_rng_below(&sim->rng, bound);
}

static void post(struct sim *sim, uint32_t node, bool to_coordinator, const struct msg *msg)
{
    uint64_t at = sim->tick + 1 + chance(sim, 20), *last = &sim->last_at[node][to_coordinator];
    *last = at = at < *last ? *last : at;
    assert_true(sim->message_count < MESSAGES_MAX);
    sim->messages[sim->message_count++] = (struct sim_message){
        at, sim->order++, node, sim->incarnation[node], to_coordinator, *msg};
}

static bool is_live(const struct sim_node *node)
{
    return node->up && node->life != NONE;
}

/* ---- what the coordinator says --------------------------------------------------------------- */

/* One generation at a time, of a size that is allowed, its nodes and ranks without a gap and in the
 * order of the nodes; who could stay has stayed. */
static void check_start(struct sim *sim, const struct msg *msg)
{
    const struct rdzv *rdzv = &sim->rdzv;
    uint32_t size = 0, ranks = 0;
    assert_true(rdzv->nodes[0].member);
    for (uint32_t i = 0; i < sim->count; i++) {
        const struct rdzv_node *node = &rdzv->nodes[i];
        assert_false(is_live(&sim->nodes[i]));
        if (node->phase == RDZV_READY)
            assert_false(sim->was_member[i]);
        sim->was_member[i] = node->member;
        if (!node->member)
            continue;
        struct msg own = *msg;
        rdzv_address(rdzv, i, &own);
        assert_true(sim->nodes[i].up && !sim->nodes[i].told_end);
        assert_int_equal(own.rank, ranks);
        assert_int_equal(own.local_size, sim->nodes[i].local_size);
        assert_int_equal(node->index, size);
        ranks += own.local_size;
        size++;
    }
    assert_int_equal(msg->world_size, ranks);
    assert_int_equal(msg->node_count, size);
    assert_in_range(size, rdzv->config.least_count, rdzv->config.node_count);
    assert_int_equal(msg->generation, sim->starts);
    if (rdzv->decision.why == RESTART_REGROUP && sim->starts > 0)
        assert_true(rdzv->restart.used <= sim->used); /* it costs none */
    sim->agreed = NO_STEP;
    sim->starts++;
}

/* Nodes come and go: all who are in it have stopped at one step, and that is saved. */
static void check_regroup(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (!is_live(node) || !sim->was_member[i])
            continue;
        assert_true(node->life == STOPPED || node->life == FINISHED);
        if (node->life == STOPPED && sim->agreed != NO_STEP)
            assert_int_equal(node->step, sim->agreed);
    }
    if (sim->agreed != NO_STEP)
        sim->saved = sim->agreed;
}

static void check_end(struct sim *sim, const struct msg *msg)
{
    if (msg->code == EXITCODE_DRAINED)
        assert_true(sim->stop_asked || sim->left_asked);
    if (msg->code != EXITCODE_OK)
        return;
    for (uint32_t i = 0; sim->counts_steps && i < sim->count; i++) {
        if (is_live(&sim->nodes[i]))
            assert_int_equal(sim->nodes[i].step, sim->goal);
    }
}

static void on_send(void *arg, uint32_t node, const struct msg *msg)
{
    struct sim *sim = arg;
    if (msg->type == MSG_START && msg->generation == sim->starts)
        check_start(sim, msg);
    if (msg->type == MSG_ABORT && msg->code == EXITCODE_OK && sim->agreed != sim->saved)
        check_regroup(sim);
    if (msg->type == MSG_ABORT)
        sim->used = sim->rdzv.restart.used;
    if (msg->type == MSG_END && node == RDZV_ALL)
        check_end(sim, msg);
    if (msg->type == MSG_AGREED && msg->action != MST_GATE_CHECKPOINT)
        sim->agreed = msg->step;
    for (uint32_t i = 0; i < sim->count; i++) {
        if (node != RDZV_ALL && node != i)
            continue;
        if (msg->type == MSG_START)
            assert_true(sim->rdzv.nodes[i].member);
        if (sim->nodes[i].up)
            post(sim, i, false, msg);
    }
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void say(struct sim *sim, uint32_t i, struct msg msg)
{
    msg.generation = sim->nodes[i].generation;
    post(sim, i, true, &msg);
}

static void join(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    *node = (struct sim_node){.up = true,
                              .local_size = 1 + chance(sim, 3),
                              .seat = NO_SEAT,
                              .seat_generation = UINT32_MAX};
    sim->incarnation[i]++;
    const struct msg msg = {.type = MSG_JOIN,
                            .version = "sim",
                            .local_size = node->local_size,
                            .node_count = sim->rdzv.config.node_count,
                            .grace_ms = 1};
    post(sim, i, true, &msg);
}

/* Its agent has gone; another one comes later, or none. */
static void lose(struct sim *sim, uint32_t i)
{
    sim->nodes[i] = (struct sim_node){
        .return_at = chance(sim, 3) ? sim->tick + 50 + chance(sim, 600) : 0};
    sim->incarnation[i]++;
    rdzv_lost(&sim->rdzv, i, sim->tick * TICK_NS);
}

static void tear_down(struct sim *sim, struct sim_node *node)
{
    if (node->down_at == 0)
        node->down_at = sim->tick + (node->life == NONE ? 0 : chance(sim, 40));
}

static void spawn(struct sim *sim, uint32_t i, const struct msg *msg)
{
    struct sim_node *node = &sim->nodes[i];
    assert_int_equal(node->seat_generation, msg->generation); /* it is told before */
    assert_in_range(node->seat, 0, msg->node_count - 1);
    assert_int_equal(node->life, NONE);
    node->generation = msg->generation;
    node->life = ALIVE;
    node->down_at = 0;
    node->waiting = false;
    node->gate = (struct mst_gate){MST_GATE_OPEN, MST_GATE_STOP, 0};
    node->boot_at = sim->tick + chance(sim, 4) * chance(sim, 200);
    node->step = NO_STEP;
}

static void answer(struct sim *sim, uint32_t i, uint32_t round)
{
    const struct sim_node *node = &sim->nodes[i];
    struct msg msg = {.type = MSG_STEPS,
                      .round = round,
                      .step = node->step,
                      .lowest_step = node->life != ALIVE     ? NO_STEP
                                     : node->step == NO_STEP ? 0
                                                             : node->step};
    say(sim, i, msg);
}

static void finish(struct sim *sim, uint32_t i, enum life life)
{
    sim->nodes[i].life = life;
    say(sim, i,
        (struct msg){.type = MSG_DONE, .code = life == STOPPED ? EXITCODE_DRAINED : EXITCODE_OK});
}

static void set_gate(struct sim_node *node, enum mst_gate_state state, const struct msg *msg)
{
    node->gate = (struct mst_gate){state, (enum mst_gate_action)msg->action, msg->step};
}

static void deliver_to_node(struct sim *sim, uint32_t i, const struct msg *msg)
{
    struct sim_node *node = &sim->nodes[i];
    bool is_current = node->life != NONE && msg->generation == node->generation;
    switch (msg->type) {
    case MSG_SEAT:
        node->seat = msg->rank;
        node->seat_generation = msg->generation;
        return;
    case MSG_START: spawn(sim, i, msg); return;
    case MSG_ABORT:
        if (msg->generation == node->generation)
            tear_down(sim, node);
        return;
    case MSG_END:
        node->told_end = true;
        node->end_code = msg->code;
        node->life = NONE;
        node->go_at = sim->tick + 1 + chance(sim, 60);
        return;
    case MSG_QUERY:
    case MSG_PROPOSE:
        if (msg->type == MSG_PROPOSE && is_current)
            set_gate(node, MST_GATE_PROPOSED, msg);
        if (is_current)
            answer(sim, i, msg->round);
        return;
    case MSG_AGREED:
        if (is_current)
            set_gate(node, MST_GATE_AGREED, msg);
        return;
    case MSG_FORWARD:
        if (is_current && msg->action != MST_GATE_CHECKPOINT && node->life == ALIVE)
            finish(sim, i, STOPPED);
        return;
    default: fail();
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
        if (!message.to_coordinator)
            deliver_to_node(sim, message.node, &message.msg);
        else
            assert_int_equal(
                rdzv_message(&sim->rdzv, message.node, &message.msg, sim->tick * TICK_NS), 0);
    }
}

/* ---- ranks ----------------------------------------------------------------------------------- */

static uint64_t slowest(const struct sim *sim)
{
    uint64_t lowest = NO_STEP;
    for (uint32_t i = 0; i < sim->count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        bool counts = sim->was_member[i] && is_live(node) && node->life == ALIVE;
        uint64_t step = node->step == NO_STEP ? 0 : node->step;
        if (counts && step < lowest)
            lowest = step;
    }
    return lowest;
}

static bool are_all_up(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->count; i++) {
        bool is_missing = sim->nodes[i].life == NONE || sim->tick < sim->nodes[i].boot_at;
        if (sim->was_member[i] && is_missing)
            return false;
    }
    return true;
}

static void look_at_gate(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    node->waiting = node->gate.state == MST_GATE_PROPOSED && node->step >= node->gate.step;
    if (node->gate.state == MST_GATE_AGREED && node->gate.action != MST_GATE_CHECKPOINT &&
        node->step >= node->gate.step)
        finish(sim, i, STOPPED);
}

/* The first step is where the last save left off. */
static void advance(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    if (!sim->counts_steps || node->life != ALIVE || !are_all_up(sim))
        return;
    if (node->step == NO_STEP)
        node->step = sim->saved;
    if (node->waiting)
        look_at_gate(sim, i);
    else if (node->step >= sim->goal)
        finish(sim, i, FINISHED);
    else if (chance(sim, 3) == 0 && node->step <= slowest(sim)) {
        node->step++;
        look_at_gate(sim, i);
    }
    uint64_t done = slowest(sim);
    if (done != NO_STEP && done % 10 == 0 && done > sim->saved)
        sim->saved = done;
}

/* A grace that ends: its ranks are killed, and so is its agent once they are gone. */
static void end_grace(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    node->over_at = 0;
    if (node->life == ALIVE)
        say(sim, i, (struct msg){.type = MSG_GRACE_OVER});
    node->told_end = true;
    node->go_at = sim->tick + 60;
    if (node->life == ALIVE)
        tear_down(sim, node);
}

/* Who has a place to go to is let in soon. */
static void check_door(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    const struct rdzv *rdzv = &sim->rdzv;
    bool waits = rdzv->state == RDZV_RUNNING && rdzv->nodes[i].phase == RDZV_READY &&
                 rdzv->size < rdzv->config.node_count && sim->counts_steps && are_all_up(sim) &&
                 rdzv->counts[RDZV_DONE] == 0;
    node->waits_at = waits ? node->waits_at ? node->waits_at : sim->tick : 0;
    if (waits)
        assert_true(sim->tick - node->waits_at < LAST_CALL + 1500);
}

static void run_node(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    if (!node->up && node->return_at > 0 && sim->tick >= node->return_at)
        join(sim, i);
    if (!node->up)
        return;
    if (node->told_end && sim->tick >= node->go_at && sim->rdzv.state != RDZV_ENDED && i > 0) {
        lose(sim, i);
        return;
    }
    if (node->over_at > 0 && sim->tick >= node->over_at && !node->told_end)
        end_grace(sim, i);
    if (node->down_at == 0)
        advance(sim, i);
    if (node->down_at > 0 && sim->tick >= node->down_at) {
        say(sim, i, (struct msg){.type = MSG_DOWN, .step = node->step});
        node->life = NONE;
        node->down_at = 0;
    }
    check_door(sim, i);
}

/* ---- fate ------------------------------------------------------------------------------------ */

static void leave(struct sim *sim, uint32_t i)
{
    say(sim, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
    sim->nodes[i].over_at = sim->tick + 20 + chance(sim, GRACE);
    if (i == 0)
        sim->stop_asked = true;
    else
        sim->left_asked = true;
}

static void strike(struct sim *sim)
{
    uint32_t i = chance(sim, sim->count);
    struct sim_node *node = &sim->nodes[i];
    if (sim->violence == 0 || chance(sim, 2000 / sim->violence) != 0 || !node->up ||
        node->told_end || node->over_at > 0)
        return;
    switch (chance(sim, 6)) {
    case 0:
    case 1:
        if (i > 0)
            lose(sim, i);
        return;
    case 2:
    case 3:
        if (i > 0 || chance(sim, 8) == 0)
            leave(sim, i);
        return;
    case 4: say(sim, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_CHECKPOINT}); return;
    default:
        if (node->life != ALIVE || node->down_at > 0)
            return;
        node->life = DEAD;
        say(sim, i, (struct msg){.type = MSG_FAILED, .rank = i, .code = 137});
        tear_down(sim, node);
    }
}

/* Who comes too late is told the end, too. */
static bool all_told(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->count; i++) {
        if (sim->nodes[i].up && !sim->nodes[i].told_end)
            return false;
    }
    return true;
}

static void set_the_scene(struct sim *sim, uint64_t seed)
{
    mst_rng_init(&sim->rng, seed, 1);
    uint32_t most = 1 + chance(sim, NODES_MAX - 1), least = 1 + chance(sim, most);
    uint32_t spares = least == most ? 1 : chance(sim, NODES_MAX - most + 1);
    sim->count = most + spares;
    sim->counts_steps = chance(sim, 8) != 0;
    sim->goal = sim->counts_steps ? 20 + chance(sim, 100) : 0;
    sim->agreed = NO_STEP;
    sim->violence = chance(sim, 4) * 10;
    const struct rdzv_config config = {.node_count = most,
                                       .least_count = least,
                                       .spare_count = spares,
                                       .max_restarts = chance(sim, 5),
                                       .last_call_ns = chance(sim, LAST_CALL + 1) * TICK_NS,
                                       .timeout_ns = TIMEOUT * TICK_NS,
                                       .job_id = "sim",
                                       .job_nonce = 1 + seed,
                                       .version = "sim",
                                       .send = on_send,
                                       .arg = sim};
    rdzv_init(&sim->rdzv, &config, sim->nodes_memory, sim->answered, 0);
    for (uint32_t i = 0; i < sim->count; i++)
        sim->nodes[i].return_at = i == 0 || chance(sim, 4) ? 1 + chance(sim, 900) : 0;
}

static void run_seed(struct sim *sim, uint64_t seed)
{
    memset(sim, 0, sizeof *sim);
    set_the_scene(sim, seed);
    while (sim->rdzv.state != RDZV_ENDED || !all_told(sim)) {
        sim->tick++;
        assert_true(sim->tick < TICKS_MAX); /* a job always ends */
        deliver_due(sim);
        for (uint32_t i = 0; i < sim->count; i++)
            run_node(sim, i);
        if (sim->rdzv.state != RDZV_ENDED)
            strike(sim);
        if (!sim->counts_steps && sim->tick > 3000 && sim->nodes[0].over_at == 0 &&
            sim->nodes[0].up && !sim->nodes[0].told_end)
            leave(sim, 0); /* a server: it ends by a drain */
        if (sim->tick % 50 == 0)
            rdzv_tick(&sim->rdzv, sim->tick * TICK_NS);
    }
}

static uint64_t first_seed = 1, seed_count = SEEDS, running;

static void test_random_worlds(void **state)
{
    (void)state;
    static struct sim sim;
    for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++) {
        running = seed;
        run_seed(&sim, seed);
    }
    running = 0;
}

static int tell_seed(void **state)
{
    (void)state;
    printf("seeds %llu … %llu\n", (unsigned long long)first_seed,
           (unsigned long long)(first_seed + seed_count - 1));
    if (running)
        printf("failed: seed %llu\n", (unsigned long long)running);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_random_worlds, tell_seed)};
    if (argc > 1) {
        first_seed = strtoull(argv[1], NULL, 10);
        seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

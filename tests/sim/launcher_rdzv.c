/* A whole job in one process: the coordinator, N simulated nodes with their ranks, links that delay
 * messages, and a fate that kills ranks and nodes and asks for drains. Time is a counter. Of a
 * failure the seed is printed; sim_launcher_rdzv 123 runs that one only, sim_launcher_rdzv 1 1000
 * a thousand from the first on.
 *
 * Each rank is what mst_job_step makes of it: it tells each step or each third, waits at a proposed
 * one or past it, and acts so at an agreed one.
 * Ranks of one generation keep within one step of each other, as collectives would keep them, or
 * run free. */
#include "muster/launcher/exitcode.h"

#include "sim/launcher_net.h"

#define NODES_MAX 5
#define LOCAL_MAX 3
#define TICKS_MAX 200000
#define LONG_LIFE 600000
#define EARLY 60000
#define LONGER_BY 250
#define SEEDS 400

enum life { DEAD, ALIVE, FINISHED, STOPPED };

struct sim_rank {
    enum life life;
    uint64_t step;
    bool waiting;   /* at the gate */
    uint64_t saved; /* the agreed step of its last checkpoint */
};

struct sim_node {
    struct net_agent agent;
    bool live; /* its ranks belong to the agent's generation and are not torn down */
    struct sim_rank ranks[LOCAL_MAX];
};

struct sim {
    struct net net;
    uint64_t goal; /* the step at which the work is done */
    bool counts_steps, in_lockstep;
    uint64_t from, stride; /* the steps that ranks of this generation tell */
    struct sim_node nodes[NODES_MAX];
    uint32_t starts, restarts_used;
    bool progress; /* the coordinator has heard of a higher step in this generation */
    uint64_t best_step;
    uint64_t started_at, failed_at, longest_life; /* ticks */
    uint64_t last_life;
    struct msg cause, last_cause; /* ABORTs */
    uint64_t agreed_stop;         /* of the generation */
    bool stop_asked;
};

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
    assert_true(sim->restarts_used <= sim->net.rdzv.config.max_restarts);
    if (sim->restarts_used > 1)
        assert_true(sim->net.tick - sim->failed_at >= UINT64_C(750) << (sim->restarts_used - 2));
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
    for (uint32_t i = 0; i < sim->net.count; i++) {
        assert_true(sim->nodes[i].agent.up);
        assert_false(sim->nodes[i].live);
        world_size = net_check_place(&sim->net, i, msg, world_size);
    }
    assert_int_equal(msg->world_size, world_size);
    if (msg->generation > 0)
        check_restart(sim);
    sim->progress = false;
    sim->started_at = sim->net.tick;
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
    for (uint32_t i = 0; i < sim->net.count; i++)
        assert_false(sim->nodes[i].live);
    if (msg->code == 137)
        assert_true((got_further(sim) ? 0 : sim->restarts_used) >=
                    sim->net.rdzv.config.max_restarts);
}

static void on_send(void *arg, uint32_t node, const struct msg *msg)
{
    struct sim *sim = arg;
    if (msg->type == MSG_START)
        check_start(sim, msg);
    if (msg->type == MSG_ABORT) {
        sim->failed_at = sim->net.tick;
        sim->cause = *msg;
    }
    if (msg->type == MSG_END)
        check_end_message(sim, msg);
    if (msg->type == MSG_AGREED && msg->action == MST_GATE_STOP)
        sim->agreed_stop = msg->step;
    net_send(&sim->net, node, msg);
}

static void lose(struct sim *sim, uint32_t i)
{
    sim->nodes[i] = (struct sim_node){0};
    net_lose(&sim->net, i, sim->net.tick + 50 + net_chance(&sim->net, 300));
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void steps_of(const struct sim_node *node, uint64_t *highest, uint64_t *lowest)
{
    *highest = *lowest = NO_STEP;
    for (uint32_t i = 0; i < node->agent.local_size; i++) {
        uint64_t step = node->ranks[i].step;
        if (step != NO_STEP && (*highest == NO_STEP || step > *highest))
            *highest = step;
        bool owes = node->agent.gate.state == MST_GATE_AGREED &&
                    node->agent.gate.action == MST_GATE_CHECKPOINT &&
                    node->ranks[i].saved != node->agent.gate.step;
        uint64_t at = step == NO_STEP ? 0 : owes ? least(step, node->agent.gate.step) : step;
        if (node->ranks[i].life == ALIVE && at < *lowest)
            *lowest = at;
    }
}

static void answer(struct sim *sim, uint32_t i, uint32_t round)
{
    struct msg msg = {.type = MSG_STEPS, .round = round};
    steps_of(&sim->nodes[i], &msg.step, &msg.lowest_step);
    net_say(&sim->net, i, msg);
}

static void tear_down(struct sim *sim, struct sim_node *node)
{
    if (node->live && node->agent.down_at == 0)
        node->agent.down_at = sim->net.tick + 1 + net_chance(&sim->net, 40);
    else if (!node->live)
        node->agent.down_at = sim->net.tick; /* nothing to stop: answer at once */
}

static void spawn(struct sim *sim, struct sim_node *node, const struct msg *msg)
{
    net_begin(&node->agent, msg->generation);
    node->live = true;
    sim->from = sim->best_step == 0 ? 0 : sim->best_step - 1;
    for (uint32_t i = 0; i < node->agent.local_size; i++)
        node->ranks[i] = (struct sim_rank){.life = ALIVE,
                                           .step = sim->counts_steps ? sim->from : NO_STEP};
}

static void finish_rank(struct sim *sim, uint32_t i, struct sim_rank *rank, enum life life)
{
    struct sim_node *node = &sim->nodes[i];
    bool stopped = false;
    rank->life = life;
    for (uint32_t k = 0; k < node->agent.local_size; k++) {
        if (node->ranks[k].life == ALIVE)
            return;
        stopped = stopped || node->ranks[k].life == STOPPED;
    }
    node->live = false;
    net_say(&sim->net, i,
            (struct msg){.type = MSG_DONE, .code = stopped ? EXITCODE_DRAINED : EXITCODE_OK});
}

/* Before a gate forgets an agreed checkpoint, every rank that still runs must have taken it. */
static void check_forgotten(const struct sim_node *node)
{
    bool holds_one = node->agent.gate.state == MST_GATE_AGREED &&
                     node->agent.gate.action == MST_GATE_CHECKPOINT;
    for (uint32_t k = 0; holds_one && node->live && k < node->agent.local_size; k++) {
        if (node->ranks[k].life == ALIVE)
            assert_int_equal(node->ranks[k].saved, node->agent.gate.step);
    }
}

static void deliver_to_node(struct sim *sim, uint32_t i, const struct msg *msg)
{
    struct sim_node *node = &sim->nodes[i];
    bool current = msg->generation == node->agent.generation;
    switch (msg->type) {
    case MSG_START: spawn(sim, node, msg); return;
    case MSG_ABORT:
        if (current)
            tear_down(sim, node);
        return;
    case MSG_END:
        net_end(&node->agent, msg);
        node->live = false;
        return;
    case MSG_QUERY: answer(sim, i, msg->round); return;
    case MSG_PROPOSE:
        check_forgotten(node);
        net_set_gate(&node->agent, MST_GATE_PROPOSED, msg);
        answer(sim, i, msg->round);
        return;
    case MSG_AGREED: net_set_gate(&node->agent, MST_GATE_AGREED, msg); return;
    case MSG_FORWARD:
        for (uint32_t k = 0;
             node->live && msg->action == MST_GATE_STOP && k < node->agent.local_size; k++)
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
    struct net_message message;
    while (net_take(&sim->net, &message)) {
        if (!message.to_coordinator) {
            deliver_to_node(sim, message.node, &message.msg);
            continue;
        }
        if (message.msg.type == MSG_DOWN && message.msg.generation + 1 == sim->starts)
            account(sim, &message.msg);
        net_tell_coordinator(&sim->net, &message);
    }
}

/* The slowest live rank of the generation holds the others back, if they do collectives. */
static uint64_t slowest(const struct sim *sim)
{
    uint64_t lowest = NO_STEP;
    for (uint32_t i = 0; i < sim->net.count; i++) {
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
    const struct mst_gate gate = sim->nodes[i].agent.gate;
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
    for (uint32_t k = 0; node->agent.gate.state == MST_GATE_AGREED && k < node->agent.local_size;
         k++) {
        const struct sim_rank *rank = &node->ranks[k];
        if (rank->life != ALIVE || rank->step == NO_STEP || rank->step < node->agent.gate.step ||
            rank->waiting)
            continue;
        assert_int_equal(node->agent.gate.action, MST_GATE_CHECKPOINT);
        assert_int_equal(rank->saved, node->agent.gate.step);
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
    } else if (net_chance(&sim->net, 3) == 0 && (!sim->in_lockstep || rank->step <= slowest(sim))) {
        rank->step += sim->stride;
        look_at_gate(sim, i, rank);
    }
}

static void run_nodes(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->net.count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (net_joins(&sim->net, i))
            net_join(&sim->net, i, LOCAL_MAX);
        for (uint32_t k = 0;
             node->agent.up && node->live && node->agent.down_at == 0 && k < node->agent.local_size;
             k++)
            advance(sim, i, &node->ranks[k]);
        if (node->agent.up && node->live && node->agent.down_at == 0)
            check_agreed(node);
        if (node->agent.up && node->agent.down_at && sim->net.tick >= node->agent.down_at) {
            struct msg msg = {.type = MSG_DOWN};
            uint64_t low;
            steps_of(node, &msg.step, &low);
            node->live = false;
            node->agent.down_at = 0;
            net_say(&sim->net, i, msg);
        }
    }
}

static void kill_rank(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    struct sim_rank *rank = &node->ranks[net_chance(&sim->net, node->agent.local_size)];
    if (!node->live || node->agent.down_at || rank->life != ALIVE)
        return;
    rank->life = DEAD;
    net_say(&sim->net, i, (struct msg){.type = MSG_FAILED, .rank = i, .code = 137});
    tear_down(sim, node);
}

static void strike(struct sim *sim, uint32_t violence)
{
    uint32_t i = net_chance(&sim->net, sim->net.count);
    struct sim_node *node = &sim->nodes[i];
    if (violence == 0 || net_chance(&sim->net, 6000 / violence) != 0 || !node->agent.up ||
        node->agent.told_end)
        return;
    switch (net_chance(&sim->net, 4)) {
    case 0: lose(sim, i); return;
    case 1:
        net_say(&sim->net, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_CHECKPOINT});
        return;
    case 2:
        if (net_chance(&sim->net, 4) == 0) {
            net_say(&sim->net, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
            sim->stop_asked = true;
        }
        return;
    default: kill_rank(sim, i); return;
    }
}

static void check_end(const struct sim *sim)
{
    uint32_t code = UINT32_MAX;
    for (uint32_t i = 0; i < sim->net.count; i++) {
        if (!sim->nodes[i].agent.told_end)
            continue;
        if (code == UINT32_MAX)
            code = sim->nodes[i].agent.end_code;
        assert_int_equal(sim->nodes[i].agent.end_code, code); /* all hear the same */
    }
    if (code == EXITCODE_DRAINED)
        assert_true(sim->stop_asked);
    if (code == EXITCODE_OK && sim->counts_steps && !sim->stop_asked) {
        for (uint32_t i = 0; i < sim->net.count; i++) {
            for (uint32_t k = 0; sim->nodes[i].agent.up && k < sim->nodes[i].agent.local_size; k++)
                assert_int_equal(sim->nodes[i].ranks[k].step, told_from(sim, sim->goal));
        }
    }
}

static void set_the_scene(struct sim *sim, uint64_t seed)
{
    net_init(&sim->net, seed);
    uint32_t node_count = 1 + net_chance(&sim->net, NODES_MAX);
    sim->counts_steps = net_chance(&sim->net, 8) != 0;
    sim->in_lockstep = net_chance(&sim->net, 3) != 0;
    sim->stride = net_chance(&sim->net, 3) == 0 ? 3 : 1;
    sim->goal = sim->counts_steps ? 100 + net_chance(&sim->net, 900) : 0;
    sim->agreed_stop = NO_STEP;
    const struct rdzv_config config = {.node_count = node_count,
                                       .max_restarts = net_chance(&sim->net, 5),
                                       .timeout_ns = 2000 * NET_TICK_NS,
                                       .send = on_send,
                                       .arg = sim};
    net_open(&sim->net, &config);
    for (uint32_t i = 0; i < sim->net.count; i++) {
        sim->net.agents[i] = &sim->nodes[i].agent;
        sim->nodes[i].agent.return_at = 1 + net_chance(&sim->net, 200);
    }
}

static void run_seed(uint64_t seed)
{
    static struct sim memory;
    struct sim *sim = &memory;
    memset(sim, 0, sizeof *sim);
    set_the_scene(sim, seed);
    uint32_t violence = net_chance(&sim->net, 4) * 10;
    for (;;) {
        sim->net.tick++;
        assert_true(sim->net.tick < TICKS_MAX); /* a job always ends */
        deliver_due(sim);
        check_counts(&sim->net.rdzv);
        if (net_is_over(&sim->net))
            break;
        run_nodes(sim);
        strike(sim, violence);
        if (!sim->counts_steps && sim->net.tick == 3000) { /* a server: it ends by a drain */
            sim->stop_asked = true;
            for (uint32_t i = 0; i < sim->net.count; i++) {
                if (sim->nodes[i].agent.up)
                    net_say(&sim->net, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
            }
        }
        if (sim->net.tick % 50 == 0)
            rdzv_tick(&sim->net.rdzv, net_now(&sim->net));
    }
    check_end(sim);
}

int main(int argc, char **argv)
{
    return net_main(argc, argv, SEEDS, run_seed);
}

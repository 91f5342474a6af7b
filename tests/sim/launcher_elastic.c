/* A job whose nodes come and go, in one process: the coordinator, simulated nodes, links that delay
 * messages and lose those of a node that is lost, and a fate that has nodes join late, leave, fail
 * and vanish. Time is a counter. Of a failure the seed is printed; sim_launcher_elastic 123 runs
 * that one only, sim_launcher_elastic 1 1000000 a million from the first on.
 *
 * A node's ranks are one here, that counts steps once it is up, in lockstep with the others, as
 * collectives would keep them. What is saved is what a regroup or every tenth step leaves. */
#include "muster/launcher/exitcode.h"

#include "sim/launcher_net.h"

#define NODES_MAX 6
#define TICKS_MAX 60000
#define LAST_CALL 300
#define TIMEOUT 3000
#define GRACE 700
#define SEEDS 100000
#define NO_SEAT MST_PAGE_CAUSE_JOB

enum life { NONE, ALIVE, STOPPED, FINISHED, DEAD };

struct sim_node {
    struct net_agent agent;
    uint64_t go_at;   /* when an agent that leaves hangs up */
    uint64_t over_at; /* when its grace ends; 0: it is not to leave */
    uint32_t seat, seat_generation;
    enum life life;    /* of its ranks */
    uint64_t boot_at;  /* before that they count no step */
    uint64_t step;     /* NO_STEP before boot_at */
    uint64_t waits_at; /* since when it waits at the door */
    bool waiting;      /* at the gate */
};

struct sim {
    struct net net;
    struct sim_node nodes[NODES_MAX];
    bool counts_steps;
    uint32_t violence;
    uint64_t goal, saved, agreed;
    uint32_t starts;
    bool was_member[NODES_MAX]; /* of the generation before */
    bool stop_asked, left_asked;
    uint32_t used; /* restarts, when the generation ended */
};

static bool is_live(const struct sim_node *node)
{
    return node->agent.up && node->life != NONE;
}

/* ---- what the coordinator says --------------------------------------------------------------- */

/* One generation at a time, of a size that is allowed, its nodes and ranks without a gap and in the
 * order of the nodes; who could stay has stayed. */
static void check_start(struct sim *sim, const struct msg *msg)
{
    const struct rdzv *rdzv = &sim->net.rdzv;
    uint32_t size = 0, ranks = 0;
    assert_true(rdzv->nodes[0].member);
    for (uint32_t i = 0; i < sim->net.count; i++) {
        const struct rdzv_node *node = &rdzv->nodes[i];
        assert_false(is_live(&sim->nodes[i]));
        if (node->phase == RDZV_READY)
            assert_false(sim->was_member[i]);
        sim->was_member[i] = node->member;
        if (!node->member)
            continue;
        assert_true(sim->nodes[i].agent.up && !sim->nodes[i].agent.told_end);
        ranks = net_check_place(&sim->net, i, msg, ranks);
        assert_int_equal(node->index, size);
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
    for (uint32_t i = 0; i < sim->net.count; i++) {
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
    for (uint32_t i = 0; sim->counts_steps && i < sim->net.count; i++) {
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
        sim->used = sim->net.rdzv.restart.used;
    if (msg->type == MSG_END && node == RDZV_ALL)
        check_end(sim, msg);
    if (msg->type == MSG_AGREED && msg->action != MST_GATE_CHECKPOINT)
        sim->agreed = msg->step;
    for (uint32_t i = 0; msg->type == MSG_START && i < sim->net.count; i++) {
        if (node == RDZV_ALL || node == i)
            assert_true(sim->net.rdzv.nodes[i].member);
    }
    net_send(&sim->net, node, msg);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void join(struct sim *sim, uint32_t i)
{
    sim->nodes[i] = (struct sim_node){.seat = NO_SEAT, .seat_generation = UINT32_MAX};
    net_join(&sim->net, i, 3);
}

/* Its agent has gone; another one comes later, or none. */
static void lose(struct sim *sim, uint32_t i)
{
    sim->nodes[i] = (struct sim_node){0};
    net_lose(&sim->net, i,
             net_chance(&sim->net, 3) ? sim->net.tick + 50 + net_chance(&sim->net, 600) : 0);
}

static void tear_down(struct sim *sim, struct sim_node *node)
{
    if (node->agent.down_at == 0)
        node->agent.down_at = sim->net.tick + (node->life == NONE ? 0 : net_chance(&sim->net, 40));
}

static void spawn(struct sim *sim, uint32_t i, const struct msg *msg)
{
    struct sim_node *node = &sim->nodes[i];
    assert_int_equal(node->seat_generation, msg->generation); /* it is told before */
    assert_in_range(node->seat, 0, msg->node_count - 1);
    assert_int_equal(node->life, NONE);
    net_begin(&node->agent, msg->generation);
    node->life = ALIVE;
    node->waiting = false;
    node->boot_at = sim->net.tick + net_chance(&sim->net, 4) * net_chance(&sim->net, 200);
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
    net_say(&sim->net, i, msg);
}

static void finish(struct sim *sim, uint32_t i, enum life life)
{
    sim->nodes[i].life = life;
    net_say(
        &sim->net, i,
        (struct msg){.type = MSG_DONE, .code = life == STOPPED ? EXITCODE_DRAINED : EXITCODE_OK});
}

static void deliver_to_node(struct sim *sim, uint32_t i, const struct msg *msg)
{
    struct sim_node *node = &sim->nodes[i];
    bool is_current = node->life != NONE && msg->generation == node->agent.generation;
    switch (msg->type) {
    case MSG_SEAT:
        node->seat = msg->rank;
        node->seat_generation = msg->generation;
        return;
    case MSG_START: spawn(sim, i, msg); return;
    case MSG_ABORT:
        if (msg->generation == node->agent.generation)
            tear_down(sim, node);
        return;
    case MSG_END:
        net_end(&node->agent, msg);
        node->life = NONE;
        node->go_at = sim->net.tick + 1 + net_chance(&sim->net, 60);
        return;
    case MSG_QUERY:
    case MSG_PROPOSE:
        if (msg->type == MSG_PROPOSE && is_current)
            net_set_gate(&node->agent, MST_GATE_PROPOSED, msg);
        if (is_current)
            answer(sim, i, msg->round);
        return;
    case MSG_AGREED:
        if (is_current)
            net_set_gate(&node->agent, MST_GATE_AGREED, msg);
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
    struct net_message message;
    while (net_take(&sim->net, &message)) {
        if (message.to_coordinator)
            net_tell_coordinator(&sim->net, &message);
        else
            deliver_to_node(sim, message.node, &message.msg);
    }
}

/* ---- ranks ----------------------------------------------------------------------------------- */

static uint64_t slowest(const struct sim *sim)
{
    uint64_t lowest = NO_STEP;
    for (uint32_t i = 0; i < sim->net.count; i++) {
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
    for (uint32_t i = 0; i < sim->net.count; i++) {
        bool is_missing = sim->nodes[i].life == NONE || sim->net.tick < sim->nodes[i].boot_at;
        if (sim->was_member[i] && is_missing)
            return false;
    }
    return true;
}

static void look_at_gate(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    node->waiting = node->agent.gate.state == MST_GATE_PROPOSED &&
                    node->step >= node->agent.gate.step;
    if (node->agent.gate.state == MST_GATE_AGREED &&
        node->agent.gate.action != MST_GATE_CHECKPOINT && node->step >= node->agent.gate.step)
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
    else if (net_chance(&sim->net, 3) == 0 && node->step <= slowest(sim)) {
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
        net_say(&sim->net, i, (struct msg){.type = MSG_GRACE_OVER});
    node->agent.told_end = true;
    node->go_at = sim->net.tick + 60;
    if (node->life == ALIVE)
        tear_down(sim, node);
}

/* Who has a place to go to is let in soon. */
static void check_door(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    const struct rdzv *rdzv = &sim->net.rdzv;
    bool waits = rdzv->state == RDZV_RUNNING && rdzv->nodes[i].phase == RDZV_READY &&
                 rdzv->size < rdzv->config.node_count && sim->counts_steps && are_all_up(sim) &&
                 rdzv->counts[RDZV_DONE] == 0;
    node->waits_at = waits ? node->waits_at ? node->waits_at : sim->net.tick : 0;
    if (waits)
        assert_true(sim->net.tick - node->waits_at < LAST_CALL + 1500);
}

static void run_node(struct sim *sim, uint32_t i)
{
    struct sim_node *node = &sim->nodes[i];
    if (net_joins(&sim->net, i))
        join(sim, i);
    if (!node->agent.up)
        return;
    if (node->agent.told_end && sim->net.tick >= node->go_at && sim->net.rdzv.state != RDZV_ENDED &&
        i > 0) {
        lose(sim, i);
        return;
    }
    if (node->over_at > 0 && sim->net.tick >= node->over_at && !node->agent.told_end)
        end_grace(sim, i);
    if (node->agent.down_at == 0)
        advance(sim, i);
    if (node->agent.down_at > 0 && sim->net.tick >= node->agent.down_at) {
        net_say(&sim->net, i, (struct msg){.type = MSG_DOWN, .step = node->step});
        node->life = NONE;
        node->agent.down_at = 0;
    }
    check_door(sim, i);
}

/* ---- fate ------------------------------------------------------------------------------------ */

static void leave(struct sim *sim, uint32_t i)
{
    net_say(&sim->net, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
    sim->nodes[i].over_at = sim->net.tick + 20 + net_chance(&sim->net, GRACE);
    if (i == 0)
        sim->stop_asked = true;
    else
        sim->left_asked = true;
}

static void strike(struct sim *sim)
{
    uint32_t i = net_chance(&sim->net, sim->net.count);
    struct sim_node *node = &sim->nodes[i];
    if (sim->violence == 0 || net_chance(&sim->net, 2000 / sim->violence) != 0 || !node->agent.up ||
        node->agent.told_end || node->over_at > 0)
        return;
    switch (net_chance(&sim->net, 6)) {
    case 0:
    case 1:
        if (i > 0)
            lose(sim, i);
        return;
    case 2:
    case 3:
        if (i > 0 || net_chance(&sim->net, 8) == 0)
            leave(sim, i);
        return;
    case 4:
        net_say(&sim->net, i, (struct msg){.type = MSG_DRAIN, .action = MST_GATE_CHECKPOINT});
        return;
    default:
        if (node->life != ALIVE || node->agent.down_at > 0)
            return;
        node->life = DEAD;
        net_say(&sim->net, i, (struct msg){.type = MSG_FAILED, .rank = i, .code = 137});
        tear_down(sim, node);
    }
}

static void set_the_scene(struct sim *sim, uint64_t seed)
{
    net_init(&sim->net, seed);
    uint32_t most = 1 + net_chance(&sim->net, NODES_MAX - 1),
             least = 1 + net_chance(&sim->net, most);
    uint32_t spares = least == most ? 1 : net_chance(&sim->net, NODES_MAX - most + 1);
    sim->counts_steps = net_chance(&sim->net, 8) != 0;
    sim->goal = sim->counts_steps ? 20 + net_chance(&sim->net, 100) : 0;
    sim->agreed = NO_STEP;
    sim->violence = net_chance(&sim->net, 4) * 10;
    const struct rdzv_config config = {.node_count = most,
                                       .least_count = least,
                                       .spare_count = spares,
                                       .max_restarts = net_chance(&sim->net, 5),
                                       .last_call_ns = net_chance(&sim->net, LAST_CALL + 1) *
                                                       NET_TICK_NS,
                                       .timeout_ns = TIMEOUT * NET_TICK_NS,
                                       .send = on_send,
                                       .arg = sim};
    net_open(&sim->net, &config);
    for (uint32_t i = 0; i < sim->net.count; i++) {
        sim->net.agents[i] = &sim->nodes[i].agent;
        sim->nodes[i].agent.return_at = i == 0 || net_chance(&sim->net, 4)
                                            ? 1 + net_chance(&sim->net, 900)
                                            : 0;
    }
}

static void run_seed(uint64_t seed)
{
    static struct sim memory;
    struct sim *sim = &memory;
    memset(sim, 0, sizeof *sim);
    set_the_scene(sim, seed);
    while (!net_is_over(&sim->net)) {
        sim->net.tick++;
        assert_true(sim->net.tick < TICKS_MAX); /* a job always ends */
        deliver_due(sim);
        for (uint32_t i = 0; i < sim->net.count; i++)
            run_node(sim, i);
        if (sim->net.rdzv.state != RDZV_ENDED)
            strike(sim);
        if (!sim->counts_steps && sim->net.tick > 3000 && sim->nodes[0].over_at == 0 &&
            sim->nodes[0].agent.up && !sim->nodes[0].agent.told_end)
            leave(sim, 0); /* a server: it ends by a drain */
        if (sim->net.tick % 50 == 0)
            rdzv_tick(&sim->net.rdzv, net_now(&sim->net));
    }
}

int main(int argc, char **argv)
{
    return net_main(argc, argv, SEEDS, run_seed);
}

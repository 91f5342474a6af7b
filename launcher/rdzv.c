/* pure */
#include "muster/launcher/rdzv.h"

#include "muster/launcher/exitcode.h"
#include "muster/launcher/rdzv_own.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void rdzv_init(struct rdzv *rdzv, const struct rdzv_config *config, struct rdzv_node *nodes,
               uint32_t *answered, uint64_t now_ns)
{
    assert(config->node_count >= 1 && config->node_count <= MSG_NODES_MAX);
    assert(config->least_count <= config->node_count && config->spare_count <= MSG_NODES_MAX);
    *rdzv = (struct rdzv){.config = *config,
                          .nodes = nodes,
                          .slot_count = config->node_count + config->spare_count,
                          .answered = answered,
                          .deadline_ns = now_ns + config->timeout_ns,
                          .cause_rank = MST_PAGE_CAUSE_JOB};
    if (config->least_count == 0)
        rdzv->config.least_count = config->node_count;
    memset(nodes, 0, rdzv->slot_count * sizeof *nodes);
    rdzv->counts[RDZV_ABSENT] = rdzv->slot_count;
    restart_init(&rdzv->restart, config->max_restarts, config->job_nonce);
    drain_init(&rdzv->drain, 0, 0, answered);
}

/* What holds between two events, whatever came in which order. */
static void check(const struct rdzv *rdzv)
{
    const uint32_t *counts = rdzv->counts;
    uint32_t with_ranks = counts[RDZV_LIVE] + counts[RDZV_DONE];
    uint32_t without = counts[RDZV_ABSENT] + counts[RDZV_REFUSED] + counts[RDZV_LEFT];
    assert(with_ranks + without + counts[RDZV_READY] == rdzv->slot_count);
    assert(rdzv->restart.used <= rdzv->config.max_restarts);
    assert(rdzv->state != RDZV_RUNNING || (rdzv->started && with_ranks == rdzv->size));
    assert(rdzv->state != RDZV_GATHERING ||
           (with_ranks == 0 && (counts[RDZV_READY] < rdzv->config.node_count ||
                                rdzv->nodes[0].phase != RDZV_READY || rdzv->pause_end_ns > 0)));
    assert(rdzv->state != RDZV_STOPPING || with_ranks > 0);
}

void rdzv_set_phase(struct rdzv *rdzv, uint32_t node, enum rdzv_phase phase)
{
    enum rdzv_phase before = rdzv->nodes[node].phase;
    assert(!rdzv->nodes[node].gone || phase == RDZV_DONE);
    assert(rdzv->counts[before] > 0);
    rdzv->counts[before]--;
    rdzv->counts[phase]++;
    rdzv->nodes[node].phase = phase;
}

/* To the nodes of the generation. */
static void broadcast(struct rdzv *rdzv, const struct msg *msg)
{
    if (rdzv->size == rdzv->slot_count) {
        rdzv->config.send(rdzv->config.arg, RDZV_ALL, msg);
        return;
    }
    for (uint32_t i = 0; i < rdzv->slot_count; i++) {
        if (rdzv->nodes[i].member)
            rdzv->config.send(rdzv->config.arg, i, msg);
    }
}

/* A rank's code, or our own for a node that was lost. */
static uint32_t code_of_cause(const struct rdzv *rdzv)
{
    bool is_ours = rdzv->cause_rank == MST_PAGE_CAUSE_JOB;
    return is_ours ? rdzv->cause_code : (uint32_t)exitcode_of_failure((int)rdzv->cause_code);
}

/* Whether no further try would help: of several, none got further. */
static bool is_hopeless(const struct rdzv *rdzv)
{
    return rdzv->life.verdict > 0 ||
           (rdzv->decision.why == RESTART_SPENT && rdzv->config.max_restarts > 0);
}

static void end_as(struct rdzv *rdzv, struct msg *msg)
{
    rdzv->state = RDZV_ENDED;
    msg->type = MSG_END;
    msg->rank = rdzv->cause_rank;
    rdzv->end = *msg;
    rdzv->config.send(rdzv->config.arg, RDZV_ALL, msg);
}

static void end(struct rdzv *rdzv, uint32_t code)
{
    uint32_t told = rdzv->past_end && code == EXITCODE_DRAINED ? EXITCODE_DEADLINE : code;
    end_as(rdzv, &(struct msg){.code = told, .end = exitcode_end_of((int)told)});
}

/* For the failure that was the cause. */
static void end_failed(struct rdzv *rdzv)
{
    struct msg msg = {.code = code_of_cause(rdzv)};
    bool is_ours = rdzv->cause_rank == MST_PAGE_CAUSE_JOB;
    msg.end = is_ours
                  ? exitcode_end_of((int)msg.code)
                  : exitcode_end_of_rank((int)msg.code, rdzv->cause_end == EXITCODE_END_NO_MEMORY,
                                         is_hopeless(rdzv));
    memcpy(msg.text, rdzv->cause_text, sizeof msg.text);
    end_as(rdzv, &msg);
}

static bool may_start(struct rdzv *rdzv, uint64_t now_ns)
{
    if (rdzv_is_elastic(rdzv))
        return elastic_may_start(rdzv, now_ns);
    return rdzv->counts[RDZV_READY] == rdzv->config.node_count;
}

static void start(struct rdzv *rdzv, uint64_t now_ns)
{
    if (rdzv->started)
        rdzv->generation++;
    rdzv->started = true;
    rdzv->state = RDZV_RUNNING;
    rdzv->start_ns = now_ns;
    rdzv->life = (struct restart_life){.rank = MST_PAGE_CAUSE_JOB};
    rdzv->save_lost = rdzv->drained = rdzv->regrouping = false;
    rdzv->call_ns = rdzv->door_ns = 0;
    rdzv->cause_rank = MST_PAGE_CAUSE_JOB;
    rdzv->cause_code = 0;
    rdzv->cause_text[0] = '\0';
    elastic_choose(rdzv);
    drain_init(&rdzv->drain, rdzv->generation, rdzv->size, rdzv->answered);
    struct msg msg = {.type = MSG_START,
                      .generation = rdzv->generation,
                      .node_count = rdzv->size,
                      .max_restarts = rdzv->config.max_restarts,
                      .job_nonce = rdzv->config.job_nonce};
    memcpy(msg.job_id, rdzv->config.job_id, sizeof msg.job_id);
    for (uint32_t i = 0; i < rdzv->slot_count; i++) {
        struct rdzv_node *node = &rdzv->nodes[i];
        if (!node->member)
            continue;
        if (node->index == 0 || node->grace_ms < msg.grace_ms)
            msg.grace_ms = node->grace_ms;
        node->first_rank = msg.world_size;
        msg.world_size += node->local_size;
        rdzv_set_phase(rdzv, i, RDZV_LIVE);
    }
    elastic_tell_seats(rdzv);
    broadcast(rdzv, &msg);
}

static void start_if_ready(struct rdzv *rdzv, uint64_t now_ns)
{
    if (now_ns < rdzv->pause_end_ns)
        return;
    rdzv->pause_end_ns = 0;
    if (may_start(rdzv, now_ns))
        start(rdzv, now_ns);
}

static void gather(struct rdzv *rdzv, uint64_t pause_ns, uint64_t now_ns)
{
    rdzv->state = RDZV_GATHERING;
    rdzv->call_ns = 0;
    rdzv->pause_end_ns = pause_ns ? now_ns + pause_ns : 0;
    rdzv->deadline_ns = now_ns + pause_ns + rdzv->config.timeout_ns;
    start_if_ready(rdzv, now_ns);
}

/* What follows a generation that failed, now that none of its ranks is left. */
static void decide(struct rdzv *rdzv, uint64_t now_ns)
{
    if (rdzv->stop_wanted) {
        end(rdzv, EXITCODE_DRAINED);
        return;
    }
    elastic_dismiss(rdzv);
    rdzv->decision = rdzv->regrouping ? restart_excuse(&rdzv->restart, &rdzv->life)
                                      : restart_decide(&rdzv->restart, &rdzv->life);
    rdzv->decision_count++;
    if (rdzv->decision.again)
        gather(rdzv, rdzv->decision.pause_ns, now_ns);
    else
        end_failed(rdzv);
}

static void decide_if_all_down(struct rdzv *rdzv, uint64_t now_ns)
{
    if (rdzv->counts[RDZV_LIVE] + rdzv->counts[RDZV_DONE] == 0)
        decide(rdzv, now_ns);
}

/* Whoever was no longer needed is, from now on. */
static void ask_back_the_gone(struct rdzv *rdzv)
{
    for (uint32_t i = 0; i < rdzv->slot_count; i++) {
        struct rdzv_node *node = &rdzv->nodes[i];
        if (!node->gone)
            continue;
        node->gone = false;
        rdzv_set_phase(rdzv, i, node->returned ? RDZV_READY : RDZV_ABSENT);
        node->returned = false;
    }
}

/* `cause` is the rank's death, or says by its code alone why there is none. */
static void stop(struct rdzv *rdzv, const struct msg *cause, uint64_t now_ns)
{
    uint32_t rank = cause->rank, code = cause->code;
    struct msg abort = {
        .type = MSG_ABORT, .generation = rdzv->generation, .rank = rank, .code = code};
    memcpy(abort.text, cause->text, sizeof abort.text);
    rdzv->cause_end = cause->end;
    memcpy(rdzv->cause_text, cause->text, sizeof rdzv->cause_text);
    rdzv->state = RDZV_STOPPING;
    rdzv->deadline_ns = now_ns + rdzv->config.timeout_ns;
    rdzv->cause_rank = rank;
    rdzv->cause_code = code;
    rdzv->life.life_ns = now_ns - rdzv->start_ns;
    rdzv->life.rank = rank;
    rdzv->life.code = code;
    ask_back_the_gone(rdzv);
    broadcast(rdzv, &abort);
    decide_if_all_down(rdzv, now_ns);
}

/* No rank's death is the cause. */
static void stop_for_job(struct rdzv *rdzv, uint32_t code, uint64_t now_ns)
{
    stop(rdzv, &(struct msg){.rank = MST_PAGE_CAUSE_JOB, .code = code}, now_ns);
}

/* A node that is gone can answer no round; it has no live rank, so its answer is known. */
static void say(struct rdzv *rdzv, struct msg *msg, uint64_t now_ns)
{
    bool more = true;
    while (more) {
        more = false;
        if (elastic_is_early(rdzv, msg, now_ns)) {
            drain_withdraw(&rdzv->drain);
            rdzv->regrouping = false;
            rdzv->door_ns = rdzv->start_ns + rdzv->config.last_call_ns;
            return;
        }
        msg->end = rdzv->past_end ? EXITCODE_END_DEADLINE : EXITCODE_END_DRAINED;
        broadcast(rdzv, msg);
        struct msg steps = {.type = MSG_STEPS,
                            .generation = msg->generation,
                            .round = msg->round,
                            .step = MST_PAGE_NO_STEP,
                            .lowest_step = MST_PAGE_NO_STEP};
        for (uint32_t i = 0; i < rdzv->slot_count && !more; i++) {
            if (rdzv->nodes[i].gone)
                more = drain_steps(&rdzv->drain, rdzv->nodes[i].index, &steps, msg);
        }
    }
}

void rdzv_request_drain(struct rdzv *rdzv, enum mst_gate_action action, uint64_t now_ns)
{
    struct msg out;
    if (drain_request(&rdzv->drain, action, &out))
        say(rdzv, &out, now_ns);
}

/* Turns a node away: it says the text, too, and leaves. */
static void refuse(struct rdzv *rdzv, uint32_t node, struct msg *refusal)
{
    if (rdzv->nodes[node].phase == RDZV_ABSENT)
        rdzv_set_phase(rdzv, node, RDZV_REFUSED);
    refusal->type = MSG_REFUSED;
    refusal->code = EXITCODE_CONFIG;
    rdzv->config.send(rdzv->config.arg, node, refusal);
}

/* Whether a node and node 0 were asked for the same world; else `text` says what differs. Ranks
 * that are counted for the whole job are as many on each node. */
static bool is_of_this_world(const struct rdzv_config *ours, uint32_t node, const struct msg *msg,
                             char text[MSG_TEXT_BYTES])
{
    uint32_t size = msg->world_size ? msg->world_size : ours->world_size;
    if (msg->node_count != ours->node_count)
        snprintf(text, MSG_TEXT_BYTES,
                 "node %u (%s) counts %u nodes and node 0 counts %u: give all the same --nnodes",
                 node, msg->host, msg->node_count, ours->node_count);
    else if (ours->world_size && size != ours->world_size)
        snprintf(
            text, MSG_TEXT_BYTES,
            "node %u (%s) is to have -n %u ranks in all and node 0 -n %u: give all the same -n",
            node, msg->host, size, ours->world_size);
    else if (size && msg->local_size != ours->local_size)
        snprintf(
            text, MSG_TEXT_BYTES,
            "node %u (%s) starts %u ranks and node 0 starts %u, which is not -n %u on %u nodes: "
            "give all the same -n",
            node, msg->host, msg->local_size, ours->local_size, size, ours->node_count);
    else
        return true;
    return false;
}

static void on_join(struct rdzv *rdzv, uint32_t node, const struct msg *msg, uint64_t now_ns)
{
    struct msg refusal = {.code = 0};
    if (strcmp(msg->version, rdzv->config.version) != 0) {
        rdzv_name_versions(node, msg->version, rdzv->config.version, refusal.text);
        refuse(rdzv, node, &refusal);
        return;
    }
    if (!is_of_this_world(&rdzv->config, node, msg, refusal.text)) {
        refuse(rdzv, node, &refusal);
        return;
    }
    struct rdzv_node *joined = &rdzv->nodes[node];
    joined->returned = joined->gone;
    rdzv_set_phase(rdzv, node, joined->gone ? RDZV_DONE : RDZV_READY);
    joined->local_size = msg->local_size;
    joined->grace_ms = msg->grace_ms;
    joined->leaving = false;
    if (rdzv->state == RDZV_GATHERING)
        start_if_ready(rdzv, now_ns);
    else if (rdzv->state == RDZV_RUNNING && !joined->gone)
        elastic_watch_door(rdzv, now_ns);
}

static void on_done(struct rdzv *rdzv, uint32_t node, const struct msg *msg, uint64_t now_ns)
{
    rdzv_set_phase(rdzv, node, RDZV_DONE);
    if (msg->code == EXITCODE_DRAINED)
        rdzv->drained = true;
    if (msg->code == EXITCODE_SAVE_LOST)
        rdzv->save_lost = true;
    if (rdzv->state != RDZV_RUNNING || rdzv->counts[RDZV_DONE] < rdzv->size)
        return;
    if (rdzv->regrouping && rdzv->drained && !rdzv->stop_wanted)
        stop_for_job(rdzv, EXITCODE_OK, now_ns);
    else
        end(rdzv, rdzv->drained     ? EXITCODE_DRAINED
                  : rdzv->save_lost ? EXITCODE_SAVE_LOST
                                    : EXITCODE_OK);
}

static void on_down(struct rdzv *rdzv, uint32_t node, const struct msg *msg, uint64_t now_ns)
{
    if (rdzv->nodes[node].phase == RDZV_ABSENT)
        return;
    rdzv_set_phase(rdzv, node, RDZV_READY);
    if (msg->step != MST_PAGE_NO_STEP && msg->step + 1 > rdzv->life.best_step)
        rdzv->life.best_step = msg->step + 1;
    if (msg->verdict && !rdzv->life.verdict) {
        rdzv->life.verdict = msg->verdict;
        rdzv->verdict_rank = msg->rank;
    }
    if (rdzv->state == RDZV_STOPPING)
        decide_if_all_down(rdzv, now_ns);
}

static void ask_for_drain(struct rdzv *rdzv, enum mst_gate_action action, uint64_t now_ns)
{
    if (action == MST_GATE_STOP)
        rdzv->stop_wanted = true;
    if (rdzv->state == RDZV_GATHERING && rdzv->stop_wanted)
        end(rdzv, EXITCODE_DRAINED);
    else if (rdzv->state == RDZV_RUNNING)
        rdzv_request_drain(rdzv, action, now_ns);
}

static void on_drain(struct rdzv *rdzv, uint32_t node, const struct msg *msg, uint64_t now_ns)
{
    if (msg->action != MST_GATE_STOP || !elastic_leave(rdzv, node, now_ns))
        ask_for_drain(rdzv, (enum mst_gate_action)msg->action, now_ns);
}

static bool has_ranks(const struct rdzv *rdzv, uint32_t node)
{
    return rdzv->nodes[node].phase == RDZV_LIVE || rdzv->nodes[node].phase == RDZV_DONE;
}

static bool is_of_a_generation(enum msg_type type)
{
    return type == MSG_FAILED || type == MSG_DONE || type == MSG_DOWN || type == MSG_STEPS ||
           type == MSG_GRACE_OVER;
}

static int take(struct rdzv *rdzv, uint32_t node, const struct msg *msg, uint64_t now_ns)
{
    struct msg out;
    if (rdzv->state == RDZV_ENDED) {
        if (msg->type == MSG_JOIN)
            elastic_tell_end(rdzv, node);
        return 0;
    }
    if (rdzv->nodes[node].phase == RDZV_REFUSED || rdzv->nodes[node].phase == RDZV_LEFT)
        return 0;
    if (msg->type != MSG_JOIN && rdzv->nodes[node].phase == RDZV_ABSENT)
        return -EPROTO;
    if (is_of_a_generation(msg->type) && msg->generation != rdzv->generation)
        return msg->generation > rdzv->generation ? -EPROTO : 0;
    if (is_of_a_generation(msg->type) && rdzv->state == RDZV_RUNNING && !has_ranks(rdzv, node))
        return -EPROTO;
    switch (msg->type) {
    case MSG_JOIN:
        if (rdzv->nodes[node].phase != RDZV_ABSENT && !rdzv->nodes[node].gone)
            return -EPROTO;
        on_join(rdzv, node, msg, now_ns);
        return 0;
    case MSG_FAILED:
        if (rdzv->state == RDZV_RUNNING)
            stop(rdzv, msg, now_ns);
        return 0;
    case MSG_GRACE_OVER:
        if (rdzv->state == RDZV_RUNNING)
            stop_for_job(rdzv, EXITCODE_DRAINED, now_ns);
        return 0;
    case MSG_DONE:
        if (rdzv->nodes[node].phase == RDZV_LIVE)
            on_done(rdzv, node, msg, now_ns);
        return 0;
    case MSG_DOWN:
        if (rdzv->state == RDZV_RUNNING)
            return -EPROTO;
        on_down(rdzv, node, msg, now_ns);
        return 0;
    case MSG_DRAIN:
        if (msg->action == MST_GATE_REGROUP)
            return -EPROTO;
        on_drain(rdzv, node, msg, now_ns);
        return 0;
    case MSG_STEPS:
        if (rdzv->state == RDZV_RUNNING &&
            drain_steps(&rdzv->drain, rdzv->nodes[node].index, msg, &out))
            say(rdzv, &out, now_ns);
        return 0;
    default: return -EPROTO;
    }
}

int rdzv_message(struct rdzv *rdzv, uint32_t node, const struct msg *msg, uint64_t now_ns)
{
    assert(node < rdzv->slot_count);
    int rc = take(rdzv, node, msg, now_ns);
    check(rdzv);
    return rc;
}

void rdzv_address(const struct rdzv *rdzv, uint32_t node, struct msg *start)
{
    assert(node < rdzv->slot_count && start->type == MSG_START);
    start->rank = rdzv->nodes[node].first_rank;
    start->local_size = rdzv->nodes[node].local_size;
}

static void lose(struct rdzv *rdzv, uint32_t node, uint64_t now_ns)
{
    enum rdzv_phase phase = rdzv->nodes[node].phase;
    if (rdzv->state == RDZV_ENDED || phase == RDZV_ABSENT)
        return;
    if (rdzv->state == RDZV_RUNNING && phase == RDZV_DONE) {
        rdzv->nodes[node].gone = true;
        rdzv->nodes[node].returned = false;
        return;
    }
    rdzv_set_phase(rdzv, node, RDZV_ABSENT);
    rdzv->nodes[node].leaving = false;
    if (rdzv->state == RDZV_RUNNING && phase == RDZV_LIVE)
        stop_for_job(rdzv, EXITCODE_RENDEZVOUS, now_ns);
    else if (rdzv->state == RDZV_RUNNING)
        elastic_watch_door(rdzv, now_ns);
    else if (rdzv->state == RDZV_STOPPING)
        decide_if_all_down(rdzv, now_ns);
}

void rdzv_lost(struct rdzv *rdzv, uint32_t node, uint64_t now_ns)
{
    assert(node < rdzv->slot_count);
    lose(rdzv, node, now_ns);
    check(rdzv);
}

/* The job's own time is over: it is drained, as by a node's request. */
static void pass_end(struct rdzv *rdzv, uint64_t now_ns)
{
    rdzv->past_end = true;
    ask_for_drain(rdzv, MST_GATE_STOP, now_ns);
}

void rdzv_tick(struct rdzv *rdzv, uint64_t now_ns)
{
    struct msg out;
    bool has_end = rdzv->config.end_ns > 0 && !rdzv->past_end && rdzv->state != RDZV_ENDED;
    if (has_end && now_ns >= rdzv->config.end_ns)
        pass_end(rdzv, now_ns);
    if (rdzv->state == RDZV_RUNNING && drain_tick(&rdzv->drain, &out))
        say(rdzv, &out, now_ns);
    if (rdzv->state == RDZV_RUNNING)
        elastic_tick(rdzv, now_ns);
    if (rdzv->state == RDZV_GATHERING)
        start_if_ready(rdzv, now_ns);
    bool waits = rdzv->state == RDZV_GATHERING || rdzv->state == RDZV_STOPPING;
    if (waits && now_ns >= rdzv->deadline_ns)
        end(rdzv, EXITCODE_RENDEZVOUS);
    check(rdzv);
}

void rdzv_name_versions(uint32_t node, const char *theirs, const char *ours,
                        char text[MSG_TEXT_BYTES])
{
    snprintf(text, MSG_TEXT_BYTES,
             "node %u runs Muster %s and node 0 runs %s: install the same on every node", node,
             theirs, ours);
}

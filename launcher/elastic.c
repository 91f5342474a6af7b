/* What is different where nodes may come and go: who is of a generation, who waits, who may leave
 * alone. Node 0 is of every generation: the ranks' server is there. */
/* pure */
#include "muster/launcher/exitcode.h"
#include "muster/launcher/rdzv_own.h"

#include <assert.h>

#define RECALL_PART 10 /* of the last call: for the replacement of a member that is lost or left */

bool rdzv_is_elastic(const struct rdzv *rdzv)
{
    return rdzv->config.least_count < rdzv->config.node_count || rdzv->config.spare_count > 0;
}

/* ---- who is of a generation ------------------------------------------------------------------ */

/* Nobody is called who was not there before: he comes in later at no cost. */
static uint64_t last_call_ns(const struct rdzv *rdzv)
{
    if (!rdzv->started)
        return rdzv->config.last_call_ns;
    return rdzv->counts[RDZV_READY] < rdzv->size ? rdzv->config.last_call_ns / RECALL_PART : 0;
}

bool elastic_may_start(struct rdzv *rdzv, uint64_t now_ns)
{
    uint32_t ready = rdzv->counts[RDZV_READY];
    if (ready < rdzv->config.least_count || rdzv->nodes[0].phase != RDZV_READY) {
        rdzv->call_ns = 0;
        return false;
    }
    if (ready >= rdzv->config.node_count)
        return true;
    if (rdzv->call_ns == 0)
        rdzv->call_ns = now_ns + last_call_ns(rdzv);
    bool are_all_back = rdzv->started && ready >= rdzv->size;
    return are_all_back || now_ns >= rdzv->call_ns || now_ns >= rdzv->deadline_ns;
}

/* Who was a member stays one, the others have the places that are left; the order is that of the
 * nodes, so that those who stay keep theirs. */
void elastic_choose(struct rdzv *rdzv)
{
    uint32_t room = rdzv->config.node_count;
    for (uint32_t i = 0; i < rdzv->slot_count; i++) {
        struct rdzv_node *node = &rdzv->nodes[i];
        node->member = node->phase == RDZV_READY && (node->member || i == 0);
        room -= node->member;
    }
    rdzv->size = 0;
    for (uint32_t i = 0; i < rdzv->slot_count; i++) {
        struct rdzv_node *node = &rdzv->nodes[i];
        if (!node->member && node->phase == RDZV_READY && room > 0) {
            node->member = true;
            room--;
        }
        if (node->member)
            node->index = rdzv->size++;
    }
    assert(rdzv->size >= rdzv->config.least_count && rdzv->size <= rdzv->config.node_count);
}

static bool is_there(const struct rdzv_node *node)
{
    bool has_ranks = node->phase == RDZV_LIVE || node->phase == RDZV_DONE;
    return (has_ranks && !node->gone) || node->phase == RDZV_READY;
}

void elastic_tell_seats(struct rdzv *rdzv)
{
    struct msg seat = {.type = MSG_SEAT, .generation = rdzv->generation, .node_count = rdzv->size};
    if (!rdzv_is_elastic(rdzv))
        return;
    for (uint32_t i = 0; i < rdzv->slot_count; i++)
        seat.present += is_there(&rdzv->nodes[i]);
    for (uint32_t i = 0; i < rdzv->slot_count; i++) {
        const struct rdzv_node *node = &rdzv->nodes[i];
        seat.rank = node->member ? node->index : MST_PAGE_CAUSE_JOB;
        if (is_there(node))
            rdzv->config.send(rdzv->config.arg, i, &seat);
    }
}

/* ---- coming ---------------------------------------------------------------------------------- */

/* While a generation runs, READY is who waits. All at once when there are enough, else when the
 * first has waited for a last call. */
void elastic_watch_door(struct rdzv *rdzv, uint64_t now_ns)
{
    uint32_t waiting = rdzv->counts[RDZV_READY];
    assert(rdzv->state == RDZV_RUNNING);
    elastic_tell_seats(rdzv);
    if (waiting == 0 || rdzv->size >= rdzv->config.node_count)
        rdzv->door_ns = 0;
    else if (rdzv->size + waiting >= rdzv->config.node_count)
        rdzv->door_ns = now_ns;
    else if (rdzv->door_ns == 0)
        rdzv->door_ns = now_ns + rdzv->config.last_call_ns;
}

/* Where a node has finished the others are about to: nobody is let in any more. */
void elastic_tick(struct rdzv *rdzv, uint64_t now_ns)
{
    bool is_open = rdzv->door_ns > 0 && now_ns >= rdzv->door_ns;
    if (!is_open || rdzv->regrouping || rdzv->stop_wanted || rdzv->counts[RDZV_DONE] > 0)
        return;
    rdzv->regrouping = true;
    rdzv_request_drain(rdzv, MST_GATE_REGROUP, now_ns);
}

void elastic_tell_end(struct rdzv *rdzv, uint32_t node)
{
    if (rdzv_is_elastic(rdzv))
        rdzv->config.send(rdzv->config.arg, node, &rdzv->end);
}

static bool is_anyone_leaving(const struct rdzv *rdzv)
{
    for (uint32_t i = 0; i < rdzv->slot_count; i++) {
        if (rdzv->nodes[i].leaving)
            return true;
    }
    return false;
}

bool elastic_is_early(const struct rdzv *rdzv, const struct msg *msg, uint64_t now_ns)
{
    return msg->type == MSG_FORWARD && msg->action == MST_GATE_REGROUP &&
           now_ns < rdzv->start_ns + rdzv->config.last_call_ns && !is_anyone_leaving(rdzv);
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void let_go(struct rdzv *rdzv, uint32_t node)
{
    const struct msg end = {.type = MSG_END,
                            .rank = MST_PAGE_CAUSE_JOB,
                            .code = EXITCODE_DRAINED,
                            .end = (uint32_t)exitcode_end_of(EXITCODE_DRAINED)};
    rdzv->nodes[node].leaving = false;
    rdzv_set_phase(rdzv, node, RDZV_LEFT);
    rdzv->config.send(rdzv->config.arg, node, &end);
}

static uint32_t count_staying(const struct rdzv *rdzv)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rdzv->slot_count; i++)
        count += is_there(&rdzv->nodes[i]) && !rdzv->nodes[i].leaving;
    return count;
}

/* While nodes gather a node that goes takes nobody with it, and the others wait on. Of a generation
 * that ends the next to come is looked at when no rank is left. */
bool elastic_leave(struct rdzv *rdzv, uint32_t node, uint64_t now_ns)
{
    struct rdzv_node *leaver = &rdzv->nodes[node];
    if (!rdzv_is_elastic(rdzv) || node == 0)
        return false;
    if (rdzv->stop_wanted)
        return true; /* all leave already */
    leaver->leaving = true;
    if (leaver->phase == RDZV_READY && rdzv->state != RDZV_STOPPING)
        let_go(rdzv, node);
    else if (rdzv->state == RDZV_RUNNING && leaver->phase == RDZV_LIVE) {
        if (count_staying(rdzv) < rdzv->config.least_count)
            return false;
        rdzv->regrouping = true;
        rdzv_request_drain(rdzv, MST_GATE_REGROUP, now_ns);
        return true;
    }
    if (rdzv->state == RDZV_RUNNING)
        elastic_watch_door(rdzv, now_ns);
    return true;
}

void elastic_dismiss(struct rdzv *rdzv)
{
    for (uint32_t i = 0; i < rdzv->slot_count; i++) {
        if (rdzv->nodes[i].leaving && rdzv->nodes[i].phase == RDZV_READY)
            let_go(rdzv, i);
        rdzv->nodes[i].leaving = false;
    }
}

/* pure */
#include "muster/launcher/drain.h"

#include <assert.h>
#include <string.h>

#define MARGIN_MAX (UINT64_C(1) << 20)

void drain_init(struct drain *drain, uint32_t generation, uint32_t node_count, uint32_t *answered)
{
    *drain = (struct drain){.generation = generation,
                            .wanted = MST_GATE_CHECKPOINT,
                            .node_count = node_count,
                            .answered = answered,
                            .checkpoint_step = MST_PAGE_NO_STEP};
    memset(answered, 0, node_count * sizeof *answered);
}

static void new_round(struct drain *drain, enum drain_state state, enum msg_type type,
                      struct msg *ret_msg)
{
    drain->state = state;
    drain->round++;
    drain->answer_count = 0;
    drain->highest = MST_PAGE_NO_STEP;
    drain->lowest = MST_PAGE_NO_STEP;
    *ret_msg = (struct msg){.type = type,
                            .generation = drain->generation,
                            .round = drain->round,
                            .action = drain->action,
                            .step = type == MSG_PROPOSE ? drain->step : 0};
}

static bool query(struct drain *drain, enum mst_gate_action action, struct msg *ret_msg)
{
    drain->action = action;
    drain->margin = 1;
    new_round(drain, DRAIN_QUERYING, MSG_QUERY, ret_msg);
    return true;
}

static bool propose(struct drain *drain, struct msg *ret_msg)
{
    assert(drain->answer_count == drain->node_count && drain->highest != MST_PAGE_NO_STEP);
    drain->step = drain->highest + drain->margin;
    if (drain->margin < MARGIN_MAX)
        drain->margin *= 2;
    new_round(drain, DRAIN_PROPOSING, MSG_PROPOSE, ret_msg);
    return true;
}

static bool conclude(struct drain *drain, enum msg_type type, struct msg *ret_msg)
{
    assert(drain->answer_count == drain->node_count && drain->state != DRAIN_STOPPING);
    *ret_msg = (struct msg){.type = type,
                            .generation = drain->generation,
                            .action = drain->action,
                            .step = type == MSG_AGREED ? drain->step : 0};
    if (drain->action != MST_GATE_CHECKPOINT) {
        drain->state = DRAIN_STOPPING;
        return true;
    }
    if (type == MSG_AGREED)
        drain->checkpoint_step = drain->step;
    drain->state = drain->wanted != MST_GATE_CHECKPOINT ? DRAIN_SETTLING : DRAIN_IDLE;
    return true;
}

/* A gate holds one step. Until every rank has left the step of the last checkpoint, a new proposal
 * could take its verdict away from the ranks that come to it last. */
static bool is_settled(const struct drain *drain)
{
    return drain->checkpoint_step == MST_PAGE_NO_STEP || drain->lowest > drain->checkpoint_step;
}

static bool round_complete(struct drain *drain, struct msg *ret_msg)
{
    if (drain->state == DRAIN_PROPOSING) {
        bool passed = drain->highest != MST_PAGE_NO_STEP && drain->highest >= drain->step;
        return passed ? propose(drain, ret_msg) : conclude(drain, MSG_AGREED, ret_msg);
    }
    if (drain->highest == MST_PAGE_NO_STEP)
        return conclude(drain, MSG_FORWARD, ret_msg);
    if (!is_settled(drain)) {
        drain->state = DRAIN_SETTLING;
        return false;
    }
    return propose(drain, ret_msg);
}

bool drain_request(struct drain *drain, enum mst_gate_action action, struct msg *ret_msg)
{
    switch (drain->state) {
    case DRAIN_IDLE: return query(drain, action, ret_msg);
    case DRAIN_QUERYING:
    case DRAIN_PROPOSING:
    case DRAIN_SETTLING:
        if (drain->action == MST_GATE_REGROUP && action == MST_GATE_STOP)
            drain->action = action; /* the ranks, and this agreement, know one kind of stop */
        else if (drain->action == MST_GATE_CHECKPOINT && drain->wanted != MST_GATE_STOP &&
                 action != MST_GATE_CHECKPOINT)
            drain->wanted = action;
        return false;
    default: return false;
    }
}

bool drain_steps(struct drain *drain, uint32_t node, const struct msg *steps, struct msg *ret_msg)
{
    assert(node < drain->node_count);
    bool asked = drain->state == DRAIN_QUERYING || drain->state == DRAIN_PROPOSING;
    if (!asked || steps->generation != drain->generation || steps->round != drain->round ||
        drain->answered[node] == drain->round)
        return false;
    drain->answered[node] = drain->round;
    drain->answer_count++;
    assert(drain->answer_count <= drain->node_count);
    if (steps->step != MST_PAGE_NO_STEP &&
        (drain->highest == MST_PAGE_NO_STEP || steps->step > drain->highest))
        drain->highest = steps->step;
    if (steps->lowest_step < drain->lowest)
        drain->lowest = steps->lowest_step;
    return drain->answer_count == drain->node_count ? round_complete(drain, ret_msg) : false;
}

bool drain_tick(struct drain *drain, struct msg *ret_msg)
{
    if (drain->state != DRAIN_SETTLING)
        return false;
    bool is_stop = drain->wanted != MST_GATE_CHECKPOINT;
    enum mst_gate_action action = is_stop ? drain->wanted : drain->action;
    drain->wanted = MST_GATE_CHECKPOINT;
    return query(drain, action, ret_msg);
}

void drain_withdraw(struct drain *drain)
{
    assert(drain->state == DRAIN_STOPPING && drain->action == MST_GATE_REGROUP);
    drain->state = DRAIN_IDLE;
}

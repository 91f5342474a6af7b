/* What the coordinator says, and what the node does about it. */
#include "muster/launcher/exitcode.h"
#include "muster/launcher/link.h"
#include "muster/launcher/log.h"
#include "muster/launcher/node.h"
#include "muster/launcher/node_own.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/place.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void answer_steps(struct node *node, uint32_t round)
{
    struct msg msg = {.type = MSG_STEPS, .round = round};
    ranks_steps(&node->ranks, &msg.step, &msg.lowest_step);
    node_send(node, msg);
}

static void set_gate(struct node *node, enum mst_gate_state state, const struct msg *msg)
{
    bool is_stop = msg->action != MST_GATE_CHECKPOINT; /* to a rank they are one */
    const struct mst_gate gate = {state, is_stop ? MST_GATE_STOP : MST_GATE_CHECKPOINT, msg->step};
    mst_page_gate_set(node->ranks.page, gate);
}

static void on_agreed(struct node *node, const struct msg *msg)
{
    set_gate(node, MST_GATE_AGREED, msg);
    if (msg->action != MST_GATE_CHECKPOINT)
        node->stop_step = msg->step;
    log_line(LOG_INFO,
             msg->action == MST_GATE_STOP      ? "all ranks stop"
             : msg->action == MST_GATE_REGROUP ? "all ranks stop, for a world of other nodes"
                                               : "all ranks save",
             " step=%llu", (unsigned long long)msg->step);
}

static void on_forward(struct node *node, const struct msg *msg)
{
    if (msg->action == MST_GATE_CHECKPOINT) {
        log_line(LOG_WARN, "no checkpoint: no rank has called mst_job_step yet", NULL);
        return;
    }
    node->forwarded = true;
    log_line(LOG_INFO, "no rank counts steps: SIGTERM goes to the ranks", NULL);
    ranks_terminate(&node->ranks, node->opts->term == OPTS_TERM_AGENT);
}

static void on_drain_message(struct node *node, const struct msg *msg)
{
    if (msg->action == MST_GATE_STOP)
        node_start_grace(node);
    if (msg->type == MSG_QUERY)
        node->past_end = msg->end == EXITCODE_END_DEADLINE;
    switch (msg->type) {
    case MSG_QUERY: answer_steps(node, msg->round); break;
    case MSG_PROPOSE:
        set_gate(node, MST_GATE_PROPOSED, msg);
        answer_steps(node, msg->round);
        break;
    case MSG_AGREED: on_agreed(node, msg); break;
    default: on_forward(node, msg); break;
    }
}

static void on_start(struct node *node, const struct msg *msg)
{
    if (msg->node_count <= node->index) {
        link_break(node->link, "it counts no such node as this one");
        return;
    }
    if (msg->world_size < msg->local_size || msg->rank > msg->world_size - msg->local_size) {
        link_break(node->link, "it counts fewer ranks than it gives this node");
        return;
    }
    if (node->super.state == SUPER_IDLE) {
        if (node->opts->node_rank == 0 && place_slots(node->opts) > 1)
            (void)mst_sock_join(msg->host, node->kv_port, node->kv_addr,
                                sizeof node->kv_addr); /* it fits */
        if (msg->grace_ms < node->opts->grace_ms && msg->grace_ms != node->start.grace_ms)
            log_line(LOG_INFO, "another node has less time to drain: all keep to it",
                     " grace_ms=%u ours_ms=%u", msg->grace_ms, node->opts->grace_ms);
        bool is_first = node->start.job_nonce == 0;
        if (is_first && node->opts->answer->plan.max_restarts >= 0 &&
            msg->max_restarts != node->opts->max_restarts)
            log_line(LOG_WARN, "node 0's --max-restarts counts", " of_node_0=%u ours=%u",
                     msg->max_restarts, node->opts->max_restarts);
        node->start = *msg;
        link_know_nonce(node->link, msg->job_nonce);
    }
    log_who("agent", node->opts->node_rank, node->start.generation);
    node_feed(node, SUPER_START);
}

/* What the rank's node says of its death, else what its code does. */
static void remember_cause(struct node *node, const struct msg *msg)
{
    node->cause_rank = msg->rank;
    node->cause_text[0] = '\0';
    if (msg->text[0])
        memcpy(node->cause_text, msg->text, sizeof node->cause_text);
    else if (msg->rank != MST_PAGE_CAUSE_JOB)
        exitcode_describe_rank((int)msg->code, node->cause_text, sizeof node->cause_text);
}

/* Of a world whose nodes come and go. */
static void on_seat(struct node *node, const struct msg *msg)
{
    bool is_outside = msg->rank == MST_PAGE_CAUSE_JOB;
    if (is_outside && !node->outside)
        log_line(LOG_INFO, "the job runs: this node waits until it is let in",
                 " running=%u present=%u", msg->node_count, msg->present);
    node->outside = is_outside;
    node->present = msg->present;
    if (!is_outside)
        node->index = msg->rank;
}

static void on_abort(struct node *node, const struct msg *msg)
{
    remember_cause(node, msg);
    if (msg->rank == MST_PAGE_CAUSE_JOB && msg->code == EXITCODE_OK)
        log_line(LOG_INFO, "generation ends: nodes come or go", NULL);
    else if (msg->rank == MST_PAGE_CAUSE_JOB && msg->code == EXITCODE_DRAINED)
        log_line(LOG_WARN, "generation ends: a node has no more time to drain", NULL);
    else if (msg->rank == MST_PAGE_CAUSE_JOB)
        log_line(LOG_WARN, "generation ends: a node was lost", NULL);
    else if (!node->failed)
        log_line(LOG_WARN, "generation ends: a rank of another node died", " died=%u what=%s",
                 msg->rank, log_quote(node->cause_text).text);
    node_feed(node, SUPER_ABORT);
}

static void on_refused(struct node *node, const struct msg *msg)
{
    log_line(LOG_ERROR, "cannot join node 0", " because=%s", log_quote(msg->text).text);
    memcpy(node->end_text, msg->text, sizeof node->end_text);
    node->exit_code = (int)msg->code;
    node_feed(node, SUPER_END);
}

static void on_end(struct node *node, const struct msg *msg)
{
    if (node->over) /* it has left before the others end */
        return;
    node->cause_rank = msg->rank;
    node->exit_code = (int)msg->code;
    node->end = (enum exitcode_end)msg->end;
    node->end_told = true;
    memcpy(node->end_text, msg->text, sizeof node->end_text);
    node_feed(node, SUPER_END);
}

void node_message(struct node *node, const struct msg *msg)
{
    bool current = node->ranks.page && msg->generation == node->start.generation;
    log_line(LOG_DEBUG, "message of node 0", " type=%s generation=%u", msg_name(msg->type),
             msg->generation);
    switch (msg->type) {
    case MSG_START: on_start(node, msg); return;
    case MSG_ABORT:
        if (msg->generation == node->start.generation)
            on_abort(node, msg);
        return;
    case MSG_END: on_end(node, msg); return;
    case MSG_SEAT: on_seat(node, msg); return;
    case MSG_REFUSED: on_refused(node, msg); return;
    case MSG_QUERY:
    case MSG_PROPOSE:
    case MSG_AGREED:
    case MSG_FORWARD:
        if (current)
            on_drain_message(node, msg);
        return;
    default: log_line(LOG_WARN, "strange message", " type=%s", msg_name(msg->type)); return;
    }
}

void node_link_lost(struct node *node)
{
    if (node->over || node->super.ending)
        return;
    node->exit_code = node->stopping ? node_drained_code(node) : EXITCODE_RENDEZVOUS;
    log_line(LOG_ERROR, "node 0 is lost: stopping all ranks", " exit=%d because=%s",
             node->exit_code, log_quote(node->link->why.text).text);
    if (!node->failed && !node->stopping) { /* else that is why */
        node->cause_rank = MST_PAGE_CAUSE_JOB;
        snprintf(node->end_text, sizeof node->end_text, "node 0 is lost: %s",
                 node->link->why.text); /* may be cut */
    }
    node_feed(node, SUPER_LINK_LOST);
}

/* What a node sees of its ranks while they run, and while they are to leave: whom a collective
 * waits for, what was not saved, whom the kernel killed, who hangs in it. */
#include "muster/core/clock.h"
#include "muster/launcher/log.h"
#include "muster/launcher/node.h"
#include "muster/launcher/node_own.h"

#include <stdbool.h>
#include <stdint.h>

static void tell_late(const struct late_report *report)
{
    log_line(LOG_WARN, "a collective waits",
             " coll=%s communicator=%u op=%llu waits_s=%u here=%u for=%s", report->coll,
             report->comm_id, (unsigned long long)report->seq, report->wait_s, report->here,
             report->who[0] ? log_quote(report->who).text : "?");
}

/* A program that trains on says why a save failed; that none is committed any more is the job's. */
static void tell_lost_save(struct node *node)
{
    uint32_t rank;
    uint64_t step = ranks_lost_step(&node->ranks, &rank);
    bool is_lost = step != MST_PAGE_NO_STEP, was_lost = node->told_lost;
    node->told_lost = is_lost;
    if (is_lost && !was_lost)
        log_line(LOG_WARN, "the last save is lost: the checkpoint before it is the last on disk",
                 " lost_step=%llu of_rank=%u", (unsigned long long)step, rank);
    if (was_lost && !is_lost && node->ranks.alive > 0)
        log_line(LOG_INFO, "saves are committed again", NULL);
}

/* Whom the kernel kills may be a process that a rank has started. */
static void look_for_kills(struct node *node, uint64_t now_ns)
{
    pid_t pids[MST_PAGE_RANKS_MAX];
    uint32_t count = ranks_pids(&node->ranks, pids);
    uint64_t kills = oom_look(&node->oom, pids, count, now_ns);
    if (kills > 0)
        log_line(LOG_WARN, "the kernel has killed processes here for want of memory", " kills=%llu",
                 (unsigned long long)kills);
}

static void look_at_ranks(struct node *node, uint64_t now_ns)
{
    struct late_report report;
    look_for_kills(node, now_ns);
    if (late_look(&node->late, &node->ranks, now_ns, &report))
        tell_late(&report);
    tell_lost_save(node);
}

static void look_for_hung(struct node *node, uint64_t now_ns)
{
    bool are_told = node->super.state != SUPER_RUNNING || node_is_draining(node);
    if (node->ranks.alive == 0 || !are_told) {
        node->hung.look_ns = MST_NEVER;
        return;
    }
    hung_expect(&node->hung, now_ns);
    if (now_ns >= node->hung.look_ns)
        hung_look(&node->hung, &node->ranks, now_ns);
}

void node_look(struct node *node, uint64_t now_ns)
{
    if (now_ns >= node->late.look_ns)
        look_at_ranks(node, now_ns);
    look_for_hung(node, now_ns);
}

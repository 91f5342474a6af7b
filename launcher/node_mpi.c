/* Node_mpi: what the agent does for ranks of MPI, and sees of them. */
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/log.h"
#include "muster/launcher/node_own.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/outlog.h"

#include <errno.h>

/* ---- which MPI they load --------------------------------------------------------------------- */

static enum mpi_family served_by(enum opts_mpi mpi)
{
    return mpi == OPTS_MPI_PMI1   ? MPI_FAMILY_MPICH
           : mpi == OPTS_MPI_PMIX ? MPI_FAMILY_OPEN
                                  : MPI_FAMILY_NONE;
}

/* One warning is enough for a job. */
void node_watch_mpi(struct node *node, uint64_t now_ns)
{
    const struct msg *start = &node->start;
    if (node->opts->node_rank == 0 && start->world_size > 1 && node->opts->mpi != OPTS_MPI_NONE)
        mpi_watch_start(&node->mpi, served_by(node->opts->mpi), now_ns);
}

static void look_for_mpi(struct node *node, uint64_t now_ns)
{
    pid_t pids[MST_PAGE_RANKS_MAX];
    uint32_t count = ranks_pids(&node->ranks, pids);
    mpi_watch_look(&node->mpi, pids, count, now_ns);
}

/* To it its ranks are alone, and they use it. */
static void end_for_other_mpi(struct node *node, const struct mpi_finding *finding)
{
    uint32_t rank = node->ranks.first_rank + finding->local_rank;
    log_line(LOG_ERROR,
             node->mpi.served == MPI_FAMILY_NONE
                 ? "a rank uses an MPI by mpi4py, which nobody connects, and would be alone"
                 : "a rank has loaded an MPI other than the one that --mpi connects, and would be "
                   "alone",
             " loaded_by=%u library=%s next=\"%s, or with --mpi=none\"", rank,
             log_quote(finding->library).text, mpi_way(finding->library));
    node_remember_failure(node, rank, EXITCODE_CONFIG, NULL);
    node_feed(node, SUPER_RANK_BAD);
}

/* That they use it is what --mpi says, or the program's own libraries; or mpi4py. */
void node_read_look(struct node *node)
{
    struct mpi_finding finding;
    if (!mpi_watch_take(&node->mpi, &finding))
        return;
    bool is_told = node->mpi.served != MPI_FAMILY_NONE && !node->opts->mpi_is_guessed;
    if (!is_told && !finding.by_mpi4py)
        log_line(LOG_WARN,
                 "a rank has loaded an MPI, to which each rank is alone: if the program uses that, "
                 "start it otherwise, else --mpi=none keeps this silent",
                 " loaded_by=%u library=%s next=\"%s, or with --mpi=none\"",
                 node->ranks.first_rank + finding.local_rank, log_quote(finding.library).text,
                 mpi_way(finding.library));
    else if (node->ranks.alive > 0)
        end_for_other_mpi(node, &finding);
}

/* ---- who serves it --------------------------------------------------------------------------- */

/* What a rank's death has told is told, and what is ending is not ended once more. Who aborts the
 * job may take it that the call ends him. */
static void act_on(struct node *node, const struct pmi_failure *why)
{
    bool is_late = why->err.code == -EAGAIN;
    if (node->failed || node->ranks.alive == 0 || node->super.state != SUPER_RUNNING)
        return;
    log_line(is_late ? LOG_WARN : LOG_ERROR,
             is_late ? "ranks of MPI wait" : "ranks of MPI cannot go on", " of_rank=%u because=%s",
             why->rank, log_quote(why->err.text).text);
    if (is_late)
        return;
    outlog_remember(node->outlog, why->rank);
    node_remember_failure(node, why->rank, why->exit_code, NULL);
    ranks_kill(&node->ranks, why->rank);
    node_feed(node, SUPER_RANK_BAD);
}

void node_read_pmi(struct node *node)
{
    struct pmi_failure why;
    if (pmi_take(&node->ranks.pmi, &why))
        act_on(node, &why);
}

/* ---- time ------------------------------------------------------------------------------------ */

void node_tick_mpi(struct node *node, uint64_t now_ns)
{
    struct pmi_failure why;
    struct pmi *pmi = &node->ranks.pmi;
    if (now_ns >= node->mpi.wake_ns)
        look_for_mpi(node, now_ns);
    if (pmi->fd < 0 || now_ns < pmi->look_ns)
        return;
    node_read_pmi(node); /* what has come is heard first */
    if (pmi_look(pmi, now_ns, &why))
        act_on(node, &why);
}

uint64_t node_mpi_wake_ns(const struct node *node)
{
    const struct pmi *pmi = &node->ranks.pmi;
    return pmi->fd >= 0 && pmi->look_ns < node->mpi.wake_ns ? pmi->look_ns : node->mpi.wake_ns;
}

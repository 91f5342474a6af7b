/* MASTER_ADDR and what stands beside it when no operator is known: PyTorchJob before 1.4 and PAI
 * DLC count nodes by RANK and WORLD_SIZE; scripts say NNODES and NODE_RANK, or NODE_RANK with a
 * WORLD_SIZE of ranks, as Lightning does. Other operators use the same names with another
 * meaning, so their own families read them. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>

static int read_rank(struct mst_plan *plan, struct mst_err *err)
{
    long long rank = plan->rank, node_rank = plan->node_rank;
    plan->rank = MST_UNKNOWN;
    if (node_rank >= 0 && rank >= 0 && rank != node_rank)
        return mst_err_set(err, -EINVAL,
                           "RANK=%lld but NODE_RANK=%lld, and no LOCAL_RANK: unset RANK, or set "
                           "what a rank has, LOCAL_RANK and WORLD_SIZE, too",
                           rank, node_rank);
    if (node_rank < 0)
        plan->node_rank = rank;
    bool counts_nodes = plan->node_count < 0 && plan->elastic_min < 0 && plan->loose_count > 0;
    if (counts_nodes && rank < 0 && node_rank >= 0) {
        plan->world_size = plan->loose_count;
        plan->loose_count = MST_UNKNOWN;
    } else if (counts_nodes && plan->node_rank >= plan->loose_count) {
        plan->node_rank = MST_UNKNOWN;
        return mst_err_set(err, -EINVAL,
                           "RANK=%lld is not below WORLD_SIZE=%lld: correct one of them", rank,
                           (long long)plan->loose_count);
    }
    return 0;
}

int resolve_bare(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    (void)machine; /* the row has read all of it */
    if (plan->node_rank >= 0 || plan->rank >= 0)
        resolve_role(plan, plan->node_rank > 0 || plan->rank > 0 ? "worker" : "master");
    int rc = read_rank(plan, err);
    if (plan->loose_count > 0 && plan->node_rank >= 0)
        plan->mode = MST_PLAN_SPAWN;
    if (plan->world_size > 0)
        plan->mode = MST_PLAN_SPAWN;
    return rc < 0 ? rc : 1;
}

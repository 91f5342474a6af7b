/* XGBoostJob: the names of PyTorchJob, told apart by WORKER_ADDRS. Here RANK and WORLD_SIZE are the
 * process's, one per pod, and the master trains too. */
/* pure */
#include "muster/core/resolve/parser.h"

int resolve_xgboost(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NUMBER("WORLD_SIZE", node_count, 1, RESOLVE_NODES_MAX, true),
        RESOLVE_NUMBER("RANK", node_rank, 0, RESOLVE_NODES_MAX, true),
        RESOLVE_MASTER_PORT("MASTER_PORT"),
    };
    if (!resolve_is_set(machine, "WORKER_ADDRS") || resolve_is_set(machine, "PET_NNODES"))
        return 0;
    plan->mode = MST_PLAN_SPAWN;
    plan->local_size = 1;
    plan->default_port = RESOLVE_PORT;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc < 0)
        return rc;
    resolve_role(plan, plan->node_rank == 0 ? "master" : "worker");
    rc = resolve_master(machine, "MASTER_ADDR", plan, err);
    return rc < 0 ? rc : 1;
}

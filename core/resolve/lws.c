/* LeaderWorkerSet: one world per group, the leader is node 0. */
/* pure */
#include "muster/core/resolve/parser.h"

int resolve_lws(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NUMBER("LWS_GROUP_SIZE", node_count, 1, RESOLVE_NODES_MAX, true),
        RESOLVE_NUMBER("LWS_WORKER_INDEX", node_rank, 0, RESOLVE_NODES_MAX, true),
    };
    if (!resolve_is_set(machine, "LWS_GROUP_SIZE") &&
        !resolve_is_set(machine, "LWS_LEADER_ADDRESS"))
        return 0;
    plan->mode = MST_PLAN_SPAWN;
    plan->default_port = RESOLVE_PORT;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc < 0)
        return rc;
    resolve_role(plan, plan->node_rank == 0 ? "leader" : "worker");
    rc = resolve_master(machine, "LWS_LEADER_ADDRESS", plan, err);
    return rc < 0 ? rc : 1;
}

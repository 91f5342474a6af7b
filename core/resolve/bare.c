/* MASTER_ADDR, WORLD_SIZE and RANK alone: PyTorchJob before 1.4 and hand-written manifests. They
 * count nodes. Other operators use the same names with another meaning, so their own parsers read
 * them. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>

static bool belongs_to_another(const struct mst_machine *machine)
{
    static const char *const owners[] = {
        "PET_NNODES",    "PET_RDZV_ENDPOINT", "WORKER_ADDRS", "DLROVER_MASTER_ADDR",
        "VC_TASK_INDEX", "VK_TASK_INDEX",     "LOCAL_RANK"};
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++) {
        if (resolve_is_set(machine, owners[i]))
            return true;
    }
    return false;
}

int resolve_bare(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NUMBER("WORLD_SIZE", loose_count, 1, RESOLVE_RANKS_MAX, false),
        RESOLVE_NUMBER("RANK", node_rank, 0, RESOLVE_RANKS_MAX, false),
        RESOLVE_MASTER_PORT("MASTER_PORT"),
    };
    if (belongs_to_another(machine) ||
        (!resolve_is_set(machine, "MASTER_ADDR") && !resolve_is_set(machine, "WORLD_SIZE") &&
         !resolve_is_set(machine, "RANK")))
        return 0;
    plan->default_port = RESOLVE_PORT;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc < 0)
        return rc;
    if (plan->loose_count > 0 && plan->node_rank >= 0) {
        plan->mode = MST_PLAN_SPAWN;
        resolve_role(plan, plan->node_rank == 0 ? "master" : "worker");
    }
    if (plan->loose_count > 0 && plan->node_rank >= plan->loose_count) {
        long long rank = plan->node_rank;
        plan->node_rank = MST_UNKNOWN;
        return mst_err_set(err, -EINVAL,
                           "RANK=%lld is not below WORLD_SIZE=%lld: correct one of them", rank,
                           (long long)plan->loose_count);
    }
    rc = resolve_master(machine, "MASTER_ADDR", plan, err);
    return rc < 0 ? rc : 1;
}

/* TrainJob (XGBoost) and the rabit tracker. DMLC_TASK_ID counts nodes and DMLC_NUM_WORKER
 * processes, so the number of nodes is the second over the ranks of one node. */
/* pure */
#include "muster/core/resolve/parser.h"

int resolve_dmlc(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_WORLD("DMLC_NUM_WORKER"),
        RESOLVE_NODE("DMLC_TASK_ID"),
        RESOLVE_MASTER_PORT("DMLC_TRACKER_PORT"),
    };
    if (!resolve_is_set(machine, "DMLC_TRACKER_URI"))
        return 0;
    plan->mode = MST_PLAN_SPAWN;
    plan->default_port = RESOLVE_PORT;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc == 0)
        rc = resolve_master(machine, "DMLC_TRACKER_URI", plan, err);
    return rc < 0 ? rc : 1;
}

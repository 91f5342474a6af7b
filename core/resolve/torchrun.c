/* Ranks started by torchrun, or by a launcher that sets its variables (DeepSpeed). A second launch
 * inside of a rank would start local_size² of them, so LOCAL_RANK always means "a rank". */
/* pure */
#include "muster/core/resolve/parser.h"

#include <string.h>

int resolve_torchrun(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_RANK("RANK"),
        RESOLVE_WORLD("WORLD_SIZE"),
        RESOLVE_LOCAL_RANK("LOCAL_RANK"),
        RESOLVE_LOCAL_SIZE("LOCAL_SIZE"),
        RESOLVE_LOCAL_SIZE("LOCAL_WORLD_SIZE"),
        RESOLVE_NODE("GROUP_RANK"),
        RESOLVE_NODE_COUNT("GROUP_WORLD_SIZE"),
        RESOLVE_MASTER_PORT("MASTER_PORT"),
        RESOLVE_NUMBER("TORCHELASTIC_RESTART_COUNT", incarnation, 0, INT32_MAX, false),
        RESOLVE_NUMBER("TORCHELASTIC_MAX_RESTARTS", max_restarts, 0, INT32_MAX, false),
    };
    const char *run_id = resolve_text(machine, "TORCHELASTIC_RUN_ID");
    if (!resolve_text(machine, "LOCAL_RANK") ||
        (!resolve_text(machine, "RANK") && !resolve_text(machine, "WORLD_SIZE")))
        return 0;
    plan->mode = MST_PLAN_RANK;
    plan->default_port = RESOLVE_PORT;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc == 0 && run_id)
        rc = resolve_copy(plan->rdzv_id, sizeof plan->rdzv_id, "TORCHELASTIC_RUN_ID", run_id,
                          strlen(run_id), err);
    if (rc == 0)
        rc = resolve_master(machine, "MASTER_ADDR", plan, err);
    return rc < 0 ? rc : 1;
}

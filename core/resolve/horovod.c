/* Ranks started by horovodrun. */
/* pure */
#include "muster/core/resolve/parser.h"

int resolve_horovod(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_RANK("HOROVOD_RANK"),
        RESOLVE_WORLD("HOROVOD_SIZE"),
        RESOLVE_LOCAL_RANK("HOROVOD_LOCAL_RANK"),
        RESOLVE_LOCAL_SIZE("HOROVOD_LOCAL_SIZE"),
        RESOLVE_NODE("HOROVOD_CROSS_RANK"),
        RESOLVE_NODE_COUNT("HOROVOD_CROSS_SIZE"),
        RESOLVE_MASTER_PORT("HOROVOD_GLOO_RENDEZVOUS_PORT"),
    };
    if (!resolve_text(machine, "HOROVOD_RANK"))
        return 0;
    plan->mode = MST_PLAN_RANK;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc == 0)
        rc = resolve_master(machine, "HOROVOD_GLOO_RENDEZVOUS_ADDR", plan, err);
    return rc < 0 ? rc : 1;
}

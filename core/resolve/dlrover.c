/* DLRover's ElasticJob: NODE_RANK survives a relaunch, NODE_ID does not; RANK and WORLD_SIZE count
 * nodes. Its master is a service of its own, which tells the nodes about one another. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <string.h>

static int read_role(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *type = resolve_text(machine, "NODE_TYPE");
    plan->mode = MST_PLAN_SPAWN;
    if (!type)
        return 0;
    if (strcmp(type, "worker") != 0 && strcmp(type, "chief") != 0 && strcmp(type, "master") != 0)
        plan->mode = MST_PLAN_NO_COLLECTIVE;
    return resolve_copy(plan->role, sizeof plan->role, "NODE_TYPE", type, strlen(type), err);
}

int resolve_dlrover(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NODE("RANK"),
        RESOLVE_NODE("NODE_RANK"),
        RESOLVE_NODE_COUNT("WORLD_SIZE"),
        RESOLVE_NODE_COUNT("NODE_NUM"),
    };
    if (!resolve_is_set(machine, "DLROVER_MASTER_ADDR"))
        return 0;
    int rc = read_role(machine, plan, err);
    if (rc == 0)
        rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc == 0)
        rc = resolve_endpoint(machine, "DLROVER_MASTER_ADDR", plan, err);
    if (rc < 0)
        return rc;
    if (plan->mode == MST_PLAN_NO_COLLECTIVE)
        plan->node_rank = MST_UNKNOWN;
    return 1;
}

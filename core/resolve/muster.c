/* Our own words: what a rank of `muster run` was given, and what a manifest may say when its
 * operator does not. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <string.h>

int resolve_single(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *world = resolve_text(machine, "MST_WORLD");
    if (!world)
        return 0;
    if (strcmp(world, "single") != 0)
        return mst_err_set(err, -EINVAL, "MST_WORLD=%.40s: it may be single, or unset", world);
    plan->mode = MST_PLAN_SPAWN;
    plan->world_size = plan->node_count = plan->local_size = 1;
    plan->node_rank = 0;
    return 1;
}

int resolve_muster_rank(const struct mst_machine *machine, struct mst_plan *plan,
                        struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_RANK("MST_RANK"),
        RESOLVE_WORLD("MST_WORLD_SIZE"),
        RESOLVE_LOCAL_RANK("MST_LOCAL_RANK"),
        RESOLVE_LOCAL_SIZE("MST_LOCAL_SIZE"),
        RESOLVE_NODE("MST_NODE"),
        RESOLVE_NODE_COUNT("MST_NODE_COUNT"),
        RESOLVE_NUMBER("MST_GENERATION", incarnation, 0, INT32_MAX, false),
    };
    if (!resolve_text(machine, "MST_RANK"))
        return 0;
    plan->mode = MST_PLAN_RANK;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    return rc < 0 ? rc : 1;
}

int resolve_muster(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NODE("MST_NODE_RANK"),
        RESOLVE_MASTER_PORT("MST_MASTER_PORT"),
    };
    int nodes = resolve_nodes(machine, "MST_NNODES", plan, err);
    if (nodes < 0)
        return nodes;
    if (nodes > 0)
        plan->mode = MST_PLAN_SPAWN;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc == 0)
        rc = resolve_local_size(machine, "MST_NPROC_PER_NODE", plan, err);
    if (rc == 0)
        rc = resolve_master(machine, "MST_MASTER_ADDR", plan, err);
    if (rc < 0)
        return rc;
    if (rc > 0)
        plan->default_port = RESOLVE_PORT;
    return nodes || rc || plan->node_rank >= 0 || plan->master_port >= 0 || plan->local_size >= 0;
}

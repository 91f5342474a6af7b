/* JAX: JAXJob (COORDINATOR_*, NUM_PROCESSES) and TrainJob (JAX_*). One process drives all devices
 * of its pod. */
/* pure */
#include "muster/core/resolve/parser.h"

static int read_jaxjob(const struct mst_machine *machine, struct mst_plan *plan,
                       struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NUMBER("NUM_PROCESSES", node_count, 1, RESOLVE_NODES_MAX, true),
        RESOLVE_NUMBER("PROCESS_ID", node_rank, 0, RESOLVE_NODES_MAX, true),
        RESOLVE_NUMBER("COORDINATOR_PORT", master_port, 1, UINT16_MAX, true),
    };
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    return rc ? rc : resolve_master(machine, "COORDINATOR_ADDRESS", plan, err);
}

static int read_trainjob(const struct mst_machine *machine, struct mst_plan *plan,
                         struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NUMBER("JAX_NUM_PROCESSES", node_count, 1, RESOLVE_NODES_MAX, true),
        RESOLVE_NUMBER("JAX_PROCESS_ID", node_rank, 0, RESOLVE_NODES_MAX, true),
    };
    plan->scheduler = "TrainJob (JAX)";
    plan->default_port = RESOLVE_PORT;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    return rc ? rc : resolve_endpoint(machine, "JAX_COORDINATOR_ADDRESS", plan, err);
}

int resolve_jax(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    bool is_trainjob = resolve_is_set(machine, "JAX_NUM_PROCESSES") ||
                       resolve_is_set(machine, "JAX_COORDINATOR_ADDRESS");
    if (!is_trainjob && !resolve_is_set(machine, "COORDINATOR_ADDRESS") &&
        (!resolve_is_set(machine, "NUM_PROCESSES") || !resolve_is_set(machine, "PROCESS_ID")))
        return 0;
    plan->mode = MST_PLAN_SPAWN;
    plan->local_size = 1;
    int rc = is_trainjob ? read_trainjob(machine, plan, err) : read_jaxjob(machine, plan, err);
    return rc < 0 ? rc : 1;
}

/* Ranks started by Open MPI's mpirun or under another PMIx server. OMPI_COMM_WORLD_NODE_RANK counts
 * the processes of this node over all jobs; it is no index of the node, and is not read. */
/* pure */
#include "core/resolve_parser.h"

int resolve_ompi(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number open_mpi[] = {
        RESOLVE_RANK("OMPI_COMM_WORLD_RANK"),
        RESOLVE_WORLD("OMPI_COMM_WORLD_SIZE"),
        RESOLVE_LOCAL_RANK("OMPI_COMM_WORLD_LOCAL_RANK"),
        RESOLVE_LOCAL_SIZE("OMPI_COMM_WORLD_LOCAL_SIZE"),
    };
    static const struct resolve_number pmix[] = {RESOLVE_RANK("PMIX_RANK")};

    plan->mode = MST_PLAN_RANK;
    if (resolve_text(machine, "OMPI_COMM_WORLD_RANK")) {
        int result = resolve_numbers(machine, open_mpi, RESOLVE_COUNT(open_mpi), plan, err);
        return result < 0 ? result : 1;
    }
    if (!resolve_text(machine, "PMIX_RANK"))
        return 0;
    plan->scheduler = "PMIx";
    int result = resolve_numbers(machine, pmix, RESOLVE_COUNT(pmix), plan, err);
    return result < 0 ? result : 1;
}

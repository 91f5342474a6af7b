/* Ranks started by Open MPI's mpirun or under another PMIx server. OMPI_COMM_WORLD_NODE_RANK counts
 * the processes of this node over all jobs; it is no index of the node, and is not read. PMIx alone
 * tells a rank the size of its world only when asked. */
/* pure */
#include "muster/core/resolve/parser.h"

int resolve_ompi(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number open_mpi[] = {
        RESOLVE_RANK("OMPI_COMM_WORLD_RANK"),
        RESOLVE_WORLD("OMPI_COMM_WORLD_SIZE"),
        RESOLVE_LOCAL_RANK("OMPI_COMM_WORLD_LOCAL_RANK"),
        RESOLVE_LOCAL_SIZE("OMPI_COMM_WORLD_LOCAL_SIZE"),
    };
    static const struct resolve_number pmix[] = {RESOLVE_RANK("PMIX_RANK")};
    bool is_open_mpi = resolve_is_set(machine, "OMPI_COMM_WORLD_RANK");
    if (!is_open_mpi && !resolve_text(machine, "PMIX_RANK"))
        return 0;
    plan->mode = MST_PLAN_RANK;
    if (!is_open_mpi)
        plan->scheduler = "PMIx";
    int rc = is_open_mpi ? resolve_numbers(machine, open_mpi, RESOLVE_COUNT(open_mpi), plan, err)
                         : resolve_numbers(machine, pmix, RESOLVE_COUNT(pmix), plan, err);
    if (rc == 0)
        rc = resolve_user_master(machine, plan, err);
    return rc < 0 ? rc : 1;
}

/* Ranks started by Hydra (MPICH, Intel MPI, MVAPICH). With PMI_PORT a rank is told its number only
 * as PMI_ID and asks the server for the rest. */
/* pure */
#include "muster/core/resolve/parser.h"

int resolve_pmi1(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number by_rank[] = {
        RESOLVE_RANK("PMI_RANK"),
        RESOLVE_NUMBER("PMI_SIZE", world_size, 1, RESOLVE_RANKS_MAX, false),
        RESOLVE_LOCAL_RANK("MPI_LOCALRANKID"),
        RESOLVE_LOCAL_SIZE("MPI_LOCALNRANKS"),
    };
    static const struct resolve_number by_id[] = {
        RESOLVE_RANK("PMI_ID"),
        RESOLVE_NUMBER("PMI_SIZE", world_size, 1, RESOLVE_RANKS_MAX, false),
        RESOLVE_LOCAL_RANK("MPI_LOCALRANKID"),
        RESOLVE_LOCAL_SIZE("MPI_LOCALNRANKS"),
    };
    const struct resolve_number *numbers = by_rank;
    if (!resolve_text(machine, "PMI_RANK")) {
        if (!resolve_text(machine, "PMI_FD") && !resolve_text(machine, "PMI_PORT"))
            return 0;
        numbers = by_id;
    }
    plan->mode = MST_PLAN_RANK;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(by_rank), plan, err);
    if (rc == 0)
        rc = resolve_user_master(machine, plan, err);
    return rc < 0 ? rc : 1;
}

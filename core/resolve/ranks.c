/* Ranks and tasks whose numbers a row of the table does not tell. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A second launch inside of a rank would start local_size² of them, so LOCAL_RANK always means "a
 * rank". With --virtual-local-rank it is 0 for all of a node, each of which sees one GPU. */
static void undo_virtual_rank(const struct mst_machine *machine, struct mst_plan *plan)
{
    const char *gpus = resolve_text(machine, "CUDA_VISIBLE_DEVICES");
    int64_t local_rank = plan->rank - plan->node_rank * plan->local_size;
    if (plan->local_rank != 0 || !gpus || strchr(gpus, ',') || plan->node_rank < 0 ||
        plan->local_size < 1 || plan->node_count * plan->local_size != plan->world_size)
        return;
    if (local_rank >= 0 && local_rank < plan->local_size)
        plan->local_rank = local_rank;
}

int resolve_torchrun(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *run_id = resolve_text(machine, "TORCHELASTIC_RUN_ID");
    undo_virtual_rank(machine, plan);
    int rc = run_id ? resolve_copy(plan->rdzv_id, sizeof plan->rdzv_id, "TORCHELASTIC_RUN_ID",
                                   run_id, strlen(run_id), err)
                    : 0;
    return rc < 0 ? rc : 1;
}

/* True if the scheduler's own task has this rank in a world of this size. */
static bool is_task(const struct mst_machine *machine, const char *rank_name, const char *size_name,
                    const struct mst_plan *plan)
{
    int64_t rank = MST_UNKNOWN, size = plan->world_size;
    return resolve_number(machine, rank_name, 0, RESOLVE_RANKS_MAX, &rank, NULL) > 0 &&
           rank == plan->rank &&
           (size < 0 ||
            (resolve_number(machine, size_name, 1, RESOLVE_RANKS_MAX, &size, NULL) > 0 &&
             size == plan->world_size));
}

/* srun --mpi and Flux give PMI or PMIx to every task, be it a rank or the one agent of its node:
 * then what the scheduler says of the task counts. mpiexec in such a task makes ranks of its
 * own. */
int resolve_step_pmi(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    (void)err; /* nothing here can be wrong */
    if (resolve_is_set(machine, "MPI_LOCALNRANKS"))
        return 1;
    bool is_slurm = resolve_text(machine, "SLURM_STEP_ID") &&
                    (is_task(machine, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", plan) ||
                     is_task(machine, "SLURM_PROCID", "SLURM_NTASKS", plan));
    return !is_slurm && !is_task(machine, "FLUX_TASK_RANK", "FLUX_JOB_SIZE", plan);
}

/* A TrainJob's pods are <job>-node-0-<n> under the Service <job>. Nobody says so, but a broker's
 * rank is its pod's number. */
static void name_trainjob(const struct mst_machine *machine, struct mst_plan *plan)
{
    static const char pods[] = "-node-0";
    size_t stem, size = sizeof pods - 1;
    if (plan->master_host[0] || resolve_ordinal(machine->hostname, &stem) != plan->node_rank ||
        stem <= size || strncmp(machine->hostname + stem - size, pods, size) != 0)
        return;
    int job = (int)(stem - size);
    int length = snprintf(plan->master_host, sizeof plan->master_host, "%.*s-node-0-0.%.*s", job,
                          machine->hostname, job, machine->hostname);
    if (length >= (int)sizeof plan->master_host)
        plan->master_host[0] = '\0';
    plan->host_is_derived = true;
    plan->default_port = MST_PORT_DEFAULT;
}

/* One task on every node is an agent on each, as under srun; more are the ranks themselves, which
 * Flux spreads evenly. */
int resolve_flux(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    (void)err; /* nothing here can be wrong */
    if (plan->node_count > 0 && plan->world_size == plan->node_count) {
        plan->mode = MST_PLAN_SPAWN;
        plan->node_rank = plan->rank;
        plan->rank = plan->local_rank = plan->world_size = MST_UNKNOWN;
        name_trainjob(machine, plan);
    } else if (plan->node_count > 0 && plan->world_size % plan->node_count == 0) {
        plan->local_size = plan->world_size / plan->node_count;
    }
    return 1;
}

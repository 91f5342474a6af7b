/* Slurm: a step with one task per node is a launcher on each node; one with more has started the
 * ranks itself. The first host of the node list is the master. A batch script is neither: there
 * the same variables say what srun would start. */
/* pure */
#include "muster/core/resolve/nodelist.h"
#include "muster/core/resolve/parser.h"

#include <errno.h>

/* The step's own words stand before those of the whole job. */
static const char *step_or_job(const struct mst_machine *machine, const char *step, const char *job)
{
    const char *text = resolve_text(machine, step);
    return text ? text : resolve_text(machine, job);
}

/* The name Slurm knows this node by must be at its place in the list: a container that is given
 * another node's list would join as another node. */
static int check_place(const struct mst_machine *machine, const char *list, int64_t node,
                       struct mst_err *err)
{
    const char *own = resolve_text(machine, "SLURMD_NODENAME");
    own = own ? own : machine->hostname;
    char host[MST_HOST_BYTES];
    if (resolve_nodelist_at(list, node, host, sizeof host))
        return mst_err_set(err, -EINVAL, "SLURM_NODEID=%lld is not in the node list %.80s",
                           (long long)node, list);
    if (*own && !resolve_same_host(own, host))
        return mst_err_set(
            err, -EINVAL,
            "this is host %.60s, but node %lld of %.60s is %.60s: start with srun, or "
            "set SLURMD_NODENAME",
            own, (long long)node, list, host);
    return 0;
}

static int name_master(const char *list, struct mst_plan *plan, struct mst_err *err)
{
    int64_t count = list ? resolve_nodelist_count(list) : MST_UNKNOWN;
    if (!list)
        return 0;
    if (count < 0 || resolve_nodelist_at(list, 0, plan->master_host, sizeof plan->master_host))
        return mst_err_set(err, -EINVAL, "the node list %.100s is not one of Slurm's", list);
    if (plan->node_count >= 0 && count < plan->node_count)
        return mst_err_set(err, -EINVAL,
                           "SLURM_NNODES=%lld, but the node list %.80s has %lld hosts",
                           (long long)plan->node_count, list, (long long)count);
    return 0;
}

/* A script on one node may start everything itself; on several it runs on the first only. */
static int read_batch(struct mst_plan *plan, struct mst_err *err)
{
    plan->node_rank = MST_UNKNOWN;
    if (plan->node_count < 0)
        return mst_err_set(err, -EINVAL,
                           "SLURM_JOB_ID is set, but SLURM_NNODES and SLURM_STEP_ID are "
                           "not: pass all SLURM_* variables on");
    if (plan->node_count > 1)
        return mst_err_set(
            err, -EINVAL,
            "this is a batch script, no task of a step (no SLURM_STEP_ID), and the job "
            "has %lld nodes: start with srun --ntasks-per-node=1 muster run …",
            (long long)plan->node_count);
    plan->mode = MST_PLAN_SPAWN;
    plan->node_rank = 0;
    if (plan->world_size > 1)
        plan->local_size = plan->world_size;
    else
        plan->world_size = MST_UNKNOWN;
    return 1;
}

static int read_ranks(const struct mst_machine *machine, const char *tasks, struct mst_plan *plan,
                      struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_RANK("SLURM_PROCID"),
        RESOLVE_NUMBER("SLURM_LOCALID", local_rank, 0, RESOLVE_LOCAL_MAX, true),
    };
    plan->mode = MST_PLAN_RANK;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc == 0 && tasks)
        plan->local_size = resolve_tasks_at(tasks, plan->node_rank, NULL);
    return rc < 0 ? rc : 1;
}

static int read_step(const struct mst_machine *machine, const char *list, struct mst_plan *plan,
                     struct mst_err *err)
{
    const char *tasks = step_or_job(machine, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE");
    if (plan->node_rank < 0 || plan->node_count < 0)
        return mst_err_set(err, -EINVAL,
                           "SLURM_STEP_ID is set, but %s is not: pass all SLURM_* "
                           "variables on",
                           plan->node_count < 0 ? "SLURM_NNODES" : "SLURM_NODEID");
    int64_t most = MST_UNKNOWN;
    if (tasks && resolve_tasks_at(tasks, plan->node_rank, &most) < 1)
        return mst_err_set(err, -EINVAL,
                           "SLURM_TASKS_PER_NODE=%.60s has nothing for SLURM_NODEID=%lld", tasks,
                           (long long)plan->node_rank);
    if (most > 1 || (!tasks && plan->world_size > plan->node_count))
        return read_ranks(machine, tasks, plan, err);
    plan->mode = MST_PLAN_SPAWN;
    plan->world_size = MST_UNKNOWN;
    int rc = list ? check_place(machine, list, plan->node_rank, err) : 0;
    return rc < 0 ? rc : 1;
}

int resolve_slurm(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *list = step_or_job(machine, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST");
    list = list ? list : resolve_text(machine, "SLURM_NODELIST");
    plan->mode = MST_PLAN_UNSET;
    plan->default_port = MST_PORT_DEFAULT;
    int rc = name_master(list, plan, err);
    if (rc < 0)
        return rc;
    return resolve_text(machine, "SLURM_STEP_ID") ? read_step(machine, list, plan, err)
                                                  : read_batch(plan, err);
}

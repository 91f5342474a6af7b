/* Flyte's clustered task: a JobSet of one Job, "workers". The rendezvous' name carries the restart
 * attempt, so that a late pod of the attempt before cannot join. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <stdio.h>

static int name_job(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *name = resolve_text(machine, "JOBSET_NAME");
    const char *space = resolve_text(machine, "POD_NAMESPACE");
    if (!name || !space)
        return mst_err_set(err, -EINVAL,
                           "NNODES and NPROC_PER_NODE are set as Flyte does, but %s is "
                           "not: set it",
                           name ? "POD_NAMESPACE" : "JOBSET_NAME");
    int host_size = snprintf(plan->master_host, sizeof plan->master_host,
                             "%s-workers-0-0.%s.%s.svc.cluster.local", name, name, space);
    int id_size = snprintf(plan->rdzv_id, sizeof plan->rdzv_id, "%s-%lld", name,
                           (long long)(plan->incarnation >= 0 ? plan->incarnation : 0));
    if (host_size >= (int)sizeof plan->master_host || id_size >= (int)sizeof plan->rdzv_id)
        return mst_err_set(err, -EINVAL, "JOBSET_NAME=%.60s… is too long", name);
    return 0;
}

int resolve_flyte(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NODE("JOB_COMPLETION_INDEX"),
        RESOLVE_MASTER_PORT("MASTER_PORT"),
        RESOLVE_NUMBER("JOBSET_RESTART_ATTEMPT", incarnation, 0, INT32_MAX, false),
        RESOLVE_NUMBER("JOBSET_MAX_RESTARTS", max_restarts, 0, INT32_MAX, false),
    };
    if (!resolve_is_set(machine, "JOBSET_NAME") || !resolve_is_set(machine, "NNODES") ||
        !resolve_is_set(machine, "NPROC_PER_NODE"))
        return 0;
    plan->mode = MST_PLAN_SPAWN;
    plan->default_port = RESOLVE_PORT;
    int rc = resolve_nodes(machine, "NNODES", plan, err);
    if (rc >= 0)
        rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc >= 0)
        rc = resolve_local_size(machine, "NPROC_PER_NODE", plan, err);
    if (rc >= 0)
        rc = name_job(machine, plan, err);
    return rc < 0 ? rc : 1;
}

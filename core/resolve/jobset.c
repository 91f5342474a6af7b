/* JobSet, Flyte's clustered tasks, which are JobSets of one Job called "workers", and the plain
 * Indexed Job, which tells its index and nothing about how many there are. JobSet injects an
 * index per child Job only; the rest comes from labels and annotations by the downward API,
 * under JOBSET_*. Pods are named <set>-<replicated job>-<job>-<pod>. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct facts {
    int64_t index, job_index, job_count, pods_per_job;
    const char *set, *job; /* the replicated job's name is not NUL-ended */
    int job_size;
};

static int read_numbers(const struct mst_machine *machine, struct facts *facts,
                        struct mst_plan *plan, struct mst_err *err)
{
    const struct {
        const char *name;
        int64_t low, high, *value;
    } numbers[] = {
        {"JOB_COMPLETION_INDEX", 0, RESOLVE_NODES_MAX - 1, &facts->index},
        {"JOBSET_JOB_INDEX", 0, RESOLVE_NODES_MAX - 1, &facts->job_index},
        {"JOBSET_REPLICATEDJOB_REPLICAS", 1, RESOLVE_NODES_MAX, &facts->job_count},
        {"MST_PODS_PER_JOB", 1, RESOLVE_NODES_MAX, &facts->pods_per_job},
        {"JOBSET_RESTART_ATTEMPT", 0, INT32_MAX, &plan->incarnation},
        {"JOBSET_MAX_RESTARTS", 0, INT32_MAX, &plan->max_restarts},
        {"MASTER_PORT", 1, UINT16_MAX, &plan->master_port},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int rc = resolve_number(machine, numbers[i].name, numbers[i].low, numbers[i].high,
                                numbers[i].value, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* "<set>-<replicated job>-<job>-<pod>": fills what the pod's name tells and nobody else did. */
static void read_name(const char *host, struct facts *facts)
{
    size_t set_size = strlen(facts->set), stem;
    char first[MST_HOST_BYTES];
    if (strncmp(host, facts->set, set_size) != 0 || host[set_size] != '-' ||
        resolve_ordinal(host, &stem) < 0 || stem >= sizeof first)
        return;
    memcpy(first, host, stem);
    first[stem] = '\0';
    int64_t job_index = resolve_ordinal(first, &stem);
    if (job_index < 0 || stem <= set_size + 1)
        return;
    if (facts->job_index < 0)
        facts->job_index = job_index;
    if (!facts->job) {
        facts->job = host + set_size + 1;
        facts->job_size = (int)(stem - set_size - 1);
    }
}

static int refuse_outside(const struct facts *facts, struct mst_err *err)
{
    if (facts->pods_per_job > 0 && facts->index >= facts->pods_per_job)
        return mst_err_set(err, -EINVAL,
                           "JOB_COMPLETION_INDEX=%lld is not below MST_PODS_PER_JOB=%lld: correct "
                           "the latter",
                           (long long)facts->index, (long long)facts->pods_per_job);
    if (facts->job_count > 0 && facts->job_index >= facts->job_count)
        return mst_err_set(err, -EINVAL,
                           "job index %lld is not below JOBSET_REPLICATEDJOB_REPLICAS=%lld: "
                           "correct one of them",
                           (long long)facts->job_index, (long long)facts->job_count);
    return 0;
}

/* The index is repeated in each child Job: only in the first is it the node's rank by itself. */
static void place(const struct facts *facts, struct mst_plan *plan)
{
    if (facts->job_count > 0 && facts->pods_per_job > 0)
        plan->node_count = facts->job_count * facts->pods_per_job;
    if (facts->index < 0)
        return;
    if (facts->job_count == 1 || facts->job_index == 0)
        plan->node_rank = facts->index;
    else if (facts->pods_per_job > 0 && facts->job_index >= 0)
        plan->node_rank = facts->job_index * facts->pods_per_job + facts->index;
}

static int name_master(const struct mst_machine *machine, const struct facts *facts,
                       struct mst_plan *plan, struct mst_err *err)
{
    if (resolve_is_set(machine, "JOBSET_COORDINATOR"))
        return resolve_master(machine, "JOBSET_COORDINATOR", plan, err);
    if (!facts->job)
        return 0;
    int size = snprintf(plan->master_host, sizeof plan->master_host, "%s-%.*s-0-0.%s", facts->set,
                        facts->job_size, facts->job, facts->set);
    if (size >= (int)sizeof plan->master_host)
        return mst_err_set(err, -EINVAL, "JOBSET_NAME=%.60s… is too long", facts->set);
    return 0;
}

/* Who writes the same variables by hand names node 0, too. */
static bool is_flyte(const struct mst_machine *machine)
{
    return resolve_is_set(machine, "NNODES") && resolve_is_set(machine, "NPROC_PER_NODE") &&
           !resolve_is_set(machine, "MASTER_ADDR");
}

int resolve_jobset(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    struct facts facts = {MST_UNKNOWN, MST_UNKNOWN, MST_UNKNOWN, MST_UNKNOWN, NULL, NULL, 0};
    facts.set = resolve_text(machine, "JOBSET_NAME");
    if (!facts.set || is_flyte(machine))
        return 0;
    facts.job = resolve_text(machine, "MST_REPLICATEDJOB");
    facts.job_size = facts.job ? (int)strlen(facts.job) : 0;
    plan->default_port = MST_PORT_DEFAULT;
    int rc = read_numbers(machine, &facts, plan, err);
    if (rc < 0)
        return rc;
    read_name(machine->hostname, &facts);
    rc = refuse_outside(&facts, err);
    if (rc < 0)
        return rc;
    place(&facts, plan);
    if (plan->node_count > 0)
        plan->mode = MST_PLAN_SPAWN;
    rc = name_master(machine, &facts, plan, err);
    return rc < 0 ? rc : 1;
}

/* The rendezvous' name carries the restart attempt, so that a late pod of the attempt before cannot
 * join. */
static int name_workers(const struct mst_machine *machine, struct mst_plan *plan,
                        struct mst_err *err)
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
    if (!resolve_is_set(machine, "JOBSET_NAME") || !is_flyte(machine))
        return 0;
    plan->mode = MST_PLAN_SPAWN;
    plan->default_port = MST_PORT_DEFAULT;
    int rc = resolve_nodes(machine, "NNODES", plan, err);
    if (rc >= 0)
        rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc >= 0)
        rc = resolve_local_size(machine, "NPROC_PER_NODE", plan, err);
    if (rc >= 0)
        rc = name_workers(machine, plan, err);
    return rc < 0 ? rc : 1;
}

/* Pods are named <job>-<index>; a name resolves only under the user's headless Service. */
static void name_first(const struct mst_machine *machine, struct mst_plan *plan)
{
    const char *subdomain = resolve_text(machine, "MST_SUBDOMAIN");
    size_t stem;
    if (!subdomain || resolve_ordinal(machine->hostname, &stem) != plan->node_rank)
        return;
    int size = snprintf(plan->master_host, sizeof plan->master_host, "%.*s-0.%s", (int)stem,
                        machine->hostname, subdomain);
    if (size >= (int)sizeof plan->master_host)
        plan->master_host[0] = '\0';
    plan->host_is_derived = true;
}

int resolve_index(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    (void)err; /* the row has read the number */
    plan->default_port = MST_PORT_DEFAULT;
    name_first(machine, plan);
    return 1;
}

/* The name of the job: what is alike on every node of it, and nowhere else. */
/* pure */
#include "muster/core/least.h"
#include "muster/core/resolve/hosts.h"

#include <stdio.h>
#include <string.h>

/* A name, or a number that its scheduler's name stands before; "<first>_<second>" where both
 * are. */
static const struct source {
    const char *first, *prefix, *second;
    const char *joint; /* between the two */
    bool needs_second;
    bool is_chosen; /* by a user, who may have copied it */
} sources[] = {
    {.first = "MST_JOB_ID"},
    {.first = "SLURM_HET_JOB_ID", .prefix = "slurm-"},
    {.first = "SLURM_ARRAY_JOB_ID",
     .prefix = "slurm-",
     .second = "SLURM_ARRAY_TASK_ID",
     .joint = "_",
     .needs_second = true},
    {.first = "SLURM_JOB_ID", .prefix = "slurm-"},
    {.first = "LSB_JOBID", .prefix = "lsf-", .second = "LSB_JOBINDEX", .joint = "_"},
    {.first = "PBS_JOBID", .prefix = "pbs-"},
    {.first = "FLUX_JOB_ID", .prefix = "flux-"},
    {.first = "JOBSET_NAME", .second = "POD_NAMESPACE", .joint = "."},
    {.first = "FLYTE_INTERNAL_EXECUTION_ID"},
    {.first = "SKYPILOT_TASK_ID"},
    {.first = "DSTACK_RUN_ID"},
    {.first = "DSTACK_RUN_NAME"},
    {.first = "AWS_BATCH_JOB_ID", .prefix = "aws-batch-"}, /* "<job>#<node>" */
    {.first = "LEPTON_JOB_NAME"},
    {.first = "TRAINING_JOB_NAME"},
    {.first = "CLOUD_ML_JOB_ID"},
    {.first = "DET_TASK_ID", .prefix = "determined-"},
    {.first = "GROVE_PCLQ_NAME"},
    {.first = "ELASTIC_JOB_NAME"},
    {.first = "PADDLE_JOB_ID", .is_chosen = true},
    {.first = "TORCHELASTIC_RUN_ID", .is_chosen = true},
    {.first = "PET_RDZV_ID", .is_chosen = true},
};

/* Defaults, and numbers that stand in everybody's first example: two jobs have them as well as
 * one. */
static bool is_constant(const char *id)
{
    return strcmp(id, "none") == 0 || strcmp(id, "default") == 0 || strcmp(id, "null") == 0 ||
           (strlen(id) <= 3 && id[strspn(id, "0123456789")] == '\0');
}

/* The text up to a '#', behind which AWS Batch counts a job's nodes. */
static int text_size(const char *text)
{
    return (int)strcspn(text, "#");
}

static bool read_source(const struct mst_machine *machine, const struct source *source, char *id,
                        size_t cap)
{
    const char *first = resolve_text(machine, source->first);
    const char *second = source->second ? resolve_text(machine, source->second) : NULL;
    if (second && strcmp(second, "0") == 0 && !source->needs_second)
        second = NULL; /* LSB_JOBINDEX of a job that is no array */
    if (!first || (source->needs_second && !second) || (source->is_chosen && is_constant(first)))
        return false;
    (void)snprintf(id, cap, "%s%.*s%s%s", source->prefix ? source->prefix : "", text_size(first),
                   first, second ? source->joint : "", second ? second : ""); /* fit cuts it, too */
    return true;
}

static bool ends_with_role(const char *name, size_t size, size_t *ret_stem)
{
    static const char *const roles[] = {"-master",   "-worker", "-workers", "-chief",
                                        "-launcher", "-node",   "-leader",  "-scheduler"};
    for (size_t i = 0; i < RESOLVE_COUNT(roles); i++) {
        size_t length = strlen(roles[i]);
        if (size <= length || strncmp(name + size - length, roles[i], length) != 0)
            continue;
        *ret_stem = size - length;
        return true;
    }
    return false;
}

/* "<job>-worker-0", "<job>-node-0-0" and "<job>-launcher" are pods of <job>: its length, or 0. */
static size_t job_size(const char *host)
{
    size_t size = strcspn(host, "."), stem;
    for (int numbers = 0; numbers <= 2; numbers++) {
        if (ends_with_role(host, size, &stem))
            return stem;
        while (size > 0 && host[size - 1] >= '0' && host[size - 1] <= '9')
            size--;
        if (size < 2 || host[size - 1] != '-')
            return 0;
        size--;
    }
    return 0;
}

/* The namespace in "<pod>.<namespace>.svc", "<pod>.<service>.<namespace>[.svc…]": its length, or 0.
 * In "<pod>.<service>" there is none, and a Service has the name of its job. */
static size_t find_namespace(const char *host, size_t job, const char **ret_name)
{
    const char *labels[4] = {host};
    size_t count = 1;
    for (const char *dot = strchr(host, '.'); dot && count < 4; dot = strchr(dot + 1, '.'))
        labels[count++] = dot + 1;
    size_t at = count > 2 && strncmp(labels[2], "svc", 3) == 0 ? 1 : 2;
    if (count == 2 && strncmp(labels[1], host, job) != 0)
        at = 1;
    if (at >= count)
        return 0;
    *ret_name = labels[at];
    return strcspn(labels[at], ".");
}

/* Written by hand, a host's name is that of a machine, which the next job has, too. */
static bool is_operators(const struct mst_machine *machine, const struct mst_plan *plan)
{
    static const char *const by_hand[] = {"bare", "torchrun", "muster", "flags",
                                          "ompi", "pmi1",     "pals",   "jsm"};
    if (!plan->master_host[0] || plan->host_is_derived || resolve_is_address(plan->master_host))
        return false;
    for (size_t i = 0; i < RESOLVE_COUNT(by_hand); i++) {
        if (!plan->scheme || strcmp(plan->scheme, by_hand[i]) == 0)
            return resolve_is_set(machine, "KUBERNETES_SERVICE_HOST");
    }
    return true;
}

/* Each group of a LeaderWorkerSet is a world, called after its leader. */
static bool read_host(const struct mst_machine *machine, const struct mst_plan *plan, char *id,
                      size_t cap)
{
    const char *host = plan->master_host, *space = "";
    if (!is_operators(machine, plan))
        return false;
    size_t size = resolve_is_set(machine, "LWS_LEADER_ADDRESS") ? strcspn(host, ".")
                                                                : job_size(host);
    if (size == 0)
        return false;
    int space_size = (int)find_namespace(host, size, &space);
    (void)snprintf(id, cap, "%.*s%s%.*s", (int)size, host, space_size ? "." : "", space_size,
                   space); /* a host's name fits */
    return true;
}

static uint64_t hash(const char *text)
{
    uint64_t value = 0xcbf29ce484222325; /* FNV-1a */
    for (; *text; text++)
        value = (value ^ (uint8_t)*text) * 0x100000001b3;
    return value;
}

void mst_name_fit(const char *name, char *to, size_t cap)
{
    size_t size = mst_least(strlen(name), cap - 1);
    bool is_changed = name[size] != '\0';
    for (size_t i = 0; i < size; i++) {
        bool is_plain = strchr(MST_NAME_LETTERS, name[i]);
        to[i] = is_plain ? name[i] : '_';
        is_changed = is_changed || !is_plain;
    }
    to[size] = '\0';
    if (is_changed)
        (void)snprintf(to + mst_least(size, cap - 18), 18, "-%016llx",
                       (unsigned long long)hash(name));
}

void mst_plan_name_job(const struct mst_machine *machine, struct mst_plan *plan)
{
    char id[4096];
    const char *slurm = resolve_text(machine, "SLURM_STEP_ID");
    const char *step = slurm ? slurm : resolve_text(machine, "PMIX_NAMESPACE");
    bool is_named = false;
    for (size_t i = 0; i < RESOLVE_COUNT(sources) && !is_named; i++)
        is_named = read_source(machine, &sources[i], id, sizeof id);
    if (!is_named)
        is_named = read_host(machine, plan, id, sizeof id);
    if (is_named)
        mst_name_fit(id, plan->job_id, sizeof plan->job_id);
    if (step)
        mst_name_fit(step, plan->step_id, sizeof plan->step_id);
}

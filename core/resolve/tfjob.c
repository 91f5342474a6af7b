/* TFJob and Volcano's tensorflow plugin: TF_CONFIG. The world is chief, master and workers in this
 * order; parameter servers and evaluators stand beside it. With enableDynamicWorker a worker sees
 * itself only, as {"3": "host:port"}.
 * Vertex AI: CLUSTER_SPEC, in which the first two pools are the world. */
#include "muster/core/resolve/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A variable, and the roles of its clusters that make the world. */
struct kind {
    const char *name;
    const char *members[4];
    const char *apart;  /* a role that stands beside it, listed or not; NULL: none */
    const char *server; /* a role that sees no member where those come and go; NULL: none */
};

static const struct kind tf_config = {
    "TF_CONFIG", {"chief", "master", "worker"}, "evaluator", "ps"};
static const struct kind cluster_spec = {
    "CLUSTER_SPEC", {"workerpool0", "workerpool1"}, NULL, NULL};

static bool is_member(const struct kind *kind, const char *type)
{
    for (const char *const *role = kind->members; *role; role++) {
        if (strcmp(type, *role) == 0)
            return true;
    }
    return false;
}

/* Of several such tasks each would run alone if the members' name were misspelt. */
static bool may_miss_members(const struct kind *kind, const char *type)
{
    return (kind->apart && strcmp(type, kind->apart) == 0) ||
           (kind->server && strcmp(type, kind->server) == 0);
}

static int read_master(const struct kind *kind, const struct resolve_task *task,
                       struct mst_plan *plan, struct mst_err *err)
{
    for (const char *const *role = kind->members; *role; role++) {
        const json_t *hosts = json_object_get(task->cluster, *role);
        if (json_array_size(hosts) == 0)
            continue;
        const char *host = json_string_value(json_array_get(hosts, 0));
        return host ? resolve_split(kind->name, host, plan, err)
                    : mst_err_set(err, -EINVAL, "%s: cluster.%s[0] is no text", kind->name, *role);
    }
    if (may_miss_members(kind, task->type))
        return 0;
    return mst_err_set(err, -EINVAL,
                       "%s: the cluster has no %s and none of its like, only \"%.40s\": correct it",
                       kind->name, kind->members[0], task->type);
}

/* Rank of this task among the members, if it is one. */
static void place(const struct kind *kind, const struct resolve_task *task, struct mst_plan *plan)
{
    int64_t before = 0;
    for (const char *const *role = kind->members; *role; role++) {
        if (strcmp(task->type, *role) == 0)
            plan->node_rank = before + task->index;
        before += resolve_task_count(task, *role);
    }
    plan->node_count = before > 0 ? before : MST_UNKNOWN;
}

/* The first worker's name is this one's with its number replaced: "j-worker-3.ns.svc:2222". */
static int read_sparse(const struct resolve_task *task, struct mst_plan *plan, struct mst_err *err)
{
    const json_t *workers = json_object_get(task->cluster, "worker");
    char key[24], first[MST_HOST_BYTES];
    /* Both texts below fit: any 64-bit number, and a name that was shortened to "-0". */
    (void)snprintf(key, sizeof key, "%lld", (long long)task->index);
    const char *own = json_string_value(json_object_get(workers, key));
    plan->mode = MST_PLAN_ELASTIC_UNKNOWN_SIZE;
    plan->node_rank = task->index + resolve_task_count(task, "chief") +
                      resolve_task_count(task, "master");
    if (plan->node_rank > task->index)
        return read_master(&tf_config, task, plan, err);
    if (!own || resolve_split("TF_CONFIG", own, plan, err))
        return mst_err_set(err, -EINVAL, "TF_CONFIG: cluster.worker lacks this task, \"%s\"", key);
    size_t stem;
    if (resolve_ordinal(plan->master_host, &stem) != task->index)
        return 0;
    const char *domain = plan->master_host + strcspn(plan->master_host, ".");
    (void)snprintf(first, sizeof first, "%.*s-0%s", (int)stem, plan->master_host, domain);
    memcpy(plan->master_host, first, sizeof plan->master_host);
    return 0;
}

static int read_task(const struct kind *kind, const struct resolve_task *task,
                     struct mst_plan *plan, struct mst_err *err)
{
    int rc = resolve_copy(plan->role, sizeof plan->role, "task.type", task->type,
                          strlen(task->type), err);
    if (rc)
        return rc;
    if (json_is_object(json_object_get(task->cluster, "worker")) && is_member(kind, task->type))
        return read_sparse(task, plan, err);
    plan->mode = is_member(kind, task->type) ? MST_PLAN_SPAWN : MST_PLAN_NO_COLLECTIVE;
    rc = resolve_task_check(kind->name, task, kind->apart, err);
    if (rc)
        return rc;
    place(kind, task, plan);
    return read_master(kind, task, plan, err);
}

static int read_kind(const struct kind *kind, const struct mst_machine *machine,
                     struct mst_plan *plan, struct mst_err *err)
{
    struct resolve_task task;
    int rc = resolve_task_read(machine, kind->name, &task, err);
    if (rc <= 0)
        return rc;
    plan->default_port = MST_PORT_DEFAULT;
    rc = read_task(kind, &task, plan, err);
    json_decref(task.root);
    return rc < 0 ? rc : 1;
}

int resolve_tfjob(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    return read_kind(&tf_config, machine, plan, err);
}

/* Its port is TensorFlow's; where MASTER_PORT names another one, that counts. */
int resolve_vertex(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    int rc = read_kind(&cluster_spec, machine, plan, err);
    if (rc > 0 && plan->master_port > 0) {
        plan->default_port = plan->master_port;
        plan->master_port = MST_UNKNOWN;
    }
    return rc;
}

/* MXJob: MX_CONFIG, and the DMLC_* variables of a parameter-server job. The workers are the world,
 * one process each; scheduler and servers stand beside it. */
#include "muster/core/resolve/json.h"

#include <errno.h>
#include <string.h>

static int read_master(const struct resolve_task *task, struct mst_plan *plan, struct mst_err *err)
{
    const json_t *first = json_array_get(json_object_get(task->cluster, "worker"), 0);
    const char *host = json_string_value(json_object_get(first, "url"));
    int64_t port = json_integer_value(json_object_get(first, "port"));
    if (!host || !*host)
        return mst_err_set(err, -EINVAL, "MX_CONFIG: the cluster's first worker has no url");
    if (port > 0 && port <= UINT16_MAX)
        plan->master_port = port;
    return resolve_copy(plan->master_host, sizeof plan->master_host, "MX_CONFIG: url", host,
                        strlen(host), err);
}

/* `name` is what gives it. */
static int set_role(const char *name, const char *role, struct mst_plan *plan, struct mst_err *err)
{
    int rc = resolve_word(name, role, "worker server scheduler", err);
    if (rc)
        return rc;
    plan->mode = strcmp(role, "worker") == 0 ? MST_PLAN_SPAWN : MST_PLAN_NO_COLLECTIVE;
    plan->local_size = 1;
    resolve_role(plan, role);
    return 0;
}

static int read_task(const struct resolve_task *task, struct mst_plan *plan, struct mst_err *err)
{
    int rc = set_role("MX_CONFIG: task.type", task->type, plan, err);
    if (rc)
        return rc;
    plan->node_count = resolve_task_count(task, "worker");
    if (plan->node_count == 0)
        return mst_err_set(err, -EINVAL, "MX_CONFIG: the cluster has no worker");
    rc = resolve_task_check("MX_CONFIG", task, "scheduler", err);
    if (rc)
        return rc;
    if (plan->mode == MST_PLAN_SPAWN)
        plan->node_rank = task->index;
    return read_master(task, plan, err);
}

/* The same facts under their other names. */
static int check_dmlc(const struct mst_machine *machine, const struct mst_plan *plan,
                      struct mst_err *err)
{
    const char *role = resolve_text(machine, "DMLC_ROLE");
    int64_t count = plan->node_count, id = plan->node_rank;
    if (role && strcmp(role, plan->role) != 0)
        return mst_err_set(err, -EINVAL, "DMLC_ROLE=%.40s, but MX_CONFIG says %s: correct one",
                           role, plan->role);
    int rc = resolve_number(machine, "DMLC_NUM_WORKER", 0, RESOLVE_NODES_MAX, &count, err);
    if (rc >= 0)
        rc = resolve_number(machine, "DMLC_WORKER_ID", 0, RESOLVE_NODES_MAX, &id, err);
    if (rc < 0)
        return rc;
    if (count != plan->node_count)
        return mst_err_set(err, -EINVAL, "DMLC_NUM_WORKER=%lld, but MX_CONFIG has %lld workers",
                           (long long)count, (long long)plan->node_count);
    if (plan->mode == MST_PLAN_SPAWN && id != plan->node_rank)
        return mst_err_set(err, -EINVAL, "DMLC_WORKER_ID=%lld, but MX_CONFIG says %lld",
                           (long long)id, (long long)plan->node_rank);
    return 0;
}

/* Without MX_CONFIG nobody names worker 0 but the pods themselves, <stem>-0, <stem>-1, … */
static int read_dmlc(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NUMBER("DMLC_NUM_WORKER", node_count, 1, RESOLVE_NODES_MAX, true),
        RESOLVE_NODE("DMLC_WORKER_ID"),
    };
    plan->default_port = MST_PORT_DEFAULT;
    int rc = set_role("DMLC_ROLE", resolve_text(machine, "DMLC_ROLE"), plan, err);
    if (rc == 0)
        rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc < 0)
        return rc;
    if (plan->mode == MST_PLAN_SPAWN)
        resolve_master_by_name(machine, plan);
    return 1;
}

int resolve_mxnet(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    struct resolve_task task;
    int rc = resolve_task_read(machine, "MX_CONFIG", &task, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return resolve_text(machine, "DMLC_ROLE") && resolve_is_set(machine, "DMLC_PS_ROOT_URI")
                   ? read_dmlc(machine, plan, err)
                   : 0;
    plan->default_port = MST_PORT_DEFAULT;
    rc = read_task(&task, plan, err);
    json_decref(task.root);
    if (rc == 0)
        rc = check_dmlc(machine, plan, err);
    return rc < 0 ? rc : 1;
}

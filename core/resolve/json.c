#include "muster/core/resolve/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ROLES_BYTES 96

int resolve_task_read(const struct mst_machine *machine, const char *name,
                      struct resolve_task *ret_task, struct mst_err *err)
{
    const char *text = resolve_text(machine, name);
    if (!text)
        return 0;
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return mst_err_set(err, -EINVAL, "%s is no JSON (column %d: %.100s)", name, error.column,
                           error.text);
    const json_t *task = json_object_get(root, "task");
    const json_t *index = json_object_get(task, "index");
    *ret_task = (struct resolve_task){.root = root,
                                      .cluster = json_object_get(root, "cluster"),
                                      .type = json_string_value(json_object_get(task, "type")),
                                      .index = json_integer_value(index)};
    if (json_is_object(ret_task->cluster) && ret_task->type && json_is_integer(index) &&
        ret_task->index >= 0 && ret_task->index < RESOLVE_NODES_MAX)
        return 1;
    json_decref(root);
    return mst_err_set(err, -EINVAL, "%s lacks cluster, task.type or task.index", name);
}

int64_t resolve_task_count(const struct resolve_task *task, const char *role)
{
    return (int64_t)json_array_size(json_object_get(task->cluster, role));
}

/* The roles of the cluster, and `apart`, which may be NULL: "worker, ps, evaluator". */
static void list_roles(const struct resolve_task *task, const char *apart, char *text, size_t cap)
{
    const char *role;
    json_t *hosts;
    size_t size = 0;
    json_object_foreach(json_object_get(task->root, "cluster"), role, hosts)
    {
        (void)hosts; /* only the names are told */
        const char *comma = size ? ", " : "";
        if (apart && strcmp(role, apart) == 0)
            continue;
        if (size + strlen(comma) + strlen(role) >= cap) {
            size += (size_t)snprintf(text + size, 16, "… and more");
            break;
        }
        size += (size_t)snprintf(text + size, cap - size, "%s%s", comma, role);
    }
    if (apart)
        (void)snprintf(text + size, 16, "%s%s", size ? ", " : "", apart);
}

int resolve_task_check(const char *name, const struct resolve_task *task, const char *apart,
                       struct mst_err *err)
{
    char roles[ROLES_BYTES + 32] = ""; /* the names, and how the list ends */
    const json_t *hosts = json_object_get(task->cluster, task->type);
    int64_t count = resolve_task_count(task, task->type);
    if (!hosts && apart && strcmp(task->type, apart) == 0)
        return 0;
    if (!hosts && json_object_size(task->cluster) > 0) {
        list_roles(task, apart, roles, ROLES_BYTES);
        return mst_err_set(err, -EINVAL,
                           "%s: task.type is \"%.40s\", and this job knows %s: correct it", name,
                           task->type, roles);
    }
    if (task->index < count || json_is_object(json_object_get(task->cluster, "worker")))
        return 0;
    return mst_err_set(err, -EINVAL, "%s: task %.40s %lld, but the cluster has %lld: correct it",
                       name, task->type, (long long)task->index, (long long)count);
}

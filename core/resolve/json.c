#include "muster/core/resolve/json.h"

#include <errno.h>

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

/* Variables that hold JSON: {"cluster": {role: [hosts]}, "task": {"type": role, "index": n}}. */
#ifndef MUSTER_CORE_RESOLVE_JSON_H
#define MUSTER_CORE_RESOLVE_JSON_H

#include "muster/core/resolve/parser.h"

#include <jansson.h>

struct resolve_task {
    json_t *root;          /* owned: json_decref */
    const json_t *cluster; /* an object; it and the text live as long as root */
    const char *type;
    int64_t index;
};

/* Reads variable `name`. 1; 0 if absent or empty; -EINVAL with text. */
int resolve_task_read(const struct mst_machine *machine, const char *name,
                      struct resolve_task *ret_task, struct mst_err *err);

/* Hosts of a role; 0 if the cluster has none. */
int64_t resolve_task_count(const struct resolve_task *task, const char *role);

/* This task is one that the cluster has: its type is a role there, or `apart` (or NULL), which a
 * cluster need not list, and its index is in that role's list. Workers that come and go are told of
 * themselves only, as {"3": host}, and so is who stands beside them: no list is looked at then. 0;
 * -EINVAL with text. `name` is the variable's. */
int resolve_task_check(const char *name, const struct resolve_task *task, const char *apart,
                       struct mst_err *err);

#endif

/* Slurm's compressed lists: "dev[07-10,12],gpu3" and "2(x3),1". */
/* pure */
#ifndef MUSTER_CORE_RESOLVE_NODELIST_H
#define MUSTER_CORE_RESOLVE_NODELIST_H

#include <stddef.h>
#include <stdint.h>

/* The number of hosts of a list, at most 65536, or -EINVAL if its grammar is wrong. */
int64_t resolve_nodelist_count(const char *list);

/* Writes host `index` of a list. 0; -EINVAL (grammar); -ENOENT (no such host); -ENOSPC. */
int resolve_nodelist_at(const char *list, int64_t index, char *host, size_t cap);

/* Tasks of node `node` in a list of tasks per node, -ENOENT beyond its end, or -EINVAL. With
 * *ret_most (may be NULL) the largest of all nodes. */
int64_t resolve_tasks_at(const char *list, int64_t node, int64_t *ret_most);

#endif

/* Parts: which nodes a set of ranks lies on. */
/* pure */
#ifndef MUSTER_LAUNCHER_PMIX_PARTS_H
#define MUSTER_LAUNCHER_PMIX_PARTS_H

#include <stdint.h>

/* How many ranks each node has, in order: rank 0 is the first one's. */
struct parts_layout {
    const uint16_t *sizes;
    uint32_t node_count;
};

/* A set of ranks, as one of its nodes sees it. */
struct parts {
    uint32_t index, count; /* of this node among those that the set has ranks of */
    uint64_t name;         /* which no other set of this job has, as far as chance goes */
};

/* The node of a rank; node_count: there is no such rank. */
uint32_t parts_node_of(const struct parts_layout *layout, uint32_t rank);

/* Sorts `ranks`. 0; -EINVAL one of them there is not; -ENOENT none is of `node`. */
int parts_find(const struct parts_layout *layout, uint32_t node, uint32_t *ranks, uint32_t count,
               struct parts *ret_parts);

#endif

/* Place: where this node stands among the others, and where they meet, of a complete plan. */
#ifndef MUSTER_LAUNCHER_PLACE_H
#define MUSTER_LAUNCHER_PLACE_H

#include <stdint.h>

struct opts;

/* Fills scheme, is_beside, the counts of nodes and ranks, node_rank, and where node 0 listens. */
void place_node(struct opts *opts);

/* All nodes that may come, spares too, where place_node has been. */
uint32_t place_slots(const struct opts *opts);

#endif

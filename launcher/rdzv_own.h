/* Rdzv, for its own files: rdzv.c has the states, elastic.c what is different where nodes may come
 * and go. */
/* pure */
#ifndef MUSTER_LAUNCHER_RDZV_OWN_H
#define MUSTER_LAUNCHER_RDZV_OWN_H

#include "muster/launcher/rdzv.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- rdzv.c ---------------------------------------------------------------------------------- */

void rdzv_set_phase(struct rdzv *rdzv, uint32_t node, enum rdzv_phase phase);

/* Asks the members for a drain of this kind, if one may begin. */
void rdzv_request_drain(struct rdzv *rdzv, enum mst_gate_action action, uint64_t now_ns);

/* ---- elastic.c ------------------------------------------------------------------------------- */

/* Whether the next generation can start with the nodes that are READY; decides on the last call. */
bool elastic_may_start(struct rdzv *rdzv, uint64_t now_ns);

/* Fills member, index and size for a generation of the nodes that are READY. */
void elastic_choose(struct rdzv *rdzv);

/* Tells all nodes that are there where they stand, if the world is elastic. */
void elastic_tell_seats(struct rdzv *rdzv);

/* A node that is no member has come, or gone, while a generation runs. */
void elastic_watch_door(struct rdzv *rdzv, uint64_t now_ns);

/* Begins to let in who waits, when it is time. */
void elastic_tick(struct rdzv *rdzv, uint64_t now_ns);

/* `node` is to leave. False: the job ends with it. */
bool elastic_leave(struct rdzv *rdzv, uint32_t node, uint64_t now_ns);

/* Lets go those who were to leave, now that no rank is left. */
void elastic_dismiss(struct rdzv *rdzv);

/* To a node that comes after the end of a world that it may be missing from. */
void elastic_tell_end(struct rdzv *rdzv, uint32_t node);

/* Whether a message of the drain that is to let nodes in would hand a signal to ranks that may not
 * have come to count their steps yet. */
bool elastic_is_early(const struct rdzv *rdzv, const struct msg *msg, uint64_t now_ns);

#endif

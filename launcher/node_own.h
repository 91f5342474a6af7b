/* Node, for its own files: node.c does what the table says, orders.c what the coordinator does,
 * node_mpi.c what ranks of MPI need, and looks.c watches the ranks. */
#ifndef MUSTER_LAUNCHER_NODE_OWN_H
#define MUSTER_LAUNCHER_NODE_OWN_H

#include "muster/launcher/node.h"

/* Feeds one event and does what the table says, in its order. */
void node_feed(struct node *node, enum super_event event);

/* To the coordinator, as of the running or last generation. */
void node_send(struct node *node, struct msg msg);

/* Whose doing the end of this generation is, its exit code, and why (NULL where the code says it
 * all): the first counts. */
void node_remember_failure(struct node *node, uint32_t rank, int code, const struct why *why);

/* A drain that ends the job begins, unless one has: from now on it has until the grace's end. */
void node_start_grace(struct node *node);

/* What such a drain ends with: the job was preempted, or its --deadline is over. */
int node_drained_code(const struct node *node);

/* A generation has started: its ranks are looked at for libraries of MPI. */
void node_watch_mpi(struct node *node, uint64_t now_ns);

/* What is due of that, and of who serves MPI; node_mpi_wake_ns says when something will be. */
void node_tick_mpi(struct node *node, uint64_t now_ns);
uint64_t node_mpi_wake_ns(const struct node *node);

/* Whether the ranks are to leave at an agreed step, or were handed SIGTERM. */
bool node_is_draining(const struct node *node);

/* Looks at what is due of looks.c. */
void node_look(struct node *node, uint64_t now_ns);

#endif

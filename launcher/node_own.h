/* Node, for its own files: node.c does what the table says, orders.c what the coordinator does. */
#ifndef MUSTER_LAUNCHER_NODE_OWN_H
#define MUSTER_LAUNCHER_NODE_OWN_H

#include "muster/launcher/node.h"

/* Feeds one event and does what the table says, in its order. */
void node_feed(struct node *node, enum super_event event);

/* To the coordinator, as of the running or last generation. */
void node_send(struct node *node, struct msg msg);

/* A drain that ends the job begins, unless one has: from now on it has until the grace's end. */
void node_start_grace(struct node *node);

#endif

/* Link: an agent's connection to the coordinator. */
#ifndef MUSTER_LAUNCHER_LINK_H
#define MUSTER_LAUNCHER_LINK_H

#include "muster/core/kv/sock.h"
#include "muster/launcher/msg.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_err;
struct opts;

struct link {
    struct mst_stream stream; /* fd -1: closed */
    bool broken;              /* lost, or told nonsense */
};

/* Tries to reach and join node 0 for at most a second: call it again after -EAGAIN. 0; -EAGAIN
 * with a text that says what is missing; -EACCES wrong secret; -EPROTO another program listens
 * there. */
int link_dial(struct link *link, const struct opts *opts, struct mst_err *err);

/* Takes a connected fd: node 0's own way to its coordinator. */
void link_init(struct link *link, int fd);
void link_fini(struct link *link);

/* Sends, or marks the link broken. */
void link_send(struct link *link, const struct msg *msg);

/* The next message that has arrived: 1, or 0 if there is none or the link is broken. Reads the
 * socket when `readable`. */
int link_next(struct link *link, struct msg *ret_msg);

/* Moves bytes between the socket and the link's buffers. Never blocks. */
void link_run(struct link *link);

#endif

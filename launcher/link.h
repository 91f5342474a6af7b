/* Link: an agent's side of what connects it with the coordinator.
 *
 *   link_dial, or link_init on node 0's socket pair
 *     → send; poll link_fd, run, next until 0, tick at link_wake_ns … → fini
 *
 * A connection that breaks, or brings nothing for three beats, is dialled again, by a process of
 * its own, as a dial and a handshake wait for the other side and an agent must not. What was sent
 * and has not come is sent again (launcher/outbox.h). The old connection serves on until the new
 * one stands: so one that ends in good order is the end of the other agent, and nobody is dialled.
 * The link is broken for good when node 0 has gone, refuses us, or cannot be reached for the time
 * that the user gave it. */
#ifndef MUSTER_LAUNCHER_LINK_H
#define MUSTER_LAUNCHER_LINK_H

#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/sock.h"
#include "muster/launcher/msg.h"
#include "muster/launcher/outbox.h"
#include "muster/launcher/pulse.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct opts;

struct link {
    int epoll_fd;                      /* of the two below */
    struct mst_stream stream;          /* fd -1: no connection */
    int dial_fd;                       /* where the dialing process hands over; -1: there is none */
    pid_t dial_pid;                    /* that process; 0: there is none */
    bool writes;                       /* its stream is polled for room */
    bool broken;                       /* for good: */
    struct mst_err why;                /* this is the reason */
    const struct opts *opts;           /* NULL: node 0's own, which is never dialled */
    char address[MST_SOCK_NAME_BYTES]; /* node 0, as it was found */
    struct mst_auth_hello hello;
    struct outbox outbox;
    struct pulse pulse;
};

/* Takes a connected fd: node 0's own way to its coordinator. 0; -ENOMEM and errors of epoll_create1
 * with text. */
int link_init(struct link *link, int fd, struct mst_err *err);

/* Tries once to reach and join node 0 on a port, for some seconds at most, and not beyond the
 * deadline: call it again after -EAGAIN. 0; -ETIMEDOUT the deadline has passed; -EAGAIN with a text
 * that says what is missing; -EACCES wrong secret, or another job; -EPROTO another program, or
 * another version, listens there; -EINTR `stop_fd`, which may be -1, is readable. */
int link_dial(struct link *link, const struct opts *opts, uint16_t port, int stop_fd,
              uint64_t deadline_ns, struct mst_err *err);

/* Ends the dialing process, too. A link of zeros with fds of -1 is allowed. */
void link_fini(struct link *link);

/* Gives node 0 up, saying why. */
void link_break(struct link *link, const char *why);

/* Sends, now or over the next connection. */
void link_send(struct link *link, const struct msg *msg);

/* The job's nonce, from its START: node 0 of another start is not ours. */
void link_know_nonce(struct link *link, uint64_t job_nonce);

/* Readable when link_run has work. */
int link_fd(const struct link *link);

/* Moves bytes between the socket and the link's buffers. Never blocks. */
void link_run(struct link *link);

/* The next new message that has arrived: 1, or 0 if there is none or the link is broken. */
int link_next(struct link *link, struct msg *ret_msg);

/* Beats, names node 0 if it is silent, dials it, gives it up. At link_wake_ns, or more often, after
 * whatever has come was read. */
void link_tick(struct link *link, uint64_t now_ns);
uint64_t link_wake_ns(const struct link *link);

#endif

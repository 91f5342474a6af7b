/* Arrivals: who comes to a leader's listener, until he has proved himself. Many are heard at a
 * time, so that those who say nothing hold up nobody; when there is no room for another, whoever
 * has stood longest makes room (core/kv/door.h). Nobody stands for more than MST_HANDSHAKE_MS
 * before each of his steps.
 *
 * open → next until all are here → close. One thread. */
#ifndef MUSTER_COMM_ARRIVALS_H
#define MUSTER_COMM_ARRIVALS_H

#include "muster/core/kv/auth.h"
#include "muster/core/kv/door.h"

#include <stdbool.h>

struct arrival;
struct mst_err;
struct mst_world;

#define ARRIVALS_MAX 64 /* heard at a time */

struct arrivals {
    int listen_fd;
    bool paused; /* nobody can be let in now: the listener is left alone for a while */
    const struct mst_world *world;
    struct mst_door door;
    struct arrival *places; /* ARRIVALS_MAX of them */
};

/* Both are borrowed until close. 0; -ENOMEM with text. */
int arrivals_open(struct arrivals *arrivals, int listen_fd, const struct mst_world *world,
                  struct mst_err *err);

/* Hangs up on who has not proved himself. Zeroed is allowed. */
void arrivals_close(struct arrivals *arrivals);

/* Waits up to `timeout_ms` until somebody comes or says something. The fd (non-blocking) of a rank
 * of this job and generation that has proved itself, and its hello; -EAGAIN nobody has: call again.
 * Why the last was turned away is in *refused, if somebody was. */
int arrivals_next(struct arrivals *arrivals, int timeout_ms, struct mst_auth_hello *ret_hello,
                  struct mst_err *refused);

#endif

#include "muster/core/kv/connect.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#define LOOK_MS 50         /* the longest sleep between two looks around */
#define DIAL_SLICE_MS 1000 /* but in dialling, where a packet may have to be sent again */

/* Whether another try may end otherwise. */
static bool may_pass(int rc)
{
    return rc == -ECONNRESET || rc == -ETIMEDOUT || rc == -ENOMEM;
}

static int look(const struct mst_connect *connect, struct mst_err *err)
{
    if (connect->go_on && !connect->go_on(connect->arg))
        return mst_err_set(err, -ECANCELED, "there is no point in going on");
    return 0;
}

/* Looks around until the acceptor has something to say. */
static int await_answer(const struct mst_connect *connect, int fd, uint64_t deadline_ns,
                        struct mst_err *err)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    int rc = 0, ready = connect->go_on ? 0 : 1;
    while (rc == 0 && ready == 0 && !mst_deadline_passed(deadline_ns)) {
        uint64_t slice_ns = mst_least(mst_deadline_ms(LOOK_MS), deadline_ns);
        ready = poll(&pollfd, 1, mst_deadline_left_ms(slice_ns)) > 0;
        rc = look(connect, err);
    }
    return rc;
}

/* Once through the handshake: fd, or -errno. */
static int shake_hands(const struct mst_connect *connect, int fd, uint64_t deadline_ns,
                       struct mst_err *err)
{
    uint64_t limit_ns = mst_deadline_ms(connect->handshake_ms ? connect->handshake_ms
                                                              : MST_HANDSHAKE_MS);
    uint64_t handshake_ns = mst_least(limit_ns, deadline_ns);
    struct mst_auth_dialer dialer = {
        .hello = connect->hello, .secret = connect->secret, .secret_bytes = connect->secret_bytes};
    int rc = mst_auth_dial_begin(&dialer, fd, handshake_ns, err);
    if (rc == 0)
        rc = await_answer(connect, fd, handshake_ns, err);
    if (rc == 0)
        rc = mst_auth_dial_finish(&dialer, fd, handshake_ns, err);
    if (rc == 0)
        return fd;
    (void)close(fd); /* nothing of ours is under way on it */
    return rc;
}

static int dial_again(const struct mst_connect *connect, uint64_t deadline_ns, struct mst_err *err)
{
    int fd = mst_sock_redial(connect->address, deadline_ns, err);
    return fd == -ECONNREFUSED
               ? mst_err_set(err, -ECONNRESET, "nobody listens there any longer: its process ended")
               : fd;
}

/* The fd, or -errno. Who looks around dials in slices. */
static int dial(const struct mst_connect *connect, uint64_t deadline_ns, struct mst_err *err)
{
    for (;;) {
        uint64_t slice_ns = mst_least(mst_deadline_ms(DIAL_SLICE_MS), deadline_ns);
        uint64_t until_ns = connect->go_on ? slice_ns : deadline_ns;
        int fd = connect->was_there ? dial_again(connect, until_ns, err)
                                    : mst_sock_dial(connect->address, until_ns, err);
        if (fd != -ETIMEDOUT || mst_deadline_passed(deadline_ns))
            return fd;
        int rc = look(connect, err);
        if (rc)
            return rc;
    }
}

int mst_connect(const struct mst_connect *connect, uint64_t deadline_ns, struct mst_err *err)
{
    for (int pause_ms = 0;;) {
        int rc = look(connect, err);
        int fd = rc ? rc : dial(connect, deadline_ns, err);
        if (fd < 0)
            return fd;
        rc = shake_hands(connect, fd, deadline_ns, err);
        if (rc >= 0 || !may_pass(rc))
            return rc;
        pause_ms = mst_sock_longer_pause(pause_ms);
        mst_sock_pause(deadline_ns, pause_ms);
        if (mst_deadline_passed(deadline_ns))
            return rc;
    }
}

#include "muster/core/kv/connect.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#define HANDSHAKE_MS 5000 /* as long as the server waits for one */
#define PAUSE_MS_MIN 20
#define PAUSE_MS_MAX 640

/* Whether another try may end otherwise. */
static bool may_pass(int rc)
{
    return rc == -ECONNRESET || rc == -ETIMEDOUT || rc == -ENOMEM;
}

/* Once through the handshake: fd, or -errno. */
static int shake_hands(const struct mst_connect *connect, int fd, uint64_t deadline_ns,
                       struct mst_err *err)
{
    uint64_t limit_ns = mst_deadline_ms(connect->handshake_ms ? connect->handshake_ms
                                                              : HANDSHAKE_MS);
    uint64_t handshake_ns = mst_least(limit_ns, deadline_ns);
    int rc = mst_auth_dial(fd, connect->hello, connect->secret, connect->secret_bytes, handshake_ns,
                           err);
    if (rc == 0)
        return fd;
    (void)close(fd); /* nothing of ours is under way on it */
    return rc;
}

static int dial(const struct mst_connect *connect, uint64_t deadline_ns, struct mst_err *err)
{
    if (!connect->was_there)
        return mst_sock_dial(connect->address, deadline_ns, err);
    int fd = mst_sock_redial(connect->address, deadline_ns, err);
    return fd == -ECONNREFUSED
               ? mst_err_set(err, -ECONNRESET, "nobody listens there any longer: its process ended")
               : fd;
}

int mst_connect(const struct mst_connect *connect, uint64_t deadline_ns, struct mst_err *err)
{
    for (int pause_ms = PAUSE_MS_MIN;;
         pause_ms = pause_ms < PAUSE_MS_MAX ? pause_ms * 2 : pause_ms) {
        int fd = dial(connect, deadline_ns, err);
        if (fd < 0)
            return fd;
        int rc = shake_hands(connect, fd, deadline_ns, err);
        if (rc >= 0 || !may_pass(rc))
            return rc;
        mst_sock_pause(deadline_ns, pause_ms);
        if (mst_deadline_passed(deadline_ns))
            return rc;
    }
}

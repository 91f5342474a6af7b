/* An acceptor of the handshake that blocks, as the other end of the dialers under test. */
#ifndef MUSTER_TESTS_UNIT_AUTH_ACCEPTOR_H
#define MUSTER_TESTS_UNIT_AUTH_ACCEPTOR_H

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/sock.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

/* Whom an acceptor wants: other roles, jobs and generations (but of MST_ROLE_AGENT) are refused.
 * The pointers are borrowed for the call. */
struct wanted {
    enum mst_auth_role role;
    uint32_t generation;
    const uint8_t *secret;
    size_t secret_bytes;
    const char *job_id; /* NULL is empty */
    uint64_t job_nonce;
};

static inline int check_peer(void *arg, const struct mst_auth_hello *hello, struct mst_err *err)
{
    const struct wanted *wanted = arg;
    if (hello->role != wanted->role)
        return mst_err_set(err, -EPROTO, "role %u is not wanted here, but %u", hello->role,
                           wanted->role);
    if (hello->role != MST_ROLE_AGENT && hello->generation != wanted->generation)
        return mst_err_set(err, -ESTALE, "generation %" PRIu32 " is not ours, %" PRIu32,
                           hello->generation, wanted->generation);
    return 0;
}

/* Writes all that is queued. 0; -ETIMEDOUT; -ECONNRESET. */
static inline int flush_answers(struct mst_stream *stream, uint64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = stream->fd, .events = POLLOUT};
    while (mst_stream_pending(stream) > 0) {
        if (poll(&pollfd, 1, mst_deadline_left_ms(deadline_ns)) == 0)
            return -ETIMEDOUT;
        int rc = mst_stream_write(stream);
        if (rc)
            return rc;
    }
    return 0;
}

/* Reads frame by frame, so that no byte behind the handshake is taken from the socket. */
static inline int accept_steps(struct mst_stream *stream, struct mst_auth_acceptor *acceptor,
                               uint64_t deadline_ns, struct mst_err *err)
{
    for (;;) {
        uint8_t type, payload[MST_HANDSHAKE_PAYLOAD_MAX];
        size_t size_bytes;
        int rc = mst_sock_recv_frame(stream->fd, &type, payload, sizeof payload, &size_bytes,
                                     deadline_ns);
        if (rc)
            return mst_auth_acceptor_failed(acceptor,
                                            rc == -EBADMSG || rc == -ENOSPC ? -EPROTO : rc, err);
        rc = mst_auth_acceptor_step(acceptor, stream, type, payload, size_bytes, err);
        int flushed = flush_answers(stream, deadline_ns);
        if (rc < 0)
            return rc;
        if (flushed)
            return mst_auth_acceptor_failed(acceptor, flushed, err);
        if (rc == 1)
            return 0;
    }
}

/* Acceptor, blocking until the deadline; *ret_hello says who came. Errors as mst_auth_dial. */
static inline int accept_dialer(int fd, const struct wanted *wanted, uint64_t deadline_ns,
                                struct mst_auth_hello *ret_hello, struct mst_err *err)
{
    struct wanted mine = *wanted;
    struct mst_auth_acceptor acceptor;
    mst_auth_acceptor_init(&acceptor, &(struct mst_auth_terms){.secret = wanted->secret,
                                                               .secret_bytes = wanted->secret_bytes,
                                                               .job_id = wanted->job_id,
                                                               .job_nonce = wanted->job_nonce,
                                                               .check = check_peer,
                                                               .arg = &mine});
    struct mst_stream stream;
    mst_stream_init(&stream, fd);
    int rc = accept_steps(&stream, &acceptor, deadline_ns, err);
    mst_stream_fini(&stream);
    if (rc && acceptor.challenged)
        (void)mst_err_wrap(err, "a peer that says to be rank %" PRIu32, /* it returns rc */
                           acceptor.hello.rank);
    if (rc)
        return rc;
    *ret_hello = acceptor.hello;
    return 0;
}

#endif

#include "muster/launcher/link.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/launcher/opts.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define TRY_MS 1000
#define AUTH_MS 5000

void link_init(struct link *link, int fd)
{
    link->broken = false;
    mst_stream_init(&link->stream, fd);
}

void link_fini(struct link *link)
{
    if (link->stream.fd < 0)
        return;
    close(link->stream.fd);
    mst_stream_fini(&link->stream);
    link->stream.fd = -1;
}

int link_dial(struct link *link, const struct opts *opts, struct mst_err *err)
{
    char address[OPTS_HOST_BYTES + 16];
    (void)mst_sock_join(opts->rdzv_host, opts->rdzv_port, address, sizeof address); /* it fits */
    int fd = mst_sock_dial(address, mst_deadline_ms(TRY_MS), err);
    if (fd < 0)
        return -EAGAIN;
    struct mst_auth_hello hello = {.role = MST_ROLE_AGENT, .rank = opts->node_rank};
    memcpy(hello.job_id, opts->job_id, sizeof hello.job_id);
    int rc = mst_auth_dial(fd, &hello, opts->secret, opts->secret_bytes, mst_deadline_ms(AUTH_MS),
                           err);
    if (rc) {
        close(fd);
        /* A node that restarts, or whose predecessor is not yet missed, gets another chance. */
        return rc == -EACCES || rc == -EPROTO ? rc : -EAGAIN;
    }
    link_init(link, fd);
    return 0;
}

void link_send(struct link *link, const struct msg *msg)
{
    uint8_t payload[MSG_BYTES_MAX];
    int size = msg_encode(msg, payload, sizeof payload);
    assert(size >= 0);
    if (link->broken)
        return;
    if (mst_stream_put(&link->stream, (uint8_t)msg->type, payload, (size_t)size))
        link->broken = true;
}

void link_run(struct link *link)
{
    if (!link->broken && mst_stream_read(&link->stream) < 0)
        link->broken = true;
    if (!link->broken && mst_stream_write(&link->stream))
        link->broken = true;
}

int link_next(struct link *link, struct msg *ret_msg)
{
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    int rc = mst_stream_next(&link->stream, &type, &payload, &size_bytes);
    if (rc > 0)
        rc = msg_decode(type, payload, size_bytes, ret_msg) ? -EBADMSG : 1;
    if (rc < 0)
        link->broken = true;
    return rc > 0;
}

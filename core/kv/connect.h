/* Connecting to one of our own: dialling and the handshake together, again and again until a
 * deadline, as either may meet a reset, a full queue or a server that is not up yet. */
#ifndef MUSTER_CORE_KV_CONNECT_H
#define MUSTER_CORE_KV_CONNECT_H

#include "muster/core/kv/auth.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whom to dial, and as whom. All borrowed for the call. */
struct mst_connect {
    const char *address; /* "host:port" or "[v6]:port" */
    const struct mst_auth_hello *hello;
    const uint8_t *secret;
    size_t secret_bytes;
    uint32_t handshake_ms;    /* then another connection may fare better; 0: 5 s, as the server's */
    bool was_there;           /* it listened before: a port where nobody listens is the end of it */
    bool (*go_on)(void *arg); /* asked once a second and more often; false ends it; NULL is true */
    void *arg;
};

/* Returns an authenticated fd (non-blocking). -EINVAL the address; -ECANCELED go_on said no;
 * -ECONNRESET nobody listens, though somebody did; what the acceptor says for good: -EACCES -ESTALE
 * -EPROTO and the like, as mst_auth_dial; once the deadline has passed, -ETIMEDOUT or the last
 * failure. All with text. */
int mst_connect(const struct mst_connect *connect, uint64_t deadline_ns, struct mst_err *err);

#endif

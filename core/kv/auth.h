/* The handshake: both ends prove that they know the job secret, and that they belong to the same
 * generation, before either reads another byte.
 *
 *   dialer                                               acceptor
 *     HELLO version, role, generation, rank, tag, nonce_d  →
 *           ←  CHALLENGE nonce_a, HMAC(secret, "acceptor", hello, nonce_a)
 *     PROOF HMAC(secret, "dialer", hello, nonce_a)         →
 *           ←  WELCOME | REFUSE code, text
 *
 * HMAC-SHA-256; nonces are 32 random bytes. With an empty secret the MACs prove nothing, and the
 * frames are the same. A dialer with an older generation is refused with -ESTALE and a text. Replay
 * is answered by fresh nonces, reflection by the role words in the MAC. */
#ifndef MUSTER_CORE_KV_AUTH_H
#define MUSTER_CORE_KV_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_err;
struct mst_stream;

enum mst_auth_role {
    MST_ROLE_RANK_KV,   /* a rank's connection to the kv server */
    MST_ROLE_AGENT,     /* an agent's connection to the coordinator; any generation */
    MST_ROLE_RANK_COMM, /* rank to rank, a communicator's socket */
    MST_ROLE_COUNT
};

struct mst_auth_hello {
    enum mst_auth_role role;
    uint32_t generation;
    uint32_t rank; /* global rank, or the node rank of an agent */
    uint32_t tag;  /* the role's own: a communicator's id and lane */
};

/* Dialer, blocking until the deadline. 0; -EACCES the acceptor does not know our secret or refused
 * our proof; -ESTALE; -EPROTO; -ETIMEDOUT; -ECONNRESET; all with text, the acceptor's own when it
 * refused. */
int mst_auth_dial(int fd, const struct mst_auth_hello *hello, const uint8_t *secret,
                  size_t secret_bytes, uint64_t deadline_ns, struct mst_err *err);

/* Whom an acceptor wants: other roles and generations (but of MST_ROLE_AGENT) are refused. The
 * secret is borrowed for the call. */
struct mst_auth_wanted {
    enum mst_auth_role role;
    uint32_t generation;
    const uint8_t *secret;
    size_t secret_bytes;
};

/* Acceptor, blocking until the deadline; *ret_hello says who came. Errors as above. */
int mst_auth_accept(int fd, const struct mst_auth_wanted *wanted, uint64_t deadline_ns,
                    struct mst_auth_hello *ret_hello, struct mst_err *err);

/* What a dialer must meet, beside the protocol. `check`, which may be NULL, sees the hello once the
 * dialer has proved itself, so that strangers learn nothing from it: it returns 0, or a -errno with
 * text that is sent to the dialer and returned. */
struct mst_auth_terms {
    const uint8_t *secret; /* borrowed for the acceptor's life */
    size_t secret_bytes;
    int (*check)(void *arg, const struct mst_auth_hello *hello, struct mst_err *err);
    void *arg;
};

/* Acceptor for poll loops: feed it each frame of a stream until it says 1. */
struct mst_auth_acceptor {
    struct mst_auth_terms terms;
    bool challenged;
    uint8_t nonce[32];
    uint8_t hello_bytes[48];
    struct mst_auth_hello hello;
};

void mst_auth_acceptor_init(struct mst_auth_acceptor *acceptor, const struct mst_auth_terms *terms);

/* Answers one frame through `stream`. 1 authenticated, WELCOME queued; 0 go on; -EACCES -EPROTO
 * refused, REFUSE queued; -ENOMEM -ECONNRESET of the stream, -EIO no random bytes; what the terms'
 * check said. */
int mst_auth_acceptor_step(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                           uint8_t type, const uint8_t *payload, size_t size_bytes);

#endif

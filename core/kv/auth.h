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

/* Acceptor, blocking; *ret_hello says who came. Refuses roles other than `role` and generations
 * other than `generation` (unless the role is MST_ROLE_AGENT). Errors as above. */
int mst_auth_accept(int fd, enum mst_auth_role role, uint32_t generation, const uint8_t *secret,
                    size_t secret_bytes, struct mst_auth_hello *ret_hello, uint64_t deadline_ns,
                    struct mst_err *err);

/* Acceptor for poll loops: feed it each frame of a stream until it says 1. */
struct mst_auth_acceptor {
    bool challenged;
    uint8_t nonce[32];
    uint8_t hello_bytes[64];
    size_t hello_size_bytes;
    struct mst_auth_hello hello;
};

void mst_auth_acceptor_init(struct mst_auth_acceptor *acceptor);

/* Answers one frame through `stream`. 1 authenticated, WELCOME queued; 0 go on; -EACCES -EPROTO
 * refused, REFUSE queued; -ENOMEM -ECONNRESET of the stream, -EIO no random bytes. `check`, which
 * may be NULL, sees the hello once the dialer has proved itself, so that strangers learn nothing
 * from it: it returns 0, or a -errno with text that is sent to the dialer and returned. */
typedef int (*mst_auth_check_fn)(void *arg, const struct mst_auth_hello *hello,
                                 struct mst_err *err);
int mst_auth_acceptor_step(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                           uint8_t type, const uint8_t *payload, size_t size_bytes,
                           const uint8_t *secret, size_t secret_bytes, mst_auth_check_fn check,
                           void *arg);

#endif

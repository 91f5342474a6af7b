/* The handshake: both ends prove that they know the job secret, and that they belong to the same
 * start of the same job, before either reads another byte.
 *
 *   dialer                                               acceptor
 *     HELLO version, role, flags, generation, rank, tag, size, process, nonce_d  →
 *           ←  CHALLENGE nonce_a, HMAC(secret, "acceptor", hello, nonce_a)
 *     PROOF HMAC(secret, "dialer", hello, nonce_a, job_d), job_d  →
 *           ←  WELCOME HMAC(secret, "welcome", hello, nonce_a, job_d, job_a), job_a
 *
 * HMAC-SHA-256; nonces are 32 random bytes; job_d and job_a are what each side calls the job: its
 * nonce (u64) and its id. Neither leaves its side before the other has proved itself, so that a
 * stranger learns no name. Instead of its next frame either side may send REFUSE code, text. A
 * dialer does so when it sees that the secrets differ, so that both sides can say it. An acceptor
 * that has sent its CHALLENGE puts HMAC(secret, "refuse", hello, nonce_a, code, text) before them:
 * the code of no other refusal counts, which anybody on the way could have made. With an empty
 * secret the MACs prove nothing, and the frames are the same. Replay is answered by fresh nonces,
 * reflection by the role words in the MAC.
 *
 * Two sides are of one job if both have the same job nonce, which a coordinator draws at its start.
 * Two nonces are two starts (-ESTALE). While one of them has not been told a nonce (0), two ids
 * must be the same (-EACCES), and an id against none is let in: the acceptor's owner sees it in the
 * hello. A dialer with an older generation is refused with -ESTALE. All with a text. */
#ifndef MUSTER_CORE_KV_AUTH_H
#define MUSTER_CORE_KV_AUTH_H

#include "muster/core/world/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_err;
struct mst_stream;

#define MST_HANDSHAKE_MS 5000         /* an acceptor waits so long for each frame of a dialer */
#define MST_HANDSHAKE_PAYLOAD_MAX 256 /* and holds no more of one */

enum mst_auth_role {
    MST_ROLE_RANK_KV,   /* a rank's connection to the kv server */
    MST_ROLE_AGENT,     /* an agent's connection to the coordinator; any generation */
    MST_ROLE_RANK_COMM, /* rank to rank, a communicator's socket */
    MST_ROLE_COUNT
};

struct mst_auth_hello {
    enum mst_auth_role role;
    uint32_t generation;
    uint32_t rank;                 /* global rank, or the node rank of an agent */
    uint32_t tag;                  /* the role's own: a communicator's id and lane */
    bool again;                    /* this dialer was let in before, and was cut off */
    uint32_t size;                 /* of a rank of the kv: the ranks that it counts */
    uint32_t process;              /* … and its process's mark, core/process.h; else both are 0 */
    char job_id[MST_JOB_ID_BYTES]; /* printable; empty: the job has no name */
    uint64_t job_nonce;            /* 0: not yet told */
};

/* What the MACs cover, in this order; each covers the first of them. */
struct mst_auth_transcript {
    uint8_t hello[56];
    uint8_t nonce[32];
    uint8_t dialer_job[8 + MST_JOB_ID_BYTES];
    uint8_t acceptor_job[8 + MST_JOB_ID_BYTES];
};

/* Dialer, blocking until the deadline. 0; -EACCES the acceptor does not know our secret, is of
 * another job or refused our proof; -ESTALE another start of the job, or another generation;
 * -EPROTO no handshake, another version of it, or a refusal that is not proved to be of our job;
 * -ETIMEDOUT; -ECONNRESET; all with text, the acceptor's own when it refused. */
int mst_auth_dial(int fd, const struct mst_auth_hello *hello, const uint8_t *secret,
                  size_t secret_bytes, uint64_t deadline_ns, struct mst_err *err);

/* A dialer in two halves, for one who looks around meanwhile. The pointers are borrowed until the
 * second is done. */
struct mst_auth_dialer {
    const struct mst_auth_hello *hello;
    const uint8_t *secret;
    size_t secret_bytes;
    struct mst_auth_transcript transcript; /* its own */
};

/* Says hello. Errors as mst_auth_dial. */
int mst_auth_dial_begin(struct mst_auth_dialer *dialer, int fd, uint64_t deadline_ns,
                        struct mst_err *err);
/* Does the rest, once the socket is readable. As mst_auth_dial. */
int mst_auth_dial_finish(struct mst_auth_dialer *dialer, int fd, uint64_t deadline_ns,
                         struct mst_err *err);

/* What a dialer must meet, beside the protocol. `check`, which may be NULL, sees the hello once the
 * dialer has proved itself, so that strangers learn nothing from it: it returns 0, or a -errno with
 * text that is sent to the dialer and returned. */
struct mst_auth_terms {
    const uint8_t *secret; /* borrowed for the acceptor's life, as is job_id */
    size_t secret_bytes;
    const char *job_id; /* ours; NULL is empty */
    uint64_t job_nonce;
    int (*check)(void *arg, const struct mst_auth_hello *hello, struct mst_err *err);
    void *arg;
};

/* Acceptor for poll loops: feed it each frame of a stream until it says 1. */
struct mst_auth_acceptor {
    struct mst_auth_terms terms;
    bool challenged;
    struct mst_auth_transcript transcript;
    struct mst_auth_hello hello; /* what the dialer says; its job comes with the proof */
};

void mst_auth_acceptor_init(struct mst_auth_acceptor *acceptor, const struct mst_auth_terms *terms);

/* Answers one frame through `stream`. 1 authenticated, WELCOME queued; 0 go on; -EACCES -ESTALE
 * -EPROTO refused, REFUSE queued; -ENOMEM -ECONNRESET of the stream, -EIO no random bytes; what the
 * terms' check said. err says why a dialer was refused, for our own side. */
int mst_auth_acceptor_step(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                           uint8_t type, const uint8_t *payload, size_t size_bytes,
                           struct mst_err *err);

/* What is known of a dialer that hung up, or failed with `rc`, before it was authenticated. Returns
 * rc. */
int mst_auth_acceptor_failed(const struct mst_auth_acceptor *acceptor, int rc, struct mst_err *err);

#endif

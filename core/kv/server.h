/* The job's key-value server: sockets in front of core/kv's in-process table, run by the agent of
 * node 0 inside its one poll loop. The agents of all nodes keep a connection to the same port, on
 * which the coordinator's messages travel; the server authenticates them and passes their frames
 * up.
 *
 *   create(listen_fd) → poll kv_server_fd for POLLIN → kv_server_run → … → destroy
 *
 * Never blocks, never prints. One thread. A peer that breaks the protocol, takes over 5 s for a
 * step of the handshake or does not read its answers (over 64 MiB queued) is dropped. Strangers
 * take 256 descriptors at most, an eighth of what the process may have at most, and another eighth
 * of them is left for its other needs. There is no other limit on connections; an idle one takes
 * 6 KiB. */
#ifndef MUSTER_CORE_KV_SERVER_H
#define MUSTER_CORE_KV_SERVER_H

#include "muster/core/kv/auth.h"
#include "muster/core/kv/sock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_server;
struct mst_err;

#define KV_AGENT_FRAME_MIN 64 /* frame types below are kv calls, from here on the coordinator's */

/* A connection, and the node that it said to be of when it proved itself. */
struct kv_agent {
    uint64_t peer;
    uint32_t node;
};

/* Called from kv_server_run. They may call kv_server_send and _drop, nothing else of the server. */
struct kv_server_events {
    void *arg;
    /* An agent has proved itself. 0 keeps it; -errno with text refuses it. Frames can be sent to it
     * once this has returned. */
    int (*agent_joined)(void *arg, uint64_t peer, const struct mst_auth_hello *hello,
                        struct mst_err *err);
    void (*agent_frame)(void *arg, const struct kv_agent *from, uint8_t type,
                        const uint8_t *payload, size_t size_bytes);
    /* Its connection is gone: once for each that was kept or attached, also after kv_server_drop,
     * but not from kv_server_destroy. hung_up: it closed the connection, as the end of a process
     * does; else the connection broke, or we closed it. */
    void (*agent_lost)(void *arg, const struct kv_agent *who, bool hung_up);
    /* Somebody was turned away in the handshake: another secret, job, start, generation or version,
     * or agent_joined said no, or it took too long, or had to make room; or nobody can be let in
     * for lack of descriptors. The text says who, and why. Anyone can cause one. */
    void (*refused)(void *arg, const struct mst_err *why);
};

/* All copied; of `events` every callback is set. */
struct kv_server_config {
    int listen_fd; /* -1: no listener, only attached peers */
    const uint8_t *secret;
    size_t secret_bytes;
    const char *job_id; /* what is told to dialers (core/kv/auth.h); NULL is empty */
    uint64_t job_nonce;
    uint32_t rank_count; /* each of so many ranks is one process, or refused; 0: who vouches for the
                            ranks is our own launcher, and any process may be a part of one */
    struct kv_server_events events;
};

/* Takes listen_fd if it succeeds, and 4 bytes of memory for each of rank_count. 0; -EINVAL secret
 * over MST_SECRET_BYTES_MAX; -ENOMEM and errors of epoll_create1 with text. */
int kv_server_create(const struct kv_server_config *config, struct kv_server **ret_server,
                     struct mst_err *err);

/* Closes every connection. NULL is allowed. */
void kv_server_destroy(struct kv_server *server);

/* Fences: from now on ranks of other generations are refused with -ESTALE, connections of older
 * ones are closed, and their keys dropped. */
void kv_server_set_generation(struct kv_server *server, uint32_t generation);

/* Readable when kv_server_run has work. */
int kv_server_fd(const struct kv_server *server);

/* Does what is ready; what comes in meanwhile, or is more than a few hundred events, is left to the
 * next call, so that one busy server does not hold up the loop. Call it also a few times a second,
 * for the handshakes' deadline and the pauses in accepting. */
void kv_server_run(struct kv_server *server);

/* Adds the agent of `node` over a connected stream socket (node 0's own, by socketpair).
 * Takes fd if it succeeds. agent_joined is not called. 0 and its peer number (never 0); -ENOMEM. */
int kv_server_attach(struct kv_server *server, int fd, uint32_t node, uint64_t *ret_peer);

/* The address at which an agent reached this node (mst_sock_own_host). 0; -ENOENT;
 * -EADDRNOTAVAIL it was attached. */
int kv_server_own_host(struct kv_server *server, uint64_t peer, char host[MST_SOCK_NAME_BYTES]);

/* Whether a rank is connected, or on its way in. */
bool kv_server_has_ranks(const struct kv_server *server);

/* Sends a frame to an agent. 0; -ENOENT it is gone, or went just now (then agent_lost follows);
 * -EINVAL over MST_FRAME_PAYLOAD_MAX. */
int kv_server_send(struct kv_server *server, uint64_t peer, uint8_t type, const void *payload,
                   size_t size_bytes);

/* Closes an agent's connection, after what is queued for it was offered to the socket once. Its
 * agent_lost comes from this kv_server_run or the next. */
void kv_server_drop(struct kv_server *server, uint64_t peer);

#endif

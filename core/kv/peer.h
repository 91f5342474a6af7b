/* The life of a connection. Its struct kv_peer stands in `peers`, at the slot that its number says.
 *
 *   accept ─→ HANDSHAKE ─ proof, role rank ──→ RANK ──┐
 *                 │  └─── proof, role agent ─→ AGENT ─┤ ←─ attach, without a handshake
 *                 │ 5 s, a wrong frame, refused,      │ hung up, a wrong frame, does not read,
 *                 │ the door is full                  │ fenced, dialled again (ranks), dropped
 *                 └──────────────→ LOST ←─────────────┘
 *                                    └─→ reap: out of peers, closed, freed; agent_lost is called
 *
 * HANDSHAKE  Frames of at most 256 bytes go to the acceptor (core/kv/auth.h). Once the dialer has
 *            proved itself, check_hello asks the generation of a rank, and the owner (agent_joined)
 *            of an agent, which is `announced` from then on. Few stand at the `door` at a time
 *            (core/kv/door.h).
 * RANK       Each frame is a call: on the table at once, or `wait` stands in `waits` until a change
 *            of its key answers it. It has one at most: the next call ends it. A client that was
 *            cut off comes again with its session (core/kv/sessions.h) and repeats its call.
 * AGENT      Frames go to the owner and come from kv_server_send.
 * LOST       kv_peer_lose may be called anywhere, also by an owner from inside a callback, while
 *            frames of the peer are being read: it shuts the socket down, ends the wait and puts
 *            the peer on `lost`. Nobody finds it by its number any longer. The memory stays until a
 *            kv_server_run ends, and only reap (or kv_server_destroy) frees it.
 *
 * Answers are queued in the peer's stream, which writes what the socket takes; EPOLLOUT is asked
 * for while bytes are left, and who leaves 64 MiB of them is lost. A large value that many wait for
 * is kept once for all of them. */
#ifndef MUSTER_CORE_KV_PEER_H
#define MUSTER_CORE_KV_PEER_H

#include "muster/core/kv/auth.h"
#include "muster/core/kv/door.h"
#include "muster/core/kv/server.h"
#include "muster/core/kv/sessions.h"
#include "muster/core/kv/slots.h"
#include "muster/core/kv/sock.h"
#include "muster/core/kv/table.h"
#include "muster/core/kv/waits.h"
#include "muster/core/world/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_LISTENER_ID 0

enum kv_peer_state {
    KV_PEER_HANDSHAKE,
    KV_PEER_RANK,
    KV_PEER_AGENT,
    KV_PEER_LOST, /* disconnected; its memory goes when kv_server_run ends */
};

/* A value that several streams have yet to send. */
struct kv_blob {
    uint32_t user_count;
    uint64_t version; /* of the table: two values of one version are one */
    size_t size_bytes;
    uint8_t bytes[];
};

struct kv_handshake {
    struct mst_guest guest; /* at the door */
    struct kv_peer *peer;
    struct mst_auth_acceptor acceptor;
};

struct kv_peer {
    struct kv_server *server;
    uint64_t id;
    enum kv_peer_state state;
    bool announced;    /* the owner knows of this agent, and is told when it goes */
    bool closed_first; /* its own close, not a connection that broke */
    bool polls_write;
    uint32_t node;                  /* of an agent */
    uint32_t generation;            /* of a rank */
    struct kv_handshake *handshake; /* NULL once it is over */
    struct kv_session *session;     /* of a rank */
    struct kv_blob *blob;           /* what the tail of `stream` points into */
    struct mst_stream stream;
    struct kv_wait wait;
    struct kv_peer *next_lost;
};

struct kv_server {
    int epoll_fd;
    int listen_fd;
    bool listens; /* the listener is polled */
    uint32_t generation;
    uint64_t resume_ns; /* when to poll the listener again */
    struct kv_server_events events;
    struct kv_table table;
    struct kv_waits waits;
    struct kv_sessions sessions;
    struct mst_door door;
    struct kv_slots peers;
    struct kv_blob *blob; /* the last one made */
    struct kv_peer *lost;
    uint32_t rank_count;
    uint32_t *processes; /* of each rank, once it has come; NULL: rank_count is 0 */
    char job_id[MST_JOB_ID_BYTES];
    uint64_t job_nonce;
    size_t secret_bytes;
    uint8_t secret[MST_SECRET_BYTES_MAX];
};

/* epoll_ctl. 0; -errno. */
int kv_poll(struct kv_server *server, int op, int fd, uint64_t id, uint32_t events);

/* Has the listener, if there is one, polled from now on. */
void kv_listener_poll(struct kv_server *server);

/* The peer with this number, unless it is gone. */
struct kv_peer *kv_peer_find(struct kv_server *server, uint64_t id);

/* Takes fd unless it fails: NULL. */
struct kv_peer *kv_peer_add(struct kv_server *server, int fd, enum kv_peer_state state);

/* Disconnects at once. Its memory stays until kv_peers_reap: the caller may be using it. */
void kv_peer_lose(struct kv_server *server, struct kv_peer *peer);
void kv_peer_free(struct kv_server *server, struct kv_peer *peer);

/* Frees lost peers, and tells the owner. */
void kv_peers_reap(struct kv_server *server);

/* After anything was queued or written: polls for room while bytes wait for it, and loses a peer
 * that does not read. */
void kv_peer_follow(struct kv_server *server, struct kv_peer *peer);

/* One user less. NULL is allowed. */
void kv_blob_leave(struct kv_blob *blob);

/* Takes the peer from the door, if it stands there. */
void kv_handshake_end(struct kv_server *server, struct kv_peer *peer);

/* core/kv/guests.c: a frame of one that has not proved itself; one whose stream failed; those who
 * took too long; those who come. */
void kv_handshake_step(struct kv_server *server, struct kv_peer *peer, uint8_t type,
                       const uint8_t *payload, size_t size_bytes);
void kv_peer_hung_up(struct kv_server *server, struct kv_peer *peer, int rc);
void kv_guests_lose_late(struct kv_server *server);
void kv_guests_accept(struct kv_server *server);

/* core/kv/calls.c: a rank that proved itself, 0 or -ESTALE, -EPROTO, -EEXIST and -ENOMEM with text;
 * its calls; its end, when its generation is over. */
int kv_rank_open(struct kv_server *server, struct kv_peer *peer, const struct mst_auth_hello *hello,
                 struct mst_err *err);
void kv_rank_serve(struct kv_server *server, struct kv_peer *peer, uint8_t type,
                   const uint8_t *payload, size_t size_bytes);
void kv_rank_fence(struct kv_server *server, struct kv_peer *peer);

#endif

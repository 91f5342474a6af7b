/* The life of a connection. Its struct peer stands in peers[], at the slot that its number names.
 *
 *   accept ─→ HANDSHAKE ─ proof, role rank ──→ RANK ──┐
 *                 │  └─── proof, role agent ─→ AGENT ─┤ ←─ attach, without a handshake
 *                 │ 10 s, a wrong frame, refused      │ hung up, a wrong frame, does not read,
 *                 │                                   │ fenced (ranks), dropped (agents)
 *                 └──────────────→ LOST ←─────────────┘
 *                                    └─→ reap: out of peers[], closed, freed; agent_lost is called
 *
 * HANDSHAKE  Frames of at most 256 bytes go to the acceptor (core/kv/auth.h). Once the dialer has
 *            proved itself, check_hello asks the generation of a rank, and the owner (agent_joined)
 *            of an agent, which is `announced` from then on.
 * RANK       Each frame is a call: on the table at once, or `wait` stands in `waits` until a change
 *            of its key answers it. It has one at most: the next call ends it.
 * AGENT      Frames go to the owner and come from kv_server_send.
 * LOST       lose_peer may be called anywhere, also by an owner from inside a callback, while
 *            frames of the peer are being read: it shuts the socket down, ends the wait and puts
 *            the peer on `lost`. Nobody finds it by its number any longer. The memory stays until a
 *            kv_server_run ends, and only reap (or kv_server_destroy) frees it.
 *
 * Answers are queued in the peer's stream, which writes what the socket takes; EPOLLOUT is asked
 * for while bytes are left, and who leaves 64 MiB of them is lost. */
#include "muster/core/kv/server.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/kv/table.h"
#include "muster/core/kv/waits.h"
#include "muster/core/span.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOT_BITS 12
#define PEERS_MAX (1U << SLOT_BITS)
#define EVENTS_MAX 256
#define ACCEPTS_MAX 64
#define LISTENER_ID 0
#define HANDSHAKE_S 10
#define HANDSHAKE_PAYLOAD_MAX 256 /* no more is held for a stranger */
#define QUEUE_BYTES_MAX ((size_t)64 << 20)

enum peer_state {
    PEER_HANDSHAKE,
    PEER_RANK,
    PEER_AGENT,
    PEER_LOST, /* disconnected; its memory goes when kv_server_run ends */
};

struct peer {
    struct kv_server *server;
    uint64_t id; /* a serial number, from 1, and its slot in the low bits */
    enum peer_state state;
    bool announced; /* the owner knows of this agent, and is told when it goes */
    bool polls_write;
    uint64_t handshake_deadline_ns;
    struct mst_auth_acceptor acceptor;
    struct mst_stream stream;
    struct kv_wait wait;
    struct peer *next_lost;
};

struct kv_server {
    int epoll_fd;
    int listen_fd;
    bool listens; /* the listener is polled */
    uint32_t generation;
    uint64_t next_tick_ns;
    uint64_t last_serial;
    struct kv_server_events events;
    struct kv_table table;
    struct kv_waits waits;
    struct peer *lost;
    struct peer *peers[PEERS_MAX];
    char job_id[MST_JOB_ID_BYTES];
    uint64_t job_nonce;
    size_t secret_bytes;
    uint8_t secret[MST_SECRET_BYTES_MAX];
};

/* ---- peers ----------------------------------------------------------------------------------- */

static int poll_fd(struct kv_server *server, int op, int fd, uint64_t id, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = id};
    return epoll_ctl(server->epoll_fd, op, fd, &event) ? -errno : 0;
}

static void poll_listener(struct kv_server *server)
{
    if (server->listen_fd >= 0 && !server->listens)
        server->listens = !poll_fd(server, EPOLL_CTL_ADD, server->listen_fd, LISTENER_ID, EPOLLIN);
}

/* The peer with this number, unless it is gone. */
static struct peer *find_peer(struct kv_server *server, uint64_t id)
{
    struct peer *peer = server->peers[id % PEERS_MAX];
    return peer && peer->id == id && peer->state != PEER_LOST ? peer : NULL;
}

static struct peer **find_free_slot(struct kv_server *server)
{
    for (size_t i = 0; i < PEERS_MAX; i++)
        if (!server->peers[i])
            return &server->peers[i];
    return NULL;
}

/* Disconnects at once. Its memory stays until reap: the caller may be using it. */
static void lose_peer(struct kv_server *server, struct peer *peer)
{
    if (peer->state == PEER_LOST)
        return;
    assert(server->peers[peer->id % PEERS_MAX] == peer);
    peer->state = PEER_LOST;
    kv_wait_end(&peer->wait);
    (void)poll_fd(server, EPOLL_CTL_DEL, peer->stream.fd, peer->id, 0); /* close would do it too */
    (void)shutdown(peer->stream.fd, SHUT_RDWR); /* fails if the peer was first */
    peer->next_lost = server->lost;
    server->lost = peer;
}

static void free_peer(struct kv_server *server, struct peer *peer)
{
    assert(server->peers[peer->id % PEERS_MAX] == peer && !peer->wait.link);
    server->peers[peer->id % PEERS_MAX] = NULL;
    (void)close(peer->stream.fd); /* what could be sent was */
    mst_stream_fini(&peer->stream);
    free(peer);
}

/* Frees lost peers. The owner's callback may lose more. */
static void reap(struct kv_server *server)
{
    while (server->lost) {
        struct peer *peer = server->lost;
        assert(peer->state == PEER_LOST);
        server->lost = peer->next_lost;
        uint64_t id = peer->id;
        bool announced = peer->announced;
        free_peer(server, peer);
        if (announced)
            server->events.agent_lost(server->events.arg, id);
    }
}

static int check_hello(void *arg, const struct mst_auth_hello *hello, struct mst_err *err);

/* Takes fd unless it fails. */
static struct peer *add_peer(struct kv_server *server, int fd, enum peer_state state)
{
    struct peer **slot = find_free_slot(server);
    struct peer *peer = slot ? calloc(1, sizeof *peer) : NULL;
    if (!peer)
        return NULL;
    peer->server = server;
    peer->id = ++server->last_serial << SLOT_BITS | (uint64_t)(slot - server->peers);
    peer->state = state;
    peer->handshake_deadline_ns = mst_deadline_ms(HANDSHAKE_S * 1000);
    mst_auth_acceptor_init(&peer->acceptor,
                           &(struct mst_auth_terms){.secret = server->secret,
                                                    .secret_bytes = server->secret_bytes,
                                                    .job_id = server->job_id,
                                                    .job_nonce = server->job_nonce,
                                                    .check = check_hello,
                                                    .arg = peer});
    mst_stream_init(&peer->stream, fd);
    if (state == PEER_HANDSHAKE)
        peer->stream.payload_max = HANDSHAKE_PAYLOAD_MAX;
    if (poll_fd(server, EPOLL_CTL_ADD, fd, peer->id, EPOLLIN)) {
        free(peer);
        return NULL;
    }
    *slot = peer;
    assert(find_peer(server, peer->id) == peer);
    return peer;
}

/* After anything was queued or written: polls for room while bytes wait for it, and loses a peer
 * that does not read. */
static void follow_queue(struct kv_server *server, struct peer *peer)
{
    size_t pending = mst_stream_pending(&peer->stream);
    bool wanted = pending > 0;
    if (peer->state == PEER_LOST)
        return;
    if (pending > QUEUE_BYTES_MAX) {
        lose_peer(server, peer);
        return;
    }
    if (wanted == peer->polls_write)
        return;
    peer->polls_write = wanted;
    if (poll_fd(server, EPOLL_CTL_MOD, peer->stream.fd, peer->id,
                wanted ? EPOLLIN | EPOLLOUT : EPOLLIN))
        lose_peer(server, peer);
}

/* ---- ranks ----------------------------------------------------------------------------------- */

static void send_reply(struct kv_server *server, struct peer *peer, const struct kv_reply *reply)
{
    uint8_t head[KV_REPLY_HEAD_BYTES];
    kv_reply_encode(reply, head);
    const struct mst_cspan parts[] = {
        {.data = head, .size_bytes = sizeof head},
        {.data = reply->value, .size_bytes = reply->value_bytes},
    };
    if (mst_stream_put_parts(&peer->stream, KV_FRAME_REPLY, parts, 2))
        lose_peer(server, peer);
    follow_queue(server, peer);
}

static struct peer *peer_of_wait(struct kv_wait *wait)
{
    return (struct peer *)((char *)wait - offsetof(struct peer, wait));
}

/* The key of `request` has changed: answers the waits on it that this satisfies. */
static void wake_waits(struct kv_server *server, uint32_t generation,
                       const struct kv_request *request)
{
    struct kv_wait *next;
    for (struct kv_wait *wait = kv_waits_first(&server->waits, generation, request); wait;
         wait = next) {
        next = kv_waits_next(wait);
        struct kv_reply reply;
        if (kv_table_call(&server->table, generation, &wait->request, &reply) == -EAGAIN)
            continue;
        kv_wait_end(wait);
        send_reply(server, peer_of_wait(wait), &reply);
    }
}

static void serve_rank(struct kv_server *server, struct peer *peer, uint8_t type,
                       const uint8_t *payload, size_t size_bytes)
{
    assert(peer->state == PEER_RANK);
    uint32_t generation = peer->acceptor.hello.generation;
    struct kv_request request;
    if (kv_request_decode(type, payload, size_bytes, &request)) {
        lose_peer(server, peer);
        return;
    }
    kv_wait_end(&peer->wait);
    struct kv_reply reply;
    int rc = kv_table_call(&server->table, generation, &request, &reply);
    if (rc == -EAGAIN) {
        kv_waits_add(&server->waits, &peer->wait, generation, &request);
        return;
    }
    send_reply(server, peer, &reply);
    if (rc == 0 && kv_verb_wakes(request.verb))
        wake_waits(server, generation, &request);
}

/* ---- handshake ------------------------------------------------------------------------------- */

static int check_generation(const struct kv_server *server, uint32_t theirs, struct mst_err *err)
{
    if (theirs == server->generation)
        return 0;
    return mst_err_set(err, -ESTALE, "generation %" PRIu32 " %s, the job is at %" PRIu32, theirs,
                       theirs < server->generation ? "is over" : "has not begun",
                       server->generation);
}

static int check_hello(void *arg, const struct mst_auth_hello *hello, struct mst_err *err)
{
    struct peer *peer = arg;
    struct kv_server *server = peer->server;
    assert(peer->state == PEER_HANDSHAKE);
    if (hello->role == MST_ROLE_RANK_KV)
        return check_generation(server, hello->generation, err);
    if (hello->role != MST_ROLE_AGENT)
        return mst_err_set(err, -EPROTO, "this is the key-value server, not a rank");
    int rc = server->events.agent_joined(server->events.arg, peer->id, hello, err);
    peer->announced = rc == 0 && peer->state != PEER_LOST;
    return rc;
}

static const char *role_word(enum mst_auth_role role)
{
    return role == MST_ROLE_AGENT ? "node" : "rank";
}

/* Tells the owner who was turned away, and why. What it says of itself it may not have proved. */
static void tell_refused(struct kv_server *server, const struct peer *peer, struct mst_err *why)
{
    char address[MST_SOCK_NAME_BYTES];
    mst_sock_peer_name(peer->stream.fd, address);
    if (peer->acceptor.challenged)
        (void)mst_err_wrap(why, "%s, which says to be %s %" PRIu32, address, /* it returns rc */
                           role_word(peer->acceptor.hello.role), peer->acceptor.hello.rank);
    else
        (void)mst_err_wrap(why, "%s", address); /* it returns rc */
    server->events.refused(server->events.arg, why);
}

static void step_handshake(struct kv_server *server, struct peer *peer, uint8_t type,
                           const uint8_t *payload, size_t size_bytes)
{
    struct mst_err why = {0};
    int rc = mst_auth_acceptor_step(&peer->acceptor, &peer->stream, type, payload, size_bytes,
                                    &why);
    if (rc < 0 && why.code)
        tell_refused(server, peer, &why);
    if (rc < 0)
        lose_peer(server, peer);
    if (rc == 1 && peer->state != PEER_LOST) {
        peer->state = peer->acceptor.hello.role == MST_ROLE_AGENT ? PEER_AGENT : PEER_RANK;
        peer->stream.payload_max = MST_FRAME_PAYLOAD_MAX;
    }
    follow_queue(server, peer);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void take_frame(struct kv_server *server, struct peer *peer, uint8_t type,
                       const uint8_t *payload, size_t size_bytes)
{
    if (peer->state == PEER_HANDSHAKE)
        step_handshake(server, peer, type, payload, size_bytes);
    else if (peer->state == PEER_RANK)
        serve_rank(server, peer, type, payload, size_bytes);
    else if (type >= KV_AGENT_FRAME_MIN)
        server->events.agent_frame(server->events.arg, peer->id, type, payload, size_bytes);
    else
        lose_peer(server, peer);
}

/* A dialer that leaves instead of its proof has had a reason. */
static void lose_reader(struct kv_server *server, struct peer *peer, int rc)
{
    struct mst_err why = {0};
    if (peer->state == PEER_HANDSHAKE && peer->acceptor.challenged) {
        (void)mst_auth_acceptor_failed(&peer->acceptor, rc, &why); /* it returns rc */
        tell_refused(server, peer, &why);
    }
    lose_peer(server, peer);
}

static void read_peer(struct kv_server *server, struct peer *peer)
{
    int rc = mst_stream_read(&peer->stream);
    if (rc < 0) {
        lose_reader(server, peer, rc);
        return;
    }
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    while (peer->state != PEER_LOST &&
           (rc = mst_stream_next(&peer->stream, &type, &payload, &size_bytes)) == 1)
        take_frame(server, peer, type, payload, size_bytes);
    if (rc < 0)
        lose_peer(server, peer);
}

static void serve_event(struct kv_server *server, struct peer *peer, uint32_t events)
{
    if (events & EPOLLOUT) {
        if (mst_stream_write(&peer->stream))
            lose_peer(server, peer);
        follow_queue(server, peer);
    }
    if (peer->state != PEER_LOST && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_peer(server, peer);
}

static void accept_peers(struct kv_server *server)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = mst_sock_accept(server->listen_fd);
        if (fd == -EAGAIN)
            return;
        if (fd < 0) {
            /* Out of fds or memory: polling on would spin. The next tick tries again. What is
             * polled can be taken off. */
            (void)poll_fd(server, EPOLL_CTL_DEL, server->listen_fd, LISTENER_ID, 0);
            server->listens = false;
            return;
        }
        if (!add_peer(server, fd, PEER_HANDSHAKE))
            (void)close(fd); /* no room: it may dial again */
    }
}

static void tick(struct kv_server *server)
{
    if (!mst_deadline_passed(server->next_tick_ns))
        return;
    server->next_tick_ns = mst_deadline_ms(1000);
    poll_listener(server);
    for (size_t i = 0; i < PEERS_MAX; i++) {
        struct peer *peer = server->peers[i];
        if (peer && peer->state == PEER_HANDSHAKE &&
            mst_deadline_passed(peer->handshake_deadline_ns))
            lose_peer(server, peer);
    }
}

void kv_server_run(struct kv_server *server)
{
    tick(server);
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct peer *peer = find_peer(server, events[i].data.u64);
        if (events[i].data.u64 == LISTENER_ID)
            accept_peers(server);
        else if (peer)
            serve_event(server, peer, events[i].events);
    }
    reap(server);
}

/* ---- the owner's side ------------------------------------------------------------------------ */

int kv_server_create(const struct kv_server_config *config, struct kv_server **ret_server,
                     struct mst_err *err)
{
    struct kv_server *server = calloc(1, sizeof *server);
    int rc = -ENOMEM;
    if (!server)
        return mst_err_set(err, rc, "no memory for the key-value server");
    server->listen_fd = -1;
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->events = config->events;
    server->job_nonce = config->job_nonce;
    if (server->epoll_fd < 0) {
        rc = mst_err_set(err, -errno, "key-value server: epoll_create1: %s",
                         mst_err_meaning(errno));
        goto fail;
    }
    if (config->secret_bytes > sizeof server->secret) {
        rc = mst_err_set(err, -EINVAL, "a job secret of %zu bytes is over the limit of %zu",
                         config->secret_bytes, sizeof server->secret);
        goto fail;
    }
    if (config->job_id)
        memcpy(server->job_id, config->job_id, strnlen(config->job_id, MST_JOB_ID_BYTES - 1));
    if (config->secret_bytes > 0)
        memcpy(server->secret, config->secret, config->secret_bytes);
    server->secret_bytes = config->secret_bytes;
    rc = kv_table_init(&server->table);
    if (rc) {
        (void)mst_err_set(err, rc, "no memory for the key-value table"); /* it returns rc */
        goto fail;
    }
    server->listen_fd = config->listen_fd;
    poll_listener(server);
    *ret_server = server;
    return 0;
fail:
    kv_server_destroy(server);
    return rc;
}

void kv_server_destroy(struct kv_server *server)
{
    if (!server)
        return;
    for (size_t i = 0; i < PEERS_MAX; i++) {
        if (server->peers[i]) {
            kv_wait_end(&server->peers[i]->wait);
            free_peer(server, server->peers[i]);
        }
    }
    kv_table_fini(&server->table);
    if (server->listen_fd >= 0)
        (void)close(server->listen_fd); /* nothing is written to these two */
    if (server->epoll_fd >= 0)
        (void)close(server->epoll_fd);
    explicit_bzero(server->secret, sizeof server->secret);
    free(server);
}

/* Tells a rank of an older generation, if it waits, that it is over. */
static void fence_peer(struct kv_server *server, struct peer *peer)
{
    if (peer->wait.link) {
        struct kv_reply reply;
        (void)kv_table_call(&server->table, peer->acceptor.hello.generation, &peer->wait.request,
                            &reply); /* -ESTALE */
        send_reply(server, peer, &reply);
    }
    lose_peer(server, peer);
}

void kv_server_set_generation(struct kv_server *server, uint32_t generation)
{
    server->generation = generation;
    kv_table_advance(&server->table, generation);
    for (size_t i = 0; i < PEERS_MAX; i++) {
        struct peer *peer = server->peers[i];
        if (peer && peer->state == PEER_RANK && peer->acceptor.hello.generation < generation)
            fence_peer(server, peer);
    }
}

int kv_server_fd(const struct kv_server *server)
{
    return server->epoll_fd;
}

int kv_server_attach(struct kv_server *server, int fd, uint64_t *ret_peer)
{
    struct peer *peer = add_peer(server, fd, PEER_AGENT);
    if (!peer)
        return -ENOMEM;
    peer->announced = true;
    *ret_peer = peer->id;
    return 0;
}

int kv_server_send(struct kv_server *server, uint64_t peer_id, uint8_t type, const void *payload,
                   size_t size_bytes)
{
    struct peer *peer = find_peer(server, peer_id);
    if (!peer || peer->state != PEER_AGENT)
        return -ENOENT;
    if (size_bytes > MST_FRAME_PAYLOAD_MAX)
        return -EINVAL;
    if (mst_stream_put(&peer->stream, type, payload, size_bytes))
        lose_peer(server, peer);
    follow_queue(server, peer);
    return peer->state == PEER_LOST ? -ENOENT : 0;
}

void kv_server_drop(struct kv_server *server, uint64_t peer_id)
{
    struct peer *peer = find_peer(server, peer_id);
    if (peer)
        lose_peer(server, peer);
}

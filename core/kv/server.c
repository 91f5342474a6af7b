#include "muster/core/kv/server.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_MAX 256

/* ---- the loop -------------------------------------------------------------------------------- */

static void take_frame(struct kv_server *server, struct kv_peer *peer, uint8_t type,
                       const uint8_t *payload, size_t size_bytes)
{
    if (peer->state == KV_PEER_HANDSHAKE)
        kv_handshake_step(server, peer, type, payload, size_bytes);
    else if (peer->state == KV_PEER_RANK)
        kv_rank_serve(server, peer, type, payload, size_bytes);
    else if (type >= KV_AGENT_FRAME_MIN)
        server->events.agent_frame(server->events.arg, &(struct kv_agent){peer->id, peer->node},
                                   type, payload, size_bytes);
    else
        kv_peer_lose(server, peer);
}

static void read_peer(struct kv_server *server, struct kv_peer *peer, bool broken)
{
    int rc = mst_stream_read(&peer->stream);
    if (rc < 0) {
        peer->closed_first = rc == -ECONNRESET && !broken;
        kv_peer_hung_up(server, peer, rc);
        return;
    }
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    while (peer->state != KV_PEER_LOST &&
           (rc = mst_stream_next(&peer->stream, &type, &payload, &size_bytes)) == 1)
        take_frame(server, peer, type, payload, size_bytes);
    if (rc < 0)
        kv_peer_lose(server, peer);
}

static void serve_event(struct kv_server *server, struct kv_peer *peer, uint32_t events)
{
    if (events & EPOLLOUT) {
        if (mst_stream_write(&peer->stream))
            kv_peer_lose(server, peer);
        kv_peer_follow(server, peer);
    }
    if (peer->state != KV_PEER_LOST && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_peer(server, peer, events & EPOLLERR);
}

void kv_server_run(struct kv_server *server)
{
    if (mst_deadline_passed(server->resume_ns))
        kv_listener_poll(server);
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct kv_peer *peer = kv_peer_find(server, events[i].data.u64);
        if (events[i].data.u64 == KV_LISTENER_ID)
            kv_guests_accept(server);
        else if (peer)
            serve_event(server, peer, events[i].events);
    }
    /* Whoever calls us may be late himself: what they said meanwhile was read before. */
    kv_guests_lose_late(server);
    kv_peers_reap(server);
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
    kv_slots_init(&server->peers);
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
    server->rank_count = config->rank_count;
    if (server->rank_count > 0)
        server->processes = calloc(server->rank_count, sizeof *server->processes);
    rc = server->rank_count > 0 && !server->processes ? -ENOMEM : kv_table_init(&server->table);
    if (rc) {
        (void)mst_err_set(err, rc, "no memory for the key-value table"); /* it returns rc */
        goto fail;
    }
    server->listen_fd = config->listen_fd;
    kv_listener_poll(server);
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
    for (uint32_t i = 0; i < server->peers.count; i++) {
        struct kv_peer *peer = kv_slots_at(&server->peers, i);
        if (peer) {
            kv_wait_end(&peer->wait);
            kv_peer_free(server, peer);
        }
    }
    kv_slots_fini(&server->peers);
    kv_sessions_clear(&server->sessions);
    kv_blob_leave(server->blob);
    kv_table_fini(&server->table);
    free(server->processes);
    if (server->listen_fd >= 0)
        (void)close(server->listen_fd); /* nothing is written to these two */
    if (server->epoll_fd >= 0)
        (void)close(server->epoll_fd);
    explicit_bzero(server->secret, sizeof server->secret);
    free(server);
}

void kv_server_set_generation(struct kv_server *server, uint32_t generation)
{
    if (generation == server->generation)
        return;
    server->generation = generation;
    kv_table_advance(&server->table, generation);
    for (uint32_t i = 0; i < server->peers.count; i++) {
        struct kv_peer *peer = kv_slots_at(&server->peers, i);
        if (peer && peer->state == KV_PEER_RANK)
            kv_rank_fence(server, peer);
    }
    kv_sessions_clear(&server->sessions);
    if (server->processes)
        memset(server->processes, 0, server->rank_count * sizeof *server->processes);
    kv_blob_leave(server->blob);
    server->blob = NULL;
}

int kv_server_fd(const struct kv_server *server)
{
    return server->epoll_fd;
}

int kv_server_attach(struct kv_server *server, int fd, uint32_t node, uint64_t *ret_peer)
{
    struct kv_peer *peer = kv_peer_add(server, fd, KV_PEER_AGENT);
    if (!peer)
        return -ENOMEM;
    peer->announced = true;
    peer->node = node;
    *ret_peer = peer->id;
    return 0;
}

int kv_server_own_host(struct kv_server *server, uint64_t peer_id, char host[MST_SOCK_NAME_BYTES])
{
    struct kv_peer *peer = kv_peer_find(server, peer_id);
    return peer ? mst_sock_own_host(peer->stream.fd, host) : -ENOENT;
}

bool kv_server_has_ranks(const struct kv_server *server)
{
    bool has = false;
    for (uint32_t i = 0; i < server->peers.count && !has; i++) {
        const struct kv_peer *peer = kv_slots_at(&server->peers, i);
        has = peer && (peer->state == KV_PEER_RANK || peer->state == KV_PEER_HANDSHAKE);
    }
    return has;
}

int kv_server_send(struct kv_server *server, uint64_t peer_id, uint8_t type, const void *payload,
                   size_t size_bytes)
{
    struct kv_peer *peer = kv_peer_find(server, peer_id);
    if (!peer || peer->state != KV_PEER_AGENT)
        return -ENOENT;
    if (size_bytes > MST_FRAME_PAYLOAD_MAX)
        return -EINVAL;
    if (mst_stream_put(&peer->stream, type, payload, size_bytes))
        kv_peer_lose(server, peer);
    kv_peer_follow(server, peer);
    return peer->state == KV_PEER_LOST ? -ENOENT : 0;
}

void kv_server_drop(struct kv_server *server, uint64_t peer_id)
{
    struct kv_peer *peer = kv_peer_find(server, peer_id);
    if (peer)
        kv_peer_lose(server, peer);
}

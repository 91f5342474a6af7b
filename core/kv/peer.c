#include "muster/core/kv/peer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUE_BYTES_MAX ((size_t)64 << 20)

int kv_poll(struct kv_server *server, int op, int fd, uint64_t id, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = id};
    return epoll_ctl(server->epoll_fd, op, fd, &event) ? -errno : 0;
}

void kv_listener_poll(struct kv_server *server)
{
    if (server->listen_fd >= 0 && !server->listens)
        server->listens = !kv_poll(server, EPOLL_CTL_ADD, server->listen_fd, KV_LISTENER_ID,
                                   EPOLLIN);
}

struct kv_peer *kv_peer_find(struct kv_server *server, uint64_t id)
{
    struct kv_peer *peer = kv_slots_find(&server->peers, id);
    return peer && peer->state != KV_PEER_LOST ? peer : NULL;
}

void kv_blob_leave(struct kv_blob *blob)
{
    if (blob && --blob->user_count == 0)
        free(blob);
}

void kv_handshake_end(struct kv_server *server, struct kv_peer *peer)
{
    if (peer->handshake)
        mst_door_leave(&server->door, &peer->handshake->guest);
    free(peer->handshake);
    peer->handshake = NULL;
}

void kv_peer_lose(struct kv_server *server, struct kv_peer *peer)
{
    if (peer->state == KV_PEER_LOST)
        return;
    peer->state = KV_PEER_LOST;
    kv_wait_end(&peer->wait);
    if (peer->session)
        kv_session_detach(&server->sessions, peer->session);
    peer->session = NULL;
    (void)kv_poll(server, EPOLL_CTL_DEL, peer->stream.fd, peer->id, 0); /* close would do it too */
    (void)shutdown(peer->stream.fd, SHUT_RDWR); /* fails if the peer was first */
    peer->next_lost = server->lost;
    server->lost = peer;
}

void kv_peer_free(struct kv_server *server, struct kv_peer *peer)
{
    assert(!peer->wait.link);
    kv_slots_remove(&server->peers, peer->id);
    kv_handshake_end(server, peer);
    kv_blob_leave(peer->blob);
    (void)close(peer->stream.fd); /* what could be sent was */
    mst_stream_fini(&peer->stream);
    free(peer);
}

/* The owner's callback may lose more. */
void kv_peers_reap(struct kv_server *server)
{
    while (server->lost) {
        struct kv_peer *peer = server->lost;
        assert(peer->state == KV_PEER_LOST);
        server->lost = peer->next_lost;
        const struct kv_agent agent = {peer->id, peer->node};
        bool announced = peer->announced, closed_first = peer->closed_first;
        kv_peer_free(server, peer);
        if (announced)
            server->events.agent_lost(server->events.arg, &agent, closed_first);
    }
}

struct kv_peer *kv_peer_add(struct kv_server *server, int fd, enum kv_peer_state state)
{
    struct kv_peer *peer = calloc(1, sizeof *peer);
    if (!peer || kv_slots_add(&server->peers, peer, &peer->id)) {
        free(peer);
        return NULL;
    }
    peer->server = server;
    peer->state = state;
    mst_stream_init(&peer->stream, fd);
    if (kv_poll(server, EPOLL_CTL_ADD, fd, peer->id, EPOLLIN)) {
        kv_slots_remove(&server->peers, peer->id);
        free(peer);
        return NULL;
    }
    assert(kv_peer_find(server, peer->id) == peer);
    return peer;
}

void kv_peer_follow(struct kv_server *server, struct kv_peer *peer)
{
    size_t pending = mst_stream_pending(&peer->stream);
    bool wanted = pending > 0;
    if (!peer->stream.tail) {
        kv_blob_leave(peer->blob);
        peer->blob = NULL;
    }
    if (peer->state == KV_PEER_LOST)
        return;
    if (pending > QUEUE_BYTES_MAX) {
        kv_peer_lose(server, peer);
        return;
    }
    if (wanted == peer->polls_write)
        return;
    peer->polls_write = wanted;
    if (kv_poll(server, EPOLL_CTL_MOD, peer->stream.fd, peer->id,
                wanted ? EPOLLIN | EPOLLOUT : EPOLLIN))
        kv_peer_lose(server, peer);
}

/* Who comes, until it has proved itself. */
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/peer.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define ACCEPTS_MAX 64
#define DOOR_MAX 256        /* handshakes at a time, and an eighth of the descriptors at most */
#define ACCEPT_PAUSE_MS 100 /* before the next look, when nobody can be let in */

static int check_hello(void *arg, const struct mst_auth_hello *hello, struct mst_err *err)
{
    struct kv_peer *peer = arg;
    struct kv_server *server = peer->server;
    assert(peer->state == KV_PEER_HANDSHAKE);
    if (hello->role == MST_ROLE_RANK_KV)
        return kv_rank_open(server, peer, hello, err);
    if (hello->role != MST_ROLE_AGENT)
        return mst_err_set(err, -EPROTO, "this is the key-value server, not a rank");
    peer->node = hello->rank;
    int rc = server->events.agent_joined(server->events.arg, peer->id, hello, err);
    peer->announced = rc == 0 && peer->state != KV_PEER_LOST;
    return rc;
}

static const char *role_word(enum mst_auth_role role)
{
    return role == MST_ROLE_AGENT ? "node" : "rank";
}

/* Tells the owner who was turned away, and why. What it says of itself it may not have proved. */
static void tell_refused(struct kv_server *server, const struct kv_peer *peer, struct mst_err *why)
{
    const struct mst_auth_acceptor *acceptor = &peer->handshake->acceptor;
    char address[MST_SOCK_NAME_BYTES];
    mst_sock_peer_name(peer->stream.fd, address);
    if (acceptor->challenged)
        (void)mst_err_wrap(why, "%s, which says to be %s %" PRIu32, address, /* it returns rc */
                           role_word(acceptor->hello.role), acceptor->hello.rank);
    else
        (void)mst_err_wrap(why, "%s", address); /* it returns rc */
    server->events.refused(server->events.arg, why);
}

void kv_handshake_step(struct kv_server *server, struct kv_peer *peer, uint8_t type,
                       const uint8_t *payload, size_t size_bytes)
{
    struct mst_auth_acceptor *acceptor = &peer->handshake->acceptor;
    struct mst_err why = {0};
    int rc = mst_auth_acceptor_step(acceptor, &peer->stream, type, payload, size_bytes, &why);
    if (rc < 0 && why.code)
        tell_refused(server, peer, &why);
    if (rc < 0)
        kv_peer_lose(server, peer);
    if (rc == 0)
        mst_door_come_again(&server->door, &peer->handshake->guest, mst_now_ns());
    if (rc == 1 && peer->state != KV_PEER_LOST) {
        peer->state = acceptor->hello.role == MST_ROLE_AGENT ? KV_PEER_AGENT : KV_PEER_RANK;
        peer->stream.payload_max = MST_FRAME_PAYLOAD_MAX;
        kv_handshake_end(server, peer);
    }
    kv_peer_follow(server, peer);
}

/* A dialer that leaves instead of its proof has had a reason. */
void kv_peer_hung_up(struct kv_server *server, struct kv_peer *peer, int rc)
{
    struct mst_err why = {0};
    if (peer->state == KV_PEER_HANDSHAKE && peer->handshake->acceptor.challenged) {
        (void)mst_auth_acceptor_failed(&peer->handshake->acceptor, rc, &why); /* it returns rc */
        tell_refused(server, peer, &why);
    }
    kv_peer_lose(server, peer);
}

/* Takes fd unless it fails. */
static int begin_handshake(struct kv_server *server, int fd)
{
    struct kv_handshake *handshake = calloc(1, sizeof *handshake);
    struct kv_peer *peer = handshake ? kv_peer_add(server, fd, KV_PEER_HANDSHAKE) : NULL;
    if (!peer) {
        free(handshake);
        return -ENOMEM;
    }
    handshake->peer = peer;
    mst_auth_acceptor_init(&handshake->acceptor,
                           &(struct mst_auth_terms){.secret = server->secret,
                                                    .secret_bytes = server->secret_bytes,
                                                    .job_id = server->job_id,
                                                    .job_nonce = server->job_nonce,
                                                    .check = check_hello,
                                                    .arg = peer});
    mst_door_enter(&server->door, &handshake->guest, mst_sock_peer_hash(fd), mst_now_ns());
    peer->handshake = handshake;
    peer->stream.payload_max = MST_HANDSHAKE_PAYLOAD_MAX;
    return 0;
}

static struct kv_peer *peer_of_guest(struct mst_guest *guest)
{
    return ((struct kv_handshake *)((char *)guest - offsetof(struct kv_handshake, guest)))->peer;
}

static void lose_guest(struct kv_server *server, struct mst_guest *guest, struct mst_err *why)
{
    struct kv_peer *peer = peer_of_guest(guest);
    tell_refused(server, peer, why);
    kv_peer_lose(server, peer);
    kv_handshake_end(server, peer);
}

void kv_guests_lose_late(struct kv_server *server)
{
    struct mst_guest *guest;
    while ((guest = server->door.first) &&
           mst_deadline_passed(guest->since_ns + MST_HANDSHAKE_MS * MST_NS_PER_MS)) {
        struct mst_err why = {0};
        (void)mst_err_set(&why, -ETIMEDOUT, /* it is told, not returned */
                          "it has not proved itself within %d s", MST_HANDSHAKE_MS / 1000);
        lose_guest(server, guest, &why);
    }
}

/* ---- accepting ------------------------------------------------------------------------------- */

/* How many descriptors the process may have. */
static uint64_t fd_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : limit.rlim_cur;
}

/* Sends off who has stood at the door for long enough. Whether there was one. */
static bool make_room(struct kv_server *server)
{
    struct mst_guest *guest = mst_door_victim(&server->door);
    if (!guest || !mst_deadline_passed(guest->since_ns + MST_DOOR_MIN_MS * MST_NS_PER_MS))
        return false;
    struct mst_err why = {0};
    (void)mst_err_set(&why, -EBUSY, /* it is told, not returned */
                      "it had to make room: %" PRIu32 " connections have yet to prove themselves",
                      server->door.count);
    lose_guest(server, guest, &why);
    return true;
}

/* Polling on would spin. What is polled can be taken off. */
static void pause_accepting(struct kv_server *server)
{
    (void)kv_poll(server, EPOLL_CTL_DEL, server->listen_fd, KV_LISTENER_ID, 0);
    server->listens = false;
    server->resume_ns = mst_deadline_ms(ACCEPT_PAUSE_MS);
}

/* The next one cannot be let in, for lack of descriptors (or of memory). What is left of them is
 * for the owner's other needs. */
static void run_short(struct kv_server *server, int rc, uint64_t limit)
{
    struct mst_err why = {0};
    (void)mst_err_set(&why, rc, /* it is told, not returned */
                      "%" PRIu32 " connections, and no descriptor for another (limit %" PRIu64
                      "): raise ulimit -n: %s",
                      server->peers.used, limit, mst_err_meaning(rc));
    server->events.refused(server->events.arg, &why);
    (void)make_room(server); /* if there is nobody to send off, time will tell */
    pause_accepting(server);
}

static bool is_full(const struct kv_server *server, uint64_t limit)
{
    return server->door.count >= mst_least(DOOR_MAX, limit / 8 + 1);
}

/* There is one: for whom else may come, nobody makes room. */
void kv_guests_accept(struct kv_server *server)
{
    uint64_t limit = fd_limit();
    if (is_full(server, limit) && !make_room(server)) {
        pause_accepting(server);
        return;
    }
    for (int i = 0; i < ACCEPTS_MAX && !is_full(server, limit); i++) {
        int fd = mst_sock_accept(server->listen_fd);
        if (fd == -EAGAIN)
            return;
        if (fd >= 0 && (uint64_t)fd >= limit - limit / 8) {
            (void)close(fd); /* it may dial again */
            fd = -EMFILE;
        }
        if (fd < 0) {
            run_short(server, fd, limit);
            return;
        }
        if (begin_handshake(server, fd))
            (void)close(fd); /* it may dial again */
    }
}

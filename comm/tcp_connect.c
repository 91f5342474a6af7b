/* Getting connected: which address to listen on, who dials whom, and who may stay. */
#include "muster/comm/tcp.h"

#include "muster/core/clock.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/connect.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDSHAKE_MS 5000 /* a stranger may hold up the accepting leader for so long */

/* The local address that packets to `target` leave from: connecting a UDP socket asks the routing
 * table and sends nothing. */
static int source_address(const struct addrinfo *target, char *host, size_t cap)
{
    int fd = socket(target->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = 0;
    struct sockaddr_storage local;
    socklen_t size = sizeof local;
    if (connect(fd, target->ai_addr, target->ai_addrlen) < 0 ||
        getsockname(fd, (struct sockaddr *)&local, &size) < 0)
        rc = -errno;
    else if (getnameinfo((struct sockaddr *)&local, size, host, (socklen_t)cap, NULL, 0,
                         NI_NUMERICHOST) != 0)
        rc = -EADDRNOTAVAIL;
    (void)close(fd); /* nothing was sent */
    return rc;
}

static int host_towards(const char *kv_addr, char *host, size_t cap, struct mst_err *err)
{
    char server[256];
    uint16_t port;
    int rc = mst_sock_split(kv_addr, server, sizeof server, &port);
    if (rc < 0)
        return mst_err_set(err, rc, "the key-value server's address \"%s\" is no host:port",
                           kv_addr);
    char port_text[8];
    (void)snprintf(port_text, sizeof port_text, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *targets;
    int gai = getaddrinfo(server, port_text, &hints, &targets);
    if (gai != 0)
        return mst_err_set(err, -EADDRNOTAVAIL, "cannot resolve %s: %s", server, gai_strerror(gai));
    rc = source_address(targets, host, cap);
    freeaddrinfo(targets);
    if (rc < 0)
        return mst_err_set(err, rc, "no local address towards %s: %s", kv_addr,
                           mst_err_meaning(rc));
    return 0;
}

int tcp_listen(const struct mst_world *world, char address[BOOT_ADDRESS_MAX], struct mst_err *err)
{
    char host[BOOT_ADDRESS_MAX - 16] = "127.0.0.1";
    int rc = 0;
    if (world->kv_addr[0] != '\0')
        rc = host_towards(world->kv_addr, host, sizeof host, err);
    if (rc < 0)
        return rc;
    uint16_t port;
    int fd = mst_sock_listen(host, 0, &port, err);
    if (fd < 0)
        return fd;
    (void)mst_sock_join(host, port, address, BOOT_ADDRESS_MAX); /* `host` has room for the port */
    return fd;
}

static int dial(struct tcp *tcp, const struct mst_world *world, const struct boot *boot,
                struct tcp_peer *peer, uint64_t deadline_ns, struct mst_err *err)
{
    struct mst_auth_hello hello = {.role = MST_ROLE_RANK_COMM,
                                   .generation = world->generation,
                                   .rank = world->rank,
                                   .tag = tcp->header.comm_id,
                                   .job_nonce = world->job_nonce};
    memcpy(hello.job_id, world->job_id, sizeof hello.job_id);
    /* The other leader may be a while before it accepts: one try lasts as long as all. */
    int fd = mst_connect(&(struct mst_connect){.address = boot->peers[peer->rank].address,
                                               .hello = &hello,
                                               .secret = world->secret,
                                               .secret_bytes = world->secret_bytes,
                                               .handshake_ms = UINT32_MAX},
                         deadline_ns, err);
    if (fd < 0)
        return mst_err_wrap(err, "rank %u", peer->rank);
    peer->fd = fd;
    return 0;
}

/* The first leader that has not dialled us yet, and why the last of those who came was turned
 * away. */
static int timed_out(const struct tcp *tcp, const struct mst_err *refused, struct mst_err *err)
{
    uint32_t n = 0;
    while (n == tcp->node || tcp->peers[n].fd >= 0)
        n++;
    assert(n < tcp->node_count);
    return mst_err_set(err, -ETIMEDOUT, "communicator %u: rank %u on node %u did not connect%s%s",
                       tcp->header.comm_id, tcp->peers[n].rank, n,
                       refused->text[0] ? "; the last try: " : "", refused->text);
}

/* Waits until the listener is readable, looking at the abort words. Strangers who come one after
 * another do not outlast the deadline. */
static int wait_listener(const struct tcp *tcp, int listen_fd, uint64_t deadline_ns,
                         const struct mst_err *refused, struct mst_err *err)
{
    for (;;) {
        int rc = wait_check(&tcp->segment->wait, deadline_ns);
        if (rc == -ETIMEDOUT)
            return timed_out(tcp, refused, err);
        if (rc < 0)
            return segment_explain(tcp->segment, rc, err);
        struct pollfd poll_fd = {.fd = listen_fd, .events = POLLIN};
        if (poll(&poll_fd, 1, WAIT_SLICE_MS) > 0)
            return 0;
    }
}

/* Leaders with a higher rank dial us. */
static struct tcp_peer *expected_peer(struct tcp *tcp, const struct mst_world *world,
                                      const struct mst_auth_hello *hello)
{
    for (uint32_t n = 0; n < tcp->node_count; n++) {
        struct tcp_peer *peer = &tcp->peers[n];
        if (peer->rank > world->rank && peer->rank == hello->rank &&
            hello->tag == tcp->header.comm_id)
            return peer;
    }
    return NULL;
}

/* Lets a dialer in. Whether it is a peer; the reason why not is in *refused. */
static bool admit(struct tcp *tcp, const struct mst_world *world, int fd, uint64_t deadline_ns,
                  struct mst_err *refused)
{
    const struct mst_auth_wanted wanted = {.role = MST_ROLE_RANK_COMM,
                                           .generation = world->generation,
                                           .secret = world->secret,
                                           .secret_bytes = world->secret_bytes,
                                           .job_id = world->job_id,
                                           .job_nonce = world->job_nonce};
    uint64_t handshake_ns = mst_least(mst_deadline_ms(HANDSHAKE_MS), deadline_ns);
    struct mst_auth_hello hello;
    if (mst_auth_accept(fd, &wanted, handshake_ns, &hello, refused) < 0)
        return false;
    struct tcp_peer *peer = expected_peer(tcp, world, &hello);
    if (!peer) {
        (void)mst_err_set(refused, -EPROTO, /* the stranger is dropped, whatever it is */
                          "rank %u of communicator %u, whom nobody expects", hello.rank, hello.tag);
        return false;
    }
    if (peer->fd >= 0)
        (void)close(peer->fd); /* it never saw our welcome, and dialled again */
    peer->fd = fd;
    return true;
}

/* Accepts one connection, of a peer or a stranger. */
static int accept_one(struct tcp *tcp, const struct mst_world *world, int listen_fd,
                      uint64_t deadline_ns, struct mst_err *refused, struct mst_err *err)
{
    int rc = wait_listener(tcp, listen_fd, deadline_ns, refused, err);
    if (rc < 0)
        return rc;
    int fd = mst_sock_accept(listen_fd);
    if (fd < 0) {
        if (fd != -EAGAIN)
            (void)mst_err_set(refused, fd, "%s", mst_err_meaning(fd)); /* there may be another */
        return 0;
    }
    if (!admit(tcp, world, fd, deadline_ns, refused))
        (void)close(fd); /* whoever it is, it is none of us */
    return 0;
}

static bool all_are_here(const struct tcp *tcp)
{
    for (uint32_t n = 0; n < tcp->node_count; n++)
        if (n != tcp->node && tcp->peers[n].fd < 0)
            return false;
    return true;
}

static int connect_all(struct tcp *tcp, const struct mst_world *world, const struct boot *boot,
                       int listen_fd, uint64_t deadline_ns, struct mst_err *err)
{
    for (uint32_t n = 0; n < tcp->node_count; n++) {
        struct tcp_peer *peer = &tcp->peers[n];
        if (n == tcp->node)
            continue;
        int rc = 0;
        if (peer->rank < world->rank)
            rc = dial(tcp, world, boot, peer, deadline_ns, err);
        if (rc < 0)
            return rc;
    }
    struct mst_err refused = {0};
    while (!all_are_here(tcp)) {
        int rc = accept_one(tcp, world, listen_fd, deadline_ns, &refused, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int tcp_connect(struct tcp *tcp, const struct mst_world *world, const struct boot *boot,
                int listen_fd, uint64_t deadline_ns, struct mst_err *err)
{
    tcp->node = world->node;
    tcp->node_count = world->node_count;
    tcp->header = (struct header){.generation = world->generation, .comm_id = boot->id};
    tcp->peers = calloc(world->node_count, sizeof *tcp->peers);
    tcp->polls = calloc(world->node_count, sizeof *tcp->polls);
    if (!tcp->peers || !tcp->polls) {
        free(tcp->peers);
        tcp->peers = NULL;
        return mst_err_set(err, -ENOMEM, "no memory for %u peers", world->node_count);
    }
    for (uint32_t n = 0; n < world->node_count; n++) {
        tcp->peers[n].fd = -1;
        tcp->peers[n].rank = boot_rank(boot, n, world->local_rank);
    }
    return connect_all(tcp, world, boot, listen_fd, deadline_ns, err);
}

void tcp_close(struct tcp *tcp)
{
    for (uint32_t n = 0; tcp->peers && n < tcp->node_count; n++)
        if (tcp->peers[n].fd >= 0)
            (void)close(tcp->peers[n].fd); /* whatever mattered was received by an exchange */
    free(tcp->peers);
    free(tcp->polls);
    tcp->peers = NULL;
    tcp->polls = NULL;
}

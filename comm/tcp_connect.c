/* Getting connected: which address to listen on, who dials whom, and who may stay. */
#include "muster/comm/arrivals.h"
#include "muster/comm/tcp.h"

#include "muster/core/clock.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/connect.h"
#include "muster/core/kv/sock.h"
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

static bool is_alive(void *arg)
{
    const struct tcp *tcp = arg;
    return wait_alive(&tcp->segment->wait) == 0;
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
    /* The other leader may be a while before it accepts: one try lasts as long as all. But it
     * listened before it told its address. */
    int fd = mst_connect(&(struct mst_connect){.address = boot->peers[peer->rank].address,
                                               .hello = &hello,
                                               .secret = world->secret,
                                               .secret_bytes = world->secret_bytes,
                                               .handshake_ms = UINT32_MAX,
                                               .was_there = true,
                                               .go_on = is_alive,
                                               .arg = tcp},
                         deadline_ns, err);
    int alive = wait_alive(&tcp->segment->wait);
    if (fd < 0 && alive < 0)
        return segment_explain(tcp->segment, alive, err);
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

/* Who has proved itself is a peer, or sent off; the reason is in *refused then. */
static void admit(struct tcp *tcp, const struct mst_world *world, int fd,
                  const struct mst_auth_hello *hello, struct mst_err *refused)
{
    struct tcp_peer *peer = expected_peer(tcp, world, hello);
    int unwanted_fd = fd;
    if (peer) {
        unwanted_fd = peer->fd; /* it never saw our welcome, and dialled again */
        peer->fd = fd;
    } else {
        (void)mst_err_set(refused, -EPROTO, /* the stranger is dropped, whatever it is */
                          "rank %u of communicator %u, whom nobody expects", hello->rank,
                          hello->tag);
    }
    if (unwanted_fd >= 0)
        (void)close(unwanted_fd);
}

static bool all_are_here(const struct tcp *tcp)
{
    for (uint32_t n = 0; n < tcp->node_count; n++)
        if (n != tcp->node && tcp->peers[n].fd < 0)
            return false;
    return true;
}

static int dial_all(struct tcp *tcp, const struct mst_world *world, const struct boot *boot,
                    uint64_t deadline_ns, struct mst_err *err)
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
    return 0;
}

/* Looks at the abort words all the while. Strangers, however many, do not outlast the deadline. */
static int accept_all(struct tcp *tcp, const struct mst_world *world, int listen_fd,
                      uint64_t deadline_ns, struct mst_err *err)
{
    if (all_are_here(tcp))
        return 0;
    struct arrivals arrivals;
    struct mst_err refused = {0};
    struct mst_auth_hello hello;
    int rc = arrivals_open(&arrivals, listen_fd, world, err);
    while (rc == 0 && !all_are_here(tcp)) {
        int fd = arrivals_next(&arrivals, WAIT_SLICE_MS, &hello, &refused);
        if (fd >= 0)
            admit(tcp, world, fd, &hello, &refused);
        else
            rc = wait_check(&tcp->segment->wait, deadline_ns);
    }
    arrivals_close(&arrivals);
    if (rc == -ETIMEDOUT)
        return timed_out(tcp, &refused, err);
    return rc == -ECONNRESET || rc == -ECANCELED ? segment_explain(tcp->segment, rc, err) : rc;
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
    int rc = dial_all(tcp, world, boot, deadline_ns, err);
    return rc ? rc : accept_all(tcp, world, listen_fd, deadline_ns, err);
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

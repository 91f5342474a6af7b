#include "muster/core/kv/sock.h"

#include "muster/core/clock.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/core/kv/frame.h"
#include "muster/core/least.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HOST_CAP 256
#define BACKLOG 4096 /* the kernel has a limit of its own below it: net.core.somaxconn */
#define PAUSE_MS_MIN 10
#define PAUSE_MS_MAX 640
#define ATTEMPT_MS_MAX 5000 /* then the name is resolved again: its pod may have moved */

static void set_option(int fd, int level, int name, int value)
{
    /* An option is an optimisation here: a socket without it works. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* Small frames leave at once, and a peer whose node vanished is noticed within half a minute of
 * silence, by so many probes that a network which loses every third packet answers one of them. No
 * TCP_USER_TIMEOUT: it would also end connections to a peer that is alive but slow to read. */
static void tune(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 2);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 8);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static int parse_port(const char *text, uint16_t *ret_port)
{
    size_t digit_count = strlen(text);
    if (digit_count == 0 || digit_count > 5)
        return -EINVAL;
    uint32_t port = 0;
    for (size_t i = 0; i < digit_count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    if (port > UINT16_MAX)
        return -EINVAL;
    *ret_port = (uint16_t)port;
    return 0;
}

int mst_sock_split(const char *address, char *host, size_t cap, uint16_t *ret_port)
{
    const char *colon = strrchr(address, ':');
    const char *first = address;
    uint16_t port;
    if (!colon || colon == address || parse_port(colon + 1, &port))
        return -EINVAL;
    size_t size = (size_t)(colon - address);
    if (address[0] == '[') {
        if (size < 3 || colon[-1] != ']')
            return -EINVAL;
        first++;
        size -= 2;
    } else if (memchr(address, ':', size)) {
        return -EINVAL; /* a bare IPv6 address: its last group is not a port */
    }
    if (size >= cap)
        return -ENOSPC;
    memcpy(host, first, size);
    host[size] = '\0';
    *ret_port = port;
    return 0;
}

int mst_sock_join(const char *host, uint16_t port, char *address, size_t cap)
{
    bool has_colons = strchr(host, ':') != NULL;
    const char *open = has_colons ? "[" : "", *close = has_colons ? "]" : "";
    int size = snprintf(NULL, 0, "%s%s%s:%u", open, host, close, port);
    if (size < 0 || (size_t)size >= cap)
        return -ENOSPC;
    (void)snprintf(address, cap, "%s%s%s:%u", open, host, close, port); /* it was measured */
    return 0;
}

/* The numeric host of one end of a connection, IPv4 as IPv4, and its port. 0; -EADDRNOTAVAIL. */
static int name_end(int fd, int (*end)(int, struct sockaddr *, socklen_t *),
                    char host[MST_SOCK_NAME_BYTES], uint16_t *ret_port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } name = {0};
    socklen_t size = sizeof name;
    char text[INET6_ADDRSTRLEN + 17]; /* a zone may follow the address */
    const char *mapped = "::ffff:";
    if (end(fd, &name.any, &size) ||
        (name.any.sa_family != AF_INET && name.any.sa_family != AF_INET6) ||
        getnameinfo(&name.any, size, text, sizeof text, NULL, 0, NI_NUMERICHOST))
        return -EADDRNOTAVAIL;
    bool is_mapped = strncmp(text, mapped, strlen(mapped)) == 0 && strchr(text, '.');
    (void)snprintf(host, MST_SOCK_NAME_BYTES, "%s", is_mapped ? text + strlen(mapped) : text);
    *ret_port = ntohs(name.v6.sin6_port); /* where an IPv4 name has it, too */
    return 0;
}

void mst_sock_peer_name(int fd, char name[MST_SOCK_NAME_BYTES])
{
    char host[MST_SOCK_NAME_BYTES];
    uint16_t port;
    if (name_end(fd, getpeername, host, &port))
        (void)snprintf(name, MST_SOCK_NAME_BYTES, "a local process"); /* it fits */
    else /* cut if the name of a zone is a long one */
        (void)mst_sock_join(host, port, name, MST_SOCK_NAME_BYTES);
}

int mst_sock_own_host(int fd, char host[MST_SOCK_NAME_BYTES])
{
    uint16_t port;
    return name_end(fd, getsockname, host, &port);
}

uint32_t mst_sock_peer_hash(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer = {0};
    socklen_t size = sizeof peer;
    if (getpeername(fd, &peer.any, &size))
        return 0;
    if (peer.any.sa_family == AF_INET)
        return mst_crc32c_short(0, &peer.v4.sin_addr, sizeof peer.v4.sin_addr);
    return mst_crc32c_short(0, &peer.v6.sin6_addr, sizeof peer.v6.sin6_addr);
}

/* Numeric hosts and "localhost" are answered without any name service. NULL means the loopback
 * addresses to getaddrinfo. Returns 0 or an EAI_ code. */
static int resolve(const char *host, uint16_t port, struct addrinfo **ret_list)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port); /* five digits fit */
    const char *node = strcmp(host, "localhost") == 0 ? NULL : host;
    int rc = getaddrinfo(node, service, &hints, ret_list);
    if (rc != EAI_NONAME)
        return rc;
    hints.ai_flags = AI_NUMERICSERV;
    return getaddrinfo(node, service, &hints, ret_list);
}

/* ---- listening ------------------------------------------------------------------------------- */

static int listen_at(const struct addrinfo *at)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->ai_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int rc = -errno;
    (void)close(fd); /* nothing was written to it */
    return rc;
}

static uint16_t local_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {0};
    socklen_t size = sizeof name;
    if (getsockname(fd, &name.any, &size))
        return 0;
    /* sin_port and sin6_port lie at the same place. */
    return ntohs(name.v4.sin_port);
}

static int listen_on_list(const struct addrinfo *list)
{
    int rc = -EADDRNOTAVAIL;
    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        rc = listen_at(at);
        if (rc >= 0 || rc == -EADDRINUSE)
            break;
    }
    return rc;
}

static int listen_failed(const char *host, uint16_t port, int code, struct mst_err *err)
{
    const char *advice = "";
    if (code == -EADDRINUSE)
        advice = "; another job may run on this node: choose another port";
    else if (code == -EADDRNOTAVAIL)
        advice = "; is it an address of this node?";
    else if (code == -EACCES)
        advice = "; ports below 1024 need privileges: choose a higher one";
    return mst_err_set(err, code, "cannot listen on %s port %u: %s%s", host, port,
                       mst_err_meaning(code), advice);
}

int mst_sock_listen(const char *host, uint16_t port, uint16_t *ret_port, struct mst_err *err)
{
    bool any = !host || !host[0];
    const char *name = any ? "any address" : host;
    struct addrinfo *list = NULL;
    /* "::" with V6ONLY off takes both families; a node without IPv6 has only the other. */
    int rc = resolve(any ? "::" : host, port, &list);
    int fd = -EAFNOSUPPORT;
    if (rc == 0) {
        fd = listen_on_list(list);
        freeaddrinfo(list);
    }
    if (any && fd < 0 && fd != -EADDRINUSE && (rc = resolve("0.0.0.0", port, &list)) == 0) {
        fd = listen_on_list(list);
        freeaddrinfo(list);
    }
    if (rc)
        return mst_err_set(err, -EADDRNOTAVAIL, "cannot listen on %s port %u: %s", name, port,
                           gai_strerror(rc));
    if (fd < 0)
        return listen_failed(name, port, fd, err);
    if (ret_port)
        *ret_port = local_port(fd);
    return fd;
}

int mst_sock_accept(int listen_fd)
{
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            tune(fd);
            return fd;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return -EAGAIN;
        /* ECONNABORTED: a dialer that left the queue; the next one may be waiting. */
        if (errno != EINTR && errno != ECONNABORTED)
            return -errno;
    }
}

/* ---- dialing --------------------------------------------------------------------------------- */

/* 0 once fd is ready for `events` (or in error: the next call on it tells); -ETIMEDOUT. */
static int wait_fd(int fd, short events, uint64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = fd, .events = events};
    for (;;) {
        int ready = poll(&pollfd, 1, mst_deadline_left_ms(deadline_ns));
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (mst_deadline_passed(deadline_ns))
            return -ETIMEDOUT;
    }
}

static int finish_connect(int fd, uint64_t deadline_ns)
{
    int rc = wait_fd(fd, POLLOUT, deadline_ns);
    if (rc)
        return rc;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))
        return -errno;
    return -error;
}

/* A connect to a free local port in the ephemeral range can meet itself (simultaneous open). */
static bool is_self_connected(int fd)
{
    struct sockaddr_storage ours = {0}, theirs = {0};
    socklen_t our_size = sizeof ours, their_size = sizeof theirs;
    return getsockname(fd, (struct sockaddr *)&ours, &our_size) == 0 &&
           getpeername(fd, (struct sockaddr *)&theirs, &their_size) == 0 &&
           our_size == their_size && memcmp(&ours, &theirs, our_size) == 0;
}

static int connect_to(const struct addrinfo *to, uint64_t deadline_ns)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = 0;
    if (connect(fd, to->ai_addr, to->ai_addrlen))
        rc = errno == EINPROGRESS || errno == EINTR ? finish_connect(fd, deadline_ns) : -errno;
    if (rc == 0 && is_self_connected(fd))
        rc = -ECONNREFUSED;
    if (rc) {
        (void)close(fd); /* nothing was written to it */
        return rc;
    }
    tune(fd);
    return fd;
}

/* One attempt at every address of the host. The fd, or the last failure and its text. */
static int dial_once(const char *host, uint16_t port, uint64_t deadline_ns, const char **ret_why)
{
    struct addrinfo *list = NULL;
    int rc = resolve(host, port, &list);
    if (rc) {
        *ret_why = gai_strerror(rc);
        return -ENOENT;
    }
    uint64_t attempt_ns = mst_least(mst_deadline_ms(ATTEMPT_MS_MAX), deadline_ns);
    int fd = -EADDRNOTAVAIL;
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
        fd = connect_to(at, attempt_ns);
    freeaddrinfo(list);
    if (fd < 0)
        *ret_why = mst_err_meaning(fd);
    return fd;
}

int mst_sock_longer_pause(int pause_ms)
{
    return pause_ms == 0 ? PAUSE_MS_MIN : (int)mst_least((uint64_t)pause_ms * 2, PAUSE_MS_MAX);
}

void mst_sock_pause(uint64_t deadline_ns, int pause_ms)
{
    int left_ms = mst_deadline_left_ms(deadline_ns);
    if (left_ms >= 0 && left_ms < pause_ms)
        pause_ms = left_ms;
    /* A signal that cuts the pause short makes the next attempt an early one. */
    (void)poll(NULL, 0, pause_ms);
}

int mst_sock_try(const char *address, uint64_t deadline_ns, struct mst_err *err)
{
    char host[HOST_CAP];
    uint16_t port;
    const char *why = "";
    if (mst_sock_split(address, host, sizeof host, &port) || port == 0)
        return mst_err_set(err, -EINVAL, "address \"%s\" is not host:port or [v6]:port", address);
    int fd = dial_once(host, port, deadline_ns, &why);
    return fd >= 0 ? fd : mst_err_set(err, fd, "cannot reach %s: %s", address, why);
}

/* `final`: the failure after which there is no other try; 0: there is none such. */
static int dial_until(const char *address, int final, uint64_t deadline_ns, struct mst_err *err)
{
    char host[HOST_CAP];
    uint16_t port;
    if (mst_sock_split(address, host, sizeof host, &port) || port == 0)
        return mst_err_set(err, -EINVAL, "address \"%s\" is not host:port or [v6]:port", address);
    int pause_ms = 0;
    const char *why = "";
    for (uint32_t tries = 1;; tries++) {
        int fd = dial_once(host, port, deadline_ns, &why);
        if (fd >= 0)
            return fd;
        if (fd == final)
            return mst_err_set(err, fd, "%s: %s", address, why);
        if (mst_deadline_passed(deadline_ns))
            return mst_err_set(err, -ETIMEDOUT,
                               "cannot reach %s after %u tries, last: %s; is its process up and "
                               "the port open?",
                               address, tries, why);
        pause_ms = mst_sock_longer_pause(pause_ms);
        mst_sock_pause(deadline_ns, pause_ms);
    }
}

int mst_sock_dial(const char *address, uint64_t deadline_ns, struct mst_err *err)
{
    return dial_until(address, 0, deadline_ns, err);
}

int mst_sock_redial(const char *address, uint64_t deadline_ns, struct mst_err *err)
{
    return dial_until(address, -ECONNREFUSED, deadline_ns, err);
}

/* ---- bytes and frames ------------------------------------------------------------------------ */

int mst_sock_send_all(int fd, const void *data, size_t size_bytes, uint64_t deadline_ns)
{
    const uint8_t *at = data;
    while (size_bytes > 0) {
        ssize_t sent = send(fd, at, size_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            at += sent;
            size_bytes -= (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int rc = wait_fd(fd, POLLOUT, deadline_ns);
            if (rc)
                return rc;
        } else if (errno != EINTR) {
            return -ECONNRESET;
        }
    }
    return 0;
}

int mst_sock_recv_all(int fd, void *data, size_t size_bytes, uint64_t deadline_ns)
{
    uint8_t *at = data;
    while (size_bytes > 0) {
        ssize_t got = recv(fd, at, size_bytes, MSG_DONTWAIT);
        if (got > 0) {
            at += got;
            size_bytes -= (size_t)got;
        } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            int rc = wait_fd(fd, POLLIN, deadline_ns);
            if (rc)
                return rc;
        } else if (got == 0 || errno != EINTR) {
            return -ECONNRESET;
        }
    }
    return 0;
}

/* Head and payload in one packet, as a rule. How much of both the socket took: what failed fails
 * again in what follows. */
static size_t send_once(int fd, uint8_t head[MST_FRAME_HEADER_BYTES], const void *payload,
                        size_t size_bytes)
{
    struct iovec parts[] = {{.iov_base = head, .iov_len = MST_FRAME_HEADER_BYTES},
                            {.iov_base = (void *)(uintptr_t)payload, .iov_len = size_bytes}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? (size_t)sent : 0;
}

int mst_sock_send_frame(int fd, uint8_t type, const void *payload, size_t size_bytes,
                        uint64_t deadline_ns)
{
    if (size_bytes > MST_FRAME_PAYLOAD_MAX)
        return -EINVAL;
    uint8_t bytes[MST_FRAME_HEADER_BYTES];
    frame_encode(bytes, &(struct frame_head){.type = type,
                                             .size_bytes = (uint32_t)size_bytes,
                                             .crc = mst_crc32c_short(0, payload, size_bytes)});
    size_t sent = send_once(fd, bytes, payload, size_bytes);
    size_t of_head = mst_least(sent, sizeof bytes), of_payload = sent - of_head;
    int rc = mst_sock_send_all(fd, bytes + of_head, sizeof bytes - of_head, deadline_ns);
    if (rc || of_payload == size_bytes)
        return rc;
    return mst_sock_send_all(fd, (const uint8_t *)payload + of_payload, size_bytes - of_payload,
                             deadline_ns);
}

int mst_sock_recv_frame(int fd, uint8_t *ret_type, void *payload, size_t cap,
                        size_t *ret_size_bytes, uint64_t deadline_ns)
{
    uint8_t bytes[MST_FRAME_HEADER_BYTES];
    int rc = mst_sock_recv_all(fd, bytes, sizeof bytes, deadline_ns);
    if (rc)
        return rc;
    struct frame_head head;
    rc = frame_decode(bytes, MST_FRAME_PAYLOAD_MAX, &head);
    if (rc)
        return rc;
    if (head.size_bytes > cap)
        return -ENOSPC;
    rc = mst_sock_recv_all(fd, payload, head.size_bytes, deadline_ns);
    if (rc)
        return rc;
    if (mst_crc32c_short(0, payload, head.size_bytes) != head.crc)
        return -EBADMSG;
    *ret_type = head.type;
    *ret_size_bytes = head.size_bytes;
    return 0;
}

/* The exchange: one message to and from every peer, with all sockets moving at once. */
#include "muster/comm/tcp.h"

#include "muster/core/clock.h"
#include "muster/core/world/page.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

void tcp_begin(struct tcp *tcp, const struct signature_desc *desc, uint64_t op_seq,
               uint64_t deadline_ns)
{
    tcp->header.signature = signature_of(desc);
    tcp->header.op_seq = op_seq;
    tcp->header.kind = signature_pack(desc);
    tcp->header.count = desc->count;
    tcp->header.part = 0;
    tcp->deadline_ns = deadline_ns;
}

static void prepare(struct tcp *tcp, const struct tcp_part *parts)
{
    tcp->header.part++;
    for (uint32_t n = 0; n < tcp->node_count; n++) {
        struct tcp_peer *peer = &tcp->peers[n];
        if (n == tcp->node)
            continue;
        peer->part = &parts[n];
        peer->sent = peer->received = 0;
        tcp->header.size_bytes = parts[n].send_bytes;
        header_encode(&tcp->header, peer->out);
    }
}

static bool is_lost(int code)
{
    return code == ECONNRESET || code == EPIPE || code == ETIMEDOUT || code == ENOTCONN;
}

/* What a failed or empty send or recv means. 0 if the socket just has nothing for us now. */
static int socket_failed(const struct tcp_peer *peer, ssize_t result, struct mst_err *err)
{
    int code = errno;
    if (result < 0 && (code == EAGAIN || code == EINTR))
        return 0;
    if (result == 0 || is_lost(code))
        return mst_err_set(err, -ECONNRESET, "lost the connection to rank %u", peer->rank);
    return mst_err_set(err, -code, "connection to rank %u: %s", peer->rank, mst_err_meaning(code));
}

/* Sends what the socket takes. > 0 bytes; 0 not now; < 0 failed. */
static ssize_t send_some(struct tcp_peer *peer, struct mst_err *err)
{
    const struct tcp_part *part = peer->part;
    size_t payload_sent = peer->sent > HEADER_BYTES ? peer->sent - HEADER_BYTES : 0;
    size_t header_sent = peer->sent - payload_sent;
    struct iovec parts[2] = {
        {.iov_base = peer->out + header_sent, .iov_len = HEADER_BYTES - header_sent},
        {.iov_base = part->send ? (char *)part->send + payload_sent : NULL,
         .iov_len = part->send_bytes - payload_sent},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(peer->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0)
        return socket_failed(peer, sent, err);
    peer->sent += (size_t)sent;
    assert(peer->sent <= HEADER_BYTES + part->send_bytes);
    return sent;
}

static bool send_done(const struct tcp_peer *peer)
{
    return peer->sent == HEADER_BYTES + peer->part->send_bytes;
}

static int mismatch(const struct tcp *tcp, const struct tcp_peer *peer, const struct header *theirs,
                    struct mst_err *err)
{
    struct signature_desc mine = signature_unpack(tcp->header.kind, tcp->header.count);
    struct signature_desc other = signature_unpack(theirs->kind, theirs->count);
    return signature_mismatch(tcp->peers[tcp->node].rank, &mine, peer->rank, &other, err);
}

/* A whole header has come: is it the message that we expect? */
static int check_header(const struct tcp *tcp, struct tcp_peer *peer, struct mst_err *err)
{
    struct header theirs;
    const struct header *ours = &tcp->header;
    if (header_decode(peer->in, &theirs) < 0 || theirs.generation != ours->generation ||
        theirs.comm_id != ours->comm_id)
        return mst_err_set(err, -EPROTO, "rank %u sent something that is no message of ours",
                           peer->rank);
    peer->last = theirs;
    if (theirs.code < 0)
        return 0;
    if (theirs.signature != ours->signature)
        return mismatch(tcp, peer, &theirs, err);
    if (theirs.op_seq != ours->op_seq || theirs.part != ours->part ||
        theirs.size_bytes != peer->part->recv_bytes)
        return mst_err_set(err, -EPROTO,
                           "rank %u sent part %u of op %llu with %llu bytes; expected part %u of "
                           "op %llu with %zu bytes",
                           peer->rank, theirs.part, (unsigned long long)theirs.op_seq,
                           (unsigned long long)theirs.size_bytes, ours->part,
                           (unsigned long long)ours->op_seq, peer->part->recv_bytes);
    return 0;
}

static bool header_came(const struct tcp_peer *peer)
{
    return peer->received >= HEADER_BYTES;
}

static bool peer_failed(const struct tcp_peer *peer)
{
    return header_came(peer) && peer->last.code < 0;
}

static size_t expected_bytes(const struct tcp_peer *peer)
{
    if (!header_came(peer))
        return HEADER_BYTES;
    return HEADER_BYTES +
           (peer_failed(peer) ? (size_t)peer->last.size_bytes : peer->part->recv_bytes);
}

static bool recv_done(const struct tcp_peer *peer)
{
    return header_came(peer) && peer->received == expected_bytes(peer);
}

/* Where the next byte from the peer goes. */
static uint8_t *next_in(struct tcp_peer *peer)
{
    if (!header_came(peer))
        return peer->in + peer->received;
    void *payload = peer_failed(peer) ? peer->failure : peer->part->recv;
    return (uint8_t *)payload + (peer->received - HEADER_BYTES);
}

static ssize_t recv_some(const struct tcp *tcp, struct tcp_peer *peer, struct mst_err *err)
{
    ssize_t got = recv(peer->fd, next_in(peer), expected_bytes(peer) - peer->received,
                       MSG_DONTWAIT);
    if (got <= 0)
        return socket_failed(peer, got, err);
    peer->received += (size_t)got;
    int rc = peer->received == HEADER_BYTES ? check_header(tcp, peer, err) : 0;
    if (rc == 0 && peer_failed(peer) && recv_done(peer)) {
        peer->failure[peer->last.size_bytes] = '\0';
        rc = mst_err_set(err, peer->last.code, "%s", peer->failure);
    }
    return rc < 0 ? rc : got;
}

/* Moves every socket once. Bytes moved, or the failure. */
static ssize_t move_all(struct tcp *tcp, bool *ret_done, struct mst_err *err)
{
    ssize_t moved = 0;
    *ret_done = true;
    for (uint32_t i = 1; i < tcp->node_count; i++) {
        /* Every node starts at its right neighbour, so that they do not all write to one. */
        struct tcp_peer *peer = &tcp->peers[(tcp->node + i) % tcp->node_count];
        ssize_t sent = send_done(peer) ? 0 : send_some(peer, err);
        if (sent < 0 && sent != -ECONNRESET)
            return sent;
        /* A peer that hung up may have said why: read before giving up. */
        ssize_t got = recv_done(peer) ? 0 : recv_some(tcp, peer, err);
        if (got < 0)
            return got;
        if (sent < 0 && got == 0)
            return sent;
        moved += sent > 0 ? sent + got : got;
        *ret_done = *ret_done && send_done(peer) && recv_done(peer);
    }
    return moved;
}

/* Whom this node waits for, for the agent to tell when it lasts. */
static void note_absent(const struct tcp *tcp)
{
    struct mst_page *page = tcp->segment->wait.page;
    for (uint32_t n = 0; page && n < tcp->node_count; n++) {
        const struct tcp_peer *peer = &tcp->peers[n];
        if (n == tcp->node || recv_done(peer))
            continue;
        struct mst_page_slot *slot = mst_page_slot(page, tcp->segment->local_rank);
        atomic_store_explicit(&slot->waits_for, peer->rank + 1, memory_order_relaxed);
        return;
    }
}

static void sleep_on_sockets(struct tcp *tcp)
{
    note_absent(tcp);
    nfds_t count = 0;
    for (uint32_t n = 0; n < tcp->node_count; n++) {
        const struct tcp_peer *peer = &tcp->peers[n];
        if (n == tcp->node || (send_done(peer) && recv_done(peer)))
            continue;
        short events = (short)((send_done(peer) ? 0 : POLLOUT) | (recv_done(peer) ? 0 : POLLIN));
        tcp->polls[count++] = (struct pollfd){.fd = peer->fd, .events = events};
    }
    int left_ms = mst_deadline_left_ms(tcp->deadline_ns);
    bool soon = left_ms >= 0 && left_ms < WAIT_SLICE_MS;
    (void)poll(tcp->polls, count, soon ? left_ms : WAIT_SLICE_MS); /* any return: look again */
}

static void append_absent(const struct tcp_peer *peer, uint32_t node, char *text, size_t cap)
{
    char who[48];
    struct signature_desc last = signature_unpack(peer->last.kind, peer->last.count);
    (void)snprintf(who, sizeof who, "rank %u on node %u", peer->rank, node);
    signature_append_absent(who, peer->last.op_seq, &last, text, cap);
}

static int timed_out(const struct tcp *tcp, struct mst_err *err)
{
    char text[SIGNATURE_TEXT_MAX], missing[sizeof err->text] = "";
    for (uint32_t n = 0; n < tcp->node_count; n++)
        if (n != tcp->node && !(send_done(&tcp->peers[n]) && recv_done(&tcp->peers[n])))
            append_absent(&tcp->peers[n], n, missing, sizeof missing);
    struct signature_desc mine = signature_unpack(tcp->header.kind, tcp->header.count);
    return mst_err_set(err, -ETIMEDOUT, "op %llu, %s: still missing%s",
                       (unsigned long long)tcp->header.op_seq,
                       signature_describe(&mine, text, sizeof text), missing);
}

int tcp_exchange(struct tcp *tcp, const struct tcp_part *parts, struct mst_err *err)
{
    struct wait_state state = {0};
    prepare(tcp, parts);
    for (;;) {
        bool done;
        ssize_t moved = move_all(tcp, &done, err);
        if (moved < 0)
            return (int)moved;
        if (done)
            return 0;
        bool sleep = moved == 0 && wait_idle(&tcp->segment->wait, &state);
        if (moved > 0) /* a new wait begins with a look: bytes that trickle must not outlast us */
            state = (struct wait_state){0};
        int rc = wait_look(&state) ? wait_check(&tcp->segment->wait, tcp->deadline_ns) : 0;
        if (rc < 0)
            return rc == -ETIMEDOUT ? timed_out(tcp, err) : segment_explain(tcp->segment, rc, err);
        if (sleep)
            sleep_on_sockets(tcp);
    }
}

/* The failure goes out where no message is half sent; there the peer sees the end of the stream in
 * the middle, and knows as much. Best effort: the peer may be gone. */
void tcp_fail(struct tcp *tcp, const struct mst_err *err)
{
    uint8_t bytes[HEADER_BYTES + HEADER_TEXT_MAX];
    struct header header = tcp->header;
    size_t text_bytes = strnlen(err->text, HEADER_TEXT_MAX);
    header.code = err->code;
    header.size_bytes = text_bytes;
    header_encode(&header, bytes);
    memcpy(bytes + HEADER_BYTES, err->text, text_bytes);
    for (uint32_t n = 0; tcp->peers && n < tcp->node_count; n++) {
        struct tcp_peer *peer = &tcp->peers[n];
        if (peer->fd < 0)
            continue;
        if (!peer->part || peer->sent == 0 || send_done(peer))
            (void)send(peer->fd, bytes, HEADER_BYTES + text_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)shutdown(peer->fd, SHUT_WR);
    }
}

static int peek_peer(const struct tcp_peer *peer, struct mst_err *err)
{
    uint8_t bytes[HEADER_BYTES + HEADER_TEXT_MAX];
    struct header header;
    ssize_t size = recv(peer->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (size < HEADER_BYTES || header_decode(bytes, &header) < 0 || header.code == 0)
        return 0; /* nothing, or the beginning of its next exchange */
    size_t text_bytes = (size_t)size - HEADER_BYTES;
    if (header.size_bytes < text_bytes)
        text_bytes = (size_t)header.size_bytes;
    return mst_err_set(err, header.code, "%.*s", (int)text_bytes, (char *)bytes + HEADER_BYTES);
}

int tcp_peek(const struct tcp *tcp, struct mst_err *err)
{
    uint32_t count = tcp->peers ? tcp->node_count : 0;
    for (uint32_t n = 0; n < count; n++) /* our own fd, -1, is passed over */
        tcp->polls[n] = (struct pollfd){.fd = tcp->peers[n].fd, .events = POLLIN};
    if (count == 0 || poll(tcp->polls, count, 0) <= 0)
        return 0;
    int rc = 0;
    for (uint32_t n = 0; n < count && rc == 0; n++)
        rc = tcp->polls[n].revents ? peek_peer(&tcp->peers[n], err) : 0;
    return rc;
}

void tcp_shutdown(struct tcp *tcp)
{
    for (uint32_t n = 0; tcp->peers && n < tcp->node_count; n++)
        if (tcp->peers[n].fd >= 0)
            (void)shutdown(tcp->peers[n].fd, SHUT_RDWR); /* best effort: the peer may be gone */
}

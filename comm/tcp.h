/* The leaders of the nodes and their sockets. Leader k of a node is its local rank k, and talks to
 * leader k of every other node over one authenticated connection. All they ever do is an
 * *exchange*: every leader sends one message to each of its peers and receives one from each, at
 * the same time, so that no size can deadlock; an empty message still carries the signature.
 *
 * tcp_listen → (the address goes over the kv) → tcp_connect → [tcp_begin → tcp_exchange…]…
 *   tcp_close
 *
 * One thread at a time. */
#ifndef MUSTER_COMM_TCP_H
#define MUSTER_COMM_TCP_H

#include "muster/comm/boot.h"
#include "muster/comm/header.h"
#include "muster/comm/segment.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One message out, one in, for one peer; either may be empty. */
struct tcp_part {
    const void *send;
    size_t send_bytes;
    void *recv;
    size_t recv_bytes;
};

struct tcp_peer {
    int fd; /* -1: this node itself */
    uint32_t rank;
    const struct tcp_part *part;
    uint8_t out[HEADER_BYTES];
    size_t sent; /* of header and payload */
    uint8_t in[HEADER_BYTES];
    size_t received;
    struct header last; /* what it sent last; op_seq 0 = nothing */
    char failure[HEADER_TEXT_MAX + 1];
};

struct tcp {
    uint32_t node, node_count;
    struct tcp_peer *peers; /* by node; NULL on ranks that do not lead */
    struct pollfd *polls;
    const struct segment *segment; /* its abort words are polled; borrowed */
    struct header header;          /* of the messages of the collective in progress */
    uint64_t deadline_ns;
};

/* Listens for the other leaders on the address by which this host reaches the kv server (loopback
 * when there is none), any port. The fd, and "host:port" in `address`; errors of sock with text. */
int tcp_listen(const struct mst_world *world, char address[BOOT_ADDRESS_MAX], struct mst_err *err);

/* Connects this leader with its peers: dials those of lower rank, accepts those of higher rank.
 * *tcp is zeroed but for its segment, whose abort words end it, too. Connections that cannot prove
 * themselves are dropped. 0; -ETIMEDOUT naming a peer, and who was dropped last and why;
 * -ECONNRESET a peer that is to be dialled listens no longer; codes of segment_explain; errors of
 * sock and auth; all with text. */
int tcp_connect(struct tcp *tcp, const struct mst_world *world, const struct boot *boot,
                int listen_fd, uint64_t deadline_ns, struct mst_err *err);

/* Zeroed and half-built are allowed. */
void tcp_close(struct tcp *tcp);

/* Announces a collective. */
void tcp_begin(struct tcp *tcp, const struct signature_desc *desc, uint64_t op_seq,
               uint64_t deadline_ns);

/* One exchange; parts[n] for node n, ignored for this node. 0; -EPROTO with both collectives;
 * -ETIMEDOUT naming who is missing; -ECONNRESET; the code and text of a peer that failed. */
int tcp_exchange(struct tcp *tcp, const struct tcp_part *parts, struct mst_err *err);

/* Tells the peers why this node gives up, as far as their sockets take it; no exchange after this.
 * Does not block. */
void tcp_fail(struct tcp *tcp, const struct mst_err *err);

/* Between exchanges: the code and text of a peer that has failed meanwhile; 0 if none has said so.
 * A connection that has ended says nothing: its peer may have finished. Does not block. */
int tcp_peek(const struct tcp *tcp, struct mst_err *err);

/* Shuts the connections down: the peers see a reset. Safe from any thread. */
void tcp_shutdown(struct tcp *tcp);

#endif

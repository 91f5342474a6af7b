/* Sockets: listen, dial, and whole frames with deadlines. The loops over short reads and writes
 * live here, once.
 *
 * A frame is  magic u32 | type u8 | flags u8 | reserved u16 | payload size u32 | crc32c of the
 * payload u32 | payload, little-endian. Fds are close-on-exec and TCP_NODELAY. Blocking calls poll
 * a non-blocking fd until their deadline. Functions are safe from any thread on different fds. */
#ifndef MUSTER_CORE_KV_SOCK_H
#define MUSTER_CORE_KV_SOCK_H

#include <stddef.h>
#include <stdint.h>

struct mst_cspan;
struct mst_err;

#define MST_FRAME_HEADER_BYTES 16
#define MST_FRAME_PAYLOAD_MAX (UINT32_C(16) << 20)

/* Listens on host:port, IPv4 or IPv6; port 0 picks one, host NULL or "" is every address of the
 * node; SO_REUSEADDR. Returns the fd (non-blocking) and the port (ret_port may be NULL).
 * -EADDRINUSE, -EADDRNOTAVAIL, -EACCES … with a text that names the address and, for a port in use,
 * what to do. */
int mst_sock_listen(const char *host, uint16_t port, uint16_t *ret_port, struct mst_err *err);

/* Accepts one connection from a non-blocking listener: fd, or -EAGAIN. */
int mst_sock_accept(int listen_fd);

/* Connects to "host:port" or "[v6]:port". Numeric hosts and "localhost" need no name service. Name
 * resolution and connection are retried until the deadline, as a pod's name may not resolve yet and
 * its listener may not be up; a name server that does not answer can hold the call beyond it by the
 * resolver's own timeout. Returns the fd (non-blocking). -ETIMEDOUT naming the address, how often
 * it was tried and the last failure; -EINVAL if the address has no port. */
int mst_sock_dial(const char *address, uint64_t deadline_ns, struct mst_err *err);

/* The same, of one who listened before: -ECONNREFUSED at once if nobody does any longer. */
int mst_sock_redial(const char *address, uint64_t deadline_ns, struct mst_err *err);

/* Waits `pause_ms`, or until the deadline if that is sooner; a signal may end it early. */
void mst_sock_pause(uint64_t deadline_ns, int pause_ms);

/* The pause between two tries that follows one of `pause_ms`; 0: there was none yet. */
int mst_sock_longer_pause(int pause_ms);

/* As mst_sock_dial, but once, for at most a few seconds. The fd, or with text -ECONNREFUSED nobody
 * listens there; -ENOENT no such host; -ETIMEDOUT, -EHOSTUNREACH …; -EINVAL. */
int mst_sock_try(const char *address, uint64_t deadline_ns, struct mst_err *err);

/* Splits "host:port" or "[v6]:port". 0; -EINVAL; -ENOSPC if the host does not fit. */
int mst_sock_split(const char *address, char *host, size_t cap, uint16_t *ret_port);

/* The other way round: an IPv6 address, which has colons itself, gets brackets. 0; -ENOSPC if it
 * does not fit: `address` stays as it is then. */
int mst_sock_join(const char *host, uint16_t port, char *address, size_t cap);

#define MST_SOCK_NAME_BYTES 64

/* Who is at the other end, for people: "10.0.0.3:4000", or "a local process". */
void mst_sock_peer_name(int fd, char name[MST_SOCK_NAME_BYTES]);

/* A number that connections from one address share, whatever their port. */
uint32_t mst_sock_peer_hash(int fd);

/* This node's numeric address at this end of a connection: what the other end can reach. 0;
 * -EADDRNOTAVAIL the socket has none. */
int mst_sock_own_host(int fd, char host[MST_SOCK_NAME_BYTES]);

/* Writes or reads exactly `size_bytes`. 0; -ETIMEDOUT; -ECONNRESET also when the peer closed in the
 * middle. */
int mst_sock_send_all(int fd, const void *data, size_t size_bytes, uint64_t deadline_ns);
int mst_sock_recv_all(int fd, void *data, size_t size_bytes, uint64_t deadline_ns);

/* One frame, blocking until the deadline. recv writes the payload to `payload` and its size to
 * *ret_size_bytes. 0; -ETIMEDOUT; -ECONNRESET; -EBADMSG for a bad magic, size or checksum; -ENOSPC
 * if the payload is over cap. */
int mst_sock_send_frame(int fd, uint8_t type, const void *payload, size_t size_bytes,
                        uint64_t deadline_ns);
int mst_sock_recv_frame(int fd, uint8_t *ret_type, void *payload, size_t cap,
                        size_t *ret_size_bytes, uint64_t deadline_ns);

/* A frame stream for poll loops: bytes come in as the socket has them, frames come out whole.
 *   init → on POLLIN: read, then next until 0 → put; on POLLOUT: write → fini
 * Owns its buffers, not the fd; an idle stream has 2 KiB each way at most. One thread at a time. */
struct mst_stream {
    int fd;
    uint8_t *in;
    size_t in_size, in_cap, in_used;
    uint8_t *out;
    size_t out_size, out_cap, out_sent;
    const uint8_t *tail; /* borrowed: follows what is in `out`; NULL: nothing does */
    size_t tail_size, tail_sent;
    size_t payload_max; /* frames over this are -EBADMSG; MST_FRAME_PAYLOAD_MAX after init */
};

void mst_stream_init(struct mst_stream *stream, int fd);
void mst_stream_fini(struct mst_stream *stream);

/* Reads what the socket has. > 0 bytes read; 0 nothing there; -ECONNRESET closed or broken;
 * -ENOMEM. */
int mst_stream_read(struct mst_stream *stream);

/* 1 and the next frame (payload borrowed until the next call on the stream), 0 none complete,
 * -EBADMSG. */
int mst_stream_next(struct mst_stream *stream, uint8_t *ret_type, const uint8_t **ret_payload,
                    size_t *ret_size_bytes);

/* Queues a frame and writes what the socket takes. 0; -EINVAL payload over MST_FRAME_PAYLOAD_MAX;
 * -ENOMEM; -ECONNRESET. put_parts gathers the payload from host memory in `part_count` pieces. */
int mst_stream_put_parts(struct mst_stream *stream, uint8_t type, const struct mst_cspan *parts,
                         size_t part_count);
int mst_stream_put(struct mst_stream *stream, uint8_t type, const void *payload, size_t size_bytes);

/* The same, and `tail` follows the parts without being copied: it is borrowed while stream->tail is
 * set, which the next put or a write may end. For what many peers are sent alike. */
int mst_stream_put_tail(struct mst_stream *stream, uint8_t type, const struct mst_cspan *parts,
                        size_t part_count, const struct mst_cspan *tail);

/* Writes queued bytes. 0; -ECONNRESET. */
int mst_stream_write(struct mst_stream *stream);

/* Bytes queued and not yet written: poll for POLLOUT while > 0. */
size_t mst_stream_pending(const struct mst_stream *stream);

#endif

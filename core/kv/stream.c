#include "muster/core/crc32c.h"
#include "muster/core/kv/frame.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"
#include "muster/core/span.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define READ_BYTES_MIN ((size_t)2 << 10)
#define IDLE_BYTES_MAX READ_BYTES_MIN /* an empty buffer over this is given back */

/* What both buffers are between two calls. */
static void check(const struct mst_stream *stream)
{
    assert(stream->in_used <= stream->in_size && stream->in_size <= stream->in_cap);
    assert(stream->out_sent <= stream->out_size && stream->out_size <= stream->out_cap);
    assert(stream->tail_sent <= stream->tail_size && (stream->tail || !stream->tail_size));
}

void mst_stream_init(struct mst_stream *stream, int fd)
{
    *stream = (struct mst_stream){.fd = fd, .payload_max = MST_FRAME_PAYLOAD_MAX};
}

void mst_stream_fini(struct mst_stream *stream)
{
    free(stream->in);
    free(stream->out);
    *stream = (struct mst_stream){.fd = -1};
}

/* Makes room for `more` bytes behind the `size` bytes of a buffer. */
static int reserve(uint8_t **buffer, size_t *cap, size_t size, size_t more)
{
    size_t need = size + more;
    if (need <= *cap)
        return 0;
    size_t grown = *cap * 2 > need ? *cap * 2 : need;
    uint8_t *bytes = realloc(*buffer, grown);
    if (!bytes)
        return -ENOMEM;
    *buffer = bytes;
    *cap = grown;
    return 0;
}

static void give_back_if_idle(uint8_t **buffer, size_t *cap)
{
    if (*cap <= IDLE_BYTES_MAX)
        return;
    free(*buffer);
    *buffer = NULL;
    *cap = 0;
}

/* Moves the bytes of the frames still to come to the front of the buffer. */
static void discard_used(struct mst_stream *stream)
{
    size_t left = stream->in_size - stream->in_used;
    if (left > 0 && stream->in_used > 0)
        memmove(stream->in, stream->in + stream->in_used, left);
    stream->in_size = left;
    stream->in_used = 0;
    if (left == 0)
        give_back_if_idle(&stream->in, &stream->in_cap);
}

int mst_stream_read(struct mst_stream *stream)
{
    discard_used(stream);
    if (reserve(&stream->in, &stream->in_cap, stream->in_size, READ_BYTES_MIN))
        return -ENOMEM;
    for (;;) {
        size_t room = stream->in_cap - stream->in_size;
        ssize_t got = recv(stream->fd, stream->in + stream->in_size, room, MSG_DONTWAIT);
        if (got > 0) {
            stream->in_size += (size_t)got;
            check(stream);
            return (int)got;
        }
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (got == 0 || errno != EINTR)
            return -ECONNRESET;
    }
}

int mst_stream_next(struct mst_stream *stream, uint8_t *ret_type, const uint8_t **ret_payload,
                    size_t *ret_size_bytes)
{
    size_t left = stream->in_size - stream->in_used;
    if (left < MST_FRAME_HEADER_BYTES)
        return 0;
    const uint8_t *at = stream->in + stream->in_used;
    struct frame_head head;
    if (frame_decode(at, stream->payload_max, &head))
        return -EBADMSG;
    if (left - MST_FRAME_HEADER_BYTES < head.size_bytes)
        return 0;
    const uint8_t *payload = at + MST_FRAME_HEADER_BYTES;
    if (mst_crc32c_short(0, payload, head.size_bytes) != head.crc)
        return -EBADMSG;
    stream->in_used += MST_FRAME_HEADER_BYTES + head.size_bytes;
    check(stream);
    *ret_type = head.type;
    *ret_payload = payload;
    *ret_size_bytes = head.size_bytes;
    return 1;
}

static void append(struct mst_stream *stream, const void *data, size_t size_bytes)
{
    assert(stream->out_cap - stream->out_size >= size_bytes);
    if (size_bytes > 0)
        memcpy(stream->out + stream->out_size, data, size_bytes);
    stream->out_size += size_bytes;
}

/* Written bytes make room first, so that a queue that never runs empty does not grow. */
static int reserve_out(struct mst_stream *stream, size_t more)
{
    if (stream->out_cap - stream->out_size < more && stream->out_sent > 0) {
        stream->out_size -= stream->out_sent;
        memmove(stream->out, stream->out + stream->out_sent, stream->out_size);
        stream->out_sent = 0;
    }
    return reserve(&stream->out, &stream->out_cap, stream->out_size, more);
}

/* What is left of a tail goes into the buffer, so that another frame can follow it. */
static int copy_tail(struct mst_stream *stream)
{
    size_t left = stream->tail_size - stream->tail_sent;
    if (left == 0)
        return 0;
    if (reserve_out(stream, left))
        return -ENOMEM;
    append(stream, stream->tail + stream->tail_sent, left);
    stream->tail = NULL;
    stream->tail_size = stream->tail_sent = 0;
    return 0;
}

static size_t size_of_parts(const struct mst_cspan *parts, size_t part_count)
{
    size_t size_bytes = 0;
    for (size_t i = 0; i < part_count; i++)
        size_bytes += parts[i].size_bytes;
    return size_bytes;
}

int mst_stream_put_tail(struct mst_stream *stream, uint8_t type, const struct mst_cspan *parts,
                        size_t part_count, const struct mst_cspan *tail)
{
    size_t head_bytes = size_of_parts(parts, part_count);
    size_t size_bytes = head_bytes + tail->size_bytes;
    if (size_bytes > MST_FRAME_PAYLOAD_MAX)
        return -EINVAL;
    uint8_t bytes[MST_FRAME_HEADER_BYTES];
    if (copy_tail(stream) || reserve_out(stream, sizeof bytes + head_bytes))
        return -ENOMEM;
    uint32_t crc = 0;
    for (size_t i = 0; i < part_count; i++)
        crc = mst_crc32c_short(crc, parts[i].data, parts[i].size_bytes);
    crc = mst_crc32c_short(crc, tail->data, tail->size_bytes);
    frame_encode(
        bytes, &(struct frame_head){.type = type, .size_bytes = (uint32_t)size_bytes, .crc = crc});
    append(stream, bytes, sizeof bytes);
    for (size_t i = 0; i < part_count; i++)
        append(stream, parts[i].data, parts[i].size_bytes);
    stream->tail = tail->size_bytes > 0 ? tail->data : NULL;
    stream->tail_size = tail->size_bytes;
    return mst_stream_write(stream);
}

int mst_stream_put_parts(struct mst_stream *stream, uint8_t type, const struct mst_cspan *parts,
                         size_t part_count)
{
    const struct mst_cspan none = {.mem = MST_MEM_HOST};
    return mst_stream_put_tail(stream, type, parts, part_count, &none);
}

int mst_stream_put(struct mst_stream *stream, uint8_t type, const void *payload, size_t size_bytes)
{
    struct mst_cspan part = {.data = payload, .size_bytes = size_bytes};
    return mst_stream_put_parts(stream, type, &part, 1);
}

/* Sends what the socket takes of the buffer and the tail behind it: > 0 bytes; 0 it is full;
 * -ECONNRESET. */
static ssize_t send_some(struct mst_stream *stream)
{
    struct iovec pieces[2];
    size_t count = 0;
    if (stream->out_size > stream->out_sent)
        pieces[count++] = (struct iovec){stream->out + stream->out_sent,
                                         stream->out_size - stream->out_sent};
    if (stream->tail_size > stream->tail_sent)
        pieces[count++] = (struct iovec){(void *)(uintptr_t)(stream->tail + stream->tail_sent),
                                         stream->tail_size - stream->tail_sent};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    for (;;) {
        ssize_t sent = sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0)
            return sent;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (errno != EINTR)
            return -ECONNRESET;
    }
}

int mst_stream_write(struct mst_stream *stream)
{
    check(stream);
    while (mst_stream_pending(stream) > 0) {
        ssize_t sent = send_some(stream);
        if (sent <= 0)
            return (int)sent;
        size_t of_buffer = mst_least((size_t)sent, stream->out_size - stream->out_sent);
        stream->out_sent += of_buffer;
        stream->tail_sent += (size_t)sent - of_buffer;
    }
    stream->out_size = stream->out_sent = 0;
    stream->tail = NULL;
    stream->tail_size = stream->tail_sent = 0;
    give_back_if_idle(&stream->out, &stream->out_cap);
    return 0;
}

size_t mst_stream_pending(const struct mst_stream *stream)
{
    return stream->out_size - stream->out_sent + stream->tail_size - stream->tail_sent;
}

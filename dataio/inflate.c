#include "muster/dataio/inflate.h"

#include "muster/core/err.h"

#include <errno.h>
#include <inttypes.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define IN_BYTES ((size_t)256 << 10)
#define OUT_BYTES ((size_t)1 << 20)

struct stream {
    struct inflate_state state;
    struct isal_gzip_header header; /* kept here, as a header may come in pieces */
    bool in_header;
    const struct inflate_io *io;
    uint64_t read_bytes, written_bytes;
    bool inside; /* a member has begun and not ended */
    uint8_t in[IN_BYTES], out[OUT_BYTES];
};

static void begin_member(struct stream *stream)
{
    uint8_t *in = stream->state.next_in;
    uint32_t left = stream->state.avail_in;
    isal_inflate_reset(&stream->state);
    isal_gzip_header_init(&stream->header);
    stream->header.flags = 0; /* init leaves it as it was */
    stream->state.crc_flag = ISAL_GZIP_NO_HDR_VER;
    stream->in_header = true;
    stream->state.next_in = in;
    stream->state.avail_in = left;
    stream->inside = true;
}

/* Reads on behind what is left of the input. Returns 1, 0 at the end, or -errno. */
static int fill(struct stream *stream, struct mst_err *err)
{
    size_t left = stream->state.avail_in;
    memmove(stream->in, stream->state.next_in, left);
    int64_t count = stream->io->read(stream->io->arg, stream->in + left, IN_BYTES - left);
    if (count < 0)
        return mst_err_set(err, (int)count, "reading at byte %" PRIu64 ": %s", stream->read_bytes,
                           mst_err_meaning((int)count));
    stream->state.next_in = stream->in;
    stream->state.avail_in = (uint32_t)(left + (size_t)count);
    stream->read_bytes += (uint64_t)count;
    return count > 0;
}

static uint64_t position(const struct stream *stream)
{
    return stream->read_bytes - stream->state.avail_in;
}

static int damaged(const struct stream *stream, int rc, struct mst_err *err)
{
    const char *what = rc == ISAL_INCORRECT_CHECKSUM ? "checksum does not match"
                       : rc == ISAL_INVALID_WRAPPER  ? "no gzip header"
                                                     : "bad gzip data";
    return mst_err_set(err, -EBADMSG, "%s before compressed byte %" PRIu64, what, position(stream));
}

/* isal_inflate would parse headers too, but forgets where it was when one comes in pieces. */
static int read_header(struct stream *stream, struct mst_err *err)
{
    int rc = isal_read_gzip_header(&stream->state, &stream->header);
    if (rc == ISAL_DECOMP_OK)
        stream->in_header = false;
    return rc == ISAL_DECOMP_OK || rc == ISAL_END_INPUT ? 0 : damaged(stream, rc, err);
}

/* Inflates into the output buffer and hands it on. */
static int step(struct stream *stream, struct mst_err *err)
{
    stream->state.next_out = stream->out;
    stream->state.avail_out = OUT_BYTES;
    int rc = stream->in_header ? read_header(stream, err) : 0;
    if (rc || stream->in_header)
        return rc;
    rc = isal_inflate(&stream->state);
    if (rc < 0 || rc == ISAL_NEED_DICT)
        return damaged(stream, rc, err);
    size_t count = OUT_BYTES - stream->state.avail_out;
    rc = count ? stream->io->write(stream->io->arg, stream->out, count) : 0;
    if (rc)
        return mst_err_set(err, rc, "writing the contents: %s", mst_err_meaning(rc));
    stream->written_bytes += count;
    if (stream->state.block_state == ISAL_BLOCK_FINISH)
        stream->inside = false;
    return 0;
}

/* Until the input is used up, or the member ends. */
static int drain(struct stream *stream, struct mst_err *err)
{
    int rc;
    do
        rc = step(stream, err);
    while (rc == 0 && stream->inside && stream->state.avail_out == 0);
    return rc;
}

/* 0; -errno. */
static int read_member(struct stream *stream, struct mst_err *err)
{
    begin_member(stream);
    int rc = 0;
    while (rc == 0 && stream->inside) {
        int more = stream->state.avail_in ? 1 : fill(stream, err);
        if (more == 0)
            rc = mst_err_set(err, -EBADMSG, "gzip data ends in the middle, after %" PRIu64 " bytes",
                             stream->read_bytes);
        else
            rc = more < 0 ? more : drain(stream, err);
    }
    return rc;
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
    while (count > 0 && *bytes == 0) {
        bytes++;
        count--;
    }
    return count == 0;
}

/* What is no member must be the zeros that fill a tape's last block: behind them, readers of gzip
 * see different things. 0; -errno. */
static int read_padding(struct stream *stream, struct mst_err *err)
{
    uint64_t begin = position(stream);
    bool zero = true;
    int rc;
    do {
        zero = zero && is_zero(stream->state.next_in, stream->state.avail_in);
        stream->state.avail_in = 0;
    } while ((rc = fill(stream, err)) > 0);
    if (rc < 0 || zero)
        return rc;
    return mst_err_set(err, -EBADMSG,
                       "%" PRIu64 " bytes after the last gzip member, from compressed byte %" PRIu64
                       ", are neither gzip nor zeros: cut them off, or fetch the file again",
                       stream->read_bytes - begin, begin);
}

/* 1: another member follows; 0: the end, or padding; -errno. */
static int look_ahead(struct stream *stream, struct mst_err *err)
{
    int rc = 1;
    while (rc > 0 && stream->state.avail_in < 2)
        rc = fill(stream, err);
    const uint8_t *in = stream->state.next_in;
    return rc < 0 ? rc : stream->state.avail_in >= 2 && in[0] == 0x1f && in[1] == 0x8b;
}

static int run(struct stream *stream, struct mst_err *err)
{
    int rc; /* the first is not looked for: an empty file is not gzip */
    do
        rc = read_member(stream, err);
    while (rc == 0 && (rc = look_ahead(stream, err)) > 0);
    return rc < 0 ? rc : read_padding(stream, err);
}

int64_t inflate_gzip(const struct inflate_io *io, struct mst_err *err)
{
    struct stream *stream = malloc(sizeof *stream);
    if (!stream)
        return mst_err_set(err, -ENOMEM, "no memory for decompression");
    stream->io = io;
    stream->read_bytes = stream->written_bytes = 0;
    isal_inflate_init(&stream->state);
    stream->state.next_in = stream->in;
    int64_t rc = run(stream, err);
    if (rc == 0)
        rc = (int64_t)stream->written_bytes;
    free(stream);
    return rc;
}

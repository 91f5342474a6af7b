/* Gzip: the outcome does not depend on how the input arrives, and where zlib accepts it too (it is
 * stricter about reserved header flags), the contents are the same. */
#include "muster/dataio/inflate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define CAP ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct feed {
    const uint8_t *in;
    size_t in_bytes, piece_bytes;
    uint8_t *out;
    size_t out_bytes;
};

static int64_t give(void *arg, void *data, size_t cap)
{
    struct feed *feed = arg;
    size_t count = feed->in_bytes < feed->piece_bytes ? feed->in_bytes : feed->piece_bytes;
    count = count < cap ? count : cap;
    memcpy(data, feed->in, count);
    feed->in += count;
    feed->in_bytes -= count;
    return (int64_t)count;
}

static int take(void *arg, const void *data, size_t size_bytes)
{
    struct feed *feed = arg;
    if (size_bytes > CAP - feed->out_bytes)
        return -ENOSPC;
    memcpy(feed->out + feed->out_bytes, data, size_bytes);
    feed->out_bytes += size_bytes;
    return 0;
}

static int64_t run(const uint8_t *data, size_t size, size_t piece_bytes, uint8_t *out)
{
    struct feed feed = {.in = data, .in_bytes = size, .piece_bytes = piece_bytes, .out = out};
    struct inflate_io io = {.read = give, .write = take, .arg = &feed};
    return inflate_gzip(&io, NULL);
}

static void compare_with_zlib(const uint8_t *data, size_t size, const uint8_t *want,
                              size_t want_bytes)
{
    uint8_t *out = malloc(CAP);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data,
                  .avail_in = (uInt)size,
                  .next_out = out,
                  .avail_out = CAP};
    if (!out || inflateInit2(&z, 31) != Z_OK)
        abort();
    int rc;
    do
        rc = inflate(&z, Z_FINISH);
    while (rc == Z_STREAM_END && z.avail_in && inflateReset(&z) == Z_OK);
    if (rc == Z_STREAM_END &&
        (CAP - z.avail_out != want_bytes || memcmp(out, want, want_bytes) != 0))
        abort();
    inflateEnd(&z);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *whole = malloc(CAP), *pieces = malloc(CAP);
    int64_t result, again;
    if (!whole || !pieces)
        abort();
    result = run(data, size, SIZE_MAX, whole);
    again = run(data, size, 1, pieces);
    if (result != again || (result > 0 && memcmp(whole, pieces, (size_t)result) != 0))
        abort();
    if (result >= 0)
        compare_with_zlib(data, size, whole, (size_t)result);
    free(pieces);
    free(whole);
    return 0;
}

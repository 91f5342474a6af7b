#include "muster/core/stream.h"

#include "muster/core/least.h"

#include <stdint.h>
#include <string.h>

#define STREAM_BYTES_MIN ((size_t)256 << 10) /* less may stay in a cache */

#ifdef __SSE2__
#include <emmintrin.h>

#define LINE_BYTES 64
#define AHEAD_BYTES 1024
#define TAKE_BYTES ((size_t)2 << 10) /* copied while the next are on their way */

/* Whole lines, to the start of one. */
static void stream(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
    for (size_t at = 0; at < size_bytes; at += LINE_BYTES) {
        const __m128i *in = (const __m128i *)(const void *)(from + at);
        __m128i *out = (__m128i *)(void *)(to + at);
        _mm_prefetch(from + at + AHEAD_BYTES, _MM_HINT_NTA); /* of any address: it never faults */
        __m128i line[] = {_mm_loadu_si128(in), _mm_loadu_si128(in + 1), _mm_loadu_si128(in + 2),
                          _mm_loadu_si128(in + 3)};
        for (size_t i = 0; i < sizeof line / sizeof *line; i++)
            _mm_stream_si128(out + i, line[i]);
    }
}

void mst_stream_lines(void *to, const void *from, size_t size_bytes)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    size_t head = -(uintptr_t)out % LINE_BYTES;
    if (size_bytes < head + LINE_BYTES) {
        memcpy(to, from, size_bytes);
        return;
    }
    size_t lines = (size_bytes - head) / LINE_BYTES * LINE_BYTES;
    memcpy(out, in, head);
    stream(out + head, in + head, lines);
    memcpy(out + head + lines, in + head + lines, size_bytes - head - lines);
}

void mst_stream_finish(void)
{
    _mm_sfence();
}

/* A processor that does not know the instruction passes over it. The compiler's own word for it is
 * prefetcht0, unless it may take it for known. */
static void own(const uint8_t *from, size_t size_bytes)
{
    for (size_t at = 0; at < size_bytes; at += LINE_BYTES)
        __asm__ volatile("prefetchw %0" : : "m"(from[at]));
}

void mst_stream_take(void *to, const void *from, size_t size_bytes)
{
    const uint8_t *in = from;
    own(in, mst_least(TAKE_BYTES, size_bytes));
    for (size_t at = 0, len; at < size_bytes; at += len) {
        len = mst_least(TAKE_BYTES, size_bytes - at);
        own(in + at + len, mst_least(TAKE_BYTES, size_bytes - at - len));
        memcpy((uint8_t *)to + at, in + at, len);
    }
}

#else

void mst_stream_lines(void *to, const void *from, size_t size_bytes)
{
    memcpy(to, from, size_bytes);
}

void mst_stream_finish(void)
{
}

void mst_stream_take(void *to, const void *from, size_t size_bytes)
{
    memcpy(to, from, size_bytes);
}

#endif

void mst_stream_copy(void *to, const void *from, size_t size_bytes)
{
    if (size_bytes < STREAM_BYTES_MIN) {
        memcpy(to, from, size_bytes);
        return;
    }
    mst_stream_lines(to, from, size_bytes);
    mst_stream_finish();
}

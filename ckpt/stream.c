#include "muster/ckpt/stream.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

#define LINE_BYTES 64
#define AHEAD_BYTES 1024
#define STREAM_BYTES_MIN ((size_t)256 << 10) /* less may stay in a cache */

/* Whole lines, to the start of one. Whoever is told of the copy sees it: the fence comes first. */
static void stream_lines(uint8_t *to, const uint8_t *from, size_t size_bytes)
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
    _mm_sfence();
}

void stream_copy(void *to, const void *from, size_t size_bytes)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if (size_bytes < STREAM_BYTES_MIN) {
        memcpy(to, from, size_bytes);
        return;
    }
    size_t head = (LINE_BYTES - (uintptr_t)out % LINE_BYTES) % LINE_BYTES;
    size_t lines = (size_bytes - head) / LINE_BYTES * LINE_BYTES;
    memcpy(out, in, head);
    stream_lines(out + head, in + head, lines);
    memcpy(out + head + lines, in + head + lines, size_bytes - head - lines);
}

#else

void stream_copy(void *to, const void *from, size_t size_bytes)
{
    memcpy(to, from, size_bytes);
}

#endif

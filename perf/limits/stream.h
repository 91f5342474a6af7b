/* stream: copies by stores that pass the caches by, where the processor has them. */
#ifndef MUSTER_PERF_LIMITS_STREAM_H
#define MUSTER_PERF_LIMITS_STREAM_H

#include <stddef.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* `to` is a multiple of 16; what follows on `count` floats in both, up to the next, too. */
static inline void stream_copy(float *to, const float *from, size_t count)
{
#ifdef __SSE2__
    for (size_t i = 0; i < count; i += 4)
        _mm_stream_ps(to + i, _mm_loadu_ps(from + i));
#else
    memcpy(to, from, count * sizeof(*to));
#endif
}

/* Before another thread is told of them. */
static inline void stream_fence(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif

/* The loops of one instruction set. `n` elements each; dst may be the same array as a or b. */
#ifndef MUSTER_COMM_REDUCE_ISA_H
#define MUSTER_COMM_REDUCE_ISA_H

#include "muster/comm/comm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDUCE_COMBINES 3 /* sum, min, max; MST_AVG is a sum and a scale */

typedef void (*reduce_combine_fn)(void *dst, const void *a, const void *b, size_t n);
typedef void (*reduce_scale_fn)(void *dst, size_t n, uint32_t divisor);

/* How a 16-bit type reaches f32 and comes back; NULL in types that accumulate in themselves. */
struct reduce_half {
    void (*widen)(float *dst, const uint16_t *in, size_t n);
    void (*narrow)(uint16_t *dst, const float *in, size_t n);
    void (*accumulate[REDUCE_COMBINES])(float *dst, const uint16_t *in, size_t n);
};

struct reduce_isa {
    const char *name;
    bool (*usable)(void);                                        /* does this processor have it? */
    reduce_combine_fn combine[MST_DTYPE_COUNT][REDUCE_COMBINES]; /* on accumulation types */
    reduce_scale_fn scale[MST_DTYPE_COUNT];
    struct reduce_half half[MST_DTYPE_COUNT];
};

extern const struct reduce_isa reduce_portable, reduce_avx2, reduce_avx512;

#endif

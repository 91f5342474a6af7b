/* Reduction of n streams of elements to one, in stream order, in one pass over memory.
 *
 * The fold goes from the left, ((in[0] op in[1]) op in[2]) …, in the accumulation type (f32 for f16
 * and bf16, else the type itself), and is rounded to the element type once, to nearest even.
 * Integer sums wrap. The loops are compiled for several instruction sets from one source; the
 * fastest that the processor has is chosen at run time, and all give the same bits. Safe from any
 * thread. */
#ifndef MUSTER_COMM_REDUCE_H
#define MUSTER_COMM_REDUCE_H

#include "muster/comm/comm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What goes in and what comes out. A reduction over nodes folds PARTIALs and FINISHes them. */
enum reduce_stage {
    REDUCE_WHOLE,   /* elements → elements */
    REDUCE_PARTIAL, /* elements → accumulation type, undivided */
    REDUCE_FINISH,  /* accumulation type → elements */
};

struct reduce_isa;

struct reduce {
    const struct reduce_isa *isa;
    enum reduce_stage stage;
    enum mst_dtype dtype;
    enum mst_op op;
    uint32_t divisor; /* of MST_AVG: the number of ranks */
};

/* Folds `count` elements of `in_count` >= 1 streams into out. `out` may be one of the streams, if
 * both have the same type. Asserts that the type can be reduced. */
void reduce_fold(const struct reduce *reduce, void *out, const void *const *in, size_t in_count,
                 size_t count);

/* Bytes of one element of the accumulation type; 0 if `dtype` cannot be reduced. Pure. */
size_t reduce_acc_size(enum mst_dtype dtype);

/* The fastest usable instruction set. */
const struct reduce_isa *reduce_best(void);

/* All compiled ones, fastest first, NULL-ended; for the tests that compare them. */
extern const struct reduce_isa *const reduce_isas[];
const char *reduce_isa_name(const struct reduce_isa *isa);
bool reduce_isa_usable(const struct reduce_isa *isa);

#endif

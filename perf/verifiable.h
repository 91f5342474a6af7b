/* verifiable: inputs of a reduction whose result every rank can tell without asking the others.
 *
 * Element i of rank r is a small whole number of units times a power of two that depends on i. The
 * units of a sum form a telescoping ring, w[k] - w[k+1], plus one rank's share t: the sum is t, and
 * every partial sum, in any order and grouping, is exact in the type. So a right result is right to
 * the bit and costs nothing to predict, and a lost, doubled or swapped contribution shows. Minimum
 * and maximum are built around one known element in the same way.
 *
 * What is only moved, not reduced, is the sum over one rank: `rank_count` 1. Pure; safe from any
 * thread. Up to 4096 ranks; with more than 256 some bfloat16 contributions are zero. */
#ifndef MUSTER_PERF_VERIFIABLE_H
#define MUSTER_PERF_VERIFIABLE_H

#include "muster/comm/comm.h"
#include "muster/core/dtype.h"

#include <stddef.h>
#include <stdint.h>

struct verifiable {
    enum mst_dtype dtype; /* I32, I64, F16, BF16, F32, F64 */
    enum mst_op op;
    uint32_t rank_count; /* >= 1 */
    uint64_t seed;
};

/* Writes rank `rank`'s elements first … first + count - 1. */
void verifiable_input(const struct verifiable *v, uint32_t rank, size_t first, void *out,
                      size_t count);

/* How many of `got`, elements first … of the result, are wrong. Averages of floats may be off by
 * two units in the last place, since 1/n is not exact; everything else must match to the bit. */
uint64_t verifiable_wrong(const struct verifiable *v, size_t first, const void *got, size_t count);

#endif

/* The smaller of two sizes, and sizes in whole units. */
/* pure */
#ifndef MUSTER_CORE_LEAST_H
#define MUSTER_CORE_LEAST_H

#include <assert.h>
#include <stdint.h>

static_assert(SIZE_MAX == UINT64_MAX, "a size_t holds any 64-bit size, and converts silently");

static inline uint64_t mst_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The smallest multiple of `unit` (>= 1) that is not below `value`, which is at most UINT64_MAX -
 * unit + 1. */
static inline uint64_t mst_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

#endif

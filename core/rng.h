/* Random numbers that resume: a generator is two words, and saving them saves the sequence.
 * Source: PCG XSH-RR 64/32, O'Neill, HMC-CS-2014-0905. Not for secrets. */
/* pure */
#ifndef MUSTER_CORE_RNG_H
#define MUSTER_CORE_RNG_H

#include <stdint.h>

struct mst_rng {
    uint64_t state;
    uint64_t increment; /* odd; selects one of 2^63 sequences */
};

/* Starts sequence `stream` of `seed`. Equal arguments give equal sequences on every machine. */
void mst_rng_init(struct mst_rng *rng, uint64_t seed, uint64_t stream);

/* The next 32 random bits. */
uint32_t mst_rng_next(struct mst_rng *rng);

/* A number in [0, bound), unbiased; bound >= 1. Source: Lemire, TOMACS 29(1), 2019. */
uint32_t mst_rng_below(struct mst_rng *rng, uint32_t bound);

/* A number in [0, 1) with 24 random bits. */
float mst_rng_unit(struct mst_rng *rng);

/* Mixes `value` into 64 well spread bits: the keys of permutations and the seeds of streams come
 * from here. Source: the finaliser of SplitMix64, Steele, Lea & Flood, OOPSLA 2014. */
static inline uint64_t mst_mix64(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

#endif

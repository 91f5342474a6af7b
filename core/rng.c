/* pure */
#include "muster/core/rng.h"

void mst_rng_init(struct mst_rng *rng, uint64_t seed, uint64_t stream)
{
    rng->state = 0;
    rng->increment = stream << 1 | 1;
    (void)mst_rng_next(rng); /* here and below: for the step, not the number */
    rng->state += seed;
    (void)mst_rng_next(rng);
}

uint32_t mst_rng_next(struct mst_rng *rng)
{
    uint64_t old = rng->state;
    rng->state = old * UINT64_C(6364136223846793005) + rng->increment;
    uint32_t folded = (uint32_t)((old >> 18 ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return folded >> turn | folded << (-turn & 31);
}

/* The high half of draw * bound is the answer. It is biased only where the low half is under
 * 2^32 mod bound, and those draws are thrown away; the division is rarely reached. */
uint32_t mst_rng_below(struct mst_rng *rng, uint32_t bound)
{
    uint64_t product = (uint64_t)mst_rng_next(rng) * bound;
    if ((uint32_t)product < bound) {
        uint32_t biased = -bound % bound;
        while ((uint32_t)product < biased)
            product = (uint64_t)mst_rng_next(rng) * bound;
    }
    return (uint32_t)(product >> 32);
}

float mst_rng_unit(struct mst_rng *rng)
{
    return (float)(mst_rng_next(rng) >> 8) * 0x1p-24F;
}

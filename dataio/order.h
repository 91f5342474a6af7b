/* Order: which sample stands at a position of the endless sequence of epochs.
 *
 * A keyed permutation evaluated per position: no table, nothing to rebuild after a restart, and the
 * same on every rank. Source: Feistel network with cycle walking, Black & Rogaway, CT-RSA 2002 (not
 * for secrets). Cost: the network's domain is below twice the sample count, so it is walked less
 * than twice on average. */
/* pure */
#ifndef MUSTER_DATAIO_ORDER_H
#define MUSTER_DATAIO_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#define ORDER_ROUNDS 6

struct order {
    uint64_t sample_count;
    uint64_t seed;
    bool sequential;
    uint64_t epoch, epoch_start; /* what the keys are for, and its first position */
    uint32_t low_bits;           /* the network's halves: low_bits and high_bits wide */
    uint64_t low_mask, high_mask;
    uint64_t keys[ORDER_ROUNDS];
};

/* For `sample_count` (1 … 2^62) samples. `sequential`: every epoch is 0, 1, 2, … */
void order_init(struct order *order, uint64_t seed, uint64_t sample_count, bool sequential);

/* The sample (0 … sample_count-1) at `position`. Keys are kept from call to call, so positions of
 * one epoch in a row are cheapest. */
uint64_t order_sample(struct order *order, uint64_t position);

#endif

/* pure */
#include "muster/dataio/order.h"

#include "muster/core/rng.h"

#include <assert.h>

static void start_epoch(struct order *order, uint64_t epoch)
{
    uint64_t key = mst_mix64(order->seed ^ mst_mix64(epoch));
    order->epoch = epoch;
    order->epoch_start = epoch * order->sample_count;
    for (uint32_t i = 0; i < ORDER_ROUNDS; i++)
        order->keys[i] = key = mst_mix64(key + i);
}

void order_init(struct order *order, uint64_t seed, uint64_t sample_count, bool sequential)
{
    assert(sample_count >= 1 && sample_count <= UINT64_C(1) << 62);
    uint32_t bits = 0;
    while (UINT64_C(1) << bits < sample_count)
        bits++;
    *order = (struct order){.sample_count = sample_count,
                            .seed = seed,
                            .sequential = sequential,
                            .low_bits = bits / 2,
                            .low_mask = (UINT64_C(1) << bits / 2) - 1,
                            .high_mask = (UINT64_C(1) << (bits - bits / 2)) - 1};
    start_epoch(order, 0);
}

/* A round function need not be invertible, only well spread: two multiplications are. */
static uint64_t spread(uint64_t half, uint64_t key)
{
    uint64_t x = (half ^ key) * UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x >> 32 ^ x;
}

/* One pass through the network: a bijection of [0, 2^bits) whatever the widths of the halves, since
 * each round changes one half by a function of the other. */
static uint64_t permute(const struct order *order, uint64_t value)
{
    uint64_t low = value & order->low_mask, high = value >> order->low_bits;
    for (uint32_t i = 0; i < ORDER_ROUNDS; i += 2) {
        high ^= spread(low, order->keys[i]) & order->high_mask;
        low ^= spread(high, order->keys[i + 1]) & order->low_mask;
    }
    return high << order->low_bits | low;
}

uint64_t order_sample(struct order *order, uint64_t position)
{
    uint64_t value = position - order->epoch_start;
    if (value >= order->sample_count) {
        start_epoch(order, position / order->sample_count);
        value = position - order->epoch_start;
    }
    if (order->sequential)
        return value;
    do
        value = permute(order, value);
    while (value >= order->sample_count);
    return value;
}

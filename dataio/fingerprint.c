/* pure */
#include "muster/dataio/fingerprint.h"

#include "muster/core/crc32c.h"
#include "muster/core/least.h"
#include "muster/core/rng.h"

#include <assert.h>
#include <string.h>

#define BLOCKS_TOTAL 4096u /* of all sources, while each has the least */
#define FULL_SEED UINT64_C(0x66756c6c)

uint64_t fingerprint_mix(uint64_t hash, uint64_t value)
{
    return mst_mix64(hash ^ value);
}

uint32_t fingerprint_block_count(uint64_t size_bytes, uint32_t source_count)
{
    uint64_t share = mst_least(BLOCKS_TOTAL / source_count, FINGERPRINT_BLOCKS_MAX);
    uint64_t more = share > FINGERPRINT_EVEN_BLOCKS ? share - FINGERPRINT_EVEN_BLOCKS : 0;
    uint64_t whole = size_bytes / FINGERPRINT_BLOCK_BYTES +
                     (size_bytes % FINGERPRINT_BLOCK_BYTES > 0);
    return size_bytes ? FINGERPRINT_EVEN_BLOCKS + (uint32_t)mst_least(whole, more) : 0;
}

bool fingerprint_is_whole(uint64_t size_bytes, uint32_t count)
{
    return (uint64_t)(count - FINGERPRINT_EVEN_BLOCKS) * FINGERPRINT_BLOCK_BYTES >= size_bytes;
}

/* Part `i` of `count` of a span, in whole bytes: span * i could overflow. */
static uint64_t part(uint64_t span, uint64_t i, uint64_t count)
{
    return span / count * i + span % count * i / count;
}

size_t fingerprint_block(uint64_t size_bytes, uint32_t count, uint32_t i, uint64_t *ret_offset)
{
    size_t block_bytes = mst_least(size_bytes, FINGERPRINT_BLOCK_BYTES);
    uint64_t span = size_bytes - block_bytes;
    if (i < FINGERPRINT_EVEN_BLOCKS) {
        *ret_offset = part(span, i, FINGERPRINT_EVEN_BLOCKS - 1);
        return block_bytes;
    }
    uint64_t k = i - FINGERPRINT_EVEN_BLOCKS, more = count - FINGERPRINT_EVEN_BLOCKS;
    if (fingerprint_is_whole(size_bytes, count)) {
        *ret_offset = k * FINGERPRINT_BLOCK_BYTES;
        return mst_least(size_bytes - *ret_offset, FINGERPRINT_BLOCK_BYTES);
    }
    uint64_t begin = part(span, k, more), end = part(span, k + 1, more);
    assert(begin < end); /* there are more bytes than blocks */
    *ret_offset = begin + mst_mix64(mst_mix64(size_bytes) + k) % (end - begin);
    return block_bytes;
}

void fingerprint_init(struct fingerprint *fingerprint, uint64_t shape)
{
    *fingerprint = (struct fingerprint){
        .sampled = shape, .named = shape, .full = fingerprint_mix(shape, FULL_SEED)};
}

void fingerprint_add(struct fingerprint *fingerprint, const char *name, uint64_t size_bytes,
                     const uint32_t *crcs, uint32_t count)
{
    uint64_t named = fingerprint_mix(fingerprint->named, mst_crc32c(0, name, strlen(name)));
    named = fingerprint_mix(named, size_bytes);
    uint64_t sampled = fingerprint_mix(fingerprint->sampled, size_bytes);
    for (uint32_t i = 0; i < count; i++) {
        sampled = fingerprint_mix(sampled, crcs[i]);
        named = i < FINGERPRINT_EVEN_BLOCKS ? fingerprint_mix(named, crcs[i]) : named;
    }
    fingerprint->sampled = sampled;
    fingerprint->named = named;
}

void fingerprint_add_full(struct fingerprint *fingerprint, uint64_t size_bytes, uint32_t crc)
{
    fingerprint->full = fingerprint_mix(fingerprint_mix(fingerprint->full, size_bytes), crc);
}

/* Fingerprint: which contents a dataset has, as one number that is alike wherever they lie.
 *
 * The sampled one is over the record shape, and of each source over its size and up to 256 blocks:
 * 16 spread evenly from the first byte to the last, and 240 at places that depend on the size
 * alone, or where those cover the contents, all of them. Of many sources each has fewer, 16 at
 * least, so that opening stays fast. The full one is over all bytes. */
/* pure */
#ifndef MUSTER_DATAIO_FINGERPRINT_H
#define MUSTER_DATAIO_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FINGERPRINT_BLOCK_BYTES 4096u
#define FINGERPRINT_EVEN_BLOCKS 16u
#define FINGERPRINT_BLOCKS_MAX 256u

struct fingerprint {
    uint64_t sampled;
    uint64_t named; /* as version 1 of a cursor has it: with the names, over the even blocks only */
    uint64_t full;  /* 0: not computed */
};

/* The hash of what `hash` is of, and `value` behind it. */
uint64_t fingerprint_mix(uint64_t hash, uint64_t value);

/* How many blocks of a source count; 0 if it is empty. */
uint32_t fingerprint_block_count(uint64_t size_bytes, uint32_t source_count);

/* Whether that many cover all contents, which are then no more than as many blocks would be. */
bool fingerprint_is_whole(uint64_t size_bytes, uint32_t count);

/* Block `i` of `count` as a range of the source; the size of the range, at most
 * FINGERPRINT_BLOCK_BYTES. */
size_t fingerprint_block(uint64_t size_bytes, uint32_t count, uint32_t i, uint64_t *ret_offset);

/* Begins with the hash of the shape, which tells full ones from sampled ones. */
void fingerprint_init(struct fingerprint *fingerprint, uint64_t shape);

/* Adds a source: its name, its size and the CRC-32C of each of its blocks, which are `count`. */
void fingerprint_add(struct fingerprint *fingerprint, const char *name, uint64_t size_bytes,
                     const uint32_t *crcs, uint32_t count);

/* Adds a source to the full one: its size and the CRC-32C of all of it. */
void fingerprint_add_full(struct fingerprint *fingerprint, uint64_t size_bytes, uint32_t crc);

#endif

/* Writes Megatron indexes, good ones and, by patching them, bad ones. */
#ifndef MUSTER_TESTS_MEGATRON_H
#define MUSTER_TESTS_MEGATRON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline size_t megatron_put(uint8_t *at, uint64_t value, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
    return size_bytes;
}

/* One document per sequence. Returns the size: 42 + 20 * count. */
static inline size_t megatron_index(uint8_t *idx, uint8_t type, size_t elem_bytes,
                                    const uint32_t *lengths, size_t count)
{
    uint8_t *at = idx;
    memcpy(at, "MMIDIDX\0\0", 9);
    at += 9;
    at += megatron_put(at, 1, 8);
    at += megatron_put(at, type, 1);
    at += megatron_put(at, count, 8);
    at += megatron_put(at, count + 1, 8);
    for (size_t i = 0; i < count; i++)
        at += megatron_put(at, lengths[i], 4);
    uint64_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        at += megatron_put(at, offset, 8);
        offset += lengths[i] * elem_bytes;
    }
    for (size_t i = 0; i <= count; i++)
        at += megatron_put(at, i, 8);
    return (size_t)(at - idx);
}

#endif

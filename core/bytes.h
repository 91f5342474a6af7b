/* Little-endian integers in byte buffers: what frames and formats are made of. */
/* pure */
#ifndef MUSTER_CORE_BYTES_H
#define MUSTER_CORE_BYTES_H

#include <stdint.h>

static inline void mst_put_le16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void mst_put_le32(uint8_t *at, uint32_t value)
{
    mst_put_le16(at, (uint16_t)value);
    mst_put_le16(at + 2, (uint16_t)(value >> 16));
}

static inline void mst_put_le64(uint8_t *at, uint64_t value)
{
    mst_put_le32(at, (uint32_t)value);
    mst_put_le32(at + 4, (uint32_t)(value >> 32));
}

static inline uint16_t mst_get_le16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t mst_get_le32(const uint8_t *at)
{
    return mst_get_le16(at) | (uint32_t)mst_get_le16(at + 2) << 16;
}

static inline uint64_t mst_get_le64(const uint8_t *at)
{
    return mst_get_le32(at) | (uint64_t)mst_get_le32(at + 4) << 32;
}

#endif

/* CRC-32C (Castagnoli), the checksum of every block, frame and header that Muster writes. */
/* pure */
#ifndef MUSTER_CORE_CRC32C_H
#define MUSTER_CORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to start) over `size_bytes` bytes: mst_crc32c(mst_crc32c(0, a), b) is the
 * checksum of a then b. The value is the usual one: "123456789" gives 0xE3069283. */
uint32_t mst_crc32c(uint32_t crc, const void *data, size_t size_bytes);

/* The same, slower from some 100 bytes on, without ISA-L: for frames, so that a program whose data
 * are messages loads no library for them. */
uint32_t mst_crc32c_short(uint32_t crc, const void *data, size_t size_bytes);

#endif

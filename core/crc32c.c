#include "muster/core/crc32c.h"

#include "muster/core/least.h"

#include <isa-l/crc.h>

/* The generator without its x^32, lowest power in the highest bit: the order in which CRC-32C
 * takes its bits. */
#define GENERATOR UINT32_C(0x82F63B78)
#define ONE UINT32_C(0x80000000)      /* x^0 */
#define ONE_BYTE UINT32_C(0x00800000) /* x^8 */

/* ISA-L counts in int, and leaves the inversions before and after to its caller. */
#define PIECE_BYTES_MAX ((size_t)1 << 30)

uint32_t mst_crc32c(uint32_t crc, const void *data, size_t size_bytes)
{
    const unsigned char *next = data;
    uint32_t state = ~crc;
    while (size_bytes > 0) {
        size_t piece = mst_least(size_bytes, PIECE_BYTES_MAX);
        state = crc32_iscsi((unsigned char *)next, (int)piece, state); /* reads only */
        next += piece;
        size_bytes -= piece;
    }
    return ~state;
}

/* a * b modulo the generator. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t power = ONE; power; power >>= 1) {
        if (a & power)
            product ^= b;
        b = b >> 1 ^ (b & 1 ? GENERATOR : 0);
    }
    return product;
}

/* Appending a byte multiplies a checksum by x^8; the inversions of a and b cancel out. */
uint32_t mst_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t b_size_bytes)
{
    uint32_t shift = ONE;
    for (uint32_t square = ONE_BYTE; b_size_bytes > 0; b_size_bytes >>= 1) {
        if (b_size_bytes & 1)
            shift = multiply(shift, square);
        square = multiply(square, square);
    }
    return multiply(shift, crc_a) ^ crc_b;
}

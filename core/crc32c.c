#include "muster/core/crc32c.h"

#include "muster/core/least.h"

#include <isa-l/crc.h>

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

/* Any bytes as a message header: refused, or written again as they came. */
#include "muster/comm/header.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header header;
    uint8_t again[HEADER_BYTES];
    if (size != HEADER_BYTES || header_decode(data, &header) < 0)
        return 0;
    header_encode(&header, again);
    if (memcmp(data, again, HEADER_BYTES) != 0)
        abort();
    if (header.code < 0 && header.size_bytes > HEADER_TEXT_MAX)
        abort();
    return 0;
}

/* Cursor: what decodes, encodes to the same bytes, but for those of version 1. The checksum is made
 * right half of the time, or no input would ever get past it. */
#include "muster/core/crc32c.h"
#include "muster/dataio/cursor.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *bytes, size_t size)
{
    struct cursor cursor;
    if (cursor_decode(bytes, size, &cursor, NULL))
        return;
    if (cursor.version != CURSOR_VERSION) {
        if (cursor.version != 1 || cursor.place || cursor.pin || cursor.fingerprint.full)
            abort();
        return;
    }
    uint8_t again[CURSOR_BYTES];
    cursor_encode(&cursor, again);
    if (size != CURSOR_BYTES || memcmp(bytes, again, CURSOR_BYTES) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size);
    if (size < CURSOR_BYTES)
        return 0;
    uint8_t bytes[CURSOR_BYTES];
    memcpy(bytes, data, CURSOR_BYTES);
    uint32_t crc = mst_crc32c(0, bytes, CURSOR_BYTES - 4);
    for (size_t i = 0; i < 4; i++)
        bytes[CURSOR_BYTES - 4 + i] = (uint8_t)(crc >> (8 * i));
    check(bytes, CURSOR_BYTES);
    return 0;
}

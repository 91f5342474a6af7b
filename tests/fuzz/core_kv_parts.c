/* Packed parts of any bytes: a count byte, then the value. What is taken lies inside it. */
#include "muster/core/kv/parts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mst_cspan parts[255];
    if (size == 0 || data[0] == 0)
        return 0;
    const uint8_t *bytes = data + 1;
    size_t used = 4 * (size_t)data[0];
    if (kv_parts_unpack(bytes, size - 1, data[0], parts))
        return 0;
    for (size_t i = 0; i < data[0]; i++) {
        if (parts[i].data && parts[i].data != bytes + used)
            abort();
        used += parts[i].size_bytes;
    }
    if (used != size - 1)
        abort();
    return 0;
}

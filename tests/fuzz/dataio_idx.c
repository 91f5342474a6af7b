/* Megatron index: 8 bytes size of the data, 1 byte elements, 1 byte stride, then the index.
 * Whatever is accepted lies inside the data. */
#include "muster/dataio/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record_shape shape = {.format = MST_FORMAT_MEGATRON, .dtype = MST_DTYPE_COUNT};
    uint64_t data_bytes, offset, size_bytes;
    if (size < 10)
        return -1;
    memcpy(&data_bytes, data, sizeof data_bytes);
    shape.elems = data[8] + 1u;
    shape.stride = data[9] + 1u;
    struct record_table table;
    if (rec_megatron.cut(&shape, data_bytes,
                         (struct mst_cspan){.data = data + 10, .size_bytes = size - 10}, &table,
                         NULL))
        return 0;
    if (mst_dtype_size(shape.dtype) == 0)
        abort();
    if (table.count == 0)
        return 0;
    record_locate(&table, table.count - 1, &offset, &size_bytes);
    if (offset > data_bytes || size_bytes > data_bytes - offset)
        abort();
    return 0;
}

/* pure */
#include "muster/dataio/record.h"

#include "muster/core/err.h"

#include <errno.h>
#include <inttypes.h>

static int cut(struct record_shape *shape, uint64_t size_bytes, struct mst_cspan companion,
               struct record_table *ret_table, struct mst_err *err)
{
    size_t elem_bytes = mst_dtype_size(shape->dtype);
    (void)companion; /* raw has none */
    if (size_bytes % elem_bytes)
        return mst_err_set(err, -EBADMSG,
                           "%" PRIu64 " bytes are no whole number of %zu-byte %s: truncated, or "
                           "another type",
                           size_bytes, elem_bytes, mst_dtype_name(shape->dtype));
    record_cut(shape, size_bytes, ret_table);
    return 0;
}

const struct record_reader rec_raw = {
    .name = "raw", .format = MST_FORMAT_RAW, .typed = true, .cut = cut};

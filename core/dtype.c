/* pure */
#include "muster/core/dtype.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size_bytes;
} dtypes[MST_DTYPE_COUNT] = {
    [MST_I8] = {"i8", 1},         [MST_U8] = {"u8", 1},         [MST_I16] = {"i16", 2},
    [MST_U16] = {"u16", 2},       [MST_I32] = {"i32", 4},       [MST_U32] = {"u32", 4},
    [MST_I64] = {"i64", 8},       [MST_U64] = {"u64", 8},       [MST_F16] = {"f16", 2},
    [MST_BF16] = {"bf16", 2},     [MST_F32] = {"f32", 4},       [MST_F64] = {"f64", 8},
    [MST_F8E4M3] = {"f8e4m3", 1}, [MST_F8E5M2] = {"f8e5m2", 1},
};

size_t mst_dtype_size(enum mst_dtype dtype)
{
    return (unsigned)dtype < MST_DTYPE_COUNT ? dtypes[dtype].size_bytes : 0;
}

const char *mst_dtype_name(enum mst_dtype dtype)
{
    return (unsigned)dtype < MST_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

int mst_dtype_parse(const char *name, enum mst_dtype *ret_dtype)
{
    for (unsigned i = 0; i < MST_DTYPE_COUNT; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *ret_dtype = (enum mst_dtype)i;
            return 0;
        }
    }
    return -EINVAL;
}

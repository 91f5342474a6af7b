/* Element types, shared by collectives, checkpoints and datasets. The numbers are stored in files
 * and sent on wires: they never change. Later versions may add some: MST_DTYPE_COUNT grows with the
 * library, and is no size for a table of a program's. Functions are safe from any thread. */
#ifndef MUSTER_CORE_DTYPE_H
#define MUSTER_CORE_DTYPE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mst_dtype {
    MST_I8 = 0,
    MST_U8 = 1,
    MST_I16 = 2,
    MST_U16 = 3,
    MST_I32 = 4,
    MST_U32 = 5,
    MST_I64 = 6,
    MST_U64 = 7,
    MST_F16 = 8,  /* IEEE 754 binary16 */
    MST_BF16 = 9, /* upper half of a binary32 */
    MST_F32 = 10,
    MST_F64 = 11,
    MST_F8E4M3 = 12,
    MST_F8E5M2 = 13,
    MST_DTYPE_COUNT
};

/* Bytes of one element; 0 for a number that is no type. Pure. */
size_t mst_dtype_size(enum mst_dtype dtype);

/* "i8" … "f32", "bf16", "f8e4m3"; "?" for a number that is no type. Static storage. Pure. */
const char *mst_dtype_name(enum mst_dtype dtype);

/* The type called `name`. 0 and *ret_dtype, or -EINVAL. Pure. */
int mst_dtype_parse(const char *name, enum mst_dtype *ret_dtype);

#ifdef __cplusplus
}
#endif

#endif

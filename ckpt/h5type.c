#include "muster/ckpt/h5type.h"

#include <stddef.h>

struct small_float {
    size_t exponent_bits, mantissa_bits, bias;
};

static const struct small_float small_floats[MST_DTYPE_COUNT] = {
    [MST_F16] = {5, 10, 15},
    [MST_BF16] = {8, 7, 127},
    [MST_F8E5M2] = {5, 2, 15},
};

/* The order counts: libhdf5 refuses fields outside of the precision, and shrinks it last. */
static hid_t make_small_float(const struct small_float *format)
{
    size_t bits = 1 + format->exponent_bits + format->mantissa_bits;
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    if (type < 0 ||
        H5Tset_fields(type, bits - 1, format->mantissa_bits, format->exponent_bits, 0,
                      format->mantissa_bits) < 0 ||
        H5Tset_precision(type, bits) < 0 || H5Tset_size(type, bits / 8) < 0 ||
        H5Tset_ebias(type, format->bias) < 0) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

/* HDF5 takes an exponent of all ones as infinity and NaN; in E4M3 all but two of these codes are
 * numbers, 448 among them. As bytes they are not taken for others. */
const char *h5type_encoding(enum mst_dtype dtype)
{
    return dtype == MST_F8E4M3 ? "float8_e4m3fn" : NULL;
}

hid_t h5type_create(enum mst_dtype dtype)
{
    switch (dtype) {
    case MST_I8: return H5Tcopy(H5T_STD_I8LE);
    case MST_F8E4M3:
    case MST_U8: return H5Tcopy(H5T_STD_U8LE);
    case MST_I16: return H5Tcopy(H5T_STD_I16LE);
    case MST_U16: return H5Tcopy(H5T_STD_U16LE);
    case MST_I32: return H5Tcopy(H5T_STD_I32LE);
    case MST_U32: return H5Tcopy(H5T_STD_U32LE);
    case MST_I64: return H5Tcopy(H5T_STD_I64LE);
    case MST_U64: return H5Tcopy(H5T_STD_U64LE);
    case MST_F32: return H5Tcopy(H5T_IEEE_F32LE);
    case MST_F64: return H5Tcopy(H5T_IEEE_F64LE);
    case MST_F16:
    case MST_BF16:
    case MST_F8E5M2: return make_small_float(&small_floats[dtype]);
    case MST_DTYPE_COUNT: break;
    }
    return -1;
}

/* Element types as HDF5 knows them. Floats that libhdf5 1.10 has no name for are described bit by
 * bit, so that every HDF5 tool reads their values; E4M3, whose values HDF5 cannot describe, is
 * bytes with a tag. Call with libhdf5 locked. */
#ifndef MUSTER_CKPT_H5TYPE_H
#define MUSTER_CKPT_H5TYPE_H

#include "muster/core/dtype.h"

#include <hdf5.h>

/* A type to be closed by H5Tclose, or a negative number. */
hid_t h5type_create(enum mst_dtype dtype);

/* What the bytes of a type are that HDF5 cannot describe, as others call it; NULL for all other
 * types. Static storage. */
const char *h5type_encoding(enum mst_dtype dtype);

#endif

/* Skeleton: the HDF5 file of one rank without its tensors' bytes.
 *
 *   skeleton_create: libhdf5 lays out the file once → offsets and metadata pages are kept
 *   skeleton_install: they are copied into the image of a file, at every save
 *
 * libhdf5 never writes a tensor and is off the path of a save: it writes its metadata into a sparse
 * file in memory, and SEEK_DATA tells which pages of it exist. What changes from step to step lies
 * in small datasets of fixed size, so that it is patched where it lies:
 *
 *   /muster/step u64   /muster/cursor_bytes u64   /muster/cursor u8[4096]   /muster/crc32c u32[n]
 *
 * Thread safety: skeleton_create locks libhdf5 against itself; the rest touches only its
 * arguments. */
#ifndef MUSTER_CKPT_SKELETON_H
#define MUSTER_CKPT_SKELETON_H

#include "muster/ckpt/layout.h"

#define SKELETON_PAGE_BYTES 4096

struct skeleton_extent {
    uint64_t offset; /* in the file */
    size_t size_bytes;
    size_t image_at; /* in the cached bytes */
};

struct skeleton {
    uint64_t size_bytes; /* of the file; whole pages */
    uint64_t head_bytes; /* whole pages; every patched dataset lies below */
    uint64_t step_offset, cursor_offset, cursor_bytes_offset, crc_offset;
    uint64_t crc_count;
    uint8_t *bytes;
    struct skeleton_extent *extents;
    size_t extent_count;
};

/* What the file of a rank is to hold. */
struct skeleton_plan {
    const struct layout_tensor *tensors;
    struct layout_part *parts; /* their offsets are found out */
    size_t part_count;
    uint32_t rank, world_size;
};

/* Makes the file and fills in each part's offset; parts are left sorted by it. Allocates; takes
 * about 0.1 ms per part. 0; -EINVAL naming a tensor whose name HDF5 refuses; -ENOMEM; -EIO for
 * other faults of libhdf5. */
int skeleton_create(const struct skeleton_plan *plan, struct skeleton *ret_skeleton,
                    struct mst_err *err);

/* Writes metadata, step and cursor into the image of a file: size_bytes long, all zeros at first.
 */
void skeleton_install(const struct skeleton *skeleton, uint8_t *image, uint64_t step,
                      struct mst_cspan cursor);

/* A zeroed one is allowed. */
void skeleton_fini(struct skeleton *skeleton);

#endif

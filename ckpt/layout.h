/* Layout: which rows of which tensor this rank writes, and where they lie in its file.
 *
 *   layout_describe(each tensor) → layout_check_names → layout_plan → parts; offsets come later
 *
 * A tensor is rows along dimension 0; a scalar is one row. A part is a run of rows of one tensor in
 * one rank's file, checksummed in blocks of LAYOUT_BLOCK_BYTES from its own start. Same inputs give
 * the same plan on every rank, so ranks need not talk to share the work. Safe from any thread. */
/* pure */
#ifndef MUSTER_CKPT_LAYOUT_H
#define MUSTER_CKPT_LAYOUT_H

#include "muster/ckpt/ckpt.h"

#define LAYOUT_BLOCK_BYTES (UINT64_C(4) << 20)
#define LAYOUT_SPLIT_BYTES (UINT64_C(64) << 10) /* smaller replicas are written by one rank */

struct layout_tensor {
    char name[MST_TENSOR_NAME_MAX + 1]; /* filled with zeros to its end */
    enum mst_dtype dtype;
    uint32_t dim_count;
    uint64_t shape[MST_TENSOR_DIMS_MAX]; /* unused dimensions are zero */
    uint64_t row_count, row_bytes;       /* of the whole tensor; the product fits in int64_t */
};

struct layout_part {
    uint32_t tensor; /* index */
    uint64_t row_start, row_count;
    uint64_t size_bytes;
    uint64_t offset;                   /* in the rank's file */
    uint64_t block_first, block_count; /* its checksums within the file's */
};

/* Fills *ret_tensor. 0; -EINVAL naming the tensor and the fault: a name that is empty, too long,
 * not a plain HDF5 path or under "muster/"; an unknown type; too many dimensions; over 2^63 bytes.
 */
int layout_tensor_init(struct layout_tensor *ret_tensor, const char *name, enum mst_dtype dtype,
                       uint32_t dim_count, const uint64_t *shape, struct mst_err *err);

/* As layout_tensor_init, for a tensor of the caller's; its rows and the size of its data are
 * checked too. 0; -EINVAL as above; -ENOTSUP for memory of an unknown kind. */
int layout_describe(const struct mst_tensor *tensor, struct layout_tensor *ret_tensor,
                    struct mst_err *err);

/* Whether the two have the same name, type and shape. */
bool layout_tensor_equal(const struct layout_tensor *a, const struct layout_tensor *b);

/* Checks that no name is used twice, or both as a tensor and as a group above one. `scratch` holds
 * `count` pointers. 0; -EINVAL naming one. O(n log n). */
int layout_check_names(const struct layout_tensor *tensors, size_t count,
                       const struct layout_tensor **scratch, struct mst_err *err);

/* The rows of a replicated tensor that `rank` of `world_size` writes. Rows are shared evenly; the
 * shares are dealt from another rank on for each tensor, so that remainders and small tensors
 * spread. */
void layout_share(const struct layout_tensor *tensor, size_t tensor_index, uint32_t rank,
                  uint32_t world_size, uint64_t *ret_row_start, uint64_t *ret_row_count);

/* Plans the parts of `rank`: at most one per tensor, none for an empty share. `tensors` and
 * `described` run in step. Returns how many parts it wrote (`parts` has room for `count`); offsets
 * are zero, blocks are numbered in the order of the parts. */
size_t layout_plan(const struct mst_tensor *tensors, const struct layout_tensor *described,
                   size_t count, uint32_t rank, uint32_t world_size, struct layout_part *parts);

/* Sorts parts by their offset, the order in which they are written. */
void layout_sort_by_offset(struct layout_part *parts, size_t part_count);

/* Where block `block` (< part->block_count) of the part starts, from the part's start, and its
 * size. */
uint64_t layout_block_start(uint64_t block);
uint64_t layout_block_bytes(const struct layout_part *part, uint64_t block);

/* ceil(size_bytes / LAYOUT_BLOCK_BYTES). */
uint64_t layout_block_count(uint64_t size_bytes);

/* A checksum of names, types and shapes: ranks that saved other tensors are found out by it. */
uint32_t layout_fingerprint(const struct layout_tensor *tensors, size_t count);

#endif

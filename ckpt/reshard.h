/* Reshard: rows that were written by one world → the rows that a rank of another world wants.
 * Safe from any thread. */
/* pure */
#ifndef MUSTER_CKPT_RESHARD_H
#define MUSTER_CKPT_RESHARD_H

#include <stddef.h>
#include <stdint.h>

/* Rows of one tensor in one file. */
struct reshard_box {
    uint32_t tensor;
    uint32_t file; /* the rank that wrote it */
    uint32_t part; /* index in that file's parts */
    uint64_t row_start, row_count;
};

/* One tensor's boxes, in row order. */
struct reshard_slice {
    const struct reshard_box *boxes;
    size_t count;
};

/* Rows to take from one box; row_start counts from the tensor's first row. */
struct reshard_piece {
    uint32_t box; /* index in the slice */
    uint64_t row_start, row_count;
};

/* Sorts by tensor, then by first row. */
void reshard_sort(struct reshard_box *boxes, size_t count);

/* The boxes of `tensor` in a sorted list. */
struct reshard_slice reshard_slice(const struct reshard_box *boxes, size_t count, uint32_t tensor);

/* Cuts rows row_start … +row_count out of a slice, in row order. Returns the number of pieces;
 * -EBADMSG if some row lies in no box or in two, telling the first in *ret_row; -ENOSPC if `cap`
 * pieces are too few (as many as boxes always suffice). */
int64_t reshard_plan(const struct reshard_slice *slice, uint64_t row_start, uint64_t row_count,
                     struct reshard_piece *pieces, size_t cap, uint64_t *ret_row);

#endif

/* The gradients of a step, on their way from the host, where they are computed, to the optimizer on
 * the device: the micro-batches' are added up there, in f32, and those of the ranks in the type in
 * which they travel.
 *
 *   gradients_put (of every micro-batch) → gradients_reduce      for every bucket
 *   gradients_end                                                once a step
 */
#ifndef MUSTER_EXAMPLES_GRADIENTS_H
#define MUSTER_EXAMPLES_GRADIENTS_H

#include "muster/core/dtype.h"

#include <stddef.h>

struct device;
struct mst_comm;
struct mst_err;
struct mst_req;

enum gradients_type { GRADIENTS_F32, GRADIENTS_BF16, GRADIENTS_F16 };

enum { GRADIENTS_PARTS_MAX = 64, GRADIENTS_BUCKETS_MAX = 8 };

struct gradients {
    struct device *device;
    struct mst_comm *comm;
    float *sums; /* `count`, of the device: the optimizer's */
    size_t count;

    enum mst_dtype dtype; /* in which they travel */
    size_t part_count;
    float *parts; /* one behind the other; the sums if there is only one */
    char *wire;   /* NULL: the sums travel */
    struct mst_req *reqs[GRADIENTS_BUCKETS_MAX];
    size_t req_count;
};

/* For steps of `part_count` (1 … GRADIENTS_PARTS_MAX) micro-batches. The fields above the line are
 * set, and borrowed for good. 0; -ENOMEM, -EIO, with text. */
int gradients_open(struct gradients *gradients, enum gradients_type type, size_t part_count,
                   struct mst_err *err);

/* Puts a copy of part `part` of a bucket, the `count` gradients from `at` on, into the device's
 * queue: `from`, which is the host's, must stay until that is done. 0; -ENOMEM; -EIO. */
int gradients_put(struct gradients *gradients, size_t part, size_t at, const float *from,
                  size_t count);

/* Sums a bucket over its parts, and over the ranks behind the caller's back: in the device's
 * stream, or by a request where the device has none. 0; -ENOTSUP this build has no kernels for the
 * device; -ENOMEM; -EIO; an error of comm. */
int gradients_reduce(struct gradients *gradients, size_t at, size_t count);

/* Ends what was begun, whatever came of it: the sums are then in the device's queue, as floats.
 * `rc` is how the step went so far. Returns that if it is an error; or as gradients_reduce. */
int gradients_end(struct gradients *gradients, int rc);

#endif

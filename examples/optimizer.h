/* What makes better parameters of gradients. Both are on a device, and so are the moments of
 * earlier gradients that it keeps; so is the work. */
#ifndef MUSTER_EXAMPLES_OPTIMIZER_H
#define MUSTER_EXAMPLES_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

struct device;
struct mst_err;

enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAMW };

enum { OPTIMIZER_MOMENTS = 2 }; /* at most */

struct optimizer {
    enum optimizer_kind kind;
    struct device *device;
    size_t count;
    float *params, *grads; /* `count` each, of the device, and so are the moments */
    float *moments[OPTIMIZER_MOMENTS];
};

/* Everything is 0, in memory of the device, which is borrowed for good. 0; -ENOMEM, -EIO, with
 * text. */
int optimizer_open(struct optimizer *optimizer, enum optimizer_kind kind, struct device *device,
                   size_t count, struct mst_err *err);

/* What its kind calls a moment in checkpoints; NULL for one that it has not. */
const char *optimizer_moment(enum optimizer_kind kind, size_t moment);

/* Puts step `step` (1 …) into the device's queue: of SGD with momentum 0.9, or of AdamW with its
 * usual constants; the gradients are multiplied by `scale`. 0; -ENOTSUP this build has no kernels
 * for the device; -ENOMEM; -EIO. */
int optimizer_step(const struct optimizer *optimizer, uint64_t step, float scale, float lr);

#endif

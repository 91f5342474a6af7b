/* State: what a program saves or loads, in this library's own form. A program that was compiled
 * against other headers has a struct mst_state, or tensors, of another size: no one behind this
 * file needs to know. One thread at a time. */
#ifndef MUSTER_CKPT_STATE_H
#define MUSTER_CKPT_STATE_H

#include "muster/ckpt/ckpt.h"

struct state {
    const struct mst_tensor *tensors; /* the program's own where they have our size */
    size_t tensor_count;              /* at most MANIFEST_TENSORS_MAX */
    struct mst_cspan cursor;          /* at most MST_CKPT_CURSOR_MAX bytes */
    void *stream;                     /* that tensors in memory of a device belong to */
    struct mst_tensor *copies;        /* otherwise: these */
};

/* Borrows what `given` points to. Allocates only for tensors of another size. 0; -EINVAL a size
 * that was not set or that no such struct has, naming the macro, NULL where there should be
 * tensors, or more than what the limits allow; -ENOTSUP a field is set that this library does not
 * know; -ENOMEM. */
int state_take(struct state *ret_state, const struct mst_state *given, struct mst_err *err);

/* Whether a tensor is in memory of a device. */
bool state_on_device(const struct state *state);

/* A zeroed one is allowed. */
void state_fini(struct state *state);

#endif

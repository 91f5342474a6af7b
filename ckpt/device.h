/* Device: the one that tensors in memory of a device are on, as ckpt uses it: bytes go to and from
 * memory of the host that is registered with it, on a queue beside the program's streams, so that
 * what the program computes goes on.
 *
 *   device_join → device_copy … → device_finish        as often as there is something to copy
 *   device_close                                       after whatever is registered with it
 *
 * Opened at the first tensor there; a program that has none never meets a driver. Belongs to
 * whoever holds the shard. The calling thread keeps the device that it has. */
#ifndef MUSTER_CKPT_DEVICE_H
#define MUSTER_CKPT_DEVICE_H

#include "muster/ckpt/state.h"
#include "muster/gpu/gpu.h"

struct device {
    struct mst_gpu_opts opts;    /* which */
    struct mst_gpu *gpu;         /* NULL: not opened */
    struct mst_gpu_queue *queue; /* NULL: not opened, or it failed */
    struct mst_span sums;        /* its memory for checksums, as large as one was asked for */
};

/* Opens it if a tensor of `state` is there. 0; -ENOTSUP no driver here; -EINVAL no such device;
 * -ENOMEM; -EIO, each with text. */
int device_open(struct device *device, const struct state *state, struct mst_err *err);

/* Makes tensors there ready for copies: they are in its memory, and what state->stream held is
 * done. Does nothing where none is there. 0; as device_open; -EINVAL naming a tensor that is
 * elsewhere, or a stream of another device; -ENOTSUP the stream is being captured; -ETIMEDOUT. */
int device_join(struct device *device, const struct state *state, uint64_t deadline_ns,
                struct mst_err *err);

/* Makes device->sums `size_bytes` large, or more, and keeps it: to give memory back the device
 * waits for all of its streams, the program's too, which a load is not to do. One that grows does.
 * 0; -ENOMEM; -EIO, with text. */
int device_reserve(struct device *device, size_t size_bytes, struct mst_err *err);

/* Puts a copy in, of memory that must stay until device_finish. 0; -ENOMEM; -EIO, with text. */
int device_copy(struct device *device, void *to, const void *from, size_t size_bytes,
                struct mst_err *err);

/* Ends what was put in, however it goes: no memory is in use after it. The copies use the caller's
 * memory, so that no deadline can cut it short. 0, or not opened; -EIO with text. */
int device_finish(struct device *device, struct mst_err *err);

/* Text for a failure of a call of gpu/gpu.h. Returns rc. */
int device_explain(const struct device *device, int rc, const char *what, struct mst_err *err);

/* Waits for all streams of the device if it has memory of it. A zeroed one is allowed. */
void device_close(struct device *device);

#endif

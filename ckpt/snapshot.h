/* Snapshot: the pool that holds one rank's file in memory, and the copy that training waits for.
 *
 *   snapshot_reserve → snapshot_copy at every save → snapshot_fini
 *
 * First touch of fresh memory can run at a twentieth of the speed of a copy, so the pool is touched
 * before a save and reused. One thread at a time. */
#ifndef MUSTER_CKPT_SNAPSHOT_H
#define MUSTER_CKPT_SNAPSHOT_H

#include "muster/ckpt/device.h"
#include "muster/ckpt/layout.h"

struct snapshot {
    uint8_t *base; /* 2 MiB aligned */
    size_t cap_bytes;
    struct mst_gpu *gpu; /* that the pool is registered with; NULL: with none */
};

/* What is copied; all of it is borrowed. `described` and `tensors` run in step. */
struct snapshot_source {
    const struct layout_part *parts;
    size_t part_count;
    const struct layout_tensor *described;
    const struct mst_tensor *tensors;
    struct device *device; /* that some of them are on */
};

/* Makes room for `size_bytes`: 0 and the pool is the same, which is large enough; 1 and it is a new
 * one of zeros, which nobody has touched yet; -ENOMEM. */
int snapshot_reserve(struct snapshot *snapshot, size_t size_bytes);

/* Gives back what lies behind the first `size_bytes`, in whole huge pages. */
void snapshot_trim(struct snapshot *snapshot, size_t size_bytes);

/* Lets the device reach the pool by DMA, until it is given back; it stays open until then. Faults
 * in what is missing. 0; -ENOMEM, -EIO with text. */
int snapshot_register(struct snapshot *snapshot, const struct device *device, struct mst_err *err);

/* Copies every part's rows to where they lie in the file; for a device's, it was joined, and the
 * pool is registered with it. Does not allocate. 0; -ENOMEM, -EIO of the device, with text. */
int snapshot_copy(struct snapshot *snapshot, const struct snapshot_source *source,
                  struct mst_err *err);

/* A zeroed one is allowed. */
void snapshot_fini(struct snapshot *snapshot);

#endif

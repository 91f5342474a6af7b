/* Snapshot: the pool that holds one rank's file in memory, and the copy that training waits for.
 *
 *   snapshot_reserve → snapshot_copy at every save → snapshot_fini
 *
 * First touch of fresh memory can run at a twentieth of the speed of a copy, so the pool is touched
 * before a save and reused. One thread at a time. */
#ifndef MUSTER_CKPT_SNAPSHOT_H
#define MUSTER_CKPT_SNAPSHOT_H

#include "muster/ckpt/layout.h"

struct snapshot {
    uint8_t *base; /* 2 MiB aligned */
    size_t cap_bytes;
};

/* Makes room for `size_bytes`: 0 and the pool is the same, which is large enough; 1 and it is a new
 * one of zeros, which nobody has touched yet; -ENOMEM. */
int snapshot_reserve(struct snapshot *snapshot, size_t size_bytes);

/* Gives back what lies behind the first `size_bytes`, in whole huge pages. */
void snapshot_trim(struct snapshot *snapshot, size_t size_bytes);

/* Copies every part's rows to where they lie in the file. Does not allocate. */
void snapshot_copy(struct snapshot *snapshot, const struct layout_part *parts, size_t part_count,
                   const struct layout_tensor *described, const struct mst_tensor *tensors);

/* A zeroed one is allowed. */
void snapshot_fini(struct snapshot *snapshot);

#endif

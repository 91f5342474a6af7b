/* Shard: everything that stays the same from save to save: the tensors' description, this rank's
 * parts, the skeleton, and the pool. Made at the first save, and again when the tensors change.
 * Belongs to whoever holds it: the caller during save, then the worker until the save has ended. */
#ifndef MUSTER_CKPT_SHARD_H
#define MUSTER_CKPT_SHARD_H

#include "muster/ckpt/skeleton.h"
#include "muster/ckpt/snapshot.h"
#include "muster/ckpt/state.h"

struct shard_rows {
    bool sharded;
    uint64_t row_start, row_count;
};

struct shard {
    uint32_t rank, world_size;
    struct layout_tensor *tensors;
    struct shard_rows *rows; /* what the caller held of each */
    size_t tensor_count;
    struct layout_part *parts; /* sorted by offset */
    size_t part_count;
    uint32_t fingerprint;
    struct skeleton skeleton;
    struct device device;
    bool uses_device; /* a tensor is there */
    struct snapshot pool;
    bool pool_fits;
    size_t populated_bytes; /* of the pool: what is faulted in */
};

/* Makes the shard fit these tensors, but for the pool. Allocates only if they differ from the last
 * ones. 0; -EINVAL naming a tensor; -ENOTSUP; -ENOMEM; -EIO. A shard that failed has no tensors. */
int shard_describe(struct shard *shard, const struct state *state, struct mst_err *err);

/* Makes the pool fit. 0; -ENOMEM. */
int shard_reserve(struct shard *shard, struct mst_err *err);

/* Faults in the next `size_bytes` of a pool that fits, which takes long where it is new. Returns
 * whether there is more. */
bool shard_populate(struct shard *shard, size_t size_bytes);

/* Registers a pool that fits with the device, if a tensor is there: the device is open. 0; as
 * snapshot_register. */
int shard_register(struct shard *shard, struct mst_err *err);

/* Lends the pool's memory, to which anything may be done until the next shard_reserve. */
struct snapshot *shard_lend_pool(struct shard *shard);

/* Takes the snapshot, into a pool that fits, of which it faults in what is not: the pool then is
 * the file, checksums apart. The device was joined. 0; -ENOMEM, -EIO of the device, with text. */
int shard_snapshot(struct shard *shard, uint64_t step, const struct state *state,
                   struct mst_err *err);

void shard_fini(struct shard *shard);

#endif

/* Restore: all ranks fill their tensors from the newest checkpoint that all of them could read.
 *
 * Rank 0 names a candidate, newest first; every rank reads and verifies what it needs of it into
 * memory of its own and votes; rank 0 tells the verdict. Only an agreed good one is installed; on
 * damage all descend together. Ranks meet under ckpt/<attempt>/load/<number>/. */
#ifndef MUSTER_CKPT_RESTORE_H
#define MUSTER_CKPT_RESTORE_H

#include "muster/ckpt/ckpt.h"
#include "muster/ckpt/site.h"

struct snapshot;

/* mst_ckpt_load of the site's rank; `number` counts the loads of this open. `staging` is memory to
 * stage in, or a zeroed one; it is the caller's still, grown if need be. Blocks. */
int restore_run(const struct site *site, uint32_t number, const struct mst_tensor *tensors,
                size_t tensor_count, struct snapshot *staging, struct mst_ckpt_loaded *ret_loaded,
                uint64_t deadline_ns, struct mst_err *err);

#endif

/* Restore: all ranks fill their tensors from the newest checkpoint that all of them could read.
 * restore.c tells the life of a load. Ranks meet under ckpt/<attempt>/load/<number>/. */
#ifndef MUSTER_CKPT_RESTORE_H
#define MUSTER_CKPT_RESTORE_H

#include "muster/ckpt/site.h"
#include "muster/ckpt/state.h"

struct device;
struct snapshot;

struct restore_job {
    uint32_t number; /* counts the loads of this open */
    const struct state *state;
    struct snapshot *staging; /* memory to stage in, or a zeroed one; the caller's still, grown if
                                 need be */
    struct device *device;    /* joined for the tensors there; the caller's still */
    uint64_t deadline_ns;
    struct mst_err failure; /* code not 0: there is nothing to load into; the vote says why */
};

/* mst_ckpt_load of the site's rank. Blocks. */
int restore_run(const struct site *site, const struct restore_job *job,
                struct mst_ckpt_loaded *ret_loaded, struct mst_err *err);

#endif

/* What the drivers call of a tree, this one or another revision. They are written for this one's
 * names; a revision whose headers lie flat in core, and whose structs do not tell their sizes, is
 * given them here. */
#ifndef MUSTER_PERF_DRIVERS_API_H
#define MUSTER_PERF_DRIVERS_API_H

#include "muster/ckpt/ckpt.h"
#include "muster/comm/comm.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/dataio/dataio.h"

#if __has_include("muster/core/world/world.h")
#include "muster/core/kv/kv.h"
#include "muster/core/world/world.h"
#else
#include "muster/core/kv.h"
#include "muster/core/world.h"

struct mst_state {
    const struct mst_tensor *tensors;
    size_t tensor_count;
};
#define MST_STATE_INIT                                                                             \
    {                                                                                              \
        0                                                                                          \
    }
#define MST_BATCH_INIT                                                                             \
    {                                                                                              \
        0                                                                                          \
    }
#define MST_CKPT_OPTS_INIT                                                                         \
    {                                                                                              \
        0                                                                                          \
    }
#define MST_CKPT_LOADED_INIT                                                                       \
    {                                                                                              \
        0                                                                                          \
    }
#define MST_LOADER_OPTS_INIT                                                                       \
    {                                                                                              \
        0                                                                                          \
    }

static struct mst_world flat_world;

static inline int flat_from_env(struct mst_world **ret_world, struct mst_err *err)
{
    *ret_world = &flat_world;
    return mst_world_from_env(&flat_world, err);
}

static inline int flat_single(struct mst_world **ret_world)
{
    struct mst_err err;
    *ret_world = &flat_world;
    mst_world_single(&flat_world);
    return mst_tuning_from_env(&flat_world.tuning, &err);
}

#define mst_world_from_env flat_from_env
#define mst_world_single flat_single
#define mst_world_destroy mst_world_fini
#define mst_world_rank(world) (world)->rank
#define mst_world_size(world) (world)->size
#define mst_comm_allreduce(comm, in, out, count, dtype, op, call)                                  \
    mst_comm_allreduce(comm, in, out, count, dtype, op)
#define mst_comm_broadcast(comm, buf, count, dtype, root, call)                                    \
    mst_comm_broadcast(comm, buf, count, dtype, root)
#define mst_comm_reduce_scatter(comm, in, out, count, dtype, op, call)                             \
    mst_comm_reduce_scatter(comm, in, out, count, dtype, op)
#define mst_comm_barrier(comm, call) mst_comm_barrier(comm)
#define mst_ckpt_error(ckpt) "it does not say why"
#define mst_ckpt_save(ckpt, step, state, deadline)                                                 \
    mst_ckpt_save(ckpt, step, (state)->tensors, (state)->tensor_count, (struct mst_cspan){0},      \
                  deadline)
#define mst_ckpt_load(ckpt, state, loaded, deadline, err)                                          \
    mst_ckpt_load(ckpt, (state)->tensors, (state)->tensor_count, loaded, deadline, err)
#endif

#endif

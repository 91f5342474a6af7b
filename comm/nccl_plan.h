/* What a collective of the nccl back end does: it meets the other ranks on the host, and has NCCL
 * move the bytes. It is made of what nccl.c has opened, and knows nothing of how that came to
 * be. */
#ifndef MUSTER_COMM_NCCL_PLAN_H
#define MUSTER_COMM_NCCL_PLAN_H

#include "muster/comm/backend.h"
#include "muster/comm/nccl_sym.h"
#include "muster/gpu/gpu.h"

#include <stdbool.h>

/* Collectives on host memory go through this much pinned memory, and as much of the device's, in
 * rounds. */
#define NCCL_STAGE_BYTES ((size_t)4 << 20)

/* All of it is nccl.c's but `met` and `err`. */
struct nccl_plan {
    struct comm_backend *host; /* where ranks meet, compare what they call, and tell failures */
    const struct nccl_library *library;
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue;
    struct mst_span pinned, device; /* NCCL_STAGE_BYTES each */
    ncclComm_t comm;                /* NULL until the library has made it */
    uint32_t rank, size;
    bool met;           /* all ranks are in the call under way, not only this one */
    struct mst_err err; /* of the last call here that failed */
};

/* The library's result as a code, with text in plan->err: 0 also for ncclInProgress. */
int nccl_plan_check(struct nccl_plan *plan, ncclResult_t result, const char *call);

/* A device's code, with text in plan->err. */
int nccl_plan_check_gpu(struct nccl_plan *plan, int rc, const char *what);

/* Waits until the library has nothing under way that it has not put into the queue. 0; -ETIMEDOUT;
 * what ended the communicator. */
int nccl_plan_settle(struct nccl_plan *plan, uint64_t deadline_ns);

/* Whether NCCL can do it: 0; with text -ENOTSUP it cannot reduce this type; -EINVAL one buffer is
 * on the device and the other is not, or both are not and the call names a stream. */
int nccl_plan_accept(const struct nccl_plan *plan, const struct comm_call *call,
                     struct mst_err *err);

/* One accepted collective over all ranks, the `op_seq`-th. As comm_ops.run, with text in
 * plan->err. */
int nccl_plan_run(struct nccl_plan *plan, const struct comm_call *call, uint64_t op_seq,
                  uint64_t deadline_ns);

#endif

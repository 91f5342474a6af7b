/* What a collective of the nccl back end does: it meets the other ranks on the host, and has NCCL
 * move the bytes. It is made of what nccl.c has opened, and knows nothing of how that came to
 * be. */
#ifndef MUSTER_COMM_NCCL_PLAN_H
#define MUSTER_COMM_NCCL_PLAN_H

#include "muster/comm/backend.h"
#include "muster/comm/nccl_mark.h"
#include "muster/comm/nccl_sym.h"
#include "muster/gpu/gpu.h"

#include <pthread.h>
#include <stdbool.h>

/* Collectives on host memory go through this much pinned memory, and as much of the device's, in
 * rounds. */
#define NCCL_STAGE_BYTES ((size_t)4 << 20)

/* All of it is nccl.c's but `met`, `err` and what `placing` holds. */
struct nccl_plan {
    struct comm_backend *host; /* where ranks meet, compare what they call, and tell failures */
    const struct nccl_library *library;
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue;
    struct mst_span pinned, device; /* NCCL_STAGE_BYTES each */
    ncclComm_t comm;                /* NULL until the library has made it */
    uint32_t version;               /* of the library */
    uint32_t rank, size;
    bool met;           /* all ranks are in the call under way, not only this one */
    struct mst_err err; /* of the last run here that failed */

    /* Calls are placed while others are watched: the library and the device take one thread at a
     * time. Where nothing is placed there is no other thread, and no lock but for marks. */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t left;     /* the thread of a call has done with it */
        bool ended;              /* nothing is placed any more: the library is given up */
        struct nccl_mark *spare; /* that no call has; every mark is taken and put back here */
    } placing;
};

/* The library's result as a code, with text: 0 also for ncclInProgress. */
int nccl_plan_check(const struct nccl_plan *plan, ncclResult_t result, const char *call,
                    struct mst_err *err);

/* A device's code, with text. */
int nccl_plan_check_gpu(const struct nccl_plan *plan, int rc, const char *what,
                        struct mst_err *err);

/* Waits until the library has nothing under way that it has not put into the queue. 0; -ETIMEDOUT;
 * what ended the communicator. */
int nccl_plan_settle(struct nccl_plan *plan, uint64_t deadline_ns);

/* Whether NCCL can do it: 0; with text -ENOTSUP it, or this version of it, cannot reduce this type;
 * -EINVAL one buffer is
 * on the device and the other is not, or both are not and the call names a stream. */
int nccl_plan_accept(const struct nccl_plan *plan, const struct comm_call *call,
                     struct mst_err *err);

/* As comm_ops.place. */
int nccl_plan_place(struct nccl_plan *plan, const struct comm_call *call);

/* Ends that: once this has returned, no thread is in the library for it, or will be. */
void nccl_plan_end_placing(struct nccl_plan *plan);

/* Waits until the thread of an enqueued call does nothing more with its mark. */
void nccl_plan_await_left(struct nccl_plan *plan, const struct nccl_mark *mark);

/* One accepted collective over all ranks, the `op_seq`-th. As comm_ops.run, with text in
 * plan->err. */
int nccl_plan_run(struct nccl_plan *plan, const struct comm_call *call, uint64_t op_seq,
                  uint64_t deadline_ns);

#endif

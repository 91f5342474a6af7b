/* The nccl back end's object, shared by nccl.c (its life) and nccl_ops.c (the collectives). */
#ifndef MUSTER_COMM_NCCL_H
#define MUSTER_COMM_NCCL_H

#include "muster/comm/backend.h"
#include "muster/comm/nccl_sym.h"
#include "muster/gpu/gpu.h"

#include <pthread.h>
#include <stdbool.h>

/* Collectives on host memory go through this much pinned memory, and as much of the device's, in
 * rounds. */
#define NCCL_STAGE_BYTES ((size_t)4 << 20)

struct nccl {
    struct comm_backend base;
    struct comm_backend *host; /* where ranks meet, compare what they call, and tell failures */
    const struct nccl_library *library;
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue;
    struct mst_span pinned, device; /* NCCL_STAGE_BYTES each */
    ncclComm_t comm;                /* NULL until the library has made it */
    uint32_t rank, size;
    bool met;    /* all ranks are in the call under way, not only this one */
    bool failed; /* the library's communicator is to be aborted, not finished */

    bool closing; /* `closer` was started */
    pthread_t closer;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t ended; /* on the monotonic clock */
        bool closed;          /* the library has let go of the device */
    } locked;
};

/* Waits until the library has nothing under way that it has not put into the queue. 0; -ETIMEDOUT;
 * what ended the communicator. Text in nccl->base.err. */
int nccl_settle(struct nccl *nccl, uint64_t deadline_ns);

/* Waits until the queue is done, too. */
int nccl_finish(struct nccl *nccl, uint64_t deadline_ns);

/* The library's result as a code, with text in nccl->base.err: 0 also for ncclInProgress. */
int nccl_check(struct nccl *nccl, ncclResult_t result, const char *call);

/* A device's code, with text in nccl->base.err. */
int nccl_check_gpu(struct nccl *nccl, int rc, const char *what);

/* Whether NCCL can do it: 0; -ENOTSUP it cannot reduce this type; -EINVAL one buffer is on the
 * device and the other is not, or both are not and the call names a stream. */
int nccl_accept(const struct comm_backend *backend, const struct comm_call *call);

/* One accepted collective over all ranks, which have met. 0; codes as above. */
int nccl_collective(struct nccl *nccl, const struct comm_call *call, uint64_t deadline_ns);

#endif

/* Where a call of the nccl back end stands in a stream of the program's. Marks are used again: a
 * communicator makes as many as it has had calls open at a time. */
#ifndef MUSTER_COMM_NCCL_MARK_H
#define MUSTER_COMM_NCCL_MARK_H

#include "muster/gpu/gpu.h"

#include <stdbool.h>

struct nccl_mark {
    struct nccl_mark *next;       /* of those that no call has */
    struct mst_gpu_event *before; /* what the stream held when the call was made */
    struct mst_gpu_event *after;  /* what an enqueued call does; NULL = it has had none yet */

    /* Of an enqueued call, under the plan's lock. */
    bool left;   /* its thread does nothing more with it */
    bool placed; /* and `after` is in the queue, or there is nothing to come after */
};

/* Notes where `stream` is now, in one of *spare if there is one. 0; -EINVAL no stream of the
 * device; -EBUSY it is being captured into a graph; -ENOMEM; -EIO. */
int nccl_mark_get(struct nccl_mark **spare, struct mst_gpu *gpu, void *stream, bool enqueued,
                  struct nccl_mark **ret_mark);

/* Back to *spare. The device may still be on its way to it, if nothing is called any more. */
void nccl_mark_put(struct nccl_mark **spare, struct nccl_mark *mark);

/* Frees what is there. */
void nccl_mark_free(struct nccl_mark **spare);

#endif

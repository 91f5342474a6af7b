/* Where a call of the nccl back end stands in a stream of the program's. */
#ifndef MUSTER_COMM_NCCL_MARK_H
#define MUSTER_COMM_NCCL_MARK_H

#include "muster/gpu/gpu.h"

#include <stdbool.h>

struct nccl_mark {
    struct mst_gpu_event *before; /* what the stream held when the call was made */
    struct mst_gpu_event *after;  /* what an enqueued call does; NULL = it is not enqueued */

    /* Of an enqueued call, under the plan's lock. */
    bool left;   /* its thread does nothing more with it */
    bool placed; /* and `after` is in the queue, or there is nothing to come after */
};

/* Notes where `stream` is now. Under the plan's lock, if the call is to be enqueued. 0; -EINVAL no
 * stream of the device; -EBUSY it is being captured into a graph; -ENOMEM; -EIO. */
int nccl_mark_create(struct mst_gpu *gpu, void *stream, bool enqueued, struct nccl_mark **ret_mark);

/* The device may still be on its way to it. Safe from any thread. */
void nccl_mark_destroy(struct nccl_mark *mark);

#endif

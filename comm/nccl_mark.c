/* A call's place in a stream: an event before it and, if it is enqueued, one after it. */
#include "muster/comm/nccl_mark.h"

#include <errno.h>
#include <stdlib.h>

int nccl_mark_create(struct mst_gpu *gpu, void *stream, bool enqueued, struct nccl_mark **ret_mark)
{
    struct nccl_mark *mark = calloc(1, sizeof *mark);
    if (!mark)
        return -ENOMEM;
    int rc = mst_gpu_event_of_stream(gpu, stream, &mark->before);
    if (rc == 0 && enqueued)
        rc = mst_gpu_event_create(gpu, &mark->after);
    if (rc < 0) {
        nccl_mark_destroy(mark);
        return rc;
    }
    *ret_mark = mark;
    return 0;
}

void nccl_mark_destroy(struct nccl_mark *mark)
{
    mst_gpu_event_destroy(mark->before);
    mst_gpu_event_destroy(mark->after);
    free(mark);
}

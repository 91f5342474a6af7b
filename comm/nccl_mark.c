/* A call's place in a stream: an event before it and, if it is enqueued, one after it. */
#include "muster/comm/nccl_mark.h"

#include <errno.h>
#include <stdlib.h>

static struct nccl_mark *take(struct nccl_mark **spare)
{
    struct nccl_mark *mark = *spare;
    if (!mark)
        return calloc(1, sizeof *mark);
    *spare = mark->next;
    mark->left = mark->placed = false;
    return mark;
}

int nccl_mark_get(struct nccl_mark **spare, struct mst_gpu *gpu, void *stream, bool enqueued,
                  struct nccl_mark **ret_mark)
{
    struct nccl_mark *mark = take(spare);
    if (!mark)
        return -ENOMEM;
    int rc = mst_gpu_event_of_stream(gpu, stream, &mark->before);
    if (rc == 0 && enqueued && !mark->after)
        rc = mst_gpu_event_create(gpu, &mark->after);
    if (rc == 0)
        *ret_mark = mark;
    else
        nccl_mark_put(spare, mark);
    return rc;
}

void nccl_mark_put(struct nccl_mark **spare, struct nccl_mark *mark)
{
    mark->next = *spare;
    *spare = mark;
}

void nccl_mark_free(struct nccl_mark **spare)
{
    while (*spare) {
        struct nccl_mark *mark = *spare;
        *spare = mark->next;
        mst_gpu_event_destroy(mark->before);
        mst_gpu_event_destroy(mark->after);
        free(mark);
    }
}

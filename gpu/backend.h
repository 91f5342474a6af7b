/* What a back end of gpu is. gpu.c has checked the arguments and calls from one thread at a time;
 * gpu_backends lists all of them. */
#ifndef MUSTER_GPU_BACKEND_H
#define MUSTER_GPU_BACKEND_H

#include "muster/core/span.h"
#include "muster/gpu/gpu.h"
#include "muster/gpu/kernels.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_err;

/* Instances of a back end start with these. */
struct mst_gpu {
    const struct gpu_ops *ops;
    char name[96]; /* of the device */
    uint8_t id[MST_GPU_ID_BYTES];
    char error[160]; /* of the driver, the last */
};

struct mst_gpu_queue {
    struct mst_gpu *gpu;
};

struct mst_gpu_event {
    struct mst_gpu *gpu;
};

/* Codes as in gpu.h. Nothing but what concerns memory, and the destructors, may block. */
struct gpu_ops {
    const char *name;

    /* -ENOTSUP with text: there is no driver here. Fills name. */
    int (*open)(const struct mst_gpu_opts *opts, struct mst_gpu **ret_gpu, struct mst_err *err);
    void (*close)(struct mst_gpu *gpu);

    int (*alloc)(struct mst_gpu *gpu, size_t size_bytes, enum mst_mem mem, void **ret_data);
    void (*free)(struct mst_gpu *gpu, void *data, enum mst_mem mem);
    int (*register_memory)(struct mst_gpu *gpu, void *data, size_t size_bytes);
    void (*unregister_memory)(struct mst_gpu *gpu, void *data);
    enum mst_mem (*mem)(struct mst_gpu *gpu, const void *address);
    bool (*has)(struct mst_gpu *gpu, const void *address);
    int (*enter)(struct mst_gpu *gpu);
    void (*leave)(struct mst_gpu *gpu);

    int (*queue_create)(struct mst_gpu *gpu, struct mst_gpu_queue **ret_queue);
    void (*queue_destroy)(struct mst_gpu_queue *queue);
    void *(*queue_native)(const struct mst_gpu_queue *queue);
    int (*queue_query)(struct mst_gpu_queue *queue);

    int (*copy)(struct mst_gpu_queue *queue, void *to, const void *from, size_t size_bytes);
    int (*clear)(struct mst_gpu_queue *queue, void *to, size_t size_bytes);
    /* -ENOTSUP: built without kernels, or with none that the driver takes. `launch` is copied. */
    int (*launch)(struct mst_gpu_queue *queue, const struct kernel_launch *launch);

    int (*event_create)(struct mst_gpu *gpu, struct mst_gpu_event **ret_event);
    /* Optional, both or none: NULL = this back end has no streams of others. */
    int (*event_of_stream)(struct mst_gpu *gpu, void *stream, struct mst_gpu_event **event);
    int (*stream_wait_event)(void *stream, struct mst_gpu_event *event);
    void (*event_destroy)(struct mst_gpu_event *event);
    int (*event_record)(struct mst_gpu_event *event, struct mst_gpu_queue *queue);
    int (*event_query)(struct mst_gpu_event *event);
    int (*queue_wait_event)(struct mst_gpu_queue *queue, struct mst_gpu_event *event);
};

extern const struct gpu_ops gpu_cuda_ops, gpu_host_ops;
extern const struct gpu_ops *const gpu_backends[]; /* best first, NULL-ended */

#endif

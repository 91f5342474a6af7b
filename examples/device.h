/* The device that train_lm's model lives on, with one queue of work: a GPU, or a thread of the host
 * that stands in for one.
 *
 * It stands on gpu/, which libmuster uses inside and does not offer. A program of your own has its
 * device's memory and streams already: it gives their addresses to comm and ckpt. */
#ifndef MUSTER_EXAMPLES_DEVICE_H
#define MUSTER_EXAMPLES_DEVICE_H

#include "muster/core/span.h"

#include <stddef.h>
#include <stdint.h>

struct mst_err;

enum { DEVICE_SPANS_MAX = 3 };

struct device {
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue;
    struct mst_span memory[DEVICE_SPANS_MAX];
    size_t span_count;
};

/* Opens a local rank's device of "cuda" or "host". 0; -EINVAL, -ENOTSUP no such device; -ENOMEM;
 * -EIO; with text. */
int device_open(struct device *device, const char *name, uint32_t local_rank, struct mst_err *err);

/* Waits for what the queue holds. One that is all zeros is allowed. */
void device_close(struct device *device);

/* Memory of the device (MST_MEM_DEVICE), or of the host where copies are fast (MST_MEM_PINNED),
 * until close; DEVICE_SPANS_MAX times. 0; -ENOMEM, -EIO, with text. */
int device_alloc(struct device *device, enum mst_mem mem, size_t size_bytes, void **ret_data,
                 struct mst_err *err);

/* The queue as comm and ckpt know it: a stream of the driver's; NULL on "host". */
void *device_stream(const struct device *device);

/* What its memory is to comm and ckpt: of "host" it is the host's. */
enum mst_mem device_mem(const struct device *device);

/* Puts a copy of `count` floats into the queue, from any memory to any. 0; -ENOMEM; -EIO. */
int device_copy(struct device *device, float *to, const float *from, size_t count);

/* Waits for what the queue holds. 0; -ETIMEDOUT; -EIO. */
int device_wait(struct device *device);

/* Why work on the device was answered `code`. Valid until the next call. */
const char *device_error(const struct device *device, int code);

#endif

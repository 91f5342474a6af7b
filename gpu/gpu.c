/* The face of gpu: picks the back end, checks arguments, and turns work into launches. */
#include "muster/gpu/gpu.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/gpu/backend.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <string.h>

#define CRC_BLOCKS_MAX 65536 /* one a segment: its threads are busy for long */
#define BLOCKS_MAX 4096      /* threads take several elements beyond that */
#define ITEMS_PER_THREAD 4

const struct gpu_ops *const gpu_backends[] = {&gpu_cuda_ops, &gpu_host_ops, NULL};

/* ---- device ---------------------------------------------------------------------------------- */

/* The first back end that is not missing here. */
static int open_any(const struct mst_gpu_opts *opts, struct mst_gpu **ret_gpu, struct mst_err *err)
{
    int rc = -ENOTSUP;
    for (size_t i = 0; gpu_backends[i] && rc == -ENOTSUP; i++)
        rc = gpu_backends[i]->open(opts, ret_gpu, err);
    return rc;
}

int mst_gpu_open(const struct mst_gpu_opts *opts, struct mst_gpu **ret_gpu, struct mst_err *err)
{
    if (!opts->backend || strcmp(opts->backend, "auto") == 0)
        return open_any(opts, ret_gpu, err);
    for (size_t i = 0; gpu_backends[i]; i++)
        if (strcmp(gpu_backends[i]->name, opts->backend) == 0)
            return gpu_backends[i]->open(opts, ret_gpu, err);
    return mst_err_set(err, -ENOTSUP, "device \"%s\" is none of cuda, host, auto", opts->backend);
}

void mst_gpu_close(struct mst_gpu *gpu)
{
    if (gpu)
        gpu->ops->close(gpu);
}

const char *mst_gpu_backend(const struct mst_gpu *gpu)
{
    return gpu->ops->name;
}

const char *mst_gpu_name(const struct mst_gpu *gpu)
{
    return gpu->name;
}

const uint8_t *mst_gpu_id(const struct mst_gpu *gpu)
{
    return gpu->id;
}

const char *mst_gpu_error(const struct mst_gpu *gpu)
{
    return gpu->error;
}

int mst_gpu_alloc(struct mst_gpu *gpu, size_t size_bytes, enum mst_mem mem,
                  struct mst_span *ret_span)
{
    if (size_bytes == 0 || (mem != MST_MEM_DEVICE && mem != MST_MEM_PINNED))
        return -EINVAL;
    void *data;
    int rc = gpu->ops->alloc(gpu, size_bytes, mem, &data);
    if (rc == 0)
        *ret_span = (struct mst_span){.data = data, .size_bytes = size_bytes, .mem = mem};
    return rc;
}

void mst_gpu_free(struct mst_gpu *gpu, struct mst_span *span)
{
    if (span->data)
        gpu->ops->free(gpu, span->data, span->mem);
    *span = (struct mst_span){0};
}

int mst_gpu_register(struct mst_gpu *gpu, void *data, size_t size_bytes)
{
    return gpu->ops->register_memory(gpu, data, size_bytes);
}

void mst_gpu_unregister(struct mst_gpu *gpu, void *data)
{
    gpu->ops->unregister_memory(gpu, data);
}

enum mst_mem mst_gpu_mem(struct mst_gpu *gpu, const void *address)
{
    return gpu->ops->mem(gpu, address);
}

bool mst_gpu_has(struct mst_gpu *gpu, const void *data, size_t size_bytes)
{
    return gpu->ops->has(gpu, data) && gpu->ops->has(gpu, (const char *)data + size_bytes - 1);
}

int mst_gpu_enter(struct mst_gpu *gpu)
{
    return gpu->ops->enter(gpu);
}

void mst_gpu_leave(struct mst_gpu *gpu)
{
    gpu->ops->leave(gpu);
}

/* ---- queues and events ----------------------------------------------------------------------- */

int mst_gpu_queue_create(struct mst_gpu *gpu, struct mst_gpu_queue **ret_queue)
{
    return gpu->ops->queue_create(gpu, ret_queue);
}

void mst_gpu_queue_destroy(struct mst_gpu_queue *queue)
{
    if (queue)
        queue->gpu->ops->queue_destroy(queue);
}

void *mst_gpu_queue_native(const struct mst_gpu_queue *queue)
{
    return queue->gpu->ops->queue_native(queue);
}

int mst_gpu_queue_query(struct mst_gpu_queue *queue)
{
    return queue->gpu->ops->queue_query(queue);
}

int mst_gpu_event_create(struct mst_gpu *gpu, struct mst_gpu_event **ret_event)
{
    return gpu->ops->event_create(gpu, ret_event);
}

int mst_gpu_event_of_stream(struct mst_gpu *gpu, void *stream, struct mst_gpu_event **event)
{
    const struct gpu_ops *ops = gpu->ops;
    return ops->event_of_stream ? ops->event_of_stream(gpu, stream, event) : -ENOTSUP;
}

/* The default stream is NULL, or cudaStreamLegacy. It cannot be captured itself. */
const char *mst_gpu_busy_words(const void *stream)
{
    return (uintptr_t)stream > 1
               ? "is being captured into a graph"
               : "is the default one, and one that it waits for is being captured into a graph";
}

void mst_gpu_event_destroy(struct mst_gpu_event *event)
{
    if (event)
        event->gpu->ops->event_destroy(event);
}

int mst_gpu_event_record(struct mst_gpu_event *event, struct mst_gpu_queue *queue)
{
    return event->gpu->ops->event_record(event, queue);
}

int mst_gpu_event_query(struct mst_gpu_event *event)
{
    return event->gpu->ops->event_query(event);
}

/* Waits ask again and again: the driver has none that ends by a deadline. Whether it is not yet
 * time to give up. */
static bool may_ask_again(int rc, uint64_t deadline_ns)
{
    if (rc != -EAGAIN || mst_deadline_passed(deadline_ns))
        return false;
    (void)sched_yield(); /* cannot fail on Linux */
    return true;
}

int mst_gpu_queue_wait(struct mst_gpu_queue *queue, uint64_t deadline_ns)
{
    int rc;
    do
        rc = mst_gpu_queue_query(queue);
    while (may_ask_again(rc, deadline_ns));
    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

int mst_gpu_event_wait(struct mst_gpu_event *event, uint64_t deadline_ns)
{
    int rc;
    do
        rc = mst_gpu_event_query(event);
    while (may_ask_again(rc, deadline_ns));
    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

int mst_gpu_queue_wait_event(struct mst_gpu_queue *queue, struct mst_gpu_event *event)
{
    return queue->gpu->ops->queue_wait_event(queue, event);
}

int mst_gpu_stream_wait_event(void *stream, struct mst_gpu_event *event)
{
    const struct gpu_ops *ops = event->gpu->ops;
    return ops->stream_wait_event ? ops->stream_wait_event(stream, event) : -ENOTSUP;
}

/* ---- work ------------------------------------------------------------------------------------ */

int mst_gpu_copy(struct mst_gpu_queue *queue, void *to, const void *from, size_t size_bytes)
{
    return size_bytes > 0 ? queue->gpu->ops->copy(queue, to, from, size_bytes) : 0;
}

int mst_gpu_clear(struct mst_gpu_queue *queue, void *to, size_t size_bytes)
{
    return size_bytes > 0 ? queue->gpu->ops->clear(queue, to, size_bytes) : 0;
}

static uint32_t blocks_for(size_t item_count)
{
    size_t per_block = (size_t)KERNEL_THREADS * ITEMS_PER_THREAD;
    size_t blocks = item_count / per_block + (item_count % per_block != 0);
    return blocks < 1 ? 1 : (uint32_t)mst_least(blocks, BLOCKS_MAX);
}

static int launch(struct mst_gpu_queue *queue, const struct kernel_launch *launch)
{
    return queue->gpu->ops->launch(queue, launch);
}

static bool find_type(enum mst_dtype dtype, enum kernel_type *ret_type)
{
    switch (dtype) {
    case MST_F32: *ret_type = KERNEL_F32; return true;
    case MST_F16: *ret_type = KERNEL_F16; return true;
    case MST_BF16: *ret_type = KERNEL_BF16; return true;
    case MST_F8E4M3: *ret_type = KERNEL_F8E4M3; return true;
    case MST_F8E5M2: *ret_type = KERNEL_F8E5M2; return true;
    default: return false;
    }
}

int mst_gpu_cast(struct mst_gpu_queue *queue, void *out, enum mst_dtype out_dtype, const void *in,
                 enum mst_dtype in_dtype, size_t count)
{
    struct kernel_launch work = {
        .id = KERNEL_CAST,
        .blocks = blocks_for(count),
        .args.cast = {.out = out, .in = in, .count = count},
    };
    if (!find_type(out_dtype, &work.args.cast.out_type) ||
        !find_type(in_dtype, &work.args.cast.in_type))
        return -EINVAL;
    return count > 0 ? launch(queue, &work) : 0;
}

int mst_gpu_sum(struct mst_gpu_queue *queue, void *out, const void *const *in, size_t in_count,
                enum mst_dtype dtype, size_t count)
{
    struct kernel_launch work = {
        .id = KERNEL_SUM,
        .blocks = blocks_for(count),
        .args.sum = {.out = out, .count = count, .in_count = (uint32_t)in_count},
    };
    static_assert(MST_GPU_SUM_MAX == KERNEL_INPUTS_MAX, "the face promises what the kernel takes");
    if (in_count < 1 || in_count > MST_GPU_SUM_MAX || !find_type(dtype, &work.args.sum.type))
        return -EINVAL;
    memcpy(work.args.sum.in, in, in_count * sizeof *in);
    return count > 0 ? launch(queue, &work) : 0;
}

int mst_gpu_sgd(struct mst_gpu_queue *queue, const struct mst_gpu_sgd *step)
{
    struct kernel_launch work = {
        .id = KERNEL_SGD,
        .blocks = blocks_for(step->count),
        .args.sgd = {.params = step->params,
                     .momentum = step->momentum,
                     .grads = step->grads,
                     .count = step->count,
                     .grad_scale = step->grad_scale,
                     .momentum_decay = step->momentum_decay,
                     .lr = step->lr},
    };
    return step->count > 0 ? launch(queue, &work) : 0;
}

static double power(double base, uint64_t exponent)
{
    double result = 1;
    for (; exponent > 0; exponent >>= 1, base *= base)
        result = exponent & 1 ? result * base : result;
    return result;
}

/* What is the same for all elements is worked out here, once and in double. */
int mst_gpu_adamw(struct mst_gpu_queue *queue, const struct mst_gpu_adamw *step)
{
    double mean_bias = 1 - power((double)step->mean_decay, step->step);
    double square_bias = 1 - power((double)step->square_decay, step->step);
    struct kernel_launch work = {
        .id = KERNEL_ADAMW,
        .blocks = blocks_for(step->count),
        .args.adamw = {.params = step->params,
                       .means = step->means,
                       .squares = step->squares,
                       .grads = step->grads,
                       .count = step->count,
                       .grad_scale = step->grad_scale,
                       .mean_blend = (float)(1 - (double)step->mean_decay),
                       .square_decay = step->square_decay,
                       .square_blend = (float)(1 - (double)step->square_decay),
                       .square_bias_root = (float)sqrt(square_bias),
                       .epsilon = step->epsilon,
                       .param_decay = (float)(1 - (double)step->lr * (double)step->weight_decay),
                       .step_size = (float)((double)step->lr / mean_bias)},
    };
    if (step->step == 0)
        return -EINVAL;
    return step->count > 0 ? launch(queue, &work) : 0;
}

int mst_gpu_crc32c(struct mst_gpu_queue *queue, uint32_t *sums, const void *data, size_t size_bytes,
                   uint32_t block_bytes)
{
    static_assert(MST_GPU_CRC_BYTES == KERNEL_CRC_BYTES, "the face promises the kernel's segments");
    if (block_bytes == 0 || block_bytes % KERNEL_CRC_BYTES != 0)
        return -EINVAL;
    if (size_bytes == 0)
        return 0;
    size_t blocks = (size_bytes - 1) / block_bytes + 1;
    size_t segments = (size_bytes - 1) / KERNEL_CRC_BYTES + 1;
    struct kernel_launch work = {
        .id = KERNEL_CRC32C,
        .blocks = (uint32_t)mst_least(segments, CRC_BLOCKS_MAX),
        .args.crc32c = {.data = data,
                        .bytes = size_bytes,
                        .block_bytes = block_bytes,
                        .sums = sums},
    };
    int rc = mst_gpu_clear(queue, sums, blocks * sizeof *sums);
    return rc == 0 ? launch(queue, &work) : rc;
}

/* gpu: the device that a rank drives, without linking to its driver.
 *
 *   mst_gpu_open(&opts, &gpu, &err)                 "cuda" or "host"
 *   mst_gpu_alloc(gpu, bytes, MST_MEM_DEVICE, &span)
 *   mst_gpu_queue_create(gpu, &queue)               work in order, behind the caller's back
 *   mst_gpu_copy(queue, …)  mst_gpu_sum(queue, …)   → mst_gpu_event_record → mst_gpu_event_wait
 *   mst_gpu_close(gpu)                              after its queues, events and memory
 *
 * Back ends: "cuda" takes the driver (libcuda.so.1) at run time; "host" is the reference, threads
 * that really run behind, so that a missing wait shows on any machine. Kernels are one source for
 * both (gpu/kernels.cu), so both give the same bits.
 * It is not installed: a program has its own way to its device, and gives comm and ckpt addresses
 * and streams.
 *
 * Work on one queue runs in order; between queues, and before the host looks, only events give an
 * order. Memory belongs to the work until then. An error on the device shows at the next wait or
 * query, as -EIO, and ends the device: mst_gpu_error has the driver's words.
 *
 * One thread at a time per device and all that was made of it; any thread may take its turn. Common
 * errors: -EINVAL; -ENOMEM of the host or the device; -EIO; -ENOTSUP this build or device lacks
 * it. */
#ifndef MUSTER_GPU_GPU_H
#define MUSTER_GPU_GPU_H

#include "muster/core/dtype.h"
#include "muster/core/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_err;
struct mst_gpu;
struct mst_gpu_event;
struct mst_gpu_queue;

struct mst_gpu_opts {
    const char *backend; /* "cuda", "host"; NULL or "auto" = cuda where there is one, else host */
    uint32_t device;     /* 0 … of those that this process may see, or MST_GPU_BY_RANK */
    uint32_t local_rank; /* with the latter */
};

/* The only device that this process sees, or else the one whose number is the local rank: never one
 * that another local rank would take as well. */
#define MST_GPU_BY_RANK UINT32_MAX

/* Opens a device. 0; -EINVAL no such device (the text tells how many there are); -ENOTSUP no such
 * back end, or no driver here; -EIO the driver refuses, in its words; -ENOMEM. */
int mst_gpu_open(const struct mst_gpu_opts *opts, struct mst_gpu **ret_gpu, struct mst_err *err);

/* NULL is allowed. */
void mst_gpu_close(struct mst_gpu *gpu);

/* "host", "cuda". */
const char *mst_gpu_backend(const struct mst_gpu *gpu);

/* What the device calls itself. Valid until close. */
const char *mst_gpu_name(const struct mst_gpu *gpu);

/* What tells devices, or the parts of one that is shared out, from one another, anywhere. 0s on
 * "host". Valid until close. */
#define MST_GPU_ID_BYTES 16
const uint8_t *mst_gpu_id(const struct mst_gpu *gpu);

/* The last error of the driver: "cuStreamQuery: an illegal memory access was encountered (700)", ""
 * if there was none. Valid until the next call. */
const char *mst_gpu_error(const struct mst_gpu *gpu);

/* Memory on the device (MST_MEM_DEVICE), or of the host where the device reaches it by DMA
 * (MST_MEM_PINNED). At least one byte, aligned to 256 bytes. Blocks; not for every step. 0; -EINVAL
 * for another kind or 0 bytes; -ENOMEM. */
int mst_gpu_alloc(struct mst_gpu *gpu, size_t size_bytes, enum mst_mem mem,
                  struct mst_span *ret_span);

/* Frees it once everything on the device that might use it is done, and clears *span. A span whose
 * data is NULL is allowed. */
void mst_gpu_free(struct mst_gpu *gpu, struct mst_span *span);

/* Makes whole pages of host memory that is not pinned reachable by DMA, until they are taken back:
 * before they are unmapped, and when no work uses them any more. Blocks, and faults them in. 0;
 * -ENOMEM; -EIO. "host" has nothing to do. */
int mst_gpu_register(struct mst_gpu *gpu, void *data, size_t size_bytes);
void mst_gpu_unregister(struct mst_gpu *gpu, void *data);

/* Which kind of memory an address is: MST_MEM_HOST for whatever the device does not know. Safe from
 * any thread. */
enum mst_mem mst_gpu_mem(struct mst_gpu *gpu, const void *address);

/* Whether bytes (at least one) are memory of this very device, as kernels need it: the first and
 * the last are looked at. Safe from any thread. */
bool mst_gpu_has(struct mst_gpu *gpu, const void *data, size_t size_bytes);

/* Makes this device the calling thread's until mst_gpu_leave, for libraries that ask the driver
 * (NCCL); all other calls find it by themselves, and all leave the thread the device that it had.
 * 0; -EIO, then there is nothing to leave. */
int mst_gpu_enter(struct mst_gpu *gpu);
void mst_gpu_leave(struct mst_gpu *gpu);

/* A queue of work. 0; -ENOMEM; -EIO. */
int mst_gpu_queue_create(struct mst_gpu *gpu, struct mst_gpu_queue **ret_queue);

/* Waits for what the queue still holds. NULL is allowed. */
void mst_gpu_queue_destroy(struct mst_gpu_queue *queue);

/* The driver's own stream (CUstream), for libraries that enqueue on it; NULL on "host". */
void *mst_gpu_queue_native(const struct mst_gpu_queue *queue);

/* Whether everything put in so far is done: 0; -EAGAIN not yet; -EIO. Does not block. */
int mst_gpu_queue_query(struct mst_gpu_queue *queue);

/* Blocks the caller until everything put in so far is done: 0; -ETIMEDOUT; -EIO. */
int mst_gpu_queue_wait(struct mst_gpu_queue *queue, uint64_t deadline_ns);

/* ---- work ------------------------------------------------------------------------------------ */

/* Work is put into a queue, and the call returns. Copies take addresses of any kind of memory,
 * kernels only of device and pinned memory. A count of 0 does nothing. */

/* From any memory to any memory. A copy that touches ordinary host memory may be done before this
 * returns. 0; -ENOMEM; -EIO. */
int mst_gpu_copy(struct mst_gpu_queue *queue, void *to, const void *from, size_t size_bytes);

/* Zeros. 0; -ENOMEM; -EIO. */
int mst_gpu_clear(struct mst_gpu_queue *queue, void *to, size_t size_bytes);

/* out[i] = in[i] between MST_F32, MST_F16, MST_BF16, MST_F8E4M3 and MST_F8E5M2, to nearest even;
 * NaNs stay NaNs. What is too large becomes infinite, and in MST_F8E4M3, which has no infinity, a
 * NaN. Not in place unless the types have one size. 0; -EINVAL another type; -ENOTSUP without
 * kernels; -ENOMEM; -EIO. */
int mst_gpu_cast(struct mst_gpu_queue *queue, void *out, enum mst_dtype out_dtype, const void *in,
                 enum mst_dtype in_dtype, size_t count);

#define MST_GPU_SUM_MAX 64

/* out[i] = in[0][i] + in[1][i] + …, in this order, accumulated in f32 and rounded once; any type
 * that is cast; 1 … MST_GPU_SUM_MAX inputs, of which `out` may be one. `in` is copied. 0;
 * -EINVAL; -ENOTSUP without kernels; -ENOMEM; -EIO. */
int mst_gpu_sum(struct mst_gpu_queue *queue, void *out, const void *const *in, size_t in_count,
                enum mst_dtype dtype, size_t count);

/* A step of SGD: momentum = momentum_decay * momentum + grad_scale * grad, param -= lr *
 * momentum. */
struct mst_gpu_sgd {
    float *params, *momentum;
    const float *grads;
    size_t count;
    float grad_scale, momentum_decay, lr;
};

/* 0; -ENOTSUP without kernels; -ENOMEM; -EIO. */
int mst_gpu_sgd(struct mst_gpu_queue *queue, const struct mst_gpu_sgd *step);

/* A step of AdamW. */
struct mst_gpu_adamw {
    float *params, *means, *squares; /* the moments: 0 before the first step */
    const float *grads;
    size_t count;
    uint64_t step; /* 1 … */
    float grad_scale, lr, mean_decay, square_decay, epsilon, weight_decay;
};

/* 0; -EINVAL step 0; -ENOTSUP without kernels; -ENOMEM; -EIO. *Source:* Loshchilov & Hutter, ICLR
 * 2019. */
int mst_gpu_adamw(struct mst_gpu_queue *queue, const struct mst_gpu_adamw *step);

/* Blocks are whole segments of this many bytes. */
#define MST_GPU_CRC_BYTES 65536

/* sums[b] = mst_crc32c of block b; the last block may be shorter. `sums` is the device's memory.
 * Fast where `data` is aligned to 4 bytes. 0; -EINVAL block_bytes is 0 or not whole segments;
 * -ENOTSUP without kernels; -ENOMEM; -EIO. */
int mst_gpu_crc32c(struct mst_gpu_queue *queue, uint32_t *sums, const void *data, size_t size_bytes,
                   uint32_t block_bytes);

/* ---- events ---------------------------------------------------------------------------------- */

/* A mark in a queue. One that was never recorded counts as reached. 0; -ENOMEM; -EIO. */
int mst_gpu_event_create(struct mst_gpu *gpu, struct mst_gpu_event **ret_event);

/* A mark that is reached once `stream`, one of the program's own (a CUstream of this device, NULL =
 * the default one), has done what it holds now. *event is NULL, and one is made; or it is an older
 * mark, which is forgotten. Safe from any thread; its failure leaves *event as it was, and no
 * mst_gpu_error. 0; -EINVAL no stream of this device; -EBUSY it is being captured into a graph, and
 * holds nothing now, or it is the default one, and one that it waits for is; -ENOTSUP on "host";
 * -ENOMEM; -EIO. */
int mst_gpu_event_of_stream(struct mst_gpu *gpu, void *stream, struct mst_gpu_event **event);

/* What -EBUSY says of `stream`, to follow its name in an error: "is being captured into a graph",
 * or what is so of the default one. Static storage. Pure. */
const char *mst_gpu_busy_words(const void *stream);

/* NULL is allowed, and so is one whose queue has not come to it yet. Safe from any thread. */
void mst_gpu_event_destroy(struct mst_gpu_event *event);

/* Puts the mark after everything that `queue` holds now; an older mark is forgotten. 0; -ENOMEM;
 * -EIO. */
int mst_gpu_event_record(struct mst_gpu_event *event, struct mst_gpu_queue *queue);

/* 0 reached; -EAGAIN not yet; -EIO. Does not block. */
int mst_gpu_event_query(struct mst_gpu_event *event);

/* Blocks the caller until the mark is reached: 0; -ETIMEDOUT; -EIO. */
int mst_gpu_event_wait(struct mst_gpu_event *event, uint64_t deadline_ns);

/* Makes what is put into `queue` from now on wait for the mark as it is now. Does not block. 0;
 * -ENOMEM; -EIO. */
int mst_gpu_queue_wait_event(struct mst_gpu_queue *queue, struct mst_gpu_event *event);

/* The same for a stream of the program's own, as above. 0; -ENOTSUP on "host"; -ENOMEM; -EIO. */
int mst_gpu_stream_wait_event(void *stream, struct mst_gpu_event *event);

#endif

/* CUDA by its driver interface, found at run time: nothing of it is linked, so the same program
 * runs where there is none. Work goes to the device's primary context, which libraries that use the
 * CUDA runtime (NCCL) share. */
#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/symbols.h"
#include "muster/gpu/backend.h"
#include "muster/gpu/fatbin.h"
#include "muster/gpu/gpu_cuda_sym.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define LIBRARY "libcuda.so.1"

struct cuda_driver {
#define X(symbol, parameters) CUresult(*symbol) parameters;
    CUDA_FUNCTIONS(X)
#undef X
};

/* Loaded once per process and never unloaded: the driver keeps threads of its own. */
static struct {
    pthread_mutex_t lock;
    void *library;
    struct cuda_driver driver;
} locked = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct cuda_gpu {
    struct mst_gpu base;
    const struct cuda_driver *driver;
    CUdevice device;
    CUcontext context; /* NULL: not retained */
    CUmodule module;   /* NULL: without kernels */
    CUfunction kernels[KERNEL_COUNT];
};

struct cuda_queue {
    struct mst_gpu_queue base;
    CUstream stream;
};

struct cuda_event {
    struct mst_gpu_event base;
    CUevent event;
};

static const char *const kernel_names[KERNEL_COUNT] = {
    [KERNEL_CAST] = "mst_kernel_cast",     [KERNEL_SUM] = "mst_kernel_sum",
    [KERNEL_SGD] = "mst_kernel_sgd",       [KERNEL_ADAMW] = "mst_kernel_adamw",
    [KERNEL_CRC32C] = "mst_kernel_crc32c",
};

/* ---- the driver ------------------------------------------------------------------------------ */

static int find_symbols(void *library, struct cuda_driver *driver, struct mst_err *err)
{
    static const char *const names[] = {
#define X(symbol, parameters) #symbol,
        CUDA_FUNCTIONS(X)
#undef X
    };
    static_assert(sizeof *driver == sizeof names, "one pointer for each name, in one order");
    const char *missing = mst_symbols_find(library, names, sizeof names / sizeof names[0], driver);
    if (missing)
        return mst_err_set(err, -ENOTSUP, "%s has no %s: the driver is too old", LIBRARY, missing);
    return 0;
}

static int load_locked(struct mst_err *err)
{
    assert(mst_lock_is_held(&locked.lock));
    if (locked.library)
        return 0;
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return mst_err_set(err, -ENOTSUP, "no CUDA driver: %s", dlerror());
    int rc = find_symbols(library, &locked.driver, err);
    if (rc < 0)
        (void)dlclose(library); /* nothing of it was called */
    else
        locked.library = library;
    return rc;
}

static int load(const struct cuda_driver **ret_driver, struct mst_err *err)
{
    pthread_mutex_lock(&locked.lock);
    int rc = load_locked(err);
    pthread_mutex_unlock(&locked.lock);
    *ret_driver = &locked.driver;
    return rc;
}

static const char *describe(const struct cuda_driver *driver, CUresult code)
{
    const char *text = NULL;
    return driver->cuGetErrorString(code, &text) == CUDA_SUCCESS && text ? text : "unknown error";
}

/* The driver's answer as ours. It may look at code when that is loaded or when it first runs, and
 * finds none for this device, or PTX that is newer than it or that it must not compile. */
static int code_of(CUresult code)
{
    switch (code) {
    case CUDA_SUCCESS: return 0;
    case CUDA_ERROR_NOT_READY: return -EAGAIN;
    case CUDA_ERROR_OUT_OF_MEMORY: return -ENOMEM;
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_PTX:
    case CUDA_ERROR_JIT_COMPILER_NOT_FOUND:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    case CUDA_ERROR_JIT_COMPILATION_DISABLED:
    case CUDA_ERROR_INVALID_SOURCE: return -ENOTSUP;
    default: return -EIO;
    }
}

/* The same, and the words of a failure are kept. */
static int check(struct mst_gpu *base, CUresult code, const char *call)
{
    int rc = code_of(code);
    if (rc < 0 && rc != -EAGAIN)
        (void)snprintf(base->error, sizeof base->error, "%s: %s (%d)", call,
                       describe(((struct cuda_gpu *)base)->driver, code), code);
    return rc;
}

/* The calling thread's way into the driver: entries may be in one another. */
static _Thread_local struct {
    unsigned depth;
    int capture_mode; /* of the program's, under the first */
} entered;

/* The calling thread has a context of its own, which may be the program's: ours goes on top of it
 * for a call, and it is there again afterwards. So with what it may do while any thread captures a
 * stream into a graph: to ask for an event, even, would spoil the graph, though none of our work is
 * ever part of one. */
static CUresult enter(const struct cuda_gpu *gpu)
{
    CUresult code = gpu->driver->cuCtxPushCurrent_v2(gpu->context);
    if (code != CUDA_SUCCESS || entered.depth++ > 0)
        return code;
    entered.capture_mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    (void)gpu->driver->cuThreadExchangeStreamCaptureMode(&entered.capture_mode); /* it has it */
    return CUDA_SUCCESS;
}

static CUresult leave(const struct cuda_gpu *gpu, CUresult code)
{
    CUcontext ours = NULL;
    if (--entered.depth == 0)
        (void)gpu->driver->cuThreadExchangeStreamCaptureMode(&entered.capture_mode); /* as it was */
    (void)gpu->driver->cuCtxPopCurrent_v2(&ours); /* what was pushed */
    return code;
}

/* What a call of the driver's answers in our context. */
#define INSIDE(gpu, function, ...)                                                                 \
    (enter(gpu) == CUDA_SUCCESS ? leave(gpu, (gpu)->driver->function(__VA_ARGS__))                 \
                                : CUDA_ERROR_INVALID_CONTEXT)

/* The same as a code of ours, with the words of a failure. Not for what any thread may call: those
 * words are not for any thread. */
#define CALL(gpu, function, ...) check(&(gpu)->base, INSIDE(gpu, function, __VA_ARGS__), #function)

static int cuda_enter(struct mst_gpu *base)
{
    return check(base, enter((struct cuda_gpu *)base), "cuCtxPushCurrent");
}

static void cuda_leave(struct mst_gpu *base)
{
    (void)leave((struct cuda_gpu *)base, CUDA_SUCCESS); /* nothing was called */
}

/* ---- device ---------------------------------------------------------------------------------- */

static void unload_kernels(struct cuda_gpu *gpu)
{
    if (gpu->module)
        (void)INSIDE(gpu, cuModuleUnload, gpu->module); /* nothing runs any more */
    gpu->module = NULL;
}

/* A driver that does not take them has its words kept: there are no kernels, and everything else
 * works. */
static int load_kernels(struct cuda_gpu *gpu)
{
    if (!gpu_fatbin)
        return 0;
    int rc = CALL(gpu, cuModuleLoadData, &gpu->module, gpu_fatbin);
    for (int k = 0; k < KERNEL_COUNT && rc == 0; k++)
        rc = CALL(gpu, cuModuleGetFunction, &gpu->kernels[k], gpu->module, kernel_names[k]);
    if (rc == 0)
        return 0;
    unload_kernels(gpu);
    return rc == -ENOTSUP ? 0 : rc;
}

/* Only the kernels need a context. */
static int open_device(struct cuda_gpu *gpu)
{
    const struct cuda_driver *driver = gpu->driver;
    CUresult code = driver->cuDeviceGetName(gpu->base.name, (int)sizeof gpu->base.name,
                                            gpu->device);
    int rc = check(&gpu->base, code, "cuDeviceGetName");
    if (rc < 0)
        return rc;
    code = driver->cuDeviceGetUuid_v2(&gpu->base.id, gpu->device);
    rc = check(&gpu->base, code, "cuDeviceGetUuid");
    if (rc < 0)
        return rc;
    code = driver->cuDevicePrimaryCtxRetain(&gpu->context, gpu->device);
    rc = check(&gpu->base, code, "cuDevicePrimaryCtxRetain");
    return rc == 0 ? load_kernels(gpu) : rc;
}

static void cuda_close(struct mst_gpu *base)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    unload_kernels(gpu);
    if (gpu->context)
        (void)gpu->driver->cuDevicePrimaryCtxRelease_v2(gpu->device); /* retained once */
    free(gpu);
}

/* "No driver that fits" and "no device" are told alike: there is no CUDA here. */
static int count_devices(const struct cuda_driver *driver, int *ret_count, struct mst_err *err)
{
    CUresult code = driver->cuInit(0);
    if (code == CUDA_SUCCESS)
        code = driver->cuDeviceGetCount(ret_count);
    if (code == CUDA_SUCCESS && *ret_count == 0)
        code = CUDA_ERROR_NO_DEVICE;
    return code == CUDA_SUCCESS ? 0
                                : mst_err_set(err, -ENOTSUP, "no CUDA device: %s (%d)",
                                              describe(driver, code), code);
}

static int pick_device(const struct mst_gpu_opts *opts, int count, uint32_t *ret_index,
                       struct mst_err *err)
{
    bool by_rank = opts->device == MST_GPU_BY_RANK;
    uint32_t index = !by_rank ? opts->device : count == 1 ? 0 : opts->local_rank;
    if (index < (uint32_t)count) {
        *ret_index = index;
        return 0;
    }
    if (by_rank)
        return mst_err_set(err, -EINVAL,
                           "local rank %u has no CUDA device: this process sees %d; start at most "
                           "as many ranks on a node, or give every rank its own by "
                           "CUDA_VISIBLE_DEVICES",
                           index, count);
    return mst_err_set(err, -EINVAL,
                       "no CUDA device %u: this process sees %d; look at CUDA_VISIBLE_DEVICES",
                       index, count);
}

static int find_device(const struct cuda_driver *driver, const struct mst_gpu_opts *opts,
                       CUdevice *ret_device, struct mst_err *err)
{
    int count = 0;
    uint32_t index = 0;
    int rc = count_devices(driver, &count, err);
    if (rc == 0)
        rc = pick_device(opts, count, &index, err);
    if (rc < 0)
        return rc;
    CUresult code = driver->cuDeviceGet(ret_device, (int)index);
    return code == CUDA_SUCCESS ? 0
                                : mst_err_set(err, -EIO, "CUDA device %u: %s (%d)", index,
                                              describe(driver, code), code);
}

static int cuda_open(const struct mst_gpu_opts *opts, struct mst_gpu **ret_gpu, struct mst_err *err)
{
    const struct cuda_driver *driver;
    CUdevice device = 0;
    int rc = load(&driver, err);
    if (rc == 0)
        rc = find_device(driver, opts, &device, err);
    if (rc < 0)
        return rc;
    struct cuda_gpu *gpu = calloc(1, sizeof *gpu);
    if (!gpu)
        return mst_err_set(err, -ENOMEM, "no memory for a device");
    gpu->base.ops = &gpu_cuda_ops;
    gpu->driver = driver;
    gpu->device = device;
    rc = open_device(gpu);
    if (rc < 0) {
        rc = mst_err_set(err, rc, "CUDA device %d: %s", device, gpu->base.error);
        cuda_close(&gpu->base);
        return rc;
    }
    *ret_gpu = &gpu->base;
    return 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int cuda_alloc(struct mst_gpu *base, size_t size_bytes, enum mst_mem mem, void **ret_data)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    CUdeviceptr address = 0;
    if (mem == MST_MEM_PINNED)
        return CALL(gpu, cuMemHostAlloc, ret_data, size_bytes, 0);
    int rc = CALL(gpu, cuMemAlloc_v2, &address, size_bytes);
    if (rc == 0)
        *ret_data = (void *)address;
    return rc;
}

/* The driver waits for what uses it; after an error of the device it has nothing to wait for, and
 * memory that it does not take back is gone with the device. */
static void cuda_free(struct mst_gpu *base, void *data, enum mst_mem mem)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    if (mem == MST_MEM_PINNED)
        (void)INSIDE(gpu, cuMemFreeHost, data);
    else
        (void)INSIDE(gpu, cuMemFree_v2, (CUdeviceptr)data);
}

static int cuda_register(struct mst_gpu *base, void *data, size_t size_bytes)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    return CALL(gpu, cuMemHostRegister_v2, data, size_bytes, 0);
}

static void cuda_unregister(struct mst_gpu *base, void *data)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    (void)INSIDE(gpu, cuMemHostUnregister, data); /* registered once, or gone with the device */
}

static enum mst_mem cuda_mem(struct mst_gpu *base, const void *address)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    unsigned type = 0;
    if (INSIDE(gpu, cuPointerGetAttribute, &type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
               (CUdeviceptr)address) != CUDA_SUCCESS)
        return MST_MEM_HOST; /* the driver has never heard of it */
    return type == CU_MEMORYTYPE_DEVICE ? MST_MEM_DEVICE
           : type == CU_MEMORYTYPE_HOST ? MST_MEM_PINNED
                                        : MST_MEM_HOST;
}

/* The driver tells a device by its number among those that the process sees. */
static bool cuda_has(struct mst_gpu *base, const void *address)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    int device = -1;
    return cuda_mem(base, address) == MST_MEM_DEVICE &&
           INSIDE(gpu, cuPointerGetAttribute, &device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                  (CUdeviceptr)address) == CUDA_SUCCESS &&
           device == gpu->device;
}

/* ---- queues ---------------------------------------------------------------------------------- */

static struct cuda_gpu *gpu_of(const struct mst_gpu_queue *queue)
{
    return (struct cuda_gpu *)queue->gpu;
}

static CUstream stream_of(const struct mst_gpu_queue *queue)
{
    return ((const struct cuda_queue *)queue)->stream;
}

static int cuda_queue_create(struct mst_gpu *base, struct mst_gpu_queue **ret_queue)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    struct cuda_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -ENOMEM;
    queue->base.gpu = base;
    int rc = CALL(gpu, cuStreamCreate, &queue->stream, CU_STREAM_NON_BLOCKING);
    if (rc < 0) {
        free(queue);
        return rc;
    }
    *ret_queue = &queue->base;
    return 0;
}

static void cuda_queue_destroy(struct mst_gpu_queue *queue)
{
    struct cuda_gpu *gpu = gpu_of(queue);
    (void)INSIDE(gpu, cuStreamSynchronize, stream_of(queue)); /* its errors were the waits' */
    (void)INSIDE(gpu, cuStreamDestroy_v2, stream_of(queue));  /* ours, destroyed once */
    free(queue);
}

static void *cuda_queue_native(const struct mst_gpu_queue *queue)
{
    return stream_of(queue);
}

static int cuda_queue_query(struct mst_gpu_queue *queue)
{
    struct cuda_gpu *gpu = gpu_of(queue);
    return CALL(gpu, cuStreamQuery, stream_of(queue));
}

static int cuda_copy(struct mst_gpu_queue *queue, void *to, const void *from, size_t size_bytes)
{
    struct cuda_gpu *gpu = gpu_of(queue);
    return CALL(gpu, cuMemcpyAsync, (CUdeviceptr)to, (CUdeviceptr)from, size_bytes,
                stream_of(queue));
}

static int cuda_clear(struct mst_gpu_queue *queue, void *to, size_t size_bytes)
{
    struct cuda_gpu *gpu = gpu_of(queue);
    return CALL(gpu, cuMemsetD8Async, (CUdeviceptr)to, 0, size_bytes, stream_of(queue));
}

/* The driver copies the arguments before it returns. */
static int cuda_launch(struct mst_gpu_queue *queue, const struct kernel_launch *launch)
{
    struct cuda_gpu *gpu = gpu_of(queue);
    struct kernel_launch copy = *launch;
    void *args[] = {&copy.args};
    if (!gpu->module)
        return -ENOTSUP;
    return CALL(gpu, cuLaunchKernel, gpu->kernels[launch->id], launch->blocks, 1, 1, KERNEL_THREADS,
                1, 1, 0, stream_of(queue), args, NULL);
}

/* ---- events ---------------------------------------------------------------------------------- */

static CUevent event_of(const struct mst_gpu_event *event)
{
    return ((const struct cuda_event *)event)->event;
}

static CUresult make_event(struct cuda_gpu *gpu, struct mst_gpu_event **ret_event)
{
    struct cuda_event *event = calloc(1, sizeof *event);
    if (!event)
        return CUDA_ERROR_OUT_OF_MEMORY;
    event->base.gpu = &gpu->base;
    CUresult code = INSIDE(gpu, cuEventCreate, &event->event, CU_EVENT_DISABLE_TIMING);
    if (code == CUDA_SUCCESS)
        *ret_event = &event->base;
    else
        free(event);
    return code;
}

static int cuda_event_create(struct mst_gpu *base, struct mst_gpu_event **ret_event)
{
    return check(base, make_event((struct cuda_gpu *)base, ret_event), "cuEventCreate");
}

/* The driver frees it once no stream holds it. */
static void cuda_event_destroy(struct mst_gpu_event *event)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)event->gpu;
    (void)INSIDE(gpu, cuEventDestroy_v2, event_of(event)); /* ours, destroyed once */
    free(event);
}

/* An event of a stream that is being captured would be the graph's; and that which comes after all
 * others is not to be used while one of those is. */
static CUresult check_runs(const struct cuda_gpu *gpu, CUstream stream)
{
    int status = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult code = INSIDE(gpu, cuStreamIsCapturing, stream, &status);
    return code == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE
               ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
               : code;
}

static int code_of_mark(CUresult code)
{
    switch (code) {
    case CUDA_ERROR_INVALID_HANDLE: return -EINVAL;
    case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED:
    case CUDA_ERROR_STREAM_CAPTURE_IMPLICIT: return -EBUSY;
    default: return code_of(code);
    }
}

static int cuda_event_of_stream(struct mst_gpu *base, void *stream, struct mst_gpu_event **event)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)base;
    struct mst_gpu_event *mark = *event;
    CUresult code = check_runs(gpu, stream);
    if (code == CUDA_SUCCESS && !mark)
        code = make_event(gpu, &mark);
    if (code == CUDA_SUCCESS)
        code = INSIDE(gpu, cuEventRecord, event_of(mark), stream);
    if (code == CUDA_SUCCESS)
        *event = mark;
    else if (mark != *event)
        cuda_event_destroy(mark); /* no stream holds it */
    return code_of_mark(code);
}

static int cuda_event_record(struct mst_gpu_event *event, struct mst_gpu_queue *queue)
{
    struct cuda_gpu *gpu = gpu_of(queue);
    return CALL(gpu, cuEventRecord, event_of(event), stream_of(queue));
}

static int cuda_event_query(struct mst_gpu_event *event)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)event->gpu;
    return CALL(gpu, cuEventQuery, event_of(event));
}

static int cuda_queue_wait_event(struct mst_gpu_queue *queue, struct mst_gpu_event *event)
{
    struct cuda_gpu *gpu = gpu_of(queue);
    return CALL(gpu, cuStreamWaitEvent, stream_of(queue), event_of(event), 0);
}

static int cuda_stream_wait_event(void *stream, struct mst_gpu_event *event)
{
    struct cuda_gpu *gpu = (struct cuda_gpu *)event->gpu;
    return CALL(gpu, cuStreamWaitEvent, stream, event_of(event), 0);
}

const struct gpu_ops gpu_cuda_ops = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .register_memory = cuda_register,
    .unregister_memory = cuda_unregister,
    .mem = cuda_mem,
    .has = cuda_has,
    .enter = cuda_enter,
    .leave = cuda_leave,
    .queue_create = cuda_queue_create,
    .queue_destroy = cuda_queue_destroy,
    .queue_native = cuda_queue_native,
    .queue_query = cuda_queue_query,
    .copy = cuda_copy,
    .clear = cuda_clear,
    .launch = cuda_launch,
    .event_create = cuda_event_create,
    .event_of_stream = cuda_event_of_stream,
    .stream_wait_event = cuda_stream_wait_event,
    .event_destroy = cuda_event_destroy,
    .event_record = cuda_event_record,
    .event_query = cuda_event_query,
    .queue_wait_event = cuda_queue_wait_event,
};

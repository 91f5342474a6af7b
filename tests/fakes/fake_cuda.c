/* FAKE libcuda.so.1: a driver without a device, for tests. Streams are threads that do their work
 * in order; device memory is behind addresses that the host cannot touch (it faults, as it should);
 * calls without a current context fail. Kernels are the host's build of the same source. A capture
 * gives no graph and takes no work, but what the driver forbids meanwhile is forbidden, and spoils
 * it.
 *
 * FAKE_CUDA: devices=N (8); own=1 no other thread sees the same ones; driver=0 no driver that fits;
 * event=R making one answers R;
 * fail=K the K-th piece of work of a stream ends in an illegal address; memory=K the K-th
 * allocation finds none; module=R, launch=R loading kernels, or starting one, answers R;
 * flip=1 the first value of a cast has
 * another bit; spoil=1 so has the first byte of what is copied to the device. */
#include "fakes/fake_cuda.h"

#include "fakes/script.h"
#include "muster/gpu/kernels_host.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* the driver's, declared nowhere */

enum {
    CONTEXTS_MAX = 16,
    NO_CONTEXT = 201,
    NO_DRIVER_THAT_FITS = 35,
    ILLEGAL_STATE = 401,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_WRONG_THREAD = 908,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700
};

#define FATBIN_MAGIC 0xba55ed50U

struct block {
    struct block *next;
    char *address, *bytes; /* one and the same for pinned memory */
    size_t size_bytes;
    int device;
};

struct item {
    struct item *next;
    long number; /* of all that was put in, in whatever stream */
    void (*function)(void *arg);
    void *arg;
    bool owned; /* arg is freed */
};

struct CUstream_st {
    CUstream self; /* what is no stream of ours has something else here */
    CUstream next; /* of all */
    CUcontext context;
    long oldest; /* the number of its first item that is not done; 0: none. With streams.lock */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct item *first, **last;
    struct item at_query; /* function NULL: nothing */
    size_t left;          /* not done yet */
    long done;
    CUresult result;
    bool ending, waited_for; /* by the default stream */
    atomic_bool captured;
    int capture_mode;
    pthread_t capturer;
    long spoilt_before; /* it was captured */
};

struct CUevent_st {
    CUstream stream; /* that recorded it last: it is there until that is reached */
    atomic_long recorded, reached;
    atomic_int result;  /* of the stream, there */
    atomic_int holders; /* the owner, and every piece of work that names it */
};

static struct {
    pthread_mutex_t lock;
    struct block *blocks;
    long count;
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Locked inside a stream's own lock. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    CUstream first;
    long item_count; /* put in so far */
} streams = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static struct {
    atomic_long left; /* calls until one fails; 0: none does */
    atomic_int code, sticky;
} failure;

/* In a thread's static block: gcc 12's leak sanitizer faults on that of a library loaded late. */
static _Thread_local CUcontext current __attribute__((tls_model("initial-exec")));
static _Thread_local CUcontext below[CONTEXTS_MAX] __attribute__((tls_model("initial-exec")));
static _Thread_local int below_count __attribute__((tls_model("initial-exec")));

static struct {
    atomic_int global;     /* those that forbid things to every thread */
    atomic_int waited_for; /* of streams that the default stream waits for */
    atomic_long spoilt;    /* what was called nevertheless */
} captures;

static _Thread_local int capture_mode __attribute__((tls_model("initial-exec")));
static _Thread_local int own_captures __attribute__((tls_model("initial-exec")));

/* ---- failures -------------------------------------------------------------------------------- */

void fake_cuda_fail_call(long n, CUresult code, bool sticky)
{
    atomic_store(&failure.code, code);
    atomic_store(&failure.sticky, sticky);
    atomic_store(&failure.left, n);
}

bool fake_cuda_has_failed(void)
{
    return atomic_load(&failure.left) < 0;
}

/* What a call that may fail answers at once. A query that tells of nothing but time is none: how
 * often one asks is anyone's guess. */
static CUresult next_failure(void)
{
    long left = atomic_load(&failure.left);
    if (left > 0 && atomic_fetch_sub(&failure.left, 1) == 1)
        atomic_store(&failure.left, -1);
    else if (left >= 0 || !atomic_load(&failure.sticky))
        return CUDA_SUCCESS;
    return atomic_load(&failure.code);
}

#define MAY_FAIL()                                                                                 \
    do {                                                                                           \
        CUresult answer_ = next_failure();                                                         \
        if (answer_ != CUDA_SUCCESS)                                                               \
            return answer_;                                                                        \
    } while (0)

/* ---- device ---------------------------------------------------------------------------------- */

CUresult cuInit(unsigned flags)
{
    (void)flags;
    return script_number("FAKE_CUDA", "driver", 1) ? CUDA_SUCCESS : NO_DRIVER_THAT_FITS;
}

CUresult cuDriverGetVersion(int *ret_version)
{
    *ret_version = 13000;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult code, const char **ret_text)
{
    switch (code) {
    case CUDA_ERROR_OUT_OF_MEMORY: *ret_text = "out of memory"; break;
    case NO_DRIVER_THAT_FITS: *ret_text = "the driver is too old (FAKE)"; break;
    case CUDA_ERROR_NO_DEVICE: *ret_text = "no device (FAKE)"; break;
    case NO_CONTEXT: *ret_text = "invalid device context (FAKE)"; break;
    case ILLEGAL_ADDRESS: *ret_text = "an illegal memory access was encountered (FAKE)"; break;
    default: *ret_text = "some error (FAKE)"; break;
    }
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *ret_count)
{
    *ret_count = (int)script_number("FAKE_CUDA", "devices", 8);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *ret_device, int ordinal)
{
    *ret_device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int cap, CUdevice device)
{
    (void)snprintf(name, (size_t)cap, "FAKE device %d", device);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(unsigned char (*ret_uuid)[16], CUdevice device)
{
    int owner = script_number("FAKE_CUDA", "own", 0) ? gettid() : 0;
    memset(*ret_uuid, 0, sizeof *ret_uuid);
    (void)snprintf((char *)*ret_uuid, sizeof *ret_uuid, "%d.%d", owner, device);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *ret_context, CUdevice device)
{
    MAY_FAIL();
    *ret_context = (CUcontext)(uintptr_t)(device + 1);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    (void)device;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context)
{
    current = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *ret_context)
{
    *ret_context = current;
    return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    if (!context || below_count == CONTEXTS_MAX)
        return NO_CONTEXT;
    below[below_count++] = current;
    current = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *ret_context)
{
    if (below_count == 0)
        return NO_CONTEXT;
    *ret_context = current;
    current = below[--below_count];
    return CUDA_SUCCESS;
}

/* One that no work is done in, and that is told from the primary ones. */
CUresult cuCtxCreate_v2(CUcontext *ret_context, unsigned flags, CUdevice device)
{
    (void)flags;
    CUcontext made = (CUcontext)(uintptr_t)(device + 0x1000);
    CUresult result = cuCtxPushCurrent_v2(made);
    if (result == CUDA_SUCCESS)
        *ret_context = made;
    return result;
}

CUresult cuCtxDestroy_v2(CUcontext context)
{
    CUcontext popped = NULL;
    return context == current ? cuCtxPopCurrent_v2(&popped) : CUDA_SUCCESS;
}

/* ---- what captures forbid -------------------------------------------------------------------- */

CUresult cuThreadExchangeStreamCaptureMode(int *mode)
{
    int before = capture_mode;
    capture_mode = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}

/* Of what a graph would not see: to allocate, to wait, to ask. */
static bool is_forbidden(void)
{
    bool others = capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL && atomic_load(&captures.global);
    bool forbidden = capture_mode != CU_STREAM_CAPTURE_MODE_RELAXED && (own_captures || others);
    if (forbidden)
        atomic_fetch_add(&captures.spoilt, 1);
    return forbidden;
}

#define REFUSE_IF_FORBIDDEN                                                                        \
    do {                                                                                           \
        if (is_forbidden())                                                                        \
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;                                          \
    } while (0)

/* ---- memory ---------------------------------------------------------------------------------- */

/* Of a primary context. */
static int current_device(void)
{
    return (int)(uintptr_t)current - 1;
}

static bool memory_is_short(void)
{
    pthread_mutex_lock(&memory.lock);
    bool is_short = ++memory.count == script_number("FAKE_CUDA", "memory", 0);
    pthread_mutex_unlock(&memory.lock);
    return is_short;
}

static CUresult map_block(size_t bytes, bool hidden, char **ret_address)
{
    MAY_FAIL();
    REFUSE_IF_FORBIDDEN;
    size_t size = (bytes + 4095) & ~(size_t)4095;
    struct block *block = malloc(sizeof *block);
    if (!current)
        return free(block), NO_CONTEXT;
    char *map = memory_is_short() ? MAP_FAILED
                                  : mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!block || map == MAP_FAILED)
        return free(block), CUDA_ERROR_OUT_OF_MEMORY;
    mprotect(map + size, size, PROT_NONE);
    pthread_mutex_lock(&memory.lock);
    *block = (struct block){memory.blocks, hidden ? map + size : map, map, size, current_device()};
    memory.blocks = block;
    pthread_mutex_unlock(&memory.lock);
    *ret_address = block->address;
    return CUDA_SUCCESS;
}

/* The block that begins there, no longer among the others; NULL if there is none. */
static struct block *take_block(const void *address)
{
    pthread_mutex_lock(&memory.lock);
    struct block **at = &memory.blocks, *block;
    while (*at && (*at)->address != address)
        at = &(*at)->next;
    block = *at;
    if (block)
        *at = block->next;
    pthread_mutex_unlock(&memory.lock);
    return block;
}

static bool holds_older(long number)
{
    for (CUstream stream = streams.first; stream; stream = stream->next)
        if (stream->context == current && stream->oldest && stream->oldest <= number)
            return true;
    return false;
}

/* For whatever streams of the context hold now, as the driver does before it takes memory back. */
static void await_context(void)
{
    pthread_mutex_lock(&streams.lock);
    long number = streams.item_count;
    while (holds_older(number))
        pthread_cond_wait(&streams.moved, &streams.lock);
    pthread_mutex_unlock(&streams.lock);
}

static CUresult unmap_block(const void *address)
{
    REFUSE_IF_FORBIDDEN;
    await_context();
    struct block *block = take_block(address);
    if (!block)
        return CUDA_ERROR_INVALID_VALUE;
    munmap(block->bytes, 2 * block->size_bytes);
    free(block);
    return CUDA_SUCCESS;
}

static bool find_block(const char *address, struct block *ret_block)
{
    pthread_mutex_lock(&memory.lock);
    const struct block *block = memory.blocks;
    while (block && !(address >= block->address && address < block->address + block->size_bytes))
        block = block->next;
    if (block)
        *ret_block = *block;
    pthread_mutex_unlock(&memory.lock);
    return block != NULL;
}

void *fake_cuda_bytes(const void *address)
{
    struct block block;
    if (!find_block(address, &block))
        return NULL;
    return block.bytes + ((const char *)address - block.address);
}

CUresult cuMemAlloc_v2(CUdeviceptr *ret_address, size_t bytes)
{
    return map_block(bytes, true, (char **)ret_address);
}

CUresult cuMemFree_v2(CUdeviceptr address)
{
    return unmap_block((void *)address);
}

CUresult cuMemHostAlloc(void **ret_address, size_t bytes, unsigned flags)
{
    (void)flags;
    return map_block(bytes, false, (char **)ret_address);
}

CUresult cuMemFreeHost(void *address)
{
    return unmap_block(address);
}

/* The program's own memory, which stays its own. */
CUresult cuMemHostRegister_v2(void *address, size_t bytes, unsigned flags)
{
    MAY_FAIL();
    struct block *block = malloc(sizeof *block);
    (void)flags;
    if (!block || !current)
        return free(block), NO_CONTEXT;
    pthread_mutex_lock(&memory.lock);
    *block = (struct block){memory.blocks, address, address, bytes, current_device()};
    memory.blocks = block;
    pthread_mutex_unlock(&memory.lock);
    return CUDA_SUCCESS;
}

CUresult cuMemHostUnregister(void *address)
{
    struct block *block = take_block(address);
    free(block);
    return block ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

size_t fake_cuda_block_count(void)
{
    size_t count = 0;
    pthread_mutex_lock(&memory.lock);
    for (const struct block *block = memory.blocks; block; block = block->next)
        count++;
    pthread_mutex_unlock(&memory.lock);
    return count;
}

CUresult cuPointerGetAttribute(void *ret_value, int attribute, CUdeviceptr address)
{
    MAY_FAIL();
    struct block block;
    if (!find_block((char *)address, &block))
        return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
        return *(int *)ret_value = block.device, CUDA_SUCCESS;
    if (attribute != CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
        return CUDA_ERROR_INVALID_VALUE;
    *(unsigned *)ret_value = block.address == block.bytes ? CU_MEMORYTYPE_HOST
                                                          : CU_MEMORYTYPE_DEVICE;
    return CUDA_SUCCESS;
}

/* ---- streams --------------------------------------------------------------------------------- */

static void finish_item(CUstream stream, struct item *item)
{
    if (item->owned)
        free(item->arg);
    free(item);
    if (++stream->done == script_number("FAKE_CUDA", "fail", 0))
        stream->result = ILLEGAL_ADDRESS;
    stream->left--;
    pthread_cond_broadcast(&stream->moved);
    pthread_mutex_lock(&streams.lock);
    stream->oldest = stream->first ? stream->first->number : 0;
    pthread_cond_broadcast(&streams.moved);
    pthread_mutex_unlock(&streams.lock);
}

/* With the stream's lock held. */
static void add_item(CUstream stream, struct item *item)
{
    *stream->last = item;
    stream->last = &item->next;
    stream->left++;
    pthread_cond_broadcast(&stream->moved);
    pthread_mutex_lock(&streams.lock);
    item->number = ++streams.item_count;
    if (stream->oldest == 0)
        stream->oldest = item->number;
    pthread_mutex_unlock(&streams.lock);
}

static void *stream_main(void *arg)
{
    CUstream stream = arg;
    pthread_mutex_lock(&stream->lock);
    for (;;) {
        while (!stream->first && !stream->ending)
            pthread_cond_wait(&stream->moved, &stream->lock);
        struct item *item = stream->first;
        if (!item)
            break;
        stream->first = item->next;
        if (!stream->first)
            stream->last = &stream->first;
        pthread_mutex_unlock(&stream->lock);
        item->function(item->arg);
        pthread_mutex_lock(&stream->lock);
        finish_item(stream, item);
    }
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

static CUresult make_stream(CUstream *ret_stream, bool waited_for)
{
    CUstream stream = calloc(1, sizeof *stream);
    if (!stream)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->moved, NULL);
    stream->self = stream;
    stream->last = &stream->first;
    stream->waited_for = waited_for;
    stream->context = current;
    if (pthread_create(&stream->thread, NULL, stream_main, stream) != 0)
        return free(stream), CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&streams.lock);
    stream->next = streams.first;
    streams.first = stream;
    pthread_mutex_unlock(&streams.lock);
    *ret_stream = stream;
    return CUDA_SUCCESS;
}

static void forget_stream(CUstream stream)
{
    pthread_mutex_lock(&streams.lock);
    CUstream *at = &streams.first;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    pthread_mutex_unlock(&streams.lock);
}

static bool is_default(CUstream handle)
{
    return !handle || handle == CU_STREAM_LEGACY;
}

/* Each context has a default stream of its own, which stays. */
static CUstream find_stream(CUstream handle)
{
    static CUstream of_contexts[CONTEXTS_MAX];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (!is_default(handle))
        return handle;
    pthread_mutex_lock(&lock);
    CUstream *stream = &of_contexts[(uintptr_t)current % CONTEXTS_MAX];
    if (!*stream && make_stream(stream, false) == CUDA_SUCCESS)
        pthread_detach((*stream)->thread);
    pthread_mutex_unlock(&lock);
    return *stream;
}

static CUresult put(CUstream handle, void (*function)(void *arg), void *arg, bool owned)
{
    CUstream stream = find_stream(handle);
    struct item *item = malloc(sizeof *item);
    bool is_stream = stream->self == stream;
    if (!item || !arg || !current || !is_stream || atomic_load(&stream->captured)) {
        free(item);
        if (owned)
            free(arg);
        return !current        ? NO_CONTEXT
               : !item || !arg ? CUDA_ERROR_OUT_OF_MEMORY
               : is_stream     ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
                               : CUDA_ERROR_INVALID_HANDLE;
    }
    *item = (struct item){.function = function, .arg = arg, .owned = owned};
    pthread_mutex_lock(&stream->lock);
    add_item(stream, item);
    CUresult result = stream->result;
    pthread_mutex_unlock(&stream->lock);
    return result;
}

CUresult cuLaunchHostFunc(CUstream stream, void (*function)(void *arg), void *arg)
{
    return put(stream, function, arg, false);
}

CUresult cuStreamCreate(CUstream *ret_stream, unsigned flags)
{
    MAY_FAIL();
    return current ? make_stream(ret_stream, flags != CU_STREAM_NON_BLOCKING) : NO_CONTEXT;
}

CUresult cuStreamDestroy_v2(CUstream stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->ending = true;
    pthread_cond_broadcast(&stream->moved);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(stream->thread, NULL);
    forget_stream(stream);
    pthread_cond_destroy(&stream->moved);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
    return CUDA_SUCCESS;
}

bool fake_cuda_is_captured(CUstream stream)
{
    return atomic_load(&stream->captured);
}

CUresult cuStreamBeginCapture_v2(CUstream stream, int mode)
{
    if (is_default(stream))
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (atomic_load(&stream->captured))
        return ILLEGAL_STATE;
    stream->capturer = pthread_self();
    stream->capture_mode = mode;
    stream->spoilt_before = atomic_load(&captures.spoilt);
    own_captures += mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    atomic_fetch_add(&captures.global, mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
    atomic_fetch_add(&captures.waited_for, stream->waited_for);
    atomic_store(&stream->captured, true);
    return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, void **ret_graph)
{
    *ret_graph = NULL;
    if (!atomic_load(&stream->captured))
        return ILLEGAL_STATE;
    if (stream->capture_mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
        !pthread_equal(stream->capturer, pthread_self()))
        return CAPTURE_WRONG_THREAD;
    own_captures -= stream->capture_mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    atomic_fetch_sub(&captures.global, stream->capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
    atomic_fetch_sub(&captures.waited_for, stream->waited_for);
    atomic_store(&stream->captured, false);
    return atomic_load(&captures.spoilt) == stream->spoilt_before ? CUDA_SUCCESS
                                                                  : CAPTURE_INVALIDATED;
}

CUresult cuStreamIsCapturing(CUstream handle, int *ret_status)
{
    MAY_FAIL();
    CUstream stream = find_stream(handle);
    if (!current)
        return NO_CONTEXT;
    if (stream->self != stream)
        return CUDA_ERROR_INVALID_HANDLE;
    if (is_default(handle) && atomic_load(&captures.waited_for))
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    *ret_status = atomic_load(&stream->captured);
    return CUDA_SUCCESS;
}

void fake_cuda_at_query(CUstream stream, void (*function)(void *arg), void *arg)
{
    pthread_mutex_lock(&stream->lock);
    stream->at_query = (struct item){.function = function, .arg = arg};
    pthread_mutex_unlock(&stream->lock);
}

static void run_at_query(CUstream stream)
{
    pthread_mutex_lock(&stream->lock);
    struct item first = stream->at_query;
    stream->at_query.function = NULL;
    pthread_mutex_unlock(&stream->lock);
    if (first.function)
        first.function(first.arg);
}

CUresult cuStreamQuery(CUstream stream)
{
    REFUSE_IF_FORBIDDEN;
    run_at_query(stream);
    pthread_mutex_lock(&stream->lock);
    CUresult result = stream->result ? stream->result
                      : stream->left ? CUDA_ERROR_NOT_READY
                                     : CUDA_SUCCESS;
    pthread_mutex_unlock(&stream->lock);
    if (result != CUDA_ERROR_NOT_READY)
        MAY_FAIL();
    return current ? result : NO_CONTEXT;
}

CUresult cuStreamSynchronize(CUstream stream)
{
    REFUSE_IF_FORBIDDEN;
    pthread_mutex_lock(&stream->lock);
    while (stream->left > 0)
        pthread_cond_wait(&stream->moved, &stream->lock);
    CUresult result = stream->result;
    pthread_mutex_unlock(&stream->lock);
    return result;
}

/* ---- work ------------------------------------------------------------------------------------ */

static void *bytes_of(const void *address)
{
    void *bytes = fake_cuda_bytes(address);
    return bytes ? bytes : (void *)(uintptr_t)address;
}

struct copy {
    void *to;
    const void *from;
    size_t bytes;
};

static void run_copy(void *arg)
{
    const struct copy *copy = arg;
    char *to = bytes_of(copy->to);
    memmove(to, bytes_of(copy->from), copy->bytes);
    if (to != copy->to && script_number("FAKE_CUDA", "spoil", 0))
        *to ^= 1;
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    MAY_FAIL();
    struct copy *copy = malloc(sizeof *copy);
    if (copy)
        *copy = (struct copy){(void *)to, (void *)from, bytes};
    return put(stream, run_copy, copy, true);
}

struct clear {
    void *to;
    size_t bytes;
    unsigned char value;
};

static void run_clear(void *arg)
{
    const struct clear *clear = arg;
    memset(bytes_of(clear->to), clear->value, clear->bytes);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream)
{
    MAY_FAIL();
    struct clear *clear = malloc(sizeof *clear);
    if (clear)
        *clear = (struct clear){(void *)to, bytes, value};
    return put(stream, run_clear, clear, true);
}

static const char *const kernel_names[KERNEL_COUNT] = {
    [KERNEL_CAST] = "mst_kernel_cast",     [KERNEL_SUM] = "mst_kernel_sum",
    [KERNEL_SGD] = "mst_kernel_sgd",       [KERNEL_ADAMW] = "mst_kernel_adamw",
    [KERNEL_CRC32C] = "mst_kernel_crc32c",
};

static const size_t args_sizes[KERNEL_COUNT] = {
    [KERNEL_CAST] = sizeof(struct kernel_cast),     [KERNEL_SUM] = sizeof(struct kernel_sum),
    [KERNEL_SGD] = sizeof(struct kernel_sgd),       [KERNEL_ADAMW] = sizeof(struct kernel_adamw),
    [KERNEL_CRC32C] = sizeof(struct kernel_crc32c),
};

CUresult cuModuleLoadData(CUmodule *ret_module, const void *image)
{
    REFUSE_IF_FORBIDDEN;
    *ret_module = (CUmodule)(uintptr_t)image;
    if (*(const uint32_t *)image != FATBIN_MAGIC)
        return CUDA_ERROR_INVALID_VALUE;
    return (CUresult)script_number("FAKE_CUDA", "module", CUDA_SUCCESS);
}

CUresult cuModuleUnload(CUmodule module)
{
    (void)module;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *ret_function, CUmodule module, const char *name)
{
    (void)module;
    for (uintptr_t k = 0; k < KERNEL_COUNT; k++) {
        if (strcmp(kernel_names[k], name) == 0) {
            *ret_function = (CUfunction)(k + 1);
            return CUDA_SUCCESS;
        }
    }
    return NOT_FOUND;
}

/* The host's build of a kernel takes the host's addresses. */
#define TRANSLATE(address) ((address) = bytes_of(address))

static void translate_sum(struct kernel_sum *sum)
{
    TRANSLATE(sum->out);
    for (uint32_t n = 0; n < sum->in_count; n++)
        TRANSLATE(sum->in[n]);
}

static void translate(struct kernel_launch *launch)
{
    switch (launch->id) {
    case KERNEL_CAST:
        TRANSLATE(launch->args.cast.out);
        TRANSLATE(launch->args.cast.in);
        break;
    case KERNEL_SUM: translate_sum(&launch->args.sum); break;
    case KERNEL_SGD:
        TRANSLATE(launch->args.sgd.params);
        TRANSLATE(launch->args.sgd.momentum);
        TRANSLATE(launch->args.sgd.grads);
        break;
    case KERNEL_ADAMW:
        TRANSLATE(launch->args.adamw.params);
        TRANSLATE(launch->args.adamw.means);
        TRANSLATE(launch->args.adamw.squares);
        TRANSLATE(launch->args.adamw.grads);
        break;
    default:
        assert(launch->id == KERNEL_CRC32C);
        TRANSLATE(launch->args.crc32c.data);
        TRANSLATE(launch->args.crc32c.sums);
    }
}

static void run_kernel(void *arg)
{
    struct kernel_launch *launch = arg;
    translate(launch);
    kernels_run(launch, KERNEL_THREADS);
    if (launch->id == KERNEL_CAST && script_number("FAKE_CUDA", "flip", 0))
        *(char *)launch->args.cast.out ^= 1;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        CUstream stream, void **args, void **extra)
{
    MAY_FAIL();
    CUresult answer = (CUresult)script_number("FAKE_CUDA", "launch", CUDA_SUCCESS);
    if (grid_y * grid_z * block_y * block_z != 1 || block_x != KERNEL_THREADS || shared_bytes ||
        extra)
        answer = CUDA_ERROR_INVALID_VALUE;
    if (answer != CUDA_SUCCESS)
        return answer;
    struct kernel_launch *launch = malloc(sizeof *launch);
    if (launch) {
        *launch = (struct kernel_launch){.id = (enum kernel_id)((uintptr_t)function - 1),
                                         .blocks = grid_x};
        memcpy(&launch->args, args[0], args_sizes[launch->id]);
    }
    return put(stream, run_kernel, launch, true);
}

/* ---- events ---------------------------------------------------------------------------------- */

struct mark {
    CUevent event;
    CUstream stream; /* whose work it is */
    long number;
};

static void drop(CUevent event)
{
    if (atomic_fetch_sub(&event->holders, 1) == 1)
        free(event);
}

static void run_mark(void *arg)
{
    const struct mark *mark = arg;
    pthread_mutex_lock(&mark->stream->lock);
    atomic_store(&mark->event->result, mark->stream->result);
    pthread_mutex_unlock(&mark->stream->lock);
    if (atomic_load(&mark->event->reached) < mark->number)
        atomic_store(&mark->event->reached, mark->number);
    drop(mark->event);
}

static void run_wait(void *arg)
{
    const struct mark *mark = arg;
    while (atomic_load(&mark->event->reached) < mark->number)
        sched_yield();
    drop(mark->event);
}

static CUresult put_mark(CUevent event, CUstream stream, void (*function)(void *arg), long number)
{
    struct mark *mark = malloc(sizeof *mark);
    if (mark)
        *mark = (struct mark){event, stream, number};
    atomic_fetch_add(&event->holders, 1);
    CUresult result = put(stream, function, mark, true);
    if (result == CUDA_ERROR_INVALID_HANDLE || result == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
        drop(event); /* no work names it */
    return result;
}

static atomic_long events_made;

long fake_cuda_events_made(void)
{
    return atomic_load(&events_made);
}

CUresult cuEventCreate(CUevent *ret_event, unsigned flags)
{
    MAY_FAIL();
    CUresult scripted = (CUresult)script_number("FAKE_CUDA", "event", CUDA_SUCCESS);
    if (scripted != CUDA_SUCCESS)
        return scripted;
    CUevent event = calloc(1, sizeof *event);
    if (!event || flags != CU_EVENT_DISABLE_TIMING)
        return free(event), CUDA_ERROR_INVALID_VALUE;
    event->holders = 1;
    atomic_fetch_add(&events_made, 1);
    *ret_event = event;
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event)
{
    drop(event);
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream handle)
{
    MAY_FAIL();
    CUstream stream = find_stream(handle);
    event->stream = stream;
    return put_mark(event, stream, run_mark, atomic_fetch_add(&event->recorded, 1) + 1);
}

CUresult cuEventQuery(CUevent event)
{
    REFUSE_IF_FORBIDDEN;
    if (atomic_load(&event->reached) != atomic_load(&event->recorded))
        run_at_query(event->stream);
    if (atomic_load(&event->reached) != atomic_load(&event->recorded))
        return CUDA_ERROR_NOT_READY;
    MAY_FAIL();
    return atomic_load(&event->result);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    MAY_FAIL();
    (void)flags;
    return put_mark(event, stream, run_wait, atomic_load(&event->recorded));
}

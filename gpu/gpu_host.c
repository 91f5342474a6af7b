/* The reference back end: a queue is a thread that does its work in order, behind the caller's
 * back, as a device does. The device's memory is the host's. */
#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/core/thread.h"
#include "muster/gpu/backend.h"
#include "muster/gpu/kernels_host.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 256
#define WORK_MAX 64 /* in a queue; then whoever puts waits */

/* No call of a mutex or condition here can fail: each is ours, initialised, and locked by turns. */

/* Every address that is the device's, so that one can be told from another. */
struct block {
    struct block *next;
    char *data;
    size_t size_bytes;
    enum mst_mem mem;
};

struct host_gpu {
    struct mst_gpu base;
    struct {
        pthread_mutex_t lock; /* one for the device: its queues and events are few */
        pthread_cond_t moved; /* something was put, done or reached */
        size_t work_count;    /* in all queues */
        struct block *blocks;
    } locked;
};

struct host_event {
    struct mst_gpu_event base;
    struct {
        uint64_t recorded, reached; /* marks put, and the last one come to */
        size_t work_count;          /* marks, and waits for them, that queues still hold */
    } locked;                       /* by the device's lock */
};

enum work_kind { WORK_COPY, WORK_CLEAR, WORK_LAUNCH, WORK_MARK, WORK_WAIT };

struct work {
    enum work_kind kind;
    char *to;
    const char *from;
    size_t size_bytes;
    struct kernel_launch launch;
    struct host_event *event; /* of a mark or wait */
    uint64_t mark;
};

struct host_queue {
    struct mst_gpu_queue base;
    struct host_gpu *gpu;
    pthread_t thread;
    struct {
        size_t first, count;
        bool ending;
        struct work ring[WORK_MAX]; /* what is in it is the thread's, without the lock */
    } locked;                       /* by the device's lock */
};

/* ---- memory ---------------------------------------------------------------------------------- */

static int host_alloc(struct mst_gpu *base, size_t size_bytes, enum mst_mem mem, void **ret_data)
{
    struct host_gpu *gpu = (struct host_gpu *)base;
    struct block *block = malloc(sizeof *block);
    size_t rounded = mst_round_up(size_bytes, ALIGNMENT); /* to 0 from the last ones */
    void *data = block && rounded > 0 ? aligned_alloc(ALIGNMENT, rounded) : NULL;
    if (!data) {
        free(block);
        return -ENOMEM;
    }
    pthread_mutex_lock(&gpu->locked.lock);
    *block = (struct block){gpu->locked.blocks, data, size_bytes, mem};
    gpu->locked.blocks = block;
    pthread_mutex_unlock(&gpu->locked.lock);
    *ret_data = data;
    return 0;
}

/* Its queues reach all that is the host's. */
static int host_register(struct mst_gpu *base, void *data, size_t size_bytes)
{
    (void)base, (void)data, (void)size_bytes;
    return 0;
}

static void host_unregister(struct mst_gpu *base, void *data)
{
    (void)base, (void)data;
}

static struct block **find_block_locked(struct host_gpu *gpu, const char *address)
{
    assert(mst_lock_is_held(&gpu->locked.lock));
    struct block **at = &gpu->locked.blocks;
    while (*at && !(address >= (*at)->data && address < (*at)->data + (*at)->size_bytes))
        at = &(*at)->next;
    return at;
}

static enum mst_mem host_mem(struct mst_gpu *base, const void *address)
{
    struct host_gpu *gpu = (struct host_gpu *)base;
    pthread_mutex_lock(&gpu->locked.lock);
    const struct block *block = *find_block_locked(gpu, address);
    enum mst_mem mem = block ? block->mem : MST_MEM_HOST;
    pthread_mutex_unlock(&gpu->locked.lock);
    return mem;
}

static bool host_has(struct mst_gpu *base, const void *address)
{
    return host_mem(base, address) == MST_MEM_DEVICE;
}

/* Nobody else knows of this device. */
static int host_enter(struct mst_gpu *base)
{
    (void)base;
    return 0;
}

static void host_leave(struct mst_gpu *base)
{
    (void)base;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void pass_mark_locked(struct host_gpu *gpu, const struct work *work)
{
    struct host_event *event = work->event;
    assert(mst_lock_is_held(&gpu->locked.lock) && event->locked.work_count > 0);
    if (work->kind == WORK_MARK && work->mark > event->locked.reached)
        event->locked.reached = work->mark;
    while (work->kind == WORK_WAIT && event->locked.reached < work->mark)
        (void)mst_cond_wait(&gpu->locked.moved, &gpu->locked.lock, MST_NEVER);
    event->locked.work_count--;
    assert(event->locked.reached <= event->locked.recorded);
}

static void do_work_locked(struct host_gpu *gpu, const struct work *work)
{
    assert(mst_lock_is_held(&gpu->locked.lock));
    if (work->event) {
        pass_mark_locked(gpu, work);
        return;
    }
    pthread_mutex_unlock(&gpu->locked.lock);
    if (work->kind == WORK_COPY)
        memmove(work->to, work->from, work->size_bytes);
    else if (work->kind == WORK_CLEAR)
        memset(work->to, 0, work->size_bytes);
    else
        kernels_run(&work->launch, KERNEL_THREADS);
    pthread_mutex_lock(&gpu->locked.lock);
}

static void *queue_main(void *arg)
{
    struct host_queue *queue = arg;
    struct host_gpu *gpu = queue->gpu;
    pthread_mutex_lock(&gpu->locked.lock);
    for (;;) {
        while (queue->locked.count == 0 && !queue->locked.ending)
            (void)mst_cond_wait(&gpu->locked.moved, &gpu->locked.lock, MST_NEVER);
        if (queue->locked.count == 0)
            break;
        do_work_locked(gpu, &queue->locked.ring[queue->locked.first]);
        assert(queue->locked.count > 0 && gpu->locked.work_count >= queue->locked.count);
        queue->locked.first = (queue->locked.first + 1) % WORK_MAX;
        queue->locked.count--;
        gpu->locked.work_count--;
        pthread_cond_broadcast(&gpu->locked.moved);
    }
    pthread_mutex_unlock(&gpu->locked.lock);
    return NULL;
}

/* Puts a copy of *work into the queue; a mark gets its number here. */
static int put(struct mst_gpu_queue *base, const struct work *work)
{
    struct host_queue *queue = (struct host_queue *)base;
    struct host_gpu *gpu = queue->gpu;
    struct host_event *event = work->event;
    pthread_mutex_lock(&gpu->locked.lock);
    while (queue->locked.count == WORK_MAX)
        (void)mst_cond_wait(&gpu->locked.moved, &gpu->locked.lock, MST_NEVER);
    struct work *slot = &queue->locked.ring[(queue->locked.first + queue->locked.count) % WORK_MAX];
    *slot = *work;
    if (event) {
        event->locked.recorded += work->kind == WORK_MARK;
        event->locked.work_count++;
        slot->mark = event->locked.recorded;
    }
    queue->locked.count++;
    gpu->locked.work_count++;
    assert(queue->locked.count <= WORK_MAX && gpu->locked.work_count >= queue->locked.count);
    pthread_cond_broadcast(&gpu->locked.moved);
    pthread_mutex_unlock(&gpu->locked.lock);
    return 0;
}

/* Waits until *work_count, of the device or of an event, is 0. */
static void wait_idle_locked(struct host_gpu *gpu, const size_t *work_count)
{
    assert(mst_lock_is_held(&gpu->locked.lock));
    while (*work_count > 0)
        (void)mst_cond_wait(&gpu->locked.moved, &gpu->locked.lock, MST_NEVER);
}

static void host_free(struct mst_gpu *base, void *data, enum mst_mem mem)
{
    struct host_gpu *gpu = (struct host_gpu *)base;
    (void)mem; /* all kinds are the host's */
    pthread_mutex_lock(&gpu->locked.lock);
    wait_idle_locked(gpu, &gpu->locked.work_count);
    struct block **at = find_block_locked(gpu, data), *block = *at;
    assert(block);
    *at = block->next;
    pthread_mutex_unlock(&gpu->locked.lock);
    free(block->data);
    free(block);
}

/* ---- queues ---------------------------------------------------------------------------------- */

static int host_queue_create(struct mst_gpu *base, struct mst_gpu_queue **ret_queue)
{
    struct host_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -ENOMEM;
    queue->base.gpu = base;
    queue->gpu = (struct host_gpu *)base;
    if (mst_thread_start(&queue->thread, "mst-gpu", queue_main, queue) < 0) {
        free(queue);
        return -ENOMEM;
    }
    *ret_queue = &queue->base;
    return 0;
}

static void host_queue_destroy(struct mst_gpu_queue *base)
{
    struct host_queue *queue = (struct host_queue *)base;
    pthread_mutex_lock(&queue->gpu->locked.lock);
    queue->locked.ending = true;
    pthread_cond_broadcast(&queue->gpu->locked.moved);
    pthread_mutex_unlock(&queue->gpu->locked.lock);
    (void)pthread_join(queue->thread, NULL); /* ours, joined once */
    free(queue);
}

static void *host_queue_native(const struct mst_gpu_queue *queue)
{
    (void)queue; /* no library knows it */
    return NULL;
}

static int host_queue_query(struct mst_gpu_queue *base)
{
    struct host_queue *queue = (struct host_queue *)base;
    pthread_mutex_lock(&queue->gpu->locked.lock);
    bool done = queue->locked.count == 0;
    pthread_mutex_unlock(&queue->gpu->locked.lock);
    return done ? 0 : -EAGAIN;
}

static int host_copy(struct mst_gpu_queue *queue, void *to, const void *from, size_t size_bytes)
{
    struct work work = {.kind = WORK_COPY, .to = to, .from = from, .size_bytes = size_bytes};
    return put(queue, &work);
}

static int host_clear(struct mst_gpu_queue *queue, void *to, size_t size_bytes)
{
    struct work work = {.kind = WORK_CLEAR, .to = to, .size_bytes = size_bytes};
    return put(queue, &work);
}

static int host_launch(struct mst_gpu_queue *queue, const struct kernel_launch *launch)
{
    struct work work = {.kind = WORK_LAUNCH, .launch = *launch};
    return put(queue, &work);
}

/* ---- events ---------------------------------------------------------------------------------- */

static int host_event_create(struct mst_gpu *gpu, struct mst_gpu_event **ret_event)
{
    struct host_event *event = calloc(1, sizeof *event);
    if (!event)
        return -ENOMEM;
    event->base.gpu = gpu;
    *ret_event = &event->base;
    return 0;
}

static void host_event_destroy(struct mst_gpu_event *base)
{
    struct host_event *event = (struct host_event *)base;
    struct host_gpu *gpu = (struct host_gpu *)base->gpu;
    pthread_mutex_lock(&gpu->locked.lock);
    wait_idle_locked(gpu, &event->locked.work_count);
    pthread_mutex_unlock(&gpu->locked.lock);
    free(event);
}

static int host_event_record(struct mst_gpu_event *event, struct mst_gpu_queue *queue)
{
    struct work work = {.kind = WORK_MARK, .event = (struct host_event *)event};
    return put(queue, &work);
}

static int host_queue_wait_event(struct mst_gpu_queue *queue, struct mst_gpu_event *event)
{
    struct work work = {.kind = WORK_WAIT, .event = (struct host_event *)event};
    return put(queue, &work);
}

static int host_event_query(struct mst_gpu_event *base)
{
    struct host_event *event = (struct host_event *)base;
    struct host_gpu *gpu = (struct host_gpu *)base->gpu;
    pthread_mutex_lock(&gpu->locked.lock);
    bool reached = event->locked.reached == event->locked.recorded;
    pthread_mutex_unlock(&gpu->locked.lock);
    return reached ? 0 : -EAGAIN;
}

/* ---- device ---------------------------------------------------------------------------------- */

static int host_open(const struct mst_gpu_opts *opts, struct mst_gpu **ret_gpu, struct mst_err *err)
{
    uint32_t device = opts->device == MST_GPU_BY_RANK ? opts->local_rank : opts->device;
    struct host_gpu *gpu = calloc(1, sizeof *gpu);
    if (!gpu)
        return mst_err_set(err, -ENOMEM, "no memory for a device");
    gpu->base.ops = &gpu_host_ops;
    (void)snprintf(gpu->base.name, sizeof gpu->base.name, "host threads, device %u", device);
    pthread_mutex_init(&gpu->locked.lock, NULL);
    mst_cond_init(&gpu->locked.moved);
    *ret_gpu = &gpu->base;
    return 0;
}

static void host_close(struct mst_gpu *base)
{
    struct host_gpu *gpu = (struct host_gpu *)base;
    assert(!gpu->locked.blocks);
    pthread_cond_destroy(&gpu->locked.moved);
    pthread_mutex_destroy(&gpu->locked.lock);
    free(gpu);
}

const struct gpu_ops gpu_host_ops = {
    .name = "host",
    .open = host_open,
    .close = host_close,
    .alloc = host_alloc,
    .free = host_free,
    .register_memory = host_register,
    .unregister_memory = host_unregister,
    .mem = host_mem,
    .has = host_has,
    .enter = host_enter,
    .leave = host_leave,
    .queue_create = host_queue_create,
    .queue_destroy = host_queue_destroy,
    .queue_native = host_queue_native,
    .queue_query = host_queue_query,
    .copy = host_copy,
    .clear = host_clear,
    .launch = host_launch,
    .event_create = host_event_create,
    .event_destroy = host_event_destroy,
    .event_record = host_event_record,
    .event_query = host_event_query,
    .queue_wait_event = host_queue_wait_event,
};

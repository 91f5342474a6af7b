/* aio_threads: the back end that works everywhere. A few threads take attempts from one queue and
 * make them by blocking calls. The only pool of threads in Muster.
 *
 * Four threads keep a disk busy with large reads, and a queue entry is the slot itself, so the
 * queues are bounded by the depth and need no memory of their own. */
#include "muster/core/aio/backend.h"
#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/core/thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREAD_COUNT_MAX 4u

struct queue {
    struct aio_slot *first, **end;
    size_t count;
};

struct pool {
    pthread_t threads[THREAD_COUNT_MAX];
    uint32_t thread_count;
    pthread_cond_t work;  /* `waiting` grew, or `stop` */
    pthread_cond_t ended; /* `done` reached `done_want` */
    struct {
        pthread_mutex_t lock;
        struct queue waiting, done;
        size_t done_want; /* 0: nobody waits */
        bool stop;
    } locked;
};

static void push(struct queue *queue, struct aio_slot *slot)
{
    slot->next = NULL;
    *queue->end = slot;
    queue->end = &slot->next;
    queue->count++;
}

static struct aio_slot *pop(struct queue *queue)
{
    struct aio_slot *slot = queue->first;
    assert(slot && queue->count > 0);
    queue->first = slot->next;
    if (!queue->first)
        queue->end = &queue->first;
    queue->count--;
    assert((queue->first != NULL) == (queue->count > 0));
    return slot;
}

static struct aio_slot *next_attempt_locked(struct pool *pool)
{
    assert(mst_lock_is_held(&pool->locked.lock));
    while (pool->locked.waiting.count == 0 && !pool->locked.stop)
        pthread_cond_wait(&pool->work, &pool->locked.lock);
    return pool->locked.waiting.count ? pop(&pool->locked.waiting) : NULL;
}

static void *worker(void *arg)
{
    struct pool *pool = arg;
    pthread_mutex_lock(&pool->locked.lock);
    struct aio_slot *slot;
    while ((slot = next_attempt_locked(pool))) {
        pthread_mutex_unlock(&pool->locked.lock);
        slot->result = aio_attempt(slot);
        pthread_mutex_lock(&pool->locked.lock);
        push(&pool->locked.done, slot);
        if (pool->locked.done_want && pool->locked.done.count >= pool->locked.done_want)
            pthread_cond_signal(&pool->ended);
    }
    pthread_mutex_unlock(&pool->locked.lock);
    return NULL;
}

static int start_threads(struct pool *pool, uint32_t count)
{
    int rc = 0;
    while (pool->thread_count < count && rc == 0) {
        char name[20];
        (void)snprintf(name, sizeof name, "mst-aio-%u", pool->thread_count); /* fits */
        rc = mst_thread_start(&pool->threads[pool->thread_count], name, worker, pool);
        if (rc == 0)
            pool->thread_count++;
    }
    return pool->thread_count ? 0 : rc; /* fewer threads are slower, not wrong */
}

static void pool_destroy(void *impl)
{
    struct pool *pool = impl;
    if (!pool)
        return;
    pthread_mutex_lock(&pool->locked.lock);
    pool->locked.stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->locked.lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->locked.lock);
    free(pool);
}

static int pool_create(uint32_t depth, void **ret_impl, struct mst_err *err)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return mst_err_set(err, -ENOMEM, "aio: no memory for the thread pool");
    pool->locked.waiting.end = &pool->locked.waiting.first;
    pool->locked.done.end = &pool->locked.done.first;
    pthread_mutex_init(&pool->locked.lock, NULL);
    mst_cond_init(&pool->work);
    mst_cond_init(&pool->ended);
    int rc = start_threads(pool, (uint32_t)mst_least(depth, THREAD_COUNT_MAX));
    if (rc) {
        pool_destroy(pool);
        return mst_err_set(err, -ENOMEM, "aio: cannot start a thread: %s", mst_err_meaning(rc));
    }
    *ret_impl = pool;
    return 0;
}

static bool pool_start(void *impl, struct aio_slot *slot)
{
    struct pool *pool = impl;
    pthread_mutex_lock(&pool->locked.lock);
    push(&pool->locked.waiting, slot);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->locked.lock);
    return true;
}

static size_t pool_collect(void *impl, struct aio_slot **ret_slots, size_t cap, size_t want,
                           uint64_t deadline_ns)
{
    struct pool *pool = impl;
    pthread_mutex_lock(&pool->locked.lock);
    pool->locked.done_want = want;
    while (pool->locked.done.count < want &&
           mst_cond_wait(&pool->ended, &pool->locked.lock, deadline_ns) == 0)
        continue;
    pool->locked.done_want = 0;
    size_t count = 0;
    while (count < cap && pool->locked.done.count)
        ret_slots[count++] = pop(&pool->locked.done);
    pthread_mutex_unlock(&pool->locked.lock);
    return count;
}

const struct aio_backend aio_threads = {
    .name = "threads",
    .create = pool_create,
    .destroy = pool_destroy,
    .start = pool_start,
    .collect = pool_collect,
};

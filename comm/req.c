/* The queue of started collectives. */
#include "muster/comm/req.h"

#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* No call of a mutex or condition here can fail: each is ours, initialised, and locked by turns. */

/* The request that runs now or next. */
static struct mst_req *first_locked(struct req_queue *queue)
{
    assert(mst_lock_is_held(&queue->locked.lock) && queue->locked.count > 0);
    struct mst_req *req = queue->locked.fifo[queue->locked.head];
    assert(req->state == REQ_QUEUED);
    return req;
}

static void finish_locked(struct req_queue *queue, struct mst_req *req, int result)
{
    assert(mst_lock_is_held(&queue->locked.lock) && req == first_locked(queue));
    req->result = result;
    req->state = req->waited_for ? REQ_DONE : REQ_FREE;
    queue->locked.head = (queue->locked.head + 1) % MST_COMM_REQS_MAX;
    queue->locked.count--;
    queue->locked.started -= !req->call.enqueued;
    queue->locked.unheld -= !req->waited_for;
    pthread_cond_broadcast(&queue->locked.done);
}

static void *progress(void *arg)
{
    struct req_queue *queue = arg;
    pthread_mutex_lock(&queue->locked.lock);
    for (;;) {
        while (queue->locked.count == 0 && !queue->locked.ending)
            (void)mst_cond_wait(&queue->locked.queued, &queue->locked.lock, MST_NEVER);
        if (queue->locked.count == 0)
            break;
        struct mst_req *req = first_locked(queue);
        pthread_mutex_unlock(&queue->locked.lock);
        int rc = queue->run(queue->arg, &req->call);
        pthread_mutex_lock(&queue->locked.lock);
        finish_locked(queue, req, rc);
    }
    pthread_mutex_unlock(&queue->locked.lock);
    return NULL;
}

int req_queue_create(req_run_fn run, void *arg, struct req_queue **ret_queue)
{
    struct req_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -ENOMEM;
    queue->run = run;
    queue->arg = arg;
    pthread_mutex_init(&queue->locked.lock, NULL);
    mst_cond_init(&queue->locked.queued);
    mst_cond_init(&queue->locked.done);
    if (mst_thread_start(&queue->thread, "mst-comm", progress, queue) < 0) {
        free(queue);
        return -ENOMEM;
    }
    *ret_queue = queue;
    return 0;
}

void req_queue_destroy(struct req_queue *queue)
{
    if (!queue)
        return;
    pthread_mutex_lock(&queue->locked.lock);
    queue->locked.ending = true;
    pthread_cond_signal(&queue->locked.queued);
    pthread_mutex_unlock(&queue->locked.lock);
    (void)pthread_join(queue->thread, NULL); /* ours, joined once */
    assert(queue->locked.count == 0);
    pthread_cond_destroy(&queue->locked.done);
    pthread_cond_destroy(&queue->locked.queued);
    pthread_mutex_destroy(&queue->locked.lock);
    free(queue);
}

static struct mst_req *free_req_locked(struct req_queue *queue)
{
    assert(mst_lock_is_held(&queue->locked.lock));
    for (size_t i = 0; i < MST_COMM_REQS_MAX; i++)
        if (queue->reqs[i].state == REQ_FREE)
            return &queue->reqs[i];
    return NULL;
}

int req_await_room(struct req_queue *queue, bool waited_for)
{
    pthread_mutex_lock(&queue->locked.lock);
    bool has_room = free_req_locked(queue);
    while (!has_room && !waited_for && queue->locked.unheld > 0) {
        (void)mst_cond_wait(&queue->locked.done, &queue->locked.lock, MST_NEVER);
        has_room = free_req_locked(queue);
    }
    pthread_mutex_unlock(&queue->locked.lock);
    return has_room ? 0 : -EAGAIN;
}

int req_start(struct req_queue *queue, const struct comm_call *call, struct mst_req **ret_req)
{
    pthread_mutex_lock(&queue->locked.lock);
    struct mst_req *req = free_req_locked(queue);
    if (req) {
        assert(queue->locked.count < MST_COMM_REQS_MAX); /* whatever is queued is not free */
        *req = (struct mst_req){
            .queue = queue, .call = *call, .waited_for = ret_req != NULL, .state = REQ_QUEUED};
        size_t tail = (queue->locked.head + queue->locked.count) % MST_COMM_REQS_MAX;
        queue->locked.fifo[tail] = req;
        queue->locked.count++;
        queue->locked.started += !call->enqueued;
        queue->locked.unheld += !ret_req;
        pthread_cond_signal(&queue->locked.queued);
    }
    pthread_mutex_unlock(&queue->locked.lock);
    if (!req)
        return -EAGAIN;
    if (ret_req)
        *ret_req = req;
    return 0;
}

static bool is_waiting_locked(struct req_queue *queue, const struct mst_req *req)
{
    assert(mst_lock_is_held(&queue->locked.lock) && req->state != REQ_FREE);
    return req->state == REQ_QUEUED && first_locked(queue) != req;
}

int req_await_turn(struct mst_req *req)
{
    struct req_queue *queue = req->queue;
    uint64_t deadline_ns = req->call.deadline_ns ? req->call.deadline_ns : MST_NEVER;
    pthread_mutex_lock(&queue->locked.lock);
    bool is_open = req->state != REQ_FREE;
    int rc = is_open ? 0 : -EINVAL;
    while (rc == 0 && is_waiting_locked(queue, req))
        rc = mst_cond_wait(&queue->locked.done, &queue->locked.lock, deadline_ns);
    if (is_open && !is_waiting_locked(queue, req)) /* it may have come to it at the last moment */
        rc = 0;
    pthread_mutex_unlock(&queue->locked.lock);
    return rc;
}

int req_wait(struct mst_req *req)
{
    struct req_queue *queue = req->queue;
    pthread_mutex_lock(&queue->locked.lock);
    assert(req->state != REQ_FREE);
    while (req->state != REQ_DONE)
        (void)mst_cond_wait(&queue->locked.done, &queue->locked.lock, MST_NEVER);
    int rc = req->result;
    req->state = REQ_FREE;
    pthread_mutex_unlock(&queue->locked.lock);
    return rc;
}

int req_drain(struct req_queue *queue, bool but_enqueued, uint64_t deadline_ns)
{
    const size_t *left = but_enqueued ? &queue->locked.started : &queue->locked.count;
    int rc = 0;
    pthread_mutex_lock(&queue->locked.lock);
    while (rc == 0 && *left > 0)
        rc = mst_cond_wait(&queue->locked.done, &queue->locked.lock, deadline_ns);
    if (*left == 0) /* at the last moment */
        rc = 0;
    pthread_mutex_unlock(&queue->locked.lock);
    return rc;
}

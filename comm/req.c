/* The queue of started collectives. */
#include "muster/comm/req.h"
#include "muster/core/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void *progress(void *arg)
{
    struct req_queue *queue = arg;
    (void)pthread_mutex_lock(&queue->locked.lock);
    for (;;) {
        while (queue->locked.count == 0 && !queue->locked.ending)
            (void)pthread_cond_wait(&queue->locked.queued, &queue->locked.lock);
        if (queue->locked.count == 0)
            break;
        struct mst_req *req = queue->locked.fifo[queue->locked.head];
        (void)pthread_mutex_unlock(&queue->locked.lock);
        int result = queue->run(queue->arg, &req->call);
        (void)pthread_mutex_lock(&queue->locked.lock);
        req->result = result;
        req->state = REQ_DONE;
        queue->locked.head = (queue->locked.head + 1) % MST_COMM_REQS_MAX;
        queue->locked.count--;
        (void)pthread_cond_broadcast(&queue->locked.done);
    }
    (void)pthread_mutex_unlock(&queue->locked.lock);
    return NULL;
}

static int start_thread(struct req_queue *queue)
{
    return mst_thread_start(&queue->thread, "mst-comm", progress, queue) ? -ENOMEM : 0;
}

int req_queue_create(req_run_fn run, void *arg, struct req_queue **ret_queue)
{
    struct req_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -ENOMEM;
    queue->run = run;
    queue->arg = arg;
    /* Default attributes: these cannot fail on Linux. */
    (void)pthread_mutex_init(&queue->locked.lock, NULL);
    (void)pthread_cond_init(&queue->locked.queued, NULL);
    (void)pthread_cond_init(&queue->locked.done, NULL);
    int rc = start_thread(queue);
    if (rc < 0) {
        free(queue);
        return rc;
    }
    *ret_queue = queue;
    return 0;
}

void req_queue_destroy(struct req_queue *queue)
{
    if (!queue)
        return;
    (void)pthread_mutex_lock(&queue->locked.lock);
    queue->locked.ending = true;
    (void)pthread_cond_signal(&queue->locked.queued);
    (void)pthread_mutex_unlock(&queue->locked.lock);
    (void)pthread_join(queue->thread, NULL);
    (void)pthread_cond_destroy(&queue->locked.done);
    (void)pthread_cond_destroy(&queue->locked.queued);
    (void)pthread_mutex_destroy(&queue->locked.lock);
    free(queue);
}

static struct mst_req *free_req_locked(struct req_queue *queue)
{
    for (size_t i = 0; i < MST_COMM_REQS_MAX; i++)
        if (queue->reqs[i].state == REQ_FREE)
            return &queue->reqs[i];
    return NULL;
}

int req_start(struct req_queue *queue, const struct comm_call *call, struct mst_req **ret_req)
{
    (void)pthread_mutex_lock(&queue->locked.lock);
    struct mst_req *req = free_req_locked(queue);
    if (req) {
        *req = (struct mst_req){.queue = queue, .call = *call, .state = REQ_QUEUED};
        size_t tail = (queue->locked.head + queue->locked.count) % MST_COMM_REQS_MAX;
        queue->locked.fifo[tail] = req;
        queue->locked.count++;
        (void)pthread_cond_signal(&queue->locked.queued);
    }
    (void)pthread_mutex_unlock(&queue->locked.lock);
    if (!req)
        return -EAGAIN;
    *ret_req = req;
    return 0;
}

int req_wait(struct mst_req *req)
{
    struct req_queue *queue = req->queue;
    (void)pthread_mutex_lock(&queue->locked.lock);
    assert(req->state != REQ_FREE);
    while (req->state != REQ_DONE)
        (void)pthread_cond_wait(&queue->locked.done, &queue->locked.lock);
    int result = req->result;
    req->state = REQ_FREE;
    (void)pthread_mutex_unlock(&queue->locked.lock);
    return result;
}

void req_drain(struct req_queue *queue)
{
    (void)pthread_mutex_lock(&queue->locked.lock);
    while (queue->locked.count > 0)
        (void)pthread_cond_wait(&queue->locked.done, &queue->locked.lock);
    (void)pthread_mutex_unlock(&queue->locked.lock);
}

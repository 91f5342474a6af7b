/* Started collectives, and the thread that runs them in order. The thread is created by the first
 * start; a communicator that only blocks never has one. */
#ifndef MUSTER_COMM_REQ_H
#define MUSTER_COMM_REQ_H

#include "muster/comm/backend.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Runs one call; the queue serialises it with all others. */
typedef int (*req_run_fn)(void *arg, const struct comm_call *call);

enum req_state { REQ_FREE, REQ_QUEUED, REQ_DONE };

struct req_queue;

struct mst_req {
    struct req_queue *queue;
    struct comm_call call;
    bool waited_for;      /* somebody takes the result */
    enum req_state state; /* under the queue's lock */
    int result;
};

struct req_queue {
    req_run_fn run;
    void *arg;
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t queued; /* the thread waits for work or the end */
        pthread_cond_t done;   /* callers wait for results */
        struct mst_req *fifo[MST_COMM_REQS_MAX];
        size_t head, count; /* fifo[head] runs now or next */
        size_t started;     /* of them, those that are not enqueued */
        size_t unheld;      /* of them, those that nobody waits for */
        bool ending;
    } locked;
    struct mst_req reqs[MST_COMM_REQS_MAX];
};

/* Starts the thread. 0; -ENOMEM, also if there can be no thread. */
int req_queue_create(req_run_fn run, void *arg, struct req_queue **ret_queue);

/* Joins the thread after what is queued has run. NULL is allowed. */
void req_queue_destroy(struct req_queue *queue);

/* Waits until one more call can be queued. 0; -EAGAIN all requests are open, and end only when
 * somebody waits for them; or the call is `waited_for` itself, which is not to block. */
int req_await_room(struct req_queue *queue, bool waited_for);

/* Queues a call, copied; ret_req NULL: nobody waits for it. 0; -EAGAIN when all requests are open.
 * Does not block. */
int req_start(struct req_queue *queue, const struct comm_call *call, struct mst_req **ret_req);

/* Waits until what was started before the request is done. 0; -ETIMEDOUT its call's deadline passed
 * first; -EINVAL it is free: somebody has waited for it. */
int req_await_turn(struct mst_req *req);

/* Waits until the request is done, frees it, returns its result. */
int req_wait(struct mst_req *req);

/* Waits until nothing is queued or running, or nothing but what is enqueued. 0; -ETIMEDOUT. */
int req_drain(struct req_queue *queue, bool but_enqueued, uint64_t deadline_ns);

#endif

#include "muster/comm/req.h"
#include "soon.h"

#include "muster/core/clock.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg);

static int thread_refusal;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg)
{
    return thread_refusal ? thread_refusal : __real_pthread_create(thread, attr, main, arg);
}

/* A back end that notes the order of its calls, and can be held up. */
struct notes {
    sem_t gate;
    uint64_t counts[3 * MST_COMM_REQS_MAX];
    size_t count;
    char thread_name[16];
    bool takes_signals;
};

static int note(void *arg, const struct comm_call *call)
{
    struct notes *notes = arg;
    sigset_t blocked;
    (void)sem_wait(&notes->gate);
    notes->counts[notes->count++] = call->desc.count;
    (void)pthread_getname_np(pthread_self(), notes->thread_name, sizeof notes->thread_name);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    notes->takes_signals = sigismember(&blocked, SIGTERM) == 0;
    return -(int)call->desc.count;
}

static struct req_queue *open_queue(struct notes *notes)
{
    struct req_queue *queue;
    memset(notes, 0, sizeof *notes);
    assert_int_equal(sem_init(&notes->gate, 0, 0), 0);
    assert_int_equal(req_queue_create(note, notes, &queue), 0);
    return queue;
}

static struct mst_req *start(struct req_queue *queue, uint64_t count)
{
    struct mst_req *req;
    struct comm_call call = {.desc.count = count};
    assert_int_equal(req_start(queue, &call, &req), 0);
    return req;
}

static void calls_run_in_order_on_a_quiet_thread(void **state)
{
    (void)state;
    struct notes notes;
    struct req_queue *queue = open_queue(&notes);
    struct mst_req *reqs[3] = {start(queue, 1), start(queue, 2), start(queue, 3)};
    for (int i = 0; i < 3; i++)
        (void)sem_post(&notes.gate);
    assert_int_equal(req_wait(reqs[2]), -3);
    assert_int_equal(req_wait(reqs[0]), -1);
    assert_int_equal(req_wait(reqs[1]), -2);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(notes.counts[i], i + 1);
    assert_string_equal(notes.thread_name, "mst-comm");
    assert_false(notes.takes_signals);
    req_queue_destroy(queue);
}

static void a_full_queue_says_so_and_recovers(void **state)
{
    (void)state;
    struct notes notes;
    struct req_queue *queue = open_queue(&notes);
    struct mst_req *reqs[MST_COMM_REQS_MAX], *extra;
    struct comm_call call = {.desc.count = 99};
    for (size_t i = 0; i < MST_COMM_REQS_MAX; i++)
        reqs[i] = start(queue, i);
    assert_int_equal(req_start(queue, &call, &extra), -EAGAIN);
    (void)sem_post(&notes.gate);
    assert_int_equal(req_wait(reqs[0]), 0);
    assert_int_equal(req_await_turn(reqs[0]), -EINVAL);
    assert_int_equal(req_start(queue, &call, &extra), 0);
    for (size_t i = 0; i < MST_COMM_REQS_MAX; i++)
        (void)sem_post(&notes.gate);
    assert_int_equal(req_wait(extra), -99);
    for (size_t i = 1; i < MST_COMM_REQS_MAX; i++)
        assert_int_equal(req_wait(reqs[i]), -(int)i);
    req_queue_destroy(queue);
}

/* What nobody waits for makes room by itself, and is waited for if there is no other. */
static void what_nobody_waits_for_makes_room(void **state)
{
    (void)state;
    struct notes notes;
    struct req_queue *queue = open_queue(&notes);
    struct mst_req *req = NULL;
    struct comm_call call = {.desc.count = 7, .enqueued = true};
    for (size_t i = 0; i < MST_COMM_REQS_MAX; i++)
        assert_int_equal(req_start(queue, &call, NULL), 0);
    assert_int_equal(req_await_room(queue, true), -EAGAIN);
    assert_int_equal(req_drain(queue, true, 1), 0);
    assert_int_equal(req_drain(queue, false, 1), -ETIMEDOUT);
    (void)sem_post(&notes.gate);
    assert_int_equal(req_await_room(queue, false), 0);
    req = start(queue, 8);
    assert_int_equal(req_drain(queue, true, 1), -ETIMEDOUT);
    for (size_t i = 0; i < MST_COMM_REQS_MAX; i++)
        (void)sem_post(&notes.gate);
    assert_int_equal(req_wait(req), -8);
    assert_int_equal(req_await_room(queue, true), 0);
    for (size_t i = 0; i < MST_COMM_REQS_MAX; i++)
        (void)start(queue, 9); /* whose results nobody takes before the end */
    assert_int_equal(req_await_room(queue, false), -EAGAIN);
    for (size_t i = 0; i < MST_COMM_REQS_MAX; i++)
        (void)sem_post(&notes.gate);
    req_queue_destroy(queue);
}

/* -EAGAIN means "wait for a request first", and there is none. */
static void no_thread_is_no_memory(void **state)
{
    (void)state;
    struct req_queue *queue = NULL;
    thread_refusal = EAGAIN;
    assert_int_equal(req_queue_create(note, NULL, &queue), -ENOMEM);
    assert_null(queue);
    thread_refusal = 0;
}

/* What was started is run, whether somebody waits for it or not. */
static void the_end_comes_after_what_is_queued(void **state)
{
    (void)state;
    struct notes notes;
    struct req_queue *queue = open_queue(&notes);
    (void)start(queue, 1);
    (void)start(queue, 2);
    (void)sem_post(&notes.gate);
    (void)sem_post(&notes.gate);
    req_queue_destroy(queue);
    assert_int_equal(notes.count, 2);
}

static void a_drain_waits_for_all(void **state)
{
    (void)state;
    struct notes notes;
    struct req_queue *queue = open_queue(&notes);
    struct mst_req *a = start(queue, 1), *b = start(queue, 2);
    (void)sem_post(&notes.gate);
    (void)sem_post(&notes.gate);
    assert_int_equal(req_drain(queue, false, soon()), 0);
    assert_int_equal(notes.count, 2);
    assert_int_equal(req_wait(a), -1);
    assert_int_equal(req_wait(b), -2);
    req_queue_destroy(queue);
    req_queue_destroy(NULL);
}

/* Whoever waits for something queued may stop waiting; what runs is not disturbed. */
static void a_turn_is_waited_for_until_the_deadline(void **state)
{
    (void)state;
    struct notes notes;
    struct req_queue *queue = open_queue(&notes);
    struct mst_req *a = start(queue, 1), *b = NULL;
    struct comm_call late = {.desc.count = 2, .deadline_ns = 1};
    assert_int_equal(req_start(queue, &late, &b), 0);
    assert_int_equal(req_await_turn(b), -ETIMEDOUT);
    assert_int_equal(req_drain(queue, false, 1), -ETIMEDOUT);
    assert_int_equal(req_await_turn(a), 0);
    (void)sem_post(&notes.gate);
    assert_int_equal(req_wait(a), -1);
    assert_int_equal(req_await_turn(b), 0);
    (void)sem_post(&notes.gate);
    assert_int_equal(req_drain(queue, false, soon()), 0);
    assert_int_equal(req_drain(queue, false, 1), 0);
    assert_int_equal(req_wait(b), -2);
    req_queue_destroy(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_run_in_order_on_a_quiet_thread),
        cmocka_unit_test(a_full_queue_says_so_and_recovers),
        cmocka_unit_test(what_nobody_waits_for_makes_room),
        cmocka_unit_test(no_thread_is_no_memory),
        cmocka_unit_test(the_end_comes_after_what_is_queued),
        cmocka_unit_test(a_drain_waits_for_all),
        cmocka_unit_test(a_turn_is_waited_for_until_the_deadline),
    };
    return cmocka_run_group_tests_name("comm_req", tests, NULL, NULL);
}

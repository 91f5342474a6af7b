/* The nccl back end on a fake driver and a fake NCCL: the conformance cases, memory of the device,
 * and every fault that the fake can be told to have. */
#include "comm_cases.h"
#include "comm_team.h"
#include "muster/core/world/page.h"
#include "muster/gpu/gpu.h"
#include "soon.h"
#include "unit/fake_driver.h"

#include <sys/wait.h>

#define CLOSE_MS 5000 /* nccl.c's */

/* What waiting for a hung NCCL would take is not waited for, but only told. */
static bool closing_hangs;

uint64_t __real_mst_deadline_ms(uint64_t timeout_ms);
uint64_t __wrap_mst_deadline_ms(uint64_t timeout_ms);

uint64_t __wrap_mst_deadline_ms(uint64_t timeout_ms)
{
    bool over = closing_hangs && (timeout_ms == CLOSE_MS || timeout_ms == CLOSE_MS / 2);
    return over ? mst_now_ns() : __real_mst_deadline_ms(timeout_ms);
}

static void script(const char *text)
{
    (void)setenv("FAKE_NCCL", text, 1);
}

static int reset(void **state)
{
    (void)state;
    script("");
    (void)setenv("FAKE_CUDA", "", 1);
    closing_hangs = false;
    return 0;
}

static void run_team(struct team team)
{
    team.backend = "nccl";
    team_run(&team);
}

/* ---- what it does ---------------------------------------------------------------------------- */

static void together(void *arg)
{
    struct team *team = arg;
    (void)pthread_barrier_wait(&team->barrier);
}

/* NCCL knows of no nodes: the fake reduces in rank order. */
static const char *run_cases(struct team_rank *rank)
{
    struct team *team = rank->team;
    uint32_t flat[] = {team->size, 0};
    struct cases_rank view = {
        .comm = rank->comm,
        .rank = rank->world.rank,
        .size = team->size,
        .node_sizes = flat,
        .expected = team->arg,
        .together = together,
        .arg = team,
    };
    TEAM_CHECK(rank, strcmp(mst_comm_backend(rank->comm), "nccl") == 0, "not nccl");
    const char *fault = cases_run(&view);
    TEAM_CHECK(rank, !fault, "%s", fault);
    return NULL;
}

static void run_conformance(struct team team)
{
    team.run = run_cases;
    team.arg = malloc(cases_bytes(TEAM_RANKS_MAX));
    assert_non_null(team.arg);
    run_team(team);
    free(team.arg);
}

static void conforms_alone(void **state)
{
    (void)state;
    run_conformance((struct team){.name = __func__, .node_sizes = {1}});
}

static void conforms_on_one_node(void **state)
{
    (void)state;
    run_conformance((struct team){.name = __func__, .node_sizes = {3}});
}

static void conforms_on_two_nodes(void **state)
{
    (void)state;
    (void)setenv("FAKE_CUDA", "own=1", 1);
    run_conformance((struct team){.name = __func__, .node_sizes = {1, 1}});
}

enum { COUNT = 300000 };

/* Allreduce of rank + i on the device, which the host must not touch (the fake's memory faults). */
static const char *on_device(struct team_rank *rank, struct mst_gpu *gpu)
{
    struct mst_gpu_queue *queue = NULL;
    struct mst_gpu_event *event = NULL;
    struct mst_span device = {0}, pinned = {0};
    size_t bytes = COUNT * sizeof(float), wrong = 0;
    int rc = mst_gpu_queue_create(gpu, &queue) || mst_gpu_event_create(gpu, &event) ||
             mst_gpu_alloc(gpu, bytes, MST_MEM_DEVICE, &device) ||
             mst_gpu_alloc(gpu, bytes, MST_MEM_PINNED, &pinned);
    float *values = pinned.data;
    for (size_t i = 0; rc == 0 && i < COUNT; i++)
        values[i] = (float)(rank->world.rank + i);
    rc = rc || mst_gpu_copy(queue, device.data, values, bytes) ||
         mst_gpu_event_record(event, queue) || mst_gpu_event_wait(event, soon());
    int mixed = rc ? rc
                   : mst_comm_allreduce(rank->comm, values, device.data, 8, MST_F32, MST_SUM, NULL);
    bool is_named = strstr(mst_comm_error(rank->comm), "\"out\" is memory of the device");
    rc = rc ? rc
            : mst_comm_allreduce(rank->comm, device.data, device.data, COUNT, MST_F32, MST_SUM,
                                 NULL);
    rc = rc || mst_gpu_copy(queue, values, device.data, bytes) ||
         mst_gpu_event_record(event, queue) || mst_gpu_event_wait(event, soon());
    for (size_t i = 0; rc == 0 && i < COUNT; i++)
        wrong += values[i] != (float)(3 + 3 * i);
    mst_gpu_event_destroy(event);
    mst_gpu_queue_destroy(queue);
    mst_gpu_free(gpu, &device);
    mst_gpu_free(gpu, &pinned);
    TEAM_CHECK(rank, rc == 0 && wrong == 0, "%d, %zu wrong: %s", rc, wrong,
               mst_comm_error(rank->comm));
    TEAM_CHECK(rank, mixed == -EINVAL && is_named, "buffers on two sides: %d", mixed);
    return NULL;
}

static const char *reduce_on_device(struct team_rank *rank)
{
    struct mst_gpu *gpu = NULL;
    struct mst_gpu_opts opts = {.backend = "cuda", .device = rank->world.local_rank};
    TEAM_CHECK(rank, mst_gpu_open(&opts, &gpu, NULL) == 0, "no device");
    const char *fault = on_device(rank, gpu);
    mst_gpu_close(gpu);
    return fault;
}

static void reduces_memory_of_the_device(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = reduce_on_device});
}

/* ---- what goes on under way ------------------------------------------------------------------ */

static const char *reduce_some(struct team_rank *rank)
{
    float value = (float)(rank->world.rank + 1), sum = 0;
    int16_t small = 1;
    for (int i = 0; i < 5; i++) {
        int rc = mst_comm_allreduce(rank->comm, &value, &sum, 1, MST_F32, MST_SUM, NULL);
        TEAM_CHECK(rank, rc == 0 && sum == 6, "%d, %g: %s", rc, (double)sum,
                   mst_comm_error(rank->comm));
        rc = mst_comm_allreduce(rank->comm, &small, &small, 1, MST_I16, MST_SUM, NULL);
        TEAM_CHECK(rank,
                   rc == -ENOTSUP &&
                       strcmp(mst_comm_error(rank->comm),
                              "allreduce sum i16 count 1: NCCL does not reduce i16") == 0,
                   "i16: %d %s", rc, mst_comm_error(rank->comm));
    }
    return NULL;
}

static void calls_may_be_under_way(void **state)
{
    (void)state;
    script("inprogress=3");
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = reduce_some});
}

/* Rank 0 leaves seconds before the others would: nobody waits for them. */
static const char *leave_early(struct team_rank *rank)
{
    const char *fault = reduce_some(rank);
    if (rank->world.rank == 0) {
        mst_comm_destroy(rank->comm);
        rank->comm = NULL;
    }
    together(rank->team);
    return fault;
}

static void leaving_does_not_wait_for_ever(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = leave_early});
}

/* ---- faults ---------------------------------------------------------------------------------- */

struct ending {
    int code;
    const char *words;  /* in every rank's text */
    uint64_t within_ms; /* of the call that fails */
    bool at_create;     /* or in the third allreduce */
    struct mst_page *page;
    uint32_t call_ms; /* what each allreduce has; 0 = as the communicator */
};

static const char *check_end(struct team_rank *rank, int rc, const char *text, uint64_t took_ms)
{
    const struct ending *ending = rank->team->arg;
    TEAM_CHECK(rank, rc == ending->code, "code %d: %s", rc, text);
    TEAM_CHECK(rank, strstr(text, ending->words), "text: %s", text);
    TEAM_CHECK(rank, took_ms < ending->within_ms, "took %llu ms", (unsigned long long)took_ms);
    return NULL;
}

static const char *meet_end(struct team_rank *rank)
{
    const struct ending *ending = rank->team->arg;
    struct mst_err err = {0};
    uint64_t began_ns = mst_now_ns();
    int rc = team_join(rank, &err);
    if (rc < 0 || ending->at_create)
        return check_end(rank, rc, err.text, (mst_now_ns() - began_ns) / MST_NS_PER_MS);
    float value = 1;
    for (int i = 0; i < 3 && rc == 0; i++) {
        began_ns = mst_now_ns();
        const struct mst_call *call = ending->call_ms ? BY(mst_deadline_ms(ending->call_ms)) : NULL;
        rc = mst_comm_allreduce(rank->comm, &value, &value, 1, MST_F32, MST_SUM, call);
    }
    const char *fault = check_end(rank, rc, mst_comm_error(rank->comm),
                                  (mst_now_ns() - began_ns) / MST_NS_PER_MS);
    if (!fault && mst_comm_barrier(rank->comm, NULL) != ending->code)
        fault = "it lives on";
    return fault;
}

static void end_team(const char *name, struct ending *ending, uint32_t timeout_ms)
{
    run_team((struct team){.name = name,
                           .node_sizes = {3},
                           .by_hand = true,
                           .timeout_ms = timeout_ms,
                           .run = meet_end,
                           .arg = ending});
}

static void versions_must_be_the_same(void **state)
{
    (void)state;
    script("version=22700,version_step=100");
    end_team(__func__, &(struct ending){-EPROTO, "rank 0 has NCCL 2.", SOON_MS, true, NULL, 0},
             SOON_MS);
}

static void a_rank_without_a_driver_is_named(void **state)
{
    (void)state;
    (void)setenv("FAKE_CUDA", "devices=2", 1);
    end_team(__func__,
             &(struct ending){-EINVAL, "rank 2 cannot use NCCL: local rank 2 has no CUDA device",
                              SOON_MS, true, NULL, 0},
             SOON_MS);
}

/* Each of them would take the only device that it sees. */
static void ranks_that_share_a_device_are_named(void **state)
{
    (void)state;
    (void)setenv("FAKE_CUDA", "devices=1", 1);
    end_team(
        __func__,
        &(struct ending){-EINVAL, "ranks 0 and 1 have the same device", SOON_MS, true, NULL, 0},
        SOON_MS);
}

static void no_unique_id(void **state)
{
    (void)state;
    script("id=2");
    end_team(__func__, &(struct ending){-ECONNRESET, "unique id", SOON_MS, true, NULL, 0}, SOON_MS);
}

static void init_fails(void **state)
{
    (void)state;
    script("init=1");
    end_team(__func__, &(struct ending){-EIO, "unhandled cuda error", SOON_MS, true, NULL, 0},
             SOON_MS);
}

/* One rank is told by NCCL, the others by it. */
static void an_async_error_ends_all(void **state)
{
    (void)state;
    script("error=3,at=1");
    end_team(__func__,
             &(struct ending){-ECONNRESET, "rank 1: NCCL, async error: remote process exited",
                              SOON_MS, false, NULL, 0},
             SOON_MS);
}

/* Some versions crash where a communicator was aborted before; those around them do not. */
static void the_next_communicator_may_be_refused(void **state)
{
    static const char *const others[] = {"version=22802", "version=22809"};
    (void)state;
    script("error=3,at=1");
    end_team(__func__,
             &(struct ending){-ECONNRESET, "remote process exited", SOON_MS, false, NULL, 0},
             SOON_MS);
    script("version=22803");
    end_team(__func__,
             &(struct ending){-ENOTSUP, "cannot use NCCL: NCCL 2.28.3 crashes in a process",
                              SOON_MS, true, NULL, 0},
             SOON_MS);
    script("version=22808");
    end_team(__func__,
             &(struct ending){-ENOTSUP, "cannot use NCCL: NCCL 2.28.8 crashes in a process",
                              SOON_MS, true, NULL, 0},
             SOON_MS);
    for (int i = 0; i < 2; i++) {
        script(others[i]);
        run_team((struct team){.name = __func__, .node_sizes = {3}, .run = reduce_some});
    }
}

/* All ranks (it is one) have come by then, and NCCL has nothing against the call. */
static const char *call_without_mark(struct team_rank *rank)
{
    struct mst_gpu *gpu = NULL;
    struct mst_gpu_queue *queue = NULL;
    struct mst_span device = {0};
    struct mst_gpu_opts opts = {.backend = "cuda", .device = 0};
    struct mst_call call = MST_CALL_INIT;
    TEAM_CHECK(rank, mst_gpu_open(&opts, &gpu, NULL) == 0, "no device");
    int rc = mst_gpu_queue_create(gpu, &queue) ||
             mst_gpu_alloc(gpu, sizeof(float), MST_MEM_DEVICE, &device);
    call.queue = rc == 0 ? mst_gpu_queue_native(queue) : NULL;
    int called = rc == 0 ? mst_comm_allreduce(rank->comm, device.data, device.data, 1, MST_F32,
                                              MST_SUM, &call)
                         : 0;
    mst_gpu_queue_destroy(queue);
    mst_gpu_free(gpu, &device);
    mst_gpu_close(gpu);
    TEAM_CHECK(rank, called == -EIO && strstr(mst_comm_error(rank->comm), "the stream of a call"),
               "%d: %s", called, mst_comm_error(rank->comm));
    return NULL;
}

static void a_stream_without_a_mark_ends_all(void **state)
{
    (void)state;
    (void)setenv("FAKE_CUDA", "event=700", 1);
    run_team((struct team){.name = __func__, .node_sizes = {1}, .run = call_without_mark});
}

/* A patience of its own, which later versions have. */
static void a_timeout_of_the_library_is_one(void **state)
{
    (void)state;
    script("version=23007,error=3,at=1,result=8");
    end_team(
        __func__,
        &(struct ending){-ETIMEDOUT, "rank 1: NCCL, async error: timeout", SOON_MS, false, NULL, 0},
        SOON_MS);
}

/* Between nodes it is a message of the leaders. */
static void an_async_error_crosses_nodes(void **state)
{
    struct ending ending = {
        -ECONNRESET, "rank 1: NCCL, async error: remote process exited", SOON_MS, false, NULL, 0};
    (void)state;
    (void)setenv("FAKE_CUDA", "own=1", 1);
    script("error=3,at=1");
    run_team((struct team){
        .name = __func__, .node_sizes = {2, 1}, .by_hand = true, .run = meet_end, .arg = &ending});
}

/* NCCL aborts a kernel between two questions: the queue is empty, and the library says why. Who had
 * asked the library first would take what is in the buffer for the sum. */
static void an_empty_queue_may_be_an_aborted_one(void **state)
{
    (void)state;
    script("lost=3,at=1");
    end_team(__func__,
             &(struct ending){-ECONNRESET, "rank 1: NCCL, async error: remote process exited",
                              SOON_MS, false, NULL, 0},
             SOON_MS);
}

static void a_hang_ends_by_the_deadline(void **state)
{
    (void)state;
    script("hang=3");
    end_team(__func__,
             &(struct ending){-ETIMEDOUT, "NCCL has not finished in time", 1500, false, NULL, 0},
             300);
}

static void a_hang_ends_by_the_deadline_of_the_call(void **state)
{
    (void)state;
    script("hang=3");
    end_team(__func__,
             &(struct ending){.code = -ETIMEDOUT,
                              .words = "NCCL has not finished in time",
                              .within_ms = 1500,
                              .call_ms = 300},
             SOON_MS);
}

/* In a process of its own, which ends with the threads that NCCL has not given back. */
static void an_abort_that_hangs_is_left_behind(void **state)
{
    int status = -1;
    pid_t child = fork();
    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        script("hang=3,abort=0");
        closing_hangs = true;
        end_team(
            __func__,
            &(struct ending){-ETIMEDOUT, "NCCL has not finished in time", 1500, false, NULL, 0},
            300);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_device_error_ends_all(void **state)
{
    (void)state;
    (void)setenv("FAKE_CUDA", "fail=8", 1); /* three pieces of work for each allreduce */
    end_team(__func__, &(struct ending){-EIO, "an illegal memory access", SOON_MS, false, NULL, 0},
             SOON_MS);
}

/* The node's agent sets the abort word while NCCL hangs. */
static const char *be_aborted(struct team_rank *rank)
{
    const struct ending *ending = rank->team->arg;
    float value = 1;
    together(rank->team); /* out of create, which the word would end as well */
    if (rank->world.rank == 0)
        mst_page_abort(ending->page, 2);
    int rc = mst_comm_allreduce(rank->comm, &value, &value, 1, MST_F32, MST_SUM, NULL);
    return check_end(rank, rc, mst_comm_error(rank->comm), 0);
}

static void the_abort_word_ends_a_hang(void **state)
{
    struct ending ending = {-ECONNRESET, "rank 2", 1, false, NULL, 0};
    int fd = -1;
    (void)state;
    script("hang=1");
    assert_int_equal(mst_page_create(3, &fd, &ending.page, NULL), 0);
    run_team((struct team){
        .name = __func__, .node_sizes = {3}, .page_fd = fd, .run = be_aborted, .arg = &ending});
    mst_page_unmap(ending.page);
    (void)close(fd);
}

static void *abort_soon(void *arg)
{
    mst_comm_abort(arg);
    return NULL;
}

static const char *abort_by_thread(struct team_rank *rank)
{
    float value = 1;
    pthread_t thread;
    bool aborts = rank->world.rank == 1;
    together(rank->team); /* out of create */
    if (aborts && pthread_create(&thread, NULL, abort_soon, rank->comm) != 0)
        return "no thread";
    int rc = mst_comm_allreduce(rank->comm, &value, &value, 1, MST_F32, MST_SUM, NULL);
    if (aborts)
        (void)pthread_join(thread, NULL);
    TEAM_CHECK(rank, rc == -ECONNRESET, "code %d: %s", rc, mst_comm_error(rank->comm));
    return NULL;
}

static void a_thread_may_abort(void **state)
{
    (void)state;
    script("hang=1");
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = abort_by_thread});
}

static const char *call_different(struct team_rank *rank)
{
    float value = 1;
    size_t count = rank->world.rank == 1 ? 0 : 1;
    int rc = mst_comm_allreduce(rank->comm, &value, &value, count, MST_F32, MST_SUM, NULL);
    TEAM_CHECK(rank, rc == -EPROTO, "code %d: %s", rc, mst_comm_error(rank->comm));
    TEAM_CHECK(rank, strstr(mst_comm_error(rank->comm), "allreduce sum f32 count 0"), "text: %s",
               mst_comm_error(rank->comm));
    return NULL;
}

static void different_calls_are_an_error(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = call_different});
}

static const char *miss_one(struct team_rank *rank)
{
    float value = 1;
    int rc = rank->world.rank == 1
                 ? -ETIMEDOUT
                 : mst_comm_allreduce(rank->comm, &value, &value, 1, MST_F32, MST_SUM, NULL);
    together(rank->team);
    TEAM_CHECK(rank, rc == -ETIMEDOUT, "code %d: %s", rc, mst_comm_error(rank->comm));
    TEAM_CHECK(rank, rank->world.rank == 1 || strstr(mst_comm_error(rank->comm), "rank 1"),
               "text: %s", mst_comm_error(rank->comm));
    return NULL;
}

static void a_missing_rank_is_named(void **state)
{
    (void)state;
    run_team(
        (struct team){.name = __func__, .node_sizes = {3}, .timeout_ms = 400, .run = miss_one});
}

#define CASE(test) cmocka_unit_test_setup(test, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(conforms_alone),
        CASE(conforms_on_one_node),
        CASE(conforms_on_two_nodes),
        CASE(reduces_memory_of_the_device),
        CASE(calls_may_be_under_way),
        CASE(leaving_does_not_wait_for_ever),
        CASE(versions_must_be_the_same),
        CASE(a_rank_without_a_driver_is_named),
        CASE(ranks_that_share_a_device_are_named),
        CASE(no_unique_id),
        CASE(init_fails),
        CASE(an_async_error_ends_all),
        CASE(the_next_communicator_may_be_refused),
        CASE(a_stream_without_a_mark_ends_all),
        CASE(a_timeout_of_the_library_is_one),
        CASE(an_async_error_crosses_nodes),
        CASE(an_empty_queue_may_be_an_aborted_one),
        CASE(a_hang_ends_by_the_deadline),
        CASE(a_hang_ends_by_the_deadline_of_the_call),
        CASE(a_device_error_ends_all),
        CASE(the_abort_word_ends_a_hang),
        CASE(a_thread_may_abort),
        CASE(different_calls_are_an_error),
        CASE(a_missing_rank_is_named),
        CASE(an_abort_that_hangs_is_left_behind),
    };
    if (!has_fake_driver())
        return 77;
    cases_init();
    return cmocka_run_group_tests_name("comm_nccl", tests, NULL, NULL);
}

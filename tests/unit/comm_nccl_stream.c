/* Calls of the nccl back end that name a stream of the program, on a fake driver and a fake NCCL:
 * those that the host waits for, and those that are enqueued. */
#include "comm_team.h"
#include "fakes/fake_cuda.h"
#include "muster/core/world/page.h"
#include "muster/gpu/gpu.h"
#include "soon.h"
#include "unit/fake_driver.h"

#include <semaphore.h>

#define BUFFER_BYTES (4 * sizeof(float))

static int reset(void **state)
{
    (void)state;
    (void)setenv("FAKE_NCCL", "", 1);
    (void)setenv("FAKE_CUDA", "", 1);
    return 0;
}

static void run_team(struct team team)
{
    team.backend = "nccl";
    team_run(&team);
}

static void together(void *arg)
{
    struct team *team = arg;
    (void)pthread_barrier_wait(&team->barrier);
}

/* ---- streams --------------------------------------------------------------------------------- */

/* A stream of the program's that does nothing before it is let go. */
struct stream {
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue;
    struct mst_gpu_event *event;
    struct mst_span device, pinned;
    sem_t gate;
};

static void stand_still(void *arg)
{
    struct stream *stream = arg;
    (void)sem_wait(&stream->gate);
}

/* The fake's own, which runs a function between the work of a stream. */
static int hold(struct stream *stream)
{
    int (*launch)(void *stream, void (*function)(void *arg), void *arg) = NULL;
    int rc = find_fake("cuLaunchHostFunc", &launch) ? mst_gpu_enter(stream->gpu) : -ENOSYS;
    if (rc == 0) {
        rc = launch(mst_gpu_queue_native(stream->queue), stand_still, stream);
        mst_gpu_leave(stream->gpu);
    }
    return rc;
}

static int stream_open(struct stream *stream, uint32_t device)
{
    struct mst_gpu_opts opts = {.backend = "cuda", .device = device};
    memset(stream, 0, sizeof *stream);
    (void)sem_init(&stream->gate, 0, 0);
    int rc = mst_gpu_open(&opts, &stream->gpu, NULL);
    if (rc < 0)
        return rc;
    return mst_gpu_queue_create(stream->gpu, &stream->queue) ||
           mst_gpu_event_create(stream->gpu, &stream->event) ||
           mst_gpu_alloc(stream->gpu, BUFFER_BYTES, MST_MEM_DEVICE, &stream->device) ||
           mst_gpu_alloc(stream->gpu, BUFFER_BYTES, MST_MEM_PINNED, &stream->pinned);
}

static void stream_close(struct stream *stream)
{
    mst_gpu_event_destroy(stream->event);
    mst_gpu_queue_destroy(stream->queue);
    mst_gpu_free(stream->gpu, &stream->device);
    mst_gpu_free(stream->gpu, &stream->pinned);
    mst_gpu_close(stream->gpu);
    (void)sem_destroy(&stream->gate);
}

static int stream_copy(struct stream *stream, bool back)
{
    void *device = stream->device.data, *pinned = stream->pinned.data;
    return mst_gpu_copy(stream->queue, back ? pinned : device, back ? device : pinned,
                        sizeof(float));
}

/* Rank + 1 comes to the device by the stream, the sum leaves it by the stream, and only then does
 * the host look. */
static const char *sum_by_stream(struct team_rank *rank, struct stream *stream, bool started)
{
    struct mst_req *req = NULL;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    call.ret_req = started ? &req : NULL;
    float *value = stream->pinned.data, *device = stream->device.data;
    *value = (float)(rank->world.rank + 1);
    int rc = hold(stream);
    rc = rc ? rc : stream_copy(stream, false);
    if (!started)
        (void)sem_post(&stream->gate);
    rc = rc ? rc : mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
    if (started)
        (void)sem_post(&stream->gate);
    if (rc == 0 && started)
        rc = mst_req_wait(req);
    rc = rc || stream_copy(stream, true) || mst_gpu_event_record(stream->event, stream->queue) ||
         mst_gpu_event_wait(stream->event, soon());
    TEAM_CHECK(rank, rc == 0 && *value == 6, "%d: %g: %s", rc, (double)*value,
               mst_comm_error(rank->comm));
    return NULL;
}

static const char *check_refusals(struct team_rank *rank, struct stream *stream)
{
    static char no_stream[512];
    float value = 1, *device = stream->device.data;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    int on_host = mst_comm_allreduce(rank->comm, &value, &value, 1, MST_F32, MST_SUM, &call);
    bool is_named = strstr(mst_comm_error(rank->comm), "the buffers are memory of the host");
    call.queue = no_stream;
    int unknown = mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
    TEAM_CHECK(rank, on_host == -EINVAL && is_named, "memory of the host: %d", on_host);
    TEAM_CHECK(rank,
               unknown == -EINVAL &&
                   strstr(mst_comm_error(rank->comm), "is no stream of the rank's device"),
               "%d %s", unknown, mst_comm_error(rank->comm));
    return NULL;
}

static const char *order_by_stream(struct team_rank *rank)
{
    struct stream stream;
    TEAM_CHECK(rank, stream_open(&stream, rank->world.local_rank) == 0, "no stream");
    const char *fault = check_refusals(rank, &stream);
    for (int i = 0; i < 6 && !fault; i++)
        fault = sum_by_stream(rank, &stream, i % 2 != 0);
    stream_close(&stream);
    return fault;
}

static void calls_come_after_their_stream(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = order_by_stream});
}

/* Rank 1's stream stands still; what it holds up is called by all. */
static const char *wait_for_stream(struct team_rank *rank)
{
    bool holds = rank->world.rank == 1, meets = *(bool *)rank->team->arg;
    struct stream stream;
    struct mst_call call = MST_CALL_INIT;
    TEAM_CHECK(rank, stream_open(&stream, rank->world.local_rank) == 0, "no stream");
    int rc = holds ? hold(&stream) : 0;
    float *device = stream.device.data;
    call.queue = mst_gpu_queue_native(stream.queue);
    call.deadline_ns = mst_deadline_ms(holds ? 200 : SOON_MS);
    if (rc == 0)
        rc = meets ? mst_comm_barrier(rank->comm, &call)
                   : mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
    together(rank->team);
    (void)sem_post(&stream.gate);
    const char *text = mst_comm_error(rank->comm);
    const char *words = meets ? "rank 1: the stream of the call has not finished in time"
                              : "rank 1: all ranks have come, but NCCL has not finished in time";
    bool right = rc == -ETIMEDOUT && strstr(text, words);
    (void)snprintf(rank->fault, sizeof rank->fault, "%d: %s", rc, text);
    mst_comm_destroy(rank->comm); /* until then the device may use its memory */
    rank->comm = NULL;
    stream_close(&stream);
    return right ? NULL : rank->fault;
}

static void a_stream_that_stands_still_ends_by_the_deadline(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        bool meets = i == 1;
        run_team((struct team){
            .name = __func__, .node_sizes = {3}, .run = wait_for_stream, .arg = &meets});
    }
}

/* Rank 1's stream has failed before the call. */
static const char *call_by_failed_stream(struct team_rank *rank)
{
    struct stream stream;
    struct mst_call call = MST_CALL_INIT;
    bool fails = rank->world.rank == 1;
    TEAM_CHECK(rank, stream_open(&stream, rank->world.local_rank) == 0, "no stream");
    float *device = stream.device.data;
    for (int i = 0; i < 20 && fails; i++)
        (void)stream_copy(&stream, false); /* the 20th ends in an error */
    while (fails && mst_gpu_queue_query(stream.queue) == -EAGAIN)
        continue;
    call.queue = mst_gpu_queue_native(stream.queue);
    int rc = mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
    stream_close(&stream);
    const char *text = mst_comm_error(rank->comm);
    TEAM_CHECK(rank, rc == -EIO && strstr(text, "rank 1: the stream of a call"), "%d: %s", rc,
               text);
    return NULL;
}

static void a_failed_stream_ends_all(void **state)
{
    (void)state;
    (void)setenv("FAKE_CUDA", "fail=20", 1);
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = call_by_failed_stream});
}

/* ---- enqueued calls -------------------------------------------------------------------------- */

/* The sum over ranks of the value on the device, behind the stream and before what it does next. */
static int enqueue(struct team_rank *rank, const struct stream *stream, struct mst_req **ret_req)
{
    float *device = stream->device.data;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    call.ret_req = ret_req;
    call.enqueue = 1;
    return mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
}

/* Waits for the stream, and for nothing else. */
static int stream_wait(struct stream *stream)
{
    int rc = mst_gpu_event_record(stream->event, stream->queue);
    return rc ? rc : mst_gpu_event_wait(stream->event, soon());
}

/* Runs `fn` with a stream of the rank's device, which stays until NCCL has let go of it. */
static const char *with_stream(struct team_rank *rank,
                               const char *(*fn)(struct team_rank *rank, struct stream *stream))
{
    struct stream stream;
    TEAM_CHECK(rank, stream_open(&stream, rank->world.local_rank) == 0, "no stream");
    *(float *)stream.pinned.data = (float)(rank->world.rank + 1);
    const char *fault = fn(rank, &stream);
    mst_comm_destroy(rank->comm);
    rank->comm = NULL;
    stream_close(&stream);
    return fault;
}

/* The call returns although the stream stands still, and the host waits for the stream only: what
 * it then finds there is the sum of sums. */
static const char *pass_stream(struct team_rank *rank, struct stream *stream)
{
    float *value = stream->pinned.data;
    struct mst_req *req = NULL;
    for (int i = 0; i < 4; i++) {
        bool has_req = i % 2 != 0;
        *value = (float)(rank->world.rank + 1);
        int rc = hold(stream);
        rc = rc ? rc : stream_copy(stream, false);
        rc = rc ? rc : enqueue(rank, stream, NULL);
        rc = rc ? rc : enqueue(rank, stream, has_req ? &req : NULL);
        rc = rc ? rc : stream_copy(stream, true);
        (void)sem_post(&stream->gate);
        rc = rc ? rc : stream_wait(stream);
        TEAM_CHECK(rank, rc == 0 && *value == 18, "%d: %g: %s", rc, (double)*value,
                   mst_comm_error(rank->comm));
        rc = has_req ? mst_req_wait(req) : mst_comm_barrier(rank->comm, NULL);
        TEAM_CHECK(rank, rc == 0, "%d: %s", rc, mst_comm_error(rank->comm));
    }
    return NULL;
}

static const char *enqueue_in_stream(struct team_rank *rank)
{
    return with_stream(rank, pass_stream);
}

static void what_is_enqueued_goes_by_in_its_stream(void **state)
{
    static const char *const scripts[] = {"", "inprogress=3"};
    (void)state;
    for (int s = 0; s < 2; s++) {
        (void)setenv("FAKE_NCCL", scripts[s], 1);
        run_team((struct team){.name = __func__, .node_sizes = {3}, .run = enqueue_in_stream});
    }
}

/* Rank 0's value to all, all values to all, their sums each to its rank. */
static const char *try_every_operation(struct team_rank *rank, struct stream *stream)
{
    float *value = stream->pinned.data, *device = stream->device.data;
    float *mine = device + rank->world.rank;
    struct mst_comm *comm = rank->comm;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    call.enqueue = 1;
    int rc = mst_gpu_copy(stream->queue, mine, value, sizeof *value);
    rc = rc ? rc : mst_comm_allgather(comm, mine, device, 1, MST_F32, &call);
    rc = rc ? rc : mst_comm_allreduce(comm, NULL, NULL, 0, MST_F32, MST_SUM, &call);
    rc = rc ? rc : mst_comm_reduce_scatter(comm, device, mine, 1, MST_F32, MST_SUM, &call);
    rc = rc ? rc : mst_comm_broadcast(comm, device, 1, MST_F32, 0, &call);
    rc = rc || mst_gpu_copy(stream->queue, value, device, sizeof *value) ||
         mst_gpu_copy(stream->queue, value + 1, mine, sizeof *value) || stream_wait(stream) ||
         mst_comm_barrier(comm, NULL);
    TEAM_CHECK(rank, rc == 0 && value[0] == 3 && value[1] == (float)(3 + 3 * rank->world.rank),
               "%d: %g %g: %s", rc, (double)value[0], (double)value[1], mst_comm_error(comm));
    return NULL;
}

static const char *run_every_operation(struct team_rank *rank)
{
    return with_stream(rank, try_every_operation);
}

static void every_operation_can_be_enqueued(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_every_operation});
}

/* Each call triples what the one before has left, whatever its form. */
static const char *mix_forms(struct team_rank *rank, struct stream *stream)
{
    float *value = stream->pinned.data, *device = stream->device.data;
    struct mst_req *started = NULL, *enqueued = NULL;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    *value = 1;
    int rc = stream_copy(stream, false);
    for (int i = 0; i < 3 && rc == 0; i++) {
        rc = enqueue(rank, stream, &enqueued);
        call.ret_req = &started;
        if (rc == 0)
            rc = mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
        rc = rc ? rc : enqueue(rank, stream, NULL);
        call.ret_req = NULL;
        if (rc == 0)
            rc = mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
        rc = rc || mst_req_wait(started) || mst_req_wait(enqueued);
    }
    rc = rc || stream_copy(stream, true) || stream_wait(stream);
    TEAM_CHECK(rank, rc == 0 && *value == 531441, "%d: %g: %s", rc, (double)*value,
               mst_comm_error(rank->comm));
    return NULL;
}

static const char *run_mixed(struct team_rank *rank)
{
    return with_stream(rank, mix_forms);
}

static void calls_of_all_forms_keep_their_order(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_mixed});
}

/* More than may be open: calls wait for room, as long as some of it comes by itself. */
static const char *fill_up(struct team_rank *rank, struct stream *stream)
{
    struct mst_req *reqs[MST_COMM_REQS_MAX], *extra = NULL;
    struct mst_comm_stats stats = MST_COMM_STATS_INIT;
    int rc = 0, held = 0, late = hold(stream);
    for (int i = 0; i < MST_COMM_REQS_MAX && rc == 0; i++)
        rc = enqueue(rank, stream, &reqs[held++]);
    int full = enqueue(rank, stream, &extra), full_too = enqueue(rank, stream, NULL);
    bool is_told = strstr(mst_comm_error(rank->comm), "64 requests are open");
    (void)sem_post(&stream->gate);
    for (int i = 0; i < held; i++)
        late = late ? late : mst_req_wait(reqs[i]);
    TEAM_CHECK(rank, rc == 0 && late == 0, "%d %d: %s", rc, late, mst_comm_error(rank->comm));
    TEAM_CHECK(rank, full == -EAGAIN && full_too == -EAGAIN && is_told, "%d %d", full, full_too);
    for (int i = 0; i < 3 * MST_COMM_REQS_MAX && rc == 0; i++)
        rc = enqueue(rank, stream, NULL);
    rc = rc || mst_comm_barrier(rank->comm, NULL) || mst_comm_get_stats(rank->comm, &stats);
    TEAM_CHECK(rank, rc == 0 && stats.op_count == 4 * MST_COMM_REQS_MAX + 1, "%d, %llu ops: %s", rc,
               (unsigned long long)stats.op_count, mst_comm_error(rank->comm));
    return NULL;
}

static const char *run_full(struct team_rank *rank)
{
    return with_stream(rank, fill_up);
}

static void any_number_may_be_enqueued(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_full});
}

/* What is enqueued before a capture of another stream is watched during it. */
static const char *capture_beside(struct team_rank *rank, struct stream *stream)
{
    struct mst_gpu_queue *other = NULL;
    struct mst_req *req = NULL;
    float *device = stream->device.data;
    int rc = mst_gpu_queue_create(stream->gpu, &other);
    rc = rc || hold(stream) || enqueue(rank, stream, &req);
    TEAM_CHECK(rank, rc == 0, "%s", mst_comm_error(rank->comm));
    rc = begin_capture(mst_gpu_queue_native(other), CU_STREAM_CAPTURE_MODE_GLOBAL);
    (void)sem_post(&stream->gate);
    rc = rc || mst_req_wait(req) ||
         mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, NULL);
    int spoilt = end_capture(mst_gpu_queue_native(other));
    mst_gpu_queue_destroy(other);
    TEAM_CHECK(rank, rc == 0 && spoilt == 0, "%d: %s", spoilt, mst_comm_error(rank->comm));
    return NULL;
}

static const char *run_beside_capture(struct team_rank *rank)
{
    return with_stream(rank, capture_beside);
}

static void a_capture_beside_is_not_spoilt(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_beside_capture});
}

static const char *name_default_stream(struct team_rank *rank, struct stream *stream)
{
    float *value = stream->pinned.data, *device = stream->device.data;
    struct mst_call call = MST_CALL_INIT;
    call.queue = CU_STREAM_LEGACY;
    call.enqueue = 1;
    int rc = stream_copy(stream, false) || stream_wait(stream);
    rc = rc || mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call) ||
         mst_comm_barrier(rank->comm, NULL) || stream_copy(stream, true) || stream_wait(stream);
    TEAM_CHECK(rank, rc == 0 && *value == 6, "%g: %s", (double)*value, mst_comm_error(rank->comm));
    return NULL;
}

static const char *run_default_stream(struct team_rank *rank)
{
    return with_stream(rank, name_default_stream);
}

static void the_default_stream_is_one_too(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_default_stream});
}

/* One call behind the stream, and three in it, which are under way at the same time. */
static int call_often(struct team_rank *rank, struct stream *stream)
{
    float *device = stream->device.data;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    int rc = mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
    rc = rc ? rc : hold(stream);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = enqueue(rank, stream, NULL);
    (void)sem_post(&stream->gate);
    return rc ? rc : mst_comm_barrier(rank->comm, NULL);
}

static const char *count_events(struct team_rank *rank, struct stream *stream)
{
    long (*events_made)(void) = NULL;
    TEAM_CHECK(rank, find_fake("fake_cuda_events_made", &events_made), "the fake does not count");
    int rc = call_often(rank, stream);
    together(rank->team);
    long made = events_made();
    together(rank->team);
    for (int i = 0; i < 20 && rc == 0; i++)
        rc = call_often(rank, stream);
    together(rank->team);
    made = events_made() - made;
    TEAM_CHECK(rank, rc == 0 && made == 0, "%d: %ld more: %s", rc, made,
               mst_comm_error(rank->comm));
    return NULL;
}

static const char *run_counted(struct team_rank *rank)
{
    return with_stream(rank, count_events);
}

static void events_are_used_again(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_counted});
}

static const char *leave_it_running(struct team_rank *rank, struct stream *stream)
{
    float *value = stream->pinned.data;
    struct mst_req *req = NULL;
    int rc = stream_copy(stream, false);
    rc = rc || enqueue(rank, stream, NULL) || enqueue(rank, stream, &req);
    rc = rc || stream_copy(stream, true);
    mst_comm_destroy(rank->comm);
    rank->comm = NULL;
    rc = rc || stream_wait(stream);
    TEAM_CHECK(rank, rc == 0 && *value == 18, "%d: %g", rc, (double)*value);
    return NULL;
}

static const char *run_left(struct team_rank *rank)
{
    return with_stream(rank, leave_it_running);
}

static void the_end_comes_after_what_is_enqueued(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_left});
}

/* ---- what is refused ------------------------------------------------------------------------- */

#define REFUSED(rank, made, code, words)                                                           \
    do {                                                                                           \
        int made_rc = (made);                                                                      \
        const char *text = mst_comm_error((rank)->comm);                                           \
        TEAM_CHECK(rank, made_rc == (code) && strstr(text, words), "%d: %s", made_rc, text);       \
    } while (0)

static const char *try_wrongly(struct team_rank *rank, struct stream *stream)
{
    float value = 1, *device = stream->device.data;
    struct mst_req *req = NULL;
    struct mst_call call = MST_CALL_INIT;
    call.enqueue = 1;
    REFUSED(rank, mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call),
            -EINVAL, "it needs a stream");
    call.queue = mst_gpu_queue_native(stream->queue);
    REFUSED(rank, mst_comm_barrier(rank->comm, &call), -ENOTSUP, "ranks meet in a barrier");
    REFUSED(rank, mst_comm_allreduce(rank->comm, &value, &value, 1, MST_F32, MST_SUM, &call),
            -EINVAL, "the buffers are memory of the host");
    call.ret_req = &req;
    REFUSED(rank, mst_comm_broadcast(rank->comm, &value, 1, MST_F32, 0, &call), -EINVAL,
            "the buffers are memory of the host");
    TEAM_CHECK(rank, !req && mst_comm_barrier(rank->comm, NULL) == 0, "it is dead: %s",
               mst_comm_error(rank->comm));
    return NULL;
}

static const char *run_wrong(struct team_rank *rank)
{
    return with_stream(rank, try_wrongly);
}

static void what_cannot_be_enqueued_is_refused(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_wrong});
}

static const char *try_captured(struct team_rank *rank, struct stream *stream)
{
    float *device = stream->device.data;
    struct mst_req *req = NULL;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    TEAM_CHECK(rank, begin_capture(call.queue, CU_STREAM_CAPTURE_MODE_GLOBAL) == 0, "no capture");
    REFUSED(rank, enqueue(rank, stream, &req), -ENOTSUP, "is being captured into a graph");
    REFUSED(rank, mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call),
            -ENOTSUP, "is being captured into a graph");
    TEAM_CHECK(rank, end_capture(call.queue) == 0, "it has spoilt the capture");
    TEAM_CHECK(rank, !req && mst_comm_barrier(rank->comm, NULL) == 0, "it is dead: %s",
               mst_comm_error(rank->comm));
    return NULL;
}

static const char *run_captured(struct team_rank *rank)
{
    return with_stream(rank, try_captured);
}

/* The default stream waits for the captured one, and cannot be used meanwhile. */
static const char *try_beside_captured(struct team_rank *rank, struct stream *stream)
{
    CUresult (*create)(CUstream * ret_stream, unsigned flags) = NULL;
    CUresult (*destroy)(CUstream captured) = NULL;
    float *device = stream->device.data;
    CUstream captured = NULL;
    struct mst_call call = MST_CALL_INIT;
    call.queue = CU_STREAM_LEGACY;
    bool made = find_fake("cuStreamCreate", &create) && find_fake("cuStreamDestroy_v2", &destroy) &&
                mst_gpu_enter(stream->gpu) == 0;
    TEAM_CHECK(rank, made && create(&captured, 0) == 0, "no stream");
    mst_gpu_leave(stream->gpu);
    TEAM_CHECK(rank, begin_capture(captured, CU_STREAM_CAPTURE_MODE_GLOBAL) == 0, "no capture");
    REFUSED(rank, mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call),
            -ENOTSUP, "stream 0x1 is the default one, and one that it waits for is being captured");
    TEAM_CHECK(rank, end_capture(captured) == 0, "it has spoilt the capture");
    (void)destroy(captured); /* nothing was put into it */
    return NULL;
}

static const char *run_beside_captured(struct team_rank *rank)
{
    return with_stream(rank, try_beside_captured);
}

static void the_default_stream_is_refused_beside_a_capture(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_beside_captured});
}

static void a_stream_that_is_captured_is_refused(void **state)
{
    (void)state;
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = run_captured});
}

/* ---- what goes wrong behind ------------------------------------------------------------------ */

struct ending {
    const char *script; /* the fake NCCL's */
    int code;
    const char *words; /* in every rank's text */
    /* What a rank does instead of the second of three calls; NULL = as the others. */
    int (*differ)(struct team_rank *rank, const struct stream *stream);
    uint32_t call_ms; /* that the third call has; 0 = as the communicator */
    bool alone;       /* there is only the third */
    struct mst_page *page;
};

/* The third call, with a deadline and a request. */
static int enqueue_last(struct team_rank *rank, const struct stream *stream)
{
    const struct ending *ending = rank->team->arg;
    float *device = stream->device.data;
    struct mst_req *req = NULL;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    call.ret_req = &req;
    call.enqueue = 1;
    call.deadline_ns = ending->call_ms ? mst_deadline_ms(ending->call_ms) : 0;
    int rc = mst_comm_allreduce(rank->comm, device, device, 1, MST_F32, MST_SUM, &call);
    if (rc == 0 && ending->page && rank->world.rank == 0)
        mst_page_abort(ending->page, 2);
    return rc < 0 ? rc : mst_req_wait(req);
}

/* Whatever a call may already know, the last one tells; and the stream goes on. */
static const char *enqueue_to_the_end(struct team_rank *rank, struct stream *stream)
{
    const struct ending *ending = rank->team->arg;
    together(rank->team); /* out of create */
    int rc = stream_copy(stream, false);
    if (rc == 0 && !ending->alone)
        rc = enqueue(rank, stream, NULL);
    if (rc == 0 && !ending->alone)
        rc = ending->differ && rank->world.rank == 1 ? ending->differ(rank, stream)
                                                     : enqueue(rank, stream, NULL);
    rc = rc ? rc : enqueue_last(rank, stream);
    const char *text = mst_comm_error(rank->comm);
    TEAM_CHECK(rank, rc == ending->code && strstr(text, ending->words), "%d: %s", rc, text);
    struct mst_req *req = NULL;
    rc = enqueue(rank, stream, &req);
    TEAM_CHECK(rank, rc == ending->code && !req, "it lives on: %d", rc);
    TEAM_CHECK(rank, mst_comm_barrier(rank->comm, NULL) == ending->code, "it lives on");
    rc = stream_wait(stream);
    TEAM_CHECK(rank, rc == 0, "the stream stands still: %d", rc);
    return NULL;
}

static const char *run_to_the_end(struct team_rank *rank)
{
    return with_stream(rank, enqueue_to_the_end);
}

static void end_team(const char *name, struct ending ending)
{
    (void)setenv("FAKE_NCCL", ending.script ? ending.script : "", 1);
    run_team((struct team){.name = name, .node_sizes = {3}, .run = run_to_the_end, .arg = &ending});
}

static void an_async_error_ends_all(void **state)
{
    (void)state;
    end_team(__func__, (struct ending){
                           .script = "error=2,at=1",
                           .code = -ECONNRESET,
                           .words = "rank 1: NCCL, async error: remote process exited",
                       });
}

/* The event behind an aborted kernel is reached, too: who had asked the library before it would
 * take what is in the buffer for the sum. */
static void a_mark_may_be_behind_an_aborted_kernel(void **state)
{
    (void)state;
    end_team(__func__, (struct ending){
                           .script = "lost=1,at=1",
                           .code = -ECONNRESET,
                           .words = "rank 1: NCCL, async error: remote process exited",
                           .alone = true,
                       });
}

static void a_hang_ends_by_the_deadline(void **state)
{
    (void)state;
    end_team(__func__, (struct ending){
                           .script = "hang=3",
                           .code = -ETIMEDOUT,
                           .words = "NCCL has not finished in time",
                           .call_ms = 1500,
                       });
}

static void what_nccl_does_not_take_ends_all(void **state)
{
    (void)state;
    end_team(__func__, (struct ending){
                           .script = "refuse=3,at=1,result=1",
                           .code = -EIO,
                           .words = "rank 1: NCCL, collective: unhandled cuda error",
                       });
}

static const char *enqueue_behind_hang(struct team_rank *rank, struct stream *stream)
{
    float *device = stream->device.data;
    struct mst_req *req = NULL;
    int started = mst_comm_allreduce(
        rank->comm, device, device, 1, MST_F32, MST_SUM,
        &(struct mst_call){.struct_bytes = sizeof(struct mst_call), .ret_req = &req});
    int rc = enqueue_last(rank, stream);
    const char *text = mst_comm_error(rank->comm);
    TEAM_CHECK(rank,
               started == 0 && rc == -ETIMEDOUT &&
                   strstr(text, "what was started before it was not done by its deadline"),
               "%d %d: %s", started, rc, text);
    TEAM_CHECK(rank, mst_req_wait(req) == -ETIMEDOUT, "it lives on");
    return NULL;
}

static const char *run_behind_hang(struct team_rank *rank)
{
    return with_stream(rank, enqueue_behind_hang);
}

static void waiting_for_what_was_started_ends_by_the_deadline(void **state)
{
    struct ending ending = {.call_ms = 300};
    (void)state;
    (void)setenv("FAKE_NCCL", "hang=1", 1);
    run_team(
        (struct team){.name = __func__, .node_sizes = {3}, .run = run_behind_hang, .arg = &ending});
}

static void the_abort_word_ends_a_hang(void **state)
{
    struct ending ending = {.code = -ECONNRESET, .words = "rank 2"};
    int fd = -1;
    (void)state;
    (void)setenv("FAKE_NCCL", "hang=3", 1);
    assert_int_equal(mst_page_create(3, &fd, &ending.page, NULL), 0);
    run_team((struct team){
        .name = __func__, .node_sizes = {3}, .page_fd = fd, .run = run_to_the_end, .arg = &ending});
    mst_page_unmap(ending.page);
    (void)close(fd);
}

static int enqueue_more(struct team_rank *rank, const struct stream *stream)
{
    float *device = stream->device.data;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(stream->queue);
    call.enqueue = 1;
    return mst_comm_allreduce(rank->comm, device, device, 2, MST_F32, MST_SUM, &call);
}

static int meet_instead(struct team_rank *rank, const struct stream *stream)
{
    (void)stream;
    return mst_comm_barrier(rank->comm, NULL);
}

/* NCCL goes through with what does not fit together, or waits in a kernel for ever. */
static void different_calls_are_an_error(void **state)
{
    (void)state;
    end_team(__func__, (struct ending){.code = -EPROTO,
                                       .words = "allreduce sum f32 count 2",
                                       .differ = enqueue_more});
    end_team(__func__,
             (struct ending){.code = -EPROTO, .words = "barrier", .differ = meet_instead});
}

/* A stream that has failed before the call. */
static const char *enqueue_by_failed_stream(struct team_rank *rank)
{
    struct stream stream;
    bool fails = rank->world.rank == 1;
    struct mst_req *req = NULL;
    TEAM_CHECK(rank, stream_open(&stream, rank->world.local_rank) == 0, "no stream");
    for (int i = 0; i < 20 && fails; i++)
        (void)stream_copy(&stream, false); /* the 20th ends in an error */
    while (fails && mst_gpu_queue_query(stream.queue) == -EAGAIN)
        continue;
    int rc = enqueue(rank, &stream, &req);
    bool is_told = fails ? rc == -EIO && !req : rc == 0 || rc == -EIO;
    if (rc == 0)
        rc = mst_req_wait(req);
    (void)snprintf(rank->fault, sizeof rank->fault, "%d: %s", rc, mst_comm_error(rank->comm));
    mst_comm_destroy(rank->comm);
    rank->comm = NULL;
    stream_close(&stream);
    is_told = is_told && rc == -EIO && strstr(rank->fault, "rank 1: the stream of a call");
    return is_told ? NULL : rank->fault;
}

static void a_failed_stream_enqueues_nothing(void **state)
{
    (void)state;
    (void)setenv("FAKE_CUDA", "fail=20", 1);
    run_team((struct team){.name = __func__, .node_sizes = {3}, .run = enqueue_by_failed_stream});
}

#define CASE(test) cmocka_unit_test_setup(test, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(calls_come_after_their_stream),
        CASE(a_stream_that_stands_still_ends_by_the_deadline),
        CASE(a_failed_stream_ends_all),
        CASE(what_is_enqueued_goes_by_in_its_stream),
        CASE(every_operation_can_be_enqueued),
        CASE(calls_of_all_forms_keep_their_order),
        CASE(any_number_may_be_enqueued),
        CASE(a_capture_beside_is_not_spoilt),
        CASE(the_default_stream_is_one_too),
        CASE(events_are_used_again),
        CASE(the_end_comes_after_what_is_enqueued),
        CASE(what_cannot_be_enqueued_is_refused),
        CASE(a_stream_that_is_captured_is_refused),
        CASE(the_default_stream_is_refused_beside_a_capture),
        CASE(an_async_error_ends_all),
        CASE(a_mark_may_be_behind_an_aborted_kernel),
        CASE(a_hang_ends_by_the_deadline),
        CASE(what_nccl_does_not_take_ends_all),
        CASE(waiting_for_what_was_started_ends_by_the_deadline),
        CASE(the_abort_word_ends_a_hang),
        CASE(different_calls_are_an_error),
        CASE(a_failed_stream_enqueues_nothing),
    };
    if (!has_fake_driver())
        return 77;
    return cmocka_run_group_tests_name("comm_nccl_stream", tests, NULL, NULL);
}

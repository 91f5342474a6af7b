/* Collectives as calls of NCCL: on device memory as they are, on host memory in rounds. And the
 * waits for it. NCCL's communicator is non-blocking, since nothing can end a blocking call: every
 * wait looks at the queue, at NCCL's own errors, at the other ranks, and at the clock. */
#include "muster/comm/nccl_plan.h"

#include "muster/comm/host.h"
#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

/* How long the next look at what is enqueued is put off: as a rule nobody waits for its answer. */
#define WATCH_NS 50000

/* ---- errors ---------------------------------------------------------------------------------- */

static int code_of(ncclResult_t result)
{
    switch (result) {
    case ncclUnhandledCudaError: return -EIO;
    case ncclInvalidArgument:
    case ncclInvalidUsage: return -EPROTO;
    case ncclTimeout: return -ETIMEDOUT;
    default: return -ECONNRESET; /* internal errors are mostly a peer's or the network's */
    }
}

int nccl_plan_check(const struct nccl_plan *plan, ncclResult_t result, const char *call,
                    struct mst_err *err)
{
    const struct nccl_library *library = plan->library;
    if (result == ncclSuccess || result == ncclInProgress)
        return 0;
    const char *last = library->ncclGetLastError(plan->comm);
    bool words = last && *last;
    return mst_err_set(err, code_of(result), "rank %u: NCCL, %s: %s (%d)%s%s", plan->rank, call,
                       library->ncclGetErrorString(result), result, words ? ": " : "",
                       words ? last : "");
}

int nccl_plan_check_gpu(const struct nccl_plan *plan, int rc, const char *what, struct mst_err *err)
{
    if (rc == 0)
        return 0;
    const char *words = mst_gpu_error(plan->gpu);
    return mst_err_set(err, rc, "rank %u: %s: %s", plan->rank, what,
                       *words ? words : mst_err_meaning(rc));
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* What may end a wait besides what is waited for. */
static int look_around(struct nccl_plan *plan, uint64_t deadline_ns)
{
    int rc = host_alive(plan->host, &plan->err);
    if (rc == 0 && mst_deadline_passed(deadline_ns))
        rc = mst_err_set(&plan->err, -ETIMEDOUT, "rank %u: %s has not finished in time", plan->rank,
                         plan->met ? "all ranks have come, but NCCL" : "the stream of the call");
    return rc;
}

/* 0, 1 = something is under way, or what has ended the communicator. */
static int poll_library(const struct nccl_plan *plan, struct mst_err *err)
{
    ncclResult_t state = ncclSuccess;
    ncclResult_t result = plan->library->ncclCommGetAsyncError(plan->comm, &state);
    int rc = nccl_plan_check(plan, result, "async error", err);
    if (rc == 0)
        rc = nccl_plan_check(plan, state, "async error", err);
    return rc == 0 ? state == ncclInProgress : rc;
}

int nccl_plan_settle(struct nccl_plan *plan, uint64_t deadline_ns)
{
    for (;;) {
        int rc = poll_library(plan, &plan->err);
        if (rc != 1)
            return rc;
        rc = look_around(plan, deadline_ns);
        if (rc < 0)
            return rc;
        (void)sched_yield(); /* cannot fail on Linux */
    }
}

/* An aborted kernel leaves an empty queue, too: the library is asked after the queue. */
static int finish(struct nccl_plan *plan, uint64_t deadline_ns)
{
    for (;;) {
        int queued = mst_gpu_queue_query(plan->queue);
        int rc = poll_library(plan, &plan->err);
        if (rc < 0)
            return rc;
        if (queued != -EAGAIN)
            return nccl_plan_check_gpu(plan, queued, "queue", &plan->err);
        rc = look_around(plan, deadline_ns);
        if (rc < 0)
            return rc;
        (void)sched_yield(); /* cannot fail on Linux */
    }
}

/* ---- one call of the library ----------------------------------------------------------------- */

static bool find_type(enum mst_dtype dtype, ncclDataType_t *ret_type)
{
    switch (dtype) {
    case MST_I8: *ret_type = ncclInt8; return true;
    case MST_U8: *ret_type = ncclUint8; return true;
    case MST_I32: *ret_type = ncclInt32; return true;
    case MST_U32: *ret_type = ncclUint32; return true;
    case MST_I64: *ret_type = ncclInt64; return true;
    case MST_U64: *ret_type = ncclUint64; return true;
    case MST_F16: *ret_type = ncclFloat16; return true;
    case MST_BF16: *ret_type = ncclBfloat16; return true;
    case MST_F32: *ret_type = ncclFloat32; return true;
    case MST_F64: *ret_type = ncclFloat64; return true;
    case MST_F8E4M3: *ret_type = ncclFloat8e4m3; return true;
    case MST_F8E5M2: *ret_type = ncclFloat8e5m2; return true;
    default: return false;
    }
}

static ncclRedOp_t find_op(enum mst_op op)
{
    switch (op) {
    case MST_MIN: return ncclMin;
    case MST_MAX: return ncclMax;
    case MST_AVG: return ncclAvg;
    default: assert(op == MST_SUM); return ncclSum;
    }
}

static ncclResult_t call_library(const struct nccl_plan *plan, const struct signature_desc *desc,
                                 const void *in, void *out, size_t count)
{
    const struct nccl_library *library = plan->library;
    void *stream = mst_gpu_queue_native(plan->queue);
    size_t bytes = count * mst_dtype_size(desc->dtype);
    ncclRedOp_t op = find_op(desc->op);
    ncclDataType_t type = ncclUint8;
    (void)find_type(desc->dtype, &type); /* what is reduced was asked for; the others move bytes */
    switch (desc->coll) {
    case MST_COLL_ALLREDUCE:
        return library->ncclAllReduce(in, out, count, type, op, plan->comm, stream);
    case MST_COLL_REDUCE_SCATTER:
        return library->ncclReduceScatter(in, out, count, type, op, plan->comm, stream);
    case MST_COLL_ALLGATHER:
        return library->ncclAllGather(in, out, bytes, ncclUint8, plan->comm, stream);
    default:
        assert(desc->coll == MST_COLL_BROADCAST);
        return library->ncclBroadcast(out, out, bytes, ncclUint8, (int)desc->root, plan->comm,
                                      stream);
    }
}

/* Has the library put one collective of `count` elements per rank into the queue, at once or while
 * it is polled. */
static int begin(const struct nccl_plan *plan, const struct signature_desc *desc, const void *in,
                 void *out, size_t count, struct mst_err *err)
{
    int rc = nccl_plan_check_gpu(plan, mst_gpu_enter(plan->gpu), "device", err);
    if (rc < 0)
        return rc;
    rc = nccl_plan_check(plan, call_library(plan, desc, in, out, count), "collective", err);
    mst_gpu_leave(plan->gpu);
    return rc;
}

/* The same, and it is there. */
static int put(struct nccl_plan *plan, const struct signature_desc *desc, const void *in, void *out,
               size_t count, uint64_t deadline_ns)
{
    int rc = begin(plan, desc, in, out, count, &plan->err);
    return rc < 0 ? rc : nccl_plan_settle(plan, deadline_ns);
}

/* ---- calls that are enqueued ----------------------------------------------------------------- */

static void lock(struct nccl_plan *plan)
{
    pthread_mutex_lock(&plan->placing.lock);
}

static void unlock(struct nccl_plan *plan)
{
    pthread_mutex_unlock(&plan->placing.lock);
}

/* Polls until the library has put the call into the queue. The deadline and the other ranks are
 * looked at by whoever watches the call. */
static int settle_locked(struct nccl_plan *plan, struct mst_err *err)
{
    for (;;) {
        assert(mst_lock_is_held(&plan->placing.lock));
        int rc = plan->placing.ended
                     ? mst_err_set(err, -ECONNRESET, "rank %u: NCCL is given up", plan->rank)
                     : poll_library(plan, err);
        if (rc != 1)
            return rc;
        unlock(plan);
        (void)sched_yield(); /* cannot fail on Linux */
        lock(plan);
    }
}

static int place_locked(struct nccl_plan *plan, const struct comm_call *call, struct mst_err *err)
{
    const struct nccl_mark *mark = call->mark;
    const struct signature_desc *desc = &call->desc;
    assert(mst_lock_is_held(&plan->placing.lock));
    if (desc->count == 0)
        return 0;
    int rc = settle_locked(plan, err); /* or it is given up */
    if (rc == 0)
        rc = nccl_plan_check_gpu(plan, mst_gpu_queue_wait_event(plan->queue, mark->before),
                                 "stream", err);
    if (rc == 0)
        rc = begin(plan, desc, call->in, call->out, desc->count, err);
    if (rc == 0)
        rc = settle_locked(plan, err);
    if (rc == 0)
        rc = nccl_plan_check_gpu(plan, mst_gpu_event_record(mark->after, plan->queue), "queue",
                                 err);
    if (rc == 0)
        rc = nccl_plan_check_gpu(plan, mst_gpu_stream_wait_event(call->queue, mark->after),
                                 "stream", err);
    return rc;
}

int nccl_plan_place(struct nccl_plan *plan, const struct comm_call *call)
{
    struct nccl_mark *mark = call->mark;
    struct mst_err err = {0};
    lock(plan);
    int rc = place_locked(plan, call, &err);
    if (rc < 0)
        plan->host->ops->abort(plan->host, &err); /* whoever watches finds it there */
    mark->placed = rc == 0;
    mark->left = true;
    pthread_cond_broadcast(&plan->placing.left);
    unlock(plan);
    return rc < 0 ? -ECONNRESET : 0;
}

void nccl_plan_end_placing(struct nccl_plan *plan)
{
    lock(plan);
    plan->placing.ended = true;
    unlock(plan);
}

void nccl_plan_await_left(struct nccl_plan *plan, const struct nccl_mark *mark)
{
    lock(plan);
    while (!mark->left)
        (void)mst_cond_wait(&plan->placing.left, &plan->placing.lock, MST_NEVER);
    unlock(plan);
}

/* 0 = the device is done with it, 1 = not yet, or what has ended the communicator. As in `finish`
 * the library is asked last. */
static int ask_after(struct nccl_plan *plan, const struct nccl_mark *mark)
{
    lock(plan);
    int reached = mark->placed ? mst_gpu_event_query(mark->after) : -EAGAIN;
    int rc = poll_library(plan, &plan->err);
    if (rc >= 0)
        rc = reached == -EAGAIN ? 1 : nccl_plan_check_gpu(plan, reached, "queue", &plan->err);
    unlock(plan);
    return rc;
}

/* Until a call has been placed, or some time has passed. */
static void put_off(struct nccl_plan *plan)
{
    lock(plan);
    (void)mst_cond_wait(&plan->placing.left, &plan->placing.lock, mst_now_ns() + WATCH_NS);
    unlock(plan);
}

static int watch(struct nccl_plan *plan, const struct nccl_mark *mark, uint64_t deadline_ns)
{
    for (;;) {
        int rc = ask_after(plan, mark);
        if (rc != 1)
            return rc;
        rc = look_around(plan, deadline_ns);
        if (rc < 0)
            return rc;
        put_off(plan);
    }
}

/* ---- host memory ----------------------------------------------------------------------------- */

/* A round: `count` elements per rank, those from `first` on. In the stage every collective is in
 * place, so that it needs no second one. */
struct round {
    const struct comm_call *call;
    size_t first, count, elem_size;
    uint32_t in_blocks, out_blocks; /* of `count` elements each */
    uint32_t in_at, out_at;         /* their first block's place in the stage */
};

static struct round plan_round(const struct nccl_plan *plan, const struct comm_call *call)
{
    bool gathers = call->desc.coll == MST_COLL_ALLGATHER;
    bool scatters = call->desc.coll == MST_COLL_REDUCE_SCATTER;
    bool sends = call->desc.coll != MST_COLL_BROADCAST || call->desc.root == plan->rank;
    return (struct round){
        .call = call,
        .elem_size = mst_dtype_size(call->desc.dtype),
        .in_blocks = scatters ? plan->size
                     : sends  ? 1
                              : 0,
        .out_blocks = gathers ? plan->size : 1,
        .in_at = gathers ? plan->rank : 0,
        .out_at = scatters ? plan->rank : 0,
    };
}

static char *stage(const struct round *round, const struct mst_span *span, uint32_t block)
{
    return (char *)span->data + block * round->count * round->elem_size;
}

/* Where block `block` of this round is in the caller's buffer. */
static size_t offset(const struct round *round, uint32_t block)
{
    return (block * (size_t)round->call->desc.count + round->first) * round->elem_size;
}

static int run_round(struct nccl_plan *plan, const struct round *round, uint64_t deadline_ns)
{
    const struct comm_call *call = round->call;
    const char *in = call->in ? call->in : call->out;
    size_t bytes = round->count * round->elem_size;
    char *device_in = stage(round, &plan->device, round->in_at);
    char *device_out = stage(round, &plan->device, round->out_at);
    for (uint32_t b = 0; b < round->in_blocks; b++)
        memcpy(stage(round, &plan->pinned, round->in_at + b), in + offset(round, b), bytes);
    int rc = mst_gpu_copy(plan->queue, device_in, stage(round, &plan->pinned, round->in_at),
                          round->in_blocks * bytes);
    rc = nccl_plan_check_gpu(plan, rc, "copy to the device", &plan->err);
    if (rc == 0)
        rc = put(plan, &call->desc, device_in, device_out, round->count, deadline_ns);
    if (rc == 0)
        rc = nccl_plan_check_gpu(plan,
                                 mst_gpu_copy(plan->queue,
                                              stage(round, &plan->pinned, round->out_at),
                                              device_out, round->out_blocks * bytes),
                                 "copy from the device", &plan->err);
    if (rc == 0)
        rc = finish(plan, deadline_ns);
    for (uint32_t b = 0; b < round->out_blocks && rc == 0; b++)
        memcpy((char *)call->out + offset(round, b), stage(round, &plan->pinned, round->out_at + b),
               bytes);
    return rc;
}

static int run_staged(struct nccl_plan *plan, const struct comm_call *call, uint64_t deadline_ns)
{
    struct round round = plan_round(plan, call);
    uint32_t blocks = round.in_blocks > round.out_blocks ? round.in_blocks : round.out_blocks;
    size_t most = NCCL_STAGE_BYTES / blocks / round.elem_size;
    int rc = 0;
    for (size_t done = 0; done < call->desc.count && rc == 0; done += round.count) {
        size_t left = call->desc.count - done;
        round.first = done;
        round.count = mst_least(left, most);
        rc = run_round(plan, &round, deadline_ns);
    }
    return rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool is_on_device(const struct nccl_plan *plan, const void *address)
{
    return address && mst_gpu_mem(plan->gpu, address) == MST_MEM_DEVICE;
}

/* Devices that cannot reduce 8-bit floats are the library's to know. */
static int check_type(const struct nccl_plan *plan, enum mst_dtype dtype, struct mst_err *err)
{
    ncclDataType_t type;
    char text[NCCL_VERSION_TEXT_MAX];
    if (!find_type(dtype, &type))
        return mst_err_set(err, -ENOTSUP, "NCCL does not reduce %s", mst_dtype_name(dtype));
    if (type >= ncclFloat8e4m3 && plan->version < NCCL_F8_VERSION)
        return mst_err_set(
            err, -ENOTSUP, "NCCL %s does not reduce %s: install 2.24 or later, or convert it",
            nccl_version_text(plan->version, text, sizeof text), mst_dtype_name(dtype));
    return 0;
}

int nccl_plan_accept(const struct nccl_plan *plan, const struct comm_call *call,
                     struct mst_err *err)
{
    int rc = signature_reduces(&call->desc) ? check_type(plan, call->desc.dtype, err) : 0;
    if (rc < 0 || call->desc.count == 0)
        return rc;
    bool on_device = is_on_device(plan, call->out);
    if (call->in && is_on_device(plan, call->in) != on_device)
        return mst_err_set(err, -EINVAL,
                           "\"%s\" is memory of the device and the other buffer is not: copy one",
                           on_device ? "out" : "in");
    if (call->queue && !on_device)
        return mst_err_set(err, -EINVAL,
                           "a stream orders memory of the device, and the buffers "
                           "are memory of the host");
    return 0;
}

/* What the call does on the device comes after its stream; a barrier does nothing there, so that
 * the stream is waited for here. */
static int follow_stream(struct nccl_plan *plan, const struct comm_call *call, uint64_t deadline_ns)
{
    const struct nccl_mark *mark = call->mark;
    int rc = mst_gpu_queue_wait_event(plan->queue, mark->before);
    rc = nccl_plan_check_gpu(plan, rc, "stream", &plan->err);
    return rc == 0 && call->desc.coll == MST_COLL_BARRIER ? finish(plan, deadline_ns) : rc;
}

static int meet(struct nccl_plan *plan, const struct comm_call *call, uint64_t op_seq,
                uint64_t deadline_ns)
{
    int rc = host_meet(plan->host, &call->desc, op_seq, deadline_ns);
    if (rc < 0)
        plan->err = plan->host->err;
    plan->met = rc == 0;
    return rc;
}

static int move(struct nccl_plan *plan, const struct comm_call *call, uint64_t deadline_ns)
{
    if (call->desc.coll == MST_COLL_BARRIER || call->desc.count == 0)
        return 0;
    if (!is_on_device(plan, call->out))
        return run_staged(plan, call, deadline_ns);
    int rc = put(plan, &call->desc, call->in, call->out, call->desc.count, deadline_ns);
    return rc < 0 ? rc : finish(plan, deadline_ns);
}

int nccl_plan_run(struct nccl_plan *plan, const struct comm_call *call, uint64_t op_seq,
                  uint64_t deadline_ns)
{
    plan->met = false;
    int rc = call->mark && !call->enqueued ? follow_stream(plan, call, deadline_ns) : 0;
    if (rc == 0)
        rc = meet(plan, call, op_seq, deadline_ns);
    if (rc < 0)
        return rc;
    if (!call->enqueued)
        return move(plan, call, deadline_ns);
    assert(call->mark); /* who has none has aborted, and is not met */
    return watch(plan, call->mark, deadline_ns);
}

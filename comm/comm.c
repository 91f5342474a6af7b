/* The face of comm: checks arguments, keeps the lifecycle, and hands collectives to the back end,
 * here or on the communicator's thread. */
#include "muster/comm/comm.h"

#include "muster/comm/backend.h"
#include "muster/comm/recorder.h"
#include "muster/comm/reduce.h"
#include "muster/comm/req.h"
#include "muster/comm/ticks.h"
#include "muster/core/clock.h"
#include "muster/core/kv/kv.h"
#include "muster/core/process.h"
#include "muster/core/sized.h"
#include "muster/core/version.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"
#include "muster/gpu/gpu.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct mst_comm {
    struct comm_backend *backend;
    struct mst_page *page;
    struct req_queue *reqs; /* NULL until the first start */
    struct mst_comm_stats stats;
    uint32_t rank, size;
    uint32_t timeout_ms;
    uint32_t process;       /* that created it */
    struct mst_err refused; /* of the last call, if it was refused */

    /* Of the thread that runs collectives: the caller's, or that of reqs while one is open. */
    struct {
        struct recorder recorder;
        struct ticks ticks;
        uint64_t op_seq;
    } worker;

    atomic_int dead; /* the code of the error that ended it, once `error` may be read */
    struct mst_err error;
};

const struct comm_ops *const comm_backends[] = {&comm_host_ops, &comm_mpi_ops, &comm_nccl_ops,
                                                NULL};

/* ---- life ------------------------------------------------------------------------------------ */

static bool is_auto(const char *name)
{
    return !name || !name[0] || strcmp(name, "auto") == 0;
}

/* The program's word, else the user's. Else the host back end, but for ranks that have no server to
 * meet at and whose launcher is an MPI's, or may be. */
static const char *choose_backend(const struct mst_world *world, const struct mst_kv *kv,
                                  const struct mst_comm_opts *opts)
{
    if (!is_auto(opts->backend))
        return opts->backend;
    if (!is_auto(world->tuning.comm))
        return world->tuning.comm;
    bool by_mpi = world->source == MST_WORLD_OPENMPI || world->source == MST_WORLD_PMI ||
                  world->source == MST_WORLD_SLURM;
    return !kv && by_mpi ? "mpi" : "host";
}

static const struct comm_ops *find_backend(const char *name)
{
    const struct comm_ops *const *ops = comm_backends;
    while (*ops && strcmp((*ops)->name, name) != 0)
        ops++;
    return *ops;
}

static uint32_t choose_timeout(const struct mst_world *world, const struct mst_comm_opts *opts)
{
    if (opts->timeout_ms > 0)
        return opts->timeout_ms;
    return world->tuning.timeout_ms > 0 ? world->tuning.timeout_ms : MST_COMM_TIMEOUT_MS_DEFAULT;
}

/* What every world is that core/world makes. */
static void assert_world(const struct mst_world *world)
{
    assert(world->rank < world->size && world->local_size <= world->size);
    assert(world->local_rank < world->local_size && world->local_size <= MST_PAGE_RANKS_MAX);
    assert(world->node < world->node_count);
}

static int map_page(struct mst_comm *comm, const struct mst_world *world, struct mst_err *err)
{
    if (world->page_fd < 0)
        return 0;
    int rc = mst_page_map(world->page_fd, &comm->page, err);
    if (rc == 0 && world->local_rank >= mst_page_local_size(comm->page))
        rc = mst_err_set(err, -EINVAL,
                         "the node page has room for %u ranks, not for local rank %u; is "
                         "MST_PAGE_FD stale?",
                         mst_page_local_size(comm->page), world->local_rank);
    return rc;
}

static int create(const struct mst_world *world, struct mst_kv *kv,
                  const struct mst_comm_opts *opts, struct mst_comm **ret_comm, struct mst_err *err)
{
    assert_world(world);
    int rc = mst_world_check_process(world, err);
    if (rc)
        return rc;
    const char *backend = choose_backend(world, kv, opts);
    const struct comm_ops *ops = find_backend(backend);
    if (!ops)
        return mst_err_set(err, -ENOTSUP, "no back end \"%s\" in this build; try \"auto\"",
                           backend);
    struct mst_comm *comm = calloc(1, sizeof *comm);
    if (!comm)
        return mst_err_set(err, -ENOMEM, "no memory for a communicator");
    comm->rank = world->rank;
    comm->size = world->size;
    comm->timeout_ms = choose_timeout(world, opts);
    comm->process = mst_process_mark();
    ticks_init(&comm->worker.ticks, TICKS_CLOCK_SOURCE);
    rc = map_page(comm, world, err);
    if (rc == 0)
        rc = ops->create(world, kv, comm->page, mst_deadline_ms(comm->timeout_ms), &comm->backend,
                         err);
    if (rc < 0) {
        mst_comm_destroy(comm);
        return rc;
    }
    comm->worker.recorder = (struct recorder){
        .page = comm->page, .local_rank = world->local_rank, .comm_id = comm->backend->comm_id};
    *ret_comm = comm;
    return 0;
}

int mst_comm_create(const struct mst_world *world, struct mst_kv *kv,
                    const struct mst_comm_opts *opts, struct mst_comm **ret_comm,
                    struct mst_err *err)
{
    struct mst_comm_opts known;
    int rc = mst_sized_take(&known, sizeof known, opts, "MST_COMM_OPTS_INIT", err);
    if (rc == 0)
        rc = create(world, kv, &known, ret_comm, err);
    return mst_world_note_verdict(world, rc);
}

int mst_comm_join(const struct mst_world *world, const struct mst_comm_opts *opts,
                  struct mst_comm **ret_comm, struct mst_err *err)
{
    struct mst_comm_opts known;
    int rc = mst_sized_take(&known, sizeof known, opts, "MST_COMM_OPTS_INIT", err);
    if (rc < 0)
        return mst_world_note_verdict(world, rc);
    struct mst_kv *kv = NULL;
    rc = mst_kv_dial(world, mst_deadline_ms(choose_timeout(world, &known)), &kv, err);
    if (rc == 0 || rc == -ENOTSUP) /* no server in this world: some back ends need none */
        rc = create(world, kv, &known, ret_comm, err);
    mst_kv_close(kv);
    return mst_world_note_verdict(world, rc);
}

void mst_comm_destroy(struct mst_comm *comm)
{
    if (!comm || !mst_process_owns(comm->process))
        return;
    req_queue_destroy(comm->reqs);
    if (comm->backend)
        comm->backend->ops->destroy(comm->backend);
    mst_page_unmap(comm->page);
    free(comm);
}

void mst_comm_abort(struct mst_comm *comm)
{
    struct mst_err err;
    if (!mst_process_owns(comm->process))
        return;
    (void)mst_err_set(&err, -ECONNRESET, "rank %u aborted the communicator",
                      comm->rank); /* known */
    comm->backend->ops->abort(comm->backend, &err);
}

uint32_t mst_comm_rank(const struct mst_comm *comm)
{
    return comm->rank;
}

uint32_t mst_comm_size(const struct mst_comm *comm)
{
    return comm->size;
}

const char *mst_comm_backend(const struct mst_comm *comm)
{
    return comm->backend->ops->name;
}

const char *mst_comm_error(const struct mst_comm *comm)
{
    /* Acquire: pairs with the release in execute. */
    bool is_dead = atomic_load_explicit(&comm->dead, memory_order_acquire) != 0;
    return is_dead ? comm->error.text : comm->refused.text;
}

/* The text of an earlier refusal is over. A load, as a rule. */
static void forget_refusal(struct mst_comm *comm)
{
    if (comm->refused.text[0])
        comm->refused.text[0] = '\0';
}

int mst_comm_get_stats(struct mst_comm *comm, struct mst_comm_stats *ret_stats)
{
    int rc = mst_sized_give(ret_stats, &comm->stats, sizeof comm->stats);
    if (rc < 0)
        return mst_err_set(&comm->refused, rc,
                           "statistics in a struct whose size is not set: begin it with "
                           "MST_COMM_STATS_INIT");
    forget_refusal(comm);
    return 0;
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* Numbers that this library does not know may be a newer one's. */
static int check_kind(const struct comm_ops *ops, const struct signature_desc *desc,
                      size_t elem_size, struct mst_err *err)
{
    if (elem_size == 0)
        return mst_err_set(err, -ENOTSUP, "type %u is unknown to libmuster %s",
                           (unsigned)desc->dtype, mst_version());
    if ((unsigned)desc->op >= MST_OP_COUNT)
        return mst_err_set(err, -ENOTSUP, "operator %u is unknown to libmuster %s",
                           (unsigned)desc->op, mst_version());
    if (signature_reduces(desc) && reduce_acc_size(desc->dtype) == 0 && !ops->reduces_f8)
        return mst_err_set(err, -ENOTSUP, "%s is moved only, never reduced: convert it",
                           mst_dtype_name(desc->dtype));
    return 0;
}

/* The largest buffer of a call can be addressed. */
static int check_count(const struct mst_comm *comm, const struct signature_desc *desc,
                       size_t elem_size, struct mst_err *err)
{
    size_t bytes;
    bool per_rank = desc->coll == MST_COLL_ALLGATHER || desc->coll == MST_COLL_REDUCE_SCATTER;
    size_t blocks = per_rank ? comm->size : 1;
    if (!__builtin_mul_overflow(desc->count, elem_size * blocks, &bytes) && bytes <= PTRDIFF_MAX)
        return 0;
    return mst_err_set(err, -EINVAL, "the count overflows: %zu blocks, %zu bytes an element",
                       blocks, elem_size);
}

/* The loops are compiled for aligned elements. All sizes are powers of two. */
static int check_buffer(const char *name, const void *buf, size_t elem_size, struct mst_err *err)
{
    if (!buf)
        return mst_err_set(err, -EINVAL, "\"%s\" is NULL, and the count is not 0", name);
    if (((uintptr_t)buf & (elem_size - 1)) != 0)
        return mst_err_set(err, -EINVAL, "\"%s\" at %p is not aligned to the %zu bytes of its type",
                           name, buf, elem_size);
    return 0;
}

static int check_buffers(const struct comm_call *call, size_t elem_size, struct mst_err *err)
{
    const struct signature_desc *desc = &call->desc;
    if (desc->count == 0)
        return 0;
    if (desc->coll == MST_COLL_BROADCAST)
        return check_buffer("buf", call->out, elem_size, err);
    int rc = check_buffer("in", call->in, elem_size, err);
    return rc == 0 ? check_buffer("out", call->out, elem_size, err) : rc;
}

static int check_call(const struct mst_comm *comm, const struct comm_call *call,
                      struct mst_err *err)
{
    const struct signature_desc *desc = &call->desc;
    const struct comm_ops *ops = comm->backend->ops;
    if (!mst_process_owns(comm->process))
        return mst_process_check(comm->process, "the communicator", err);
    if (call->queue && !ops->mark)
        return mst_err_set(err, -ENOTSUP, "this back end (%s) has no streams", ops->name);
    if (call->enqueued && !call->queue)
        return mst_err_set(err, -EINVAL, "to be enqueued it needs a stream, in \"queue\"");
    if (call->enqueued && desc->coll == MST_COLL_BARRIER)
        return mst_err_set(err, -ENOTSUP,
                           "ranks meet in a barrier on the host, and not on a stream: call it "
                           "without \"enqueue\"");
    if (desc->coll == MST_COLL_BARRIER)
        return 0;
    size_t elem_size = mst_dtype_size(desc->dtype);
    int rc = check_kind(ops, desc, elem_size, err);
    if (rc == 0 && desc->root >= comm->size)
        rc = mst_err_set(err, -EINVAL, "no rank %u among %u", desc->root, comm->size);
    if (rc == 0)
        rc = check_count(comm, desc, elem_size, err);
    if (rc == 0)
        rc = check_buffers(call, elem_size, err);
    return rc == 0 && ops->accept ? ops->accept(comm->backend, call, err) : rc;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Notes where the caller's stream is now. A stream that has failed ends the communicator, which the
 * call then finds: the other ranks are to know, too. */
static int mark(struct mst_comm *comm, struct comm_call *call)
{
    const struct comm_ops *ops = comm->backend->ops;
    int rc = call->queue ? ops->mark(comm->backend, call) : 0;
    if (rc == -EINVAL)
        return mst_err_set(&comm->refused, rc, "%p is no stream of the rank's device", call->queue);
    if (rc == -EBUSY)
        return mst_err_set(&comm->refused, -ENOTSUP,
                           "stream %p %s: what ranks agree on now is nothing to be run again; call "
                           "outside the capture",
                           call->queue, mst_gpu_busy_words(call->queue));
    if (rc == 0)
        return 0;
    struct mst_err err;
    (void)mst_err_set(&err, rc, "rank %u: the stream of a call: %s", comm->rank,
                      mst_err_meaning(rc));
    ops->abort(comm->backend, &err);
    return 0;
}

static void unmark(struct mst_comm *comm, const struct comm_call *call)
{
    if (call->mark)
        comm->backend->ops->unmark(comm->backend, call);
}

static int run(struct mst_comm *comm, const struct comm_call *call, uint64_t enter_ns)
{
    uint64_t seq = ++comm->worker.op_seq;
    struct mst_page_op *op = recorder_enter(&comm->worker.recorder, &call->desc, seq, enter_ns);
    uint64_t timeout_ns = comm->timeout_ms * MST_NS_PER_MS;
    uint64_t deadline_ns = call->deadline_ns ? call->deadline_ns : enter_ns + timeout_ns;
    int rc = comm->backend->ops->run(comm->backend, call, seq, deadline_ns);
    recorder_leave(&comm->worker.recorder, op, rc, ticks_now_ns(&comm->worker.ticks));
    if (rc < 0) {
        comm->error = comm->backend->err;
        /* Release: pairs with mst_comm_error on the caller's thread. */
        atomic_store_explicit(&comm->dead, rc, memory_order_release);
    }
    return rc;
}

/* Runs one call, on whichever thread has the turn. */
static int execute(struct mst_comm *comm, const struct comm_call *call, uint64_t enter_ns)
{
    int rc = atomic_load_explicit(&comm->dead, memory_order_relaxed); /* this thread stored it */
    if (rc == 0)
        rc = run(comm, call, enter_ns);
    unmark(comm, call);
    return rc;
}

static int execute_started(void *arg, const struct comm_call *call)
{
    struct mst_comm *comm = arg;
    return execute(comm, call, ticks_now_ns(&comm->worker.ticks));
}

/* The deadline of a call passed before its turn came. Now that it cannot be made in time it is not
 * made at all, which ends the communicator: the other ranks must not wait for it. What runs now
 * ends, and so does what comes after it. */
static void end_overdue(struct mst_comm *comm, const struct signature_desc *desc)
{
    char text[SIGNATURE_TEXT_MAX];
    struct mst_err err;
    (void)mst_err_set(&err, -ETIMEDOUT,
                      "rank %u, %s: what was started before it was not done by its deadline",
                      comm->rank, signature_describe(desc, text, sizeof text));
    comm->backend->ops->abort(comm->backend, &err);
}

/* What one call puts into the statistics. */
static void count_call(struct mst_comm *comm, const struct signature_desc *desc, uint64_t busy_ns)
{
    uint64_t blocks = desc->coll == MST_COLL_REDUCE_SCATTER ? comm->size : 1;
    bool has_input = desc->coll != MST_COLL_BROADCAST || desc->root == comm->rank;
    comm->stats.op_count++;
    comm->stats.bytes += has_input ? desc->count * mst_dtype_size(desc->dtype) * blocks : 0;
    comm->stats.busy_ns += busy_ns;
}

/* Waits until nothing that was started is left. What is enqueued comes behind what was enqueued
 * before it by itself. */
static void await_turn(struct mst_comm *comm, const struct comm_call *call)
{
    uint64_t deadline_ns = call->deadline_ns ? call->deadline_ns : MST_NEVER;
    if (req_drain(comm->reqs, call->enqueued, deadline_ns) == 0)
        return;
    end_overdue(comm, &call->desc);
    (void)req_drain(comm->reqs, call->enqueued, MST_NEVER); /* never late */
}

static int call_now(struct mst_comm *comm, const struct comm_call *call)
{
    uint64_t waited_ns = 0;
    if (comm->reqs) {
        uint64_t began_ns = mst_now_ns();
        await_turn(comm, call);
        waited_ns = mst_now_ns() - began_ns;
    }
    uint64_t enter_ns = ticks_now_ns(&comm->worker.ticks);
    int rc = execute(comm, call, enter_ns);
    count_call(comm, &call->desc, waited_ns + comm->worker.ticks.last_ns - enter_ns);
    return rc;
}

/* The thread, and room for a call that it is to run. */
static int make_room(struct mst_comm *comm, const struct comm_call *call, bool waited_for)
{
    if (!comm->reqs) {
        int rc = req_queue_create(execute_started, comm, &comm->reqs);
        if (rc < 0)
            return mst_err_set(&comm->refused, rc, "no memory for the thread of what is started");
        comm->backend->ops->set_threads(comm->backend, 2);
    }
    if (call->enqueued)
        await_turn(comm, call);
    int rc = req_await_room(comm->reqs, waited_for);
    return rc == 0 ? 0
                   : mst_err_set(&comm->refused, rc, "%d requests are open: wait for one of them",
                                 MST_COMM_REQS_MAX);
}

/* What could not be put on the device has ended the communicator; so the thread is soon through
 * with all that it has. */
static int end_unplaced(struct mst_comm *comm, struct mst_req *req)
{
    (void)req_drain(comm->reqs, false, MST_NEVER); /* never late */
    if (req)
        (void)req_wait(req); /* the result is the communicator's */
    return atomic_load_explicit(&comm->dead, memory_order_acquire);
}

/* There is room for it. */
static int call_start(struct mst_comm *comm, const struct comm_call *call, struct mst_req **ret_req)
{
    struct mst_req *req = NULL;
    int rc = req_start(comm->reqs, call, ret_req ? &req : NULL);
    assert(rc == 0); /* requests are made by this thread only */
    if (call->enqueued)
        rc = call->mark ? comm->backend->ops->place(comm->backend, call) : -EIO;
    if (rc < 0)
        return end_unplaced(comm, req);
    if (ret_req)
        *ret_req = req;
    return 0;
}

/* Says which call it was that is not made. */
static int refuse(struct mst_comm *comm, const struct signature_desc *desc)
{
    char text[SIGNATURE_TEXT_MAX];
    return mst_err_wrap(&comm->refused, "%s", signature_describe(desc, text, sizeof text));
}

/* Leaves the call to the communicator's thread: all of it, or only to be watched. */
static int call_behind(struct mst_comm *comm, struct comm_call *call, struct mst_req **ret_req)
{
    uint64_t began_ns = mst_now_ns();
    int rc = call->enqueued ? atomic_load_explicit(&comm->dead, memory_order_acquire) : 0;
    if (rc < 0)
        return rc;
    rc = make_room(comm, call, ret_req != NULL);
    if (rc == 0)
        rc = mark(comm, call);
    if (rc < 0)
        return refuse(comm, &call->desc);
    forget_refusal(comm);
    rc = call_start(comm, call, ret_req);
    count_call(comm, &call->desc, mst_now_ns() - began_ns);
    return rc;
}

/* `call` as `given` says. */
static int make(struct mst_comm *comm, struct comm_call *call, const struct mst_call *given)
{
    struct mst_call how = MST_CALL_INIT;
    struct mst_err *err = &comm->refused;
    int rc = given ? mst_sized_take(&how, sizeof how, given, "MST_CALL_INIT", err) : 0;
    call->deadline_ns = how.deadline_ns;
    call->queue = how.queue;
    call->enqueued = how.enqueue != 0;
    if (rc == 0)
        rc = check_call(comm, call, err);
    if (rc == 0 && (how.ret_req || call->enqueued))
        return call_behind(comm, call, how.ret_req);
    if (rc == 0)
        rc = mark(comm, call);
    if (rc < 0)
        return refuse(comm, &call->desc);
    forget_refusal(comm);
    return call_now(comm, call);
}

int mst_req_wait(struct mst_req *req)
{
    uint64_t began_ns = mst_now_ns();
    struct mst_comm *comm = req->queue->arg;
    if (!mst_process_owns(comm->process))
        return -ENOTSUP;
    int rc = req_await_turn(req);
    if (rc == -EINVAL)
        return mst_err_set(&comm->refused, rc, "a request that was waited for before");
    if (rc < 0)
        end_overdue(comm, &req->call.desc);
    rc = req_wait(req);
    comm->stats.busy_ns += mst_now_ns() - began_ns;
    return rc;
}

/* ---- the operations -------------------------------------------------------------------------- */

int mst_comm_allreduce(struct mst_comm *comm, const void *in, void *out, size_t count,
                       enum mst_dtype dtype, enum mst_op op, const struct mst_call *call)
{
    struct comm_call made = {
        .desc = {.coll = MST_COLL_ALLREDUCE, .count = count, .dtype = dtype, .op = op},
        .in = in,
        .out = out};
    return make(comm, &made, call);
}

int mst_comm_broadcast(struct mst_comm *comm, void *buf, size_t count, enum mst_dtype dtype,
                       uint32_t root, const struct mst_call *call)
{
    struct comm_call made = {
        .desc = {.coll = MST_COLL_BROADCAST, .count = count, .dtype = dtype, .root = root},
        .out = buf};
    return make(comm, &made, call);
}

int mst_comm_allgather(struct mst_comm *comm, const void *in, void *out, size_t count,
                       enum mst_dtype dtype, const struct mst_call *call)
{
    struct comm_call made = {
        .desc = {.coll = MST_COLL_ALLGATHER, .count = count, .dtype = dtype}, .in = in, .out = out};
    return make(comm, &made, call);
}

int mst_comm_reduce_scatter(struct mst_comm *comm, const void *in, void *out, size_t count,
                            enum mst_dtype dtype, enum mst_op op, const struct mst_call *call)
{
    struct comm_call made = {
        .desc = {.coll = MST_COLL_REDUCE_SCATTER, .count = count, .dtype = dtype, .op = op},
        .in = in,
        .out = out};
    return make(comm, &made, call);
}

int mst_comm_barrier(struct mst_comm *comm, const struct mst_call *call)
{
    struct comm_call made = {.desc.coll = MST_COLL_BARRIER};
    return make(comm, &made, call);
}

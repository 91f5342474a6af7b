/* The face of comm: checks arguments, keeps the lifecycle, and hands collectives to the back end,
 * here or on the communicator's thread. */
#include "muster/comm/comm.h"

#include "muster/comm/backend.h"
#include "muster/comm/recorder.h"
#include "muster/comm/reduce.h"
#include "muster/comm/req.h"
#include "muster/core/clock.h"
#include "muster/core/kv/kv.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mst_comm {
    struct comm_backend *backend;
    struct mst_page *page;
    struct req_queue *queue; /* NULL until the first start */
    struct mst_comm_stats stats;
    uint32_t rank, size;
    uint32_t timeout_ms;

    /* Of the thread that runs collectives: the caller's, or the queue's while something is open. */
    struct {
        struct recorder recorder;
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
    if (opts && !is_auto(opts->backend))
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
    if (opts && opts->timeout_ms > 0)
        return opts->timeout_ms;
    return world->tuning.timeout_ms > 0 ? world->tuning.timeout_ms : MST_COMM_TIMEOUT_MS_DEFAULT;
}

static int check_world(const struct mst_world *world, struct mst_err *err)
{
    if (world->rank < world->size && world->local_rank < world->local_size &&
        world->node < world->node_count && world->local_size <= world->size &&
        world->local_size <= MST_PAGE_RANKS_MAX)
        return 0;
    return mst_err_set(
        err, -EINVAL, "no such place in a world: rank %u of %u, local rank %u of %u, node %u of %u",
        world->rank, world->size, world->local_rank, world->local_size, world->node,
        world->node_count);
}

static int map_page(struct mst_comm *comm, const struct mst_world *world, struct mst_err *err)
{
    if (world->page_fd < 0)
        return 0;
    int rc = mst_page_map(world->page_fd, &comm->page, err);
    if (rc == 0 && world->local_rank >= mst_page_local_size(comm->page))
        rc = mst_err_set(err, -EINVAL, "the node page has no slot for local rank %u",
                         world->local_rank);
    return rc;
}

int mst_comm_create(const struct mst_world *world, struct mst_kv *kv,
                    const struct mst_comm_opts *opts, struct mst_comm **ret_comm,
                    struct mst_err *err)
{
    const char *backend = choose_backend(world, kv, opts);
    const struct comm_ops *ops = find_backend(backend);
    if (!ops)
        return mst_err_set(err, -ENOTSUP, "no back end \"%s\" in this build; try \"auto\"",
                           backend);
    int rc = check_world(world, err);
    if (rc < 0)
        return rc;
    struct mst_comm *comm = calloc(1, sizeof *comm);
    if (!comm)
        return mst_err_set(err, -ENOMEM, "no memory for a communicator");
    comm->rank = world->rank;
    comm->size = world->size;
    comm->timeout_ms = choose_timeout(world, opts);
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

int mst_comm_join(const struct mst_world *world, const struct mst_comm_opts *opts,
                  struct mst_comm **ret_comm, struct mst_err *err)
{
    struct mst_kv *kv = NULL;
    int rc = mst_kv_dial(world, mst_deadline_ms(choose_timeout(world, opts)), &kv, err);
    if (rc == 0 || rc == -ENOTSUP) /* no server in this world: some back ends need none */
        rc = mst_comm_create(world, kv, opts, ret_comm, err);
    mst_kv_close(kv);
    return rc;
}

void mst_comm_destroy(struct mst_comm *comm)
{
    if (!comm)
        return;
    req_queue_destroy(comm->queue);
    if (comm->backend)
        comm->backend->ops->destroy(comm->backend);
    mst_page_unmap(comm->page);
    free(comm);
}

void mst_comm_abort(struct mst_comm *comm)
{
    char text[64];
    (void)snprintf(text, sizeof text, "rank %u aborted the communicator", comm->rank);
    comm->backend->ops->abort(comm->backend, text);
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
    return atomic_load_explicit(&comm->dead, memory_order_acquire) != 0 ? comm->error.text : "";
}

struct mst_comm_stats mst_comm_stats(const struct mst_comm *comm)
{
    return comm->stats;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Elements of the largest buffer of a call. */
static bool is_countable(const struct mst_comm *comm, const struct signature_desc *desc)
{
    size_t size = mst_dtype_size(desc->dtype);
    bool per_rank = desc->coll == MST_COLL_ALLGATHER || desc->coll == MST_COLL_REDUCE_SCATTER;
    size_t blocks = per_rank ? comm->size : 1;
    return desc->count <= PTRDIFF_MAX / size / blocks;
}

/* The loops are compiled for aligned elements. */
static bool is_buffer(const void *buf, enum mst_dtype dtype)
{
    return buf && (uintptr_t)buf % mst_dtype_size(dtype) == 0;
}

static int check_call(const struct mst_comm *comm, const struct comm_call *call)
{
    const struct signature_desc *desc = &call->desc;
    bool reduces = desc->coll == MST_COLL_ALLREDUCE || desc->coll == MST_COLL_REDUCE_SCATTER;
    bool reads = desc->coll != MST_COLL_BROADCAST;
    if (desc->coll == MST_COLL_BARRIER)
        return 0;
    if (mst_dtype_size(desc->dtype) == 0 || (unsigned)desc->op >= MST_OP_COUNT ||
        desc->root >= comm->size || !is_countable(comm, desc))
        return -EINVAL;
    if (desc->count > 0 &&
        (!is_buffer(call->out, desc->dtype) || (reads && !is_buffer(call->in, desc->dtype))))
        return -EINVAL;
    if (reduces && reduce_acc_size(desc->dtype) == 0)
        return -ENOTSUP;
    const struct comm_ops *ops = comm->backend->ops;
    return ops->accept ? ops->accept(comm->backend, call) : 0;
}

/* Runs one call, on whichever thread has the turn. */
static int execute(struct mst_comm *comm, const struct comm_call *call, uint64_t enter_ns)
{
    int code = atomic_load_explicit(&comm->dead, memory_order_relaxed); /* this thread stored it */
    if (code != 0)
        return code;
    uint64_t seq = ++comm->worker.op_seq;
    uint64_t index = recorder_enter(&comm->worker.recorder, &call->desc, seq, enter_ns);
    int rc = comm->backend->ops->run(comm->backend, call, seq,
                                     enter_ns + comm->timeout_ms * MST_NS_PER_MS);
    if (comm->page)
        recorder_leave(&comm->worker.recorder, index, rc, mst_now_ns());
    if (rc < 0) {
        comm->error = comm->backend->err;
        /* Release: pairs with mst_comm_error on the caller's thread. */
        atomic_store_explicit(&comm->dead, rc, memory_order_release);
    }
    return rc;
}

static int execute_started(void *arg, const struct comm_call *call)
{
    return execute(arg, call, mst_now_ns());
}

/* What one call puts into the statistics. */
static void count_call(struct mst_comm *comm, const struct signature_desc *desc, uint64_t began_ns)
{
    uint64_t blocks = desc->coll == MST_COLL_REDUCE_SCATTER ? comm->size : 1;
    bool has_input = desc->coll != MST_COLL_BROADCAST || desc->root == comm->rank;
    comm->stats.op_count++;
    comm->stats.bytes += has_input ? desc->count * mst_dtype_size(desc->dtype) * blocks : 0;
    comm->stats.busy_ns += mst_now_ns() - began_ns;
}

static int call_now(struct mst_comm *comm, const struct comm_call *call)
{
    int rc = check_call(comm, call);
    if (rc < 0)
        return rc;
    uint64_t began_ns = mst_now_ns(), enter_ns = began_ns;
    if (comm->queue) {
        req_drain(comm->queue);
        enter_ns = mst_now_ns();
    }
    rc = execute(comm, call, enter_ns);
    count_call(comm, &call->desc, began_ns);
    return rc;
}

static int call_start(struct mst_comm *comm, const struct comm_call *call, struct mst_req **ret_req)
{
    int rc = check_call(comm, call);
    if (rc < 0)
        return rc;
    uint64_t began_ns = mst_now_ns();
    if (!comm->queue) {
        rc = req_queue_create(execute_started, comm, &comm->queue);
        if (rc < 0)
            return rc;
        comm->backend->ops->set_threads(comm->backend, 2);
    }
    rc = req_start(comm->queue, call, ret_req);
    if (rc == 0)
        count_call(comm, &call->desc, began_ns);
    return rc;
}

int mst_req_wait(struct mst_req *req)
{
    uint64_t began_ns = mst_now_ns();
    struct mst_comm *comm = req->queue->arg;
    int rc = req_wait(req);
    comm->stats.busy_ns += mst_now_ns() - began_ns;
    return rc;
}

/* ---- the collectives as calls ---------------------------------------------------------------- */

static struct comm_call make_call(enum mst_coll coll, const void *in, void *out, size_t count,
                                  enum mst_dtype dtype)
{
    return (struct comm_call){
        .desc = {.coll = coll, .count = count, .dtype = dtype}, .in = in, .out = out};
}

static struct comm_call reduce_call(enum mst_coll coll, const void *in, void *out, size_t count,
                                    enum mst_dtype dtype, enum mst_op op)
{
    struct comm_call call = make_call(coll, in, out, count, dtype);
    call.desc.op = op;
    return call;
}

static struct comm_call broadcast_call(void *buf, size_t count, enum mst_dtype dtype, uint32_t root)
{
    struct comm_call call = make_call(MST_COLL_BROADCAST, NULL, buf, count, dtype);
    call.desc.root = root;
    return call;
}

int mst_comm_allreduce(struct mst_comm *comm, const void *in, void *out, size_t count,
                       enum mst_dtype dtype, enum mst_op op)
{
    struct comm_call call = reduce_call(MST_COLL_ALLREDUCE, in, out, count, dtype, op);
    return call_now(comm, &call);
}

int mst_comm_broadcast(struct mst_comm *comm, void *buf, size_t count, enum mst_dtype dtype,
                       uint32_t root)
{
    struct comm_call call = broadcast_call(buf, count, dtype, root);
    return call_now(comm, &call);
}

int mst_comm_allgather(struct mst_comm *comm, const void *in, void *out, size_t count,
                       enum mst_dtype dtype)
{
    struct comm_call call = make_call(MST_COLL_ALLGATHER, in, out, count, dtype);
    return call_now(comm, &call);
}

int mst_comm_reduce_scatter(struct mst_comm *comm, const void *in, void *out, size_t count,
                            enum mst_dtype dtype, enum mst_op op)
{
    struct comm_call call = reduce_call(MST_COLL_REDUCE_SCATTER, in, out, count, dtype, op);
    return call_now(comm, &call);
}

int mst_comm_barrier(struct mst_comm *comm)
{
    struct comm_call call = {.desc.coll = MST_COLL_BARRIER};
    return call_now(comm, &call);
}

int mst_comm_allreduce_start(struct mst_comm *comm, const void *in, void *out, size_t count,
                             enum mst_dtype dtype, enum mst_op op, struct mst_req **ret_req)
{
    struct comm_call call = reduce_call(MST_COLL_ALLREDUCE, in, out, count, dtype, op);
    return call_start(comm, &call, ret_req);
}

int mst_comm_broadcast_start(struct mst_comm *comm, void *buf, size_t count, enum mst_dtype dtype,
                             uint32_t root, struct mst_req **ret_req)
{
    struct comm_call call = broadcast_call(buf, count, dtype, root);
    return call_start(comm, &call, ret_req);
}

int mst_comm_allgather_start(struct mst_comm *comm, const void *in, void *out, size_t count,
                             enum mst_dtype dtype, struct mst_req **ret_req)
{
    struct comm_call call = make_call(MST_COLL_ALLGATHER, in, out, count, dtype);
    return call_start(comm, &call, ret_req);
}

int mst_comm_reduce_scatter_start(struct mst_comm *comm, const void *in, void *out, size_t count,
                                  enum mst_dtype dtype, enum mst_op op, struct mst_req **ret_req)
{
    struct comm_call call = reduce_call(MST_COLL_REDUCE_SCATTER, in, out, count, dtype, op);
    return call_start(comm, &call, ret_req);
}

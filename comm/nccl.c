/* The nccl back end: NCCL moves and reduces, the host back end beside it does what NCCL does not.
 * Before every collective, or beside it if it is enqueued, the ranks meet there: a rank that is
 * missing is named, and one that calls something else is an error and no hang. A failure is told
 * there first, so that all ranks leave NCCL, and only then is NCCL's communicator aborted. */
#include "muster/comm/nccl_plan.h"

#include "muster/comm/host.h"
#include "muster/core/bytes.h"
#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/kv/kv.h"
#include "muster/core/thread.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSE_MS 5000 /* what NCCL gets to end a communicator */

/* No call of a mutex or condition here can fail: each is ours, initialised, and locked by turns. */

struct nccl {
    struct comm_backend base;
    struct nccl_plan plan;
    char name[MST_JOB_ID_BYTES + 16]; /* the library's as long as it has the communicator */
    bool failed;  /* the library's communicator is to be aborted, not finished */
    bool closing; /* `closer` was started */
    pthread_t closer;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t ended;
        bool closed; /* the library has let go of the device */
    } locked;
};

/* ---- the end --------------------------------------------------------------------------------- */

/* Finishing waits for the ranks of this node; when they do not come it is an abort, too. */
static bool finish_library(struct nccl *nccl, uint64_t deadline_ns)
{
    ncclResult_t state = nccl->plan.library->ncclCommFinalize(nccl->plan.comm);
    while (state == ncclInProgress && !mst_deadline_passed(deadline_ns)) {
        (void)sched_yield(); /* cannot fail on Linux */
        if (nccl->plan.library->ncclCommGetAsyncError(nccl->plan.comm, &state) != ncclSuccess)
            return false;
    }
    return state == ncclSuccess;
}

static atomic_bool has_aborted; /* this process, any of its communicators */

static void abort_library(const struct nccl *nccl)
{
    atomic_store(&has_aborted, true);
    (void)nccl->plan.library->ncclCommAbort(nccl->plan.comm); /* it is given up either way */
}

static void *close_main(void *arg)
{
    struct nccl *nccl = arg;
    bool entered = mst_gpu_enter(nccl->plan.gpu) == 0; /* a lost device is the library's to see */
    /* Whatever these answer, there is nothing to be done after them. */
    if (!nccl->failed && finish_library(nccl, mst_deadline_ms(CLOSE_MS / 2)))
        (void)nccl->plan.library->ncclCommDestroy(nccl->plan.comm);
    else
        abort_library(nccl);
    if (entered)
        mst_gpu_leave(nccl->plan.gpu);
    pthread_mutex_lock(&nccl->locked.lock);
    nccl->locked.closed = true;
    pthread_cond_signal(&nccl->locked.ended);
    pthread_mutex_unlock(&nccl->locked.lock);
    return NULL;
}

/* Neither abort nor finish has a deadline of its own, hence the thread. */
static void start_closing(struct nccl *nccl)
{
    if (nccl->plan.comm && !nccl->closing)
        nccl->closing = mst_thread_start(&nccl->closer, "mst-nccl-close", close_main, nccl) == 0;
}

/* Joins the thread; false if it is still in the library when its time is over. */
static bool wait_closed(struct nccl *nccl)
{
    uint64_t deadline_ns = mst_deadline_ms(CLOSE_MS);
    int rc = 0;
    pthread_mutex_lock(&nccl->locked.lock);
    while (nccl->closing && !nccl->locked.closed && rc == 0)
        rc = mst_cond_wait(&nccl->locked.ended, &nccl->locked.lock, deadline_ns);
    bool closed = nccl->locked.closed;
    pthread_mutex_unlock(&nccl->locked.lock);
    if (closed)
        (void)pthread_join(nccl->closer, NULL); /* ours, joined once */
    return closed || !nccl->plan.comm;
}

static void free_all(struct nccl *nccl)
{
    nccl_mark_free(&nccl->plan.placing.spare);
    mst_gpu_queue_destroy(nccl->plan.queue);
    if (nccl->plan.gpu) {
        mst_gpu_free(nccl->plan.gpu, &nccl->plan.pinned);
        mst_gpu_free(nccl->plan.gpu, &nccl->plan.device);
    }
    mst_gpu_close(nccl->plan.gpu);
    pthread_cond_destroy(&nccl->locked.ended);
    pthread_mutex_destroy(&nccl->locked.lock);
    pthread_cond_destroy(&nccl->plan.placing.left);
    pthread_mutex_destroy(&nccl->plan.placing.lock);
    free(nccl);
}

/* What the library has not given back is left to it: freeing it under a running kernel would be
 * worse than losing it, in a process that is about to end. */
static void nccl_destroy(struct comm_backend *backend)
{
    struct nccl *nccl = (struct nccl *)backend;
    if (!nccl)
        return;
    start_closing(nccl);
    bool closed = wait_closed(nccl);
    comm_host_ops.destroy(nccl->plan.host);
    nccl->plan.host = NULL;
    if (closed)
        free_all(nccl);
}

/* Told first, aborted then: a rank that is aborted under its peers' hands must not be what they
 * see. */
static int give_up(struct nccl *nccl)
{
    int rc = host_fail(nccl->plan.host, &nccl->plan.err);
    nccl->base.err = nccl->plan.err;
    nccl->failed = true;
    nccl_plan_end_placing(&nccl->plan);
    start_closing(nccl);
    return rc;
}

/* ---- collectives ----------------------------------------------------------------------------- */

static int nccl_mark(struct comm_backend *backend, struct comm_call *call)
{
    struct nccl_plan *plan = &((struct nccl *)backend)->plan;
    struct nccl_mark *mark = NULL;
    pthread_mutex_lock(&plan->placing.lock);
    int rc = nccl_mark_get(&plan->placing.spare, plan->gpu, call->queue, call->enqueued, &mark);
    pthread_mutex_unlock(&plan->placing.lock);
    call->mark = mark;
    return rc;
}

static void nccl_unmark(struct comm_backend *backend, const struct comm_call *call)
{
    struct nccl_plan *plan = &((struct nccl *)backend)->plan;
    if (call->enqueued)
        nccl_plan_await_left(plan, call->mark);
    pthread_mutex_lock(&plan->placing.lock);
    nccl_mark_put(&plan->placing.spare, call->mark);
    pthread_mutex_unlock(&plan->placing.lock);
}

static int nccl_place(struct comm_backend *backend, const struct comm_call *call)
{
    return nccl_plan_place(&((struct nccl *)backend)->plan, call);
}

static int nccl_accept(const struct comm_backend *backend, const struct comm_call *call,
                       struct mst_err *err)
{
    return nccl_plan_accept(&((const struct nccl *)backend)->plan, call, err);
}

static int nccl_run(struct comm_backend *backend, const struct comm_call *call, uint64_t op_seq,
                    uint64_t deadline_ns)
{
    struct nccl *nccl = (struct nccl *)backend;
    int rc = nccl_plan_run(&nccl->plan, call, op_seq, deadline_ns);
    return rc < 0 ? give_up(nccl) : 0;
}

static void nccl_abort(struct comm_backend *backend, const struct mst_err *err)
{
    comm_host_ops.abort(((struct nccl *)backend)->plan.host, err); /* every wait looks there */
}

static void nccl_set_threads(struct comm_backend *backend, uint32_t threads_per_rank)
{
    comm_host_ops.set_threads(((struct nccl *)backend)->plan.host, threads_per_rank);
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* How a rank is prepared, as the others see it. */
struct record {
    uint8_t version[4]; /* of its library; 0 = it has none */
    uint8_t code[4];    /* why not, negated */
    uint8_t device[MST_GPU_ID_BYTES];
    char text[sizeof((struct mst_err *)0)->text];
};

/* In some versions the next communicator of a process crashes. */
static int check_recovery(uint32_t version, struct mst_err *err)
{
    char text[NCCL_VERSION_TEXT_MAX];
    if (version < 22803 || version > 22808 || !atomic_load(&has_aborted))
        return 0;
    return mst_err_set(err, -ENOTSUP,
                       "NCCL %s crashes in a process that has aborted a communicator, as this one "
                       "has: install 2.28.9 or later, or restart the process",
                       nccl_version_text(version, text, sizeof text));
}

/* Everything that a rank does for itself. */
static int prepare(struct nccl *nccl, const struct mst_world *world, struct mst_err *err)
{
    int version = 0;
    struct mst_gpu_opts opts = {
        .backend = "cuda", .device = MST_GPU_BY_RANK, .local_rank = world->local_rank};
    int rc = nccl_load(world->tuning.nccl_lib, &nccl->plan.library, err);
    if (rc == 0 && nccl->plan.library->ncclGetVersion(&version) != ncclSuccess)
        rc = mst_err_set(err, -ENOTSUP, "NCCL does not tell its version");
    nccl->plan.version = (uint32_t)version;
    if (rc == 0)
        rc = check_recovery(nccl->plan.version, err);
    if (rc == 0)
        rc = mst_gpu_open(&opts, &nccl->plan.gpu, err);
    if (rc < 0)
        return rc;
    rc = mst_gpu_queue_create(nccl->plan.gpu, &nccl->plan.queue);
    if (rc == 0)
        rc = mst_gpu_alloc(nccl->plan.gpu, NCCL_STAGE_BYTES, MST_MEM_PINNED, &nccl->plan.pinned);
    if (rc == 0)
        rc = mst_gpu_alloc(nccl->plan.gpu, NCCL_STAGE_BYTES, MST_MEM_DEVICE, &nccl->plan.device);
    return rc < 0 ? mst_err_set(err, rc, "device %u: %s", world->local_rank, mst_err_meaning(rc))
                  : 0;
}

/* NCCL has the same rule, and names nobody. */
static int find_shared_device(const struct record *records, uint32_t size, struct mst_err *err)
{
    for (uint32_t r = 1; r < size; r++)
        for (uint32_t other = 0; other < r; other++)
            if (memcmp(records[r].device, records[other].device, MST_GPU_ID_BYTES) == 0)
                return mst_err_set(err, -EINVAL,
                                   "ranks %u and %u have the same device: give every rank of a "
                                   "node its own (CUDA_VISIBLE_DEVICES), or start fewer",
                                   other, r);
    return 0;
}

static int compare(const struct record *records, uint32_t size, struct mst_err *err)
{
    uint32_t first = mst_get_le32(records[0].version);
    for (uint32_t r = 0; r < size; r++) {
        int theirs = -(int)mst_get_le32(records[r].code);
        if (theirs < 0)
            return mst_err_set(err, theirs, "rank %u cannot use NCCL: %.200s", r, records[r].text);
    }
    for (uint32_t r = 1; r < size; r++) {
        char one[NCCL_VERSION_TEXT_MAX], other[NCCL_VERSION_TEXT_MAX];
        uint32_t version = mst_get_le32(records[r].version);
        if (version != first)
            return mst_err_set(err, -EPROTO,
                               "rank 0 has NCCL %s (%u) and rank %u has %s (%u): install one "
                               "version everywhere",
                               nccl_version_text(first, one, sizeof one), first, r,
                               nccl_version_text(version, other, sizeof other), version);
    }
    return find_shared_device(records, size, err);
}

/* Every rank learns how all others are prepared, so that all go on or none. */
static int agree(struct nccl *nccl, const struct record *mine, uint64_t deadline_ns,
                 struct mst_err *err)
{
    struct record *records = calloc(nccl->plan.size, sizeof *records);
    if (!records) {
        *err = (struct mst_err){.code = -ENOMEM, .text = "no memory for a communicator"};
        return host_fail(nccl->plan.host, err);
    }
    struct comm_call call = {
        .desc = {.coll = MST_COLL_ALLGATHER, .dtype = MST_U8, .count = sizeof *mine},
        .in = mine,
        .out = records,
    };
    int rc = comm_host_ops.run(nccl->plan.host, &call, 0, deadline_ns);
    if (rc < 0)
        *err = nccl->plan.host->err;
    else
        rc = compare(records, nccl->plan.size, err);
    free(records);
    return rc;
}

/* An empty one if there is none, since the others wait for it. */
static int put_id(struct nccl *nccl, struct mst_kv *kv, const char *key, uint64_t deadline_ns,
                  ncclUniqueId *ret_id)
{
    struct nccl_plan *plan = &nccl->plan;
    int made = nccl_plan_check(plan, plan->library->ncclGetUniqueId(ret_id), "unique id",
                               &plan->err);
    if (made < 0)
        (void)host_fail(plan->host, &plan->err); /* first, so that all know why */
    int rc = mst_kv_set(kv, key, ret_id, made < 0 ? 0 : sizeof *ret_id, deadline_ns);
    return made < 0 ? made : rc;
}

/* Rank 0 makes the id, under which NCCL's ranks find each other, and hands it out by the kv. */
static int share_id(struct nccl *nccl, struct mst_kv *kv, uint64_t deadline_ns,
                    ncclUniqueId *ret_id)
{
    char key[64];
    (void)snprintf(key, sizeof key, "comm/%u/nccl", nccl->base.comm_id);
    size_t size_bytes = sizeof *ret_id;
    int rc = nccl->plan.rank == 0
                 ? put_id(nccl, kv, key, deadline_ns, ret_id)
                 : mst_kv_wait(kv, key, ret_id, sizeof *ret_id, &size_bytes, deadline_ns);
    if (rc == 0 && size_bytes != sizeof *ret_id)
        rc = mst_err_set(&nccl->plan.err, -ENOTSUP, "rank 0 has no unique id of NCCL's");
    else if (rc < 0 && !nccl->plan.err.code)
        rc = mst_err_set(&nccl->plan.err, rc, "NCCL's unique id: %s", mst_err_meaning(rc));
    return rc;
}

static int init(struct nccl *nccl, ncclUniqueId id, uint64_t deadline_ns)
{
    struct nccl_config config = nccl_config_of(nccl->plan.version, nccl->name);
    struct mst_err *err = &nccl->plan.err;
    int rc = nccl_plan_check_gpu(&nccl->plan, mst_gpu_enter(nccl->plan.gpu), "device", err);
    if (rc < 0)
        return rc;
    ncclResult_t result = nccl->plan.library->ncclCommInitRankConfig(
        &nccl->plan.comm, (int)nccl->plan.size, id, (int)nccl->plan.rank, &config);
    mst_gpu_leave(nccl->plan.gpu);
    rc = nccl_plan_check(&nccl->plan, result, "init", err);
    return rc < 0 ? rc : nccl_plan_settle(&nccl->plan, deadline_ns);
}

static int join(struct nccl *nccl, const struct mst_world *world, struct mst_kv *kv,
                uint64_t deadline_ns, struct mst_err *err)
{
    struct mst_err why = {0};
    int rc = prepare(nccl, world, &why);
    struct record mine = {0};
    mst_put_le32(mine.version, nccl->plan.version);
    mst_put_le32(mine.code, (uint32_t)-rc);
    memcpy(mine.text, why.text, sizeof mine.text);
    if (rc == 0)
        memcpy(mine.device, mst_gpu_id(nccl->plan.gpu), sizeof mine.device);
    rc = agree(nccl, &mine, deadline_ns, err);
    if (rc < 0)
        return rc;
    nccl->plan.met = true;
    ncclUniqueId id;
    rc = share_id(nccl, kv, deadline_ns, &id);
    if (rc == 0)
        rc = init(nccl, id, deadline_ns);
    if (rc == 0 && nccl->plan.rank == 0) /* all have the id, or they would not be here */
        host_forget(nccl->plan.host, kv, deadline_ns);
    if (rc < 0) {
        rc = give_up(nccl);
        *err = nccl->base.err;
    }
    return rc;
}

static int nccl_create(const struct mst_world *world, struct mst_kv *kv, struct mst_page *page,
                       uint64_t deadline_ns, struct comm_backend **ret_backend, struct mst_err *err)
{
    struct nccl *nccl = calloc(1, sizeof *nccl);
    if (!nccl)
        return mst_err_set(err, -ENOMEM, "no memory for a communicator");
    nccl->base.ops = &comm_nccl_ops;
    nccl->plan.rank = world->rank;
    nccl->plan.size = world->size;
    pthread_mutex_init(&nccl->plan.placing.lock, NULL);
    mst_cond_init(&nccl->plan.placing.left);
    pthread_mutex_init(&nccl->locked.lock, NULL);
    mst_cond_init(&nccl->locked.ended);
    struct mst_err local_err = {0};
    int rc = comm_host_ops.create(world, kv, page, deadline_ns, &nccl->plan.host, &local_err);
    if (rc == 0) {
        nccl->base.comm_id = nccl->plan.host->comm_id;
        (void)snprintf(nccl->name, sizeof nccl->name, "%s/comm/%u",
                       world->job_id[0] ? world->job_id : "muster", nccl->base.comm_id);
        rc = join(nccl, world, kv, deadline_ns, &local_err);
    }
    if (rc < 0) {
        nccl_destroy(&nccl->base);
        return mst_err_set(err, rc, "%s", local_err.text);
    }
    *ret_backend = &nccl->base;
    return 0;
}

const struct comm_ops comm_nccl_ops = {
    .name = "nccl",
    .reduces_f8 = true,
    .create = nccl_create,
    .destroy = nccl_destroy,
    .accept = nccl_accept,
    .mark = nccl_mark,
    .unmark = nccl_unmark,
    .place = nccl_place,
    .run = nccl_run,
    .abort = nccl_abort,
    .set_threads = nccl_set_threads,
};

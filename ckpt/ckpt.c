/* The face: arguments, lifecycle, and handing a snapshot to the worker. */
#include "muster/ckpt/ckpt.h"

#include "muster/ckpt/attempt.h"
#include "muster/ckpt/restore.h"
#include "muster/ckpt/shard.h"
#include "muster/ckpt/state.h"
#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/huge.h"
#include "muster/core/process.h"
#include "muster/core/sized.h"
#include "muster/core/thread.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_DEFAULT 3
#define TIMEOUT_MS_DEFAULT 120000

/* The pool is faulted in beside a training that may have no processor to spare: of one it takes one
 * part in so many. */
#define PREPARE_BYTES MST_HUGE_BYTES
#define PREPARE_SHARE 30

struct mst_ckpt {
    /* The caller's. */
    uint64_t last_step; /* the last that save took, or MST_CKPT_NONE */
    uint32_t load_count;
    uint32_t process;     /* that opened it */
    struct mst_err error; /* of the last save or drain */
    bool has_lock, has_thread, read_only;
    pthread_t thread;
    struct mst_page *page; /* NULL: no agent looks at it */
    uint32_t local_rank;

    /* The caller's while the worker is idle, then the worker's; `locked` hands them over. */
    struct shard shard;
    struct attempt_job job;
    struct site site; /* its handle of the table is a clone of the program's */
    struct pruner pruner;

    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool stopping;
        bool taken;         /* the caller wants the shard, or the site too, or has them */
        bool preparing;     /* the worker has the shard, for a piece of the pool */
        bool pruning;       /* the worker has the site, for work that may wait */
        bool is_unprepared; /* there is more of the pool to fault in before a save needs it … */
        uint64_t prepare_at_ns; /* … from then on */
        int last_rc;
        uint64_t started_ns;
        struct mst_ckpt_status status; /* saving_step says whether a save is in flight */
    } locked;
};

/* ---- the worker ------------------------------------------------------------------------------ */

static void lock(struct mst_ckpt *ckpt)
{
    pthread_mutex_lock(&ckpt->locked.lock);
}

static void unlock(struct mst_ckpt *ckpt)
{
    pthread_mutex_unlock(&ckpt->locked.lock);
}

static void wake_locked(struct mst_ckpt *ckpt)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    pthread_cond_broadcast(&ckpt->locked.changed);
}

static bool is_saving_locked(struct mst_ckpt *ckpt)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    return ckpt->locked.status.saving_step != MST_CKPT_NONE;
}

/* Whether the worker has the shard. */
static bool is_busy_locked(struct mst_ckpt *ckpt)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    return is_saving_locked(ckpt) || ckpt->locked.preparing;
}

/* Tells the agent that the save of this step came to nothing: a job whose last save was lost has
 * not done what it was to do. */
static void note_lost(struct mst_ckpt *ckpt, uint64_t step)
{
    if (ckpt->page) /* relaxed, as below: the word is all that is said */
        atomic_store_explicit(&mst_page_slot(ckpt->page, ckpt->local_rank)->lost_step, step,
                              memory_order_relaxed);
}

/* A later commit holds all that was lost before. A save that could not even be taken is later than
 * the one in flight. */
static void note_committed(struct mst_ckpt *ckpt, uint64_t step)
{
    if (!ckpt->page)
        return;
    struct mst_page_slot *slot = mst_page_slot(ckpt->page, ckpt->local_rank);
    uint64_t lost = atomic_load_explicit(&slot->lost_step, memory_order_relaxed);
    if (lost <= step) /* (void): a newer loss stays */
        (void)atomic_compare_exchange_strong_explicit(&slot->lost_step, &lost, MST_PAGE_NO_STEP,
                                                      memory_order_relaxed, memory_order_relaxed);
}

static void record_locked(struct mst_ckpt *ckpt, const struct mst_err *failure)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    assert(is_saving_locked(ckpt) && ckpt->locked.status.saving_step == ckpt->job.step);
    struct mst_ckpt_status *status = &ckpt->locked.status;
    if (failure->code == 0) {
        note_committed(ckpt, status->saving_step);
        status->committed_step = status->saving_step;
        status->written_bytes += ckpt->shard.skeleton.size_bytes;
    } else {
        note_lost(ckpt, status->saving_step);
        status->failed_step = status->saving_step;
        status->failed_count++;
        status->failed_code = failure->code;
        memcpy(status->failed_text, failure->text, sizeof status->failed_text);
    }
    status->write_ns += mst_now_ns() - ckpt->locked.started_ns;
    status->saving_step = MST_CKPT_NONE;
    ckpt->locked.last_rc = failure->code;
    wake_locked(ckpt);
}

/* Returns whether there is more. What fails is tried again by a save, which tells. */
static bool prepare_piece(struct shard *shard)
{
    if (shard_reserve(shard, NULL) < 0)
        return false;
    if (shard_populate(shard, PREPARE_BYTES))
        return true;
    (void)shard_register(shard, NULL);
    return false;
}

/* One piece of the pool, and when the next may be. */
static void prepare(struct mst_ckpt *ckpt)
{
    uint64_t from_ns = mst_now_ns();
    bool more = prepare_piece(&ckpt->shard);
    uint64_t now_ns = mst_now_ns();
    lock(ckpt);
    ckpt->locked.preparing = false;
    ckpt->locked.is_unprepared = more;
    ckpt->locked.prepare_at_ns = now_ns + (now_ns - from_ns) * PREPARE_SHARE;
    wake_locked(ckpt);
    unlock(ckpt);
}

/* Whoever waits for the worker comes first. */
static bool is_wanted(void *arg)
{
    struct mst_ckpt *ckpt = arg;
    lock(ckpt);
    bool wanted = is_saving_locked(ckpt) || ckpt->locked.taken;
    unlock(ckpt);
    return wanted;
}

static void prune(struct mst_ckpt *ckpt)
{
    pruner_run(&ckpt->pruner, &ckpt->site, &(struct root_pause){is_wanted, ckpt});
    lock(ckpt);
    ckpt->locked.pruning = false;
    wake_locked(ckpt);
    unlock(ckpt);
}

static void run_attempt(struct mst_ckpt *ckpt)
{
    struct mst_err failure = {0};
    (void)attempt_run(&ckpt->site, &ckpt->shard, &ckpt->job, &ckpt->pruner,
                      &failure); /* its code is in the failure */
    lock(ckpt);
    record_locked(ckpt, &failure);
    unlock(ckpt);
}

typedef void (*job_fn)(struct mst_ckpt *ckpt);

/* Whether the worker should prepare now; otherwise *ret_deadline_ns says from when on. */
static bool may_prepare_locked(struct mst_ckpt *ckpt, uint64_t *ret_deadline_ns)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    if (!ckpt->locked.is_unprepared || ckpt->locked.stopping)
        return false;
    *ret_deadline_ns = ckpt->locked.prepare_at_ns;
    return mst_deadline_passed(ckpt->locked.prepare_at_ns);
}

/* The most urgent work; NULL: there is none until *ret_deadline_ns. */
static job_fn next_job_locked(struct mst_ckpt *ckpt, uint64_t *ret_deadline_ns)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    *ret_deadline_ns = MST_NEVER;
    if (is_saving_locked(ckpt))
        return run_attempt;
    if (ckpt->locked.taken)
        return NULL;
    ckpt->locked.pruning = pruner_is_due(&ckpt->pruner);
    if (ckpt->locked.pruning)
        return prune;
    ckpt->locked.preparing = may_prepare_locked(ckpt, ret_deadline_ns);
    return ckpt->locked.preparing ? prepare : NULL;
}

/* What there is to do; NULL: no more. Blocks. */
static job_fn await_job(struct mst_ckpt *ckpt)
{
    lock(ckpt);
    job_fn job;
    uint64_t deadline_ns;
    while (!(job = next_job_locked(ckpt, &deadline_ns)) && !ckpt->locked.stopping)
        (void)mst_cond_wait(&ckpt->locked.changed, &ckpt->locked.lock,
                            deadline_ns); /* looked at again, whatever has ended it */
    unlock(ckpt);
    return job;
}

static void *work(void *arg)
{
    job_fn job;
    while ((job = await_job(arg)))
        job(arg);
    return NULL;
}

static int start_thread(struct mst_ckpt *ckpt, struct mst_err *err)
{
    int rc = mst_thread_start(&ckpt->thread, "mst-ckpt", work, ckpt);
    if (rc)
        return mst_err_set(err, rc, "checkpoint thread: %s", mst_err_meaning(rc));
    ckpt->has_thread = true;
    return 0;
}

/* ---- open and close -------------------------------------------------------------------------- */

static void init_lock(struct mst_ckpt *ckpt)
{
    pthread_mutex_init(&ckpt->locked.lock, NULL);
    mst_cond_init(&ckpt->locked.changed);
    ckpt->has_lock = true;
}

/* Where there is no driver no memory is a device's, so that no other back end stands in. */
static struct mst_gpu_opts name_device(uint64_t device, uint32_t local_rank)
{
    if (device == 0)
        return (struct mst_gpu_opts){
            .backend = "cuda", .device = MST_GPU_BY_RANK, .local_rank = local_rank};
    uint64_t number = device - MST_CKPT_DEVICE(0);
    return (struct mst_gpu_opts){.backend = "cuda",
                                 .device = number < MST_GPU_BY_RANK ? (uint32_t)number
                                                                    : MST_GPU_BY_RANK - 1};
}

static struct mst_ckpt *allocate(const struct mst_ckpt_opts *opts, const struct mst_world *world)
{
    struct mst_ckpt *ckpt = calloc(1, sizeof *ckpt);
    if (!ckpt)
        return NULL;
    ckpt->process = mst_process_mark();
    ckpt->last_step = MST_CKPT_NONE;
    ckpt->shard.rank = world->rank;
    ckpt->shard.world_size = world->size;
    ckpt->shard.device.opts = name_device(opts->device, world->local_rank);
    ckpt->locked.status.committed_step = MST_CKPT_NONE;
    ckpt->locked.status.saving_step = MST_CKPT_NONE;
    ckpt->locked.status.failed_step = MST_CKPT_NONE;
    ckpt->site = (struct site){.rank = world->rank,
                               .world_size = world->size,
                               .generation = world->generation,
                               .keep = opts->keep ? opts->keep : KEEP_DEFAULT,
                               .timeout_ms = opts->timeout_ms ? opts->timeout_ms
                                                              : TIMEOUT_MS_DEFAULT};
    pruner_init(&ckpt->pruner);
    init_lock(ckpt);
    return ckpt;
}

static int map_page(struct mst_ckpt *ckpt, const struct mst_world *world, struct mst_err *err)
{
    if (world->page_fd < 0)
        return 0;
    int rc = mst_page_map(world->page_fd, &ckpt->page, err);
    if (rc == 0 && world->local_rank >= mst_page_local_size(ckpt->page))
        rc = mst_err_set(err, -EINVAL, "node page: %" PRIu32 " ranks, but local rank is %" PRIu32,
                         mst_page_local_size(ckpt->page), world->local_rank);
    ckpt->local_rank = world->local_rank;
    ckpt->site.page = ckpt->page;
    return rc;
}

/* What makes it slow is told, and no reason to fail. */
static void look_for_huge_pages(struct mst_ckpt *ckpt)
{
    struct mst_err fault = {0};
    if (mst_huge_check("", &fault) == 0)
        return;
    mst_err_wrap(&fault, "checkpoints are read and written at a part of the disk's speed");
    memcpy(ckpt->locked.status.warning, fault.text, sizeof fault.text);
}

static int open_all(struct mst_ckpt *ckpt, struct site_opening *opening, struct mst_err *err)
{
    look_for_huge_pages(ckpt);
    opening->deadline_ns = mst_deadline_ms(ckpt->site.timeout_ms);
    ckpt->read_only = opening->opts->read_only;
    int rc = ckpt->read_only ? 0 : map_page(ckpt, opening->world, err);
    if (rc == 0)
        rc = site_open(&ckpt->site, opening, err);
    return rc == 0 && !ckpt->read_only ? start_thread(ckpt, err) : rc;
}

static int open_new(struct site_opening *opening, struct mst_ckpt **ret_ckpt, struct mst_err *err)
{
    struct mst_ckpt *ckpt = allocate(opening->opts, opening->world);
    if (!ckpt)
        return mst_err_set(err, -ENOMEM, "checkpoint: no memory");
    int rc = open_all(ckpt, opening, err);
    if (rc < 0) {
        mst_ckpt_close(ckpt);
        return rc;
    }
    *ret_ckpt = ckpt;
    return 0;
}

/* A reader may be by itself: then a world of one stands for the job's. */
static int open_in(const struct mst_ckpt_opts *opts, const struct mst_world *world,
                   struct mst_kv *kv, struct mst_ckpt **ret_ckpt, struct mst_err *err)
{
    if (world && kv)
        return open_new(&(struct site_opening){.opts = opts, .world = world, .kv = kv}, ret_ckpt,
                        err);
    if (!opts->read_only)
        return mst_err_set(err, -EINVAL,
                           "no world or no key-value table: only who sets "
                           "opts.read_only can do without");
    struct mst_world *alone;
    if (mst_world_single(&alone) < 0)
        return mst_err_set(err, -ENOMEM, "checkpoint: no memory");
    int rc = open_new(&(struct site_opening){.opts = opts, .world = alone}, ret_ckpt, err);
    mst_world_destroy(alone);
    return rc;
}

int mst_ckpt_open(const struct mst_ckpt_opts *opts, const struct mst_world *world,
                  struct mst_kv *kv, struct mst_ckpt **ret_ckpt, struct mst_err *err)
{
    int rc = world ? mst_world_check_process(world, err) : 0;
    if (rc < 0)
        return rc;
    struct mst_ckpt_opts known;
    rc = mst_sized_take(&known, sizeof known, opts, "MST_CKPT_OPTS_INIT", err);
    if (rc == 0)
        rc = open_in(&known, world, kv, ret_ckpt, err);
    return world ? mst_world_note_verdict(world, rc) : rc;
}

static void stop_thread(struct mst_ckpt *ckpt)
{
    lock(ckpt);
    ckpt->locked.stopping = true;
    wake_locked(ckpt);
    unlock(ckpt);
    (void)pthread_join(ckpt->thread, NULL); /* a save in flight, and what it lets go, end in time */
}

void mst_ckpt_close(struct mst_ckpt *ckpt)
{
    if (!ckpt || !mst_process_owns(ckpt->process))
        return;
    if (ckpt->has_thread)
        stop_thread(ckpt);
    site_close(&ckpt->site);
    shard_fini(&ckpt->shard);
    mst_page_unmap(ckpt->page);
    if (ckpt->has_lock) {
        pthread_cond_destroy(&ckpt->locked.changed);
        pthread_mutex_destroy(&ckpt->locked.lock);
    }
    free(ckpt);
}

/* ---- save, drain, load, status --------------------------------------------------------------- */

static int check_process(const struct mst_ckpt *ckpt, struct mst_err *err)
{
    return mst_process_check(ckpt->process, "the checkpoint handle", err);
}

/* What the worker must let go of. */
enum hold { HOLD_SHARD, HOLD_ALL };

static bool is_held_locked(struct mst_ckpt *ckpt, enum hold hold)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    return is_busy_locked(ckpt) || (hold == HOLD_ALL && ckpt->locked.pruning);
}

/* Takes the shard, or the site too, from the worker, who leaves off what may wait. 0;
 * -ETIMEDOUT. */
static int take(struct mst_ckpt *ckpt, enum hold hold, uint64_t deadline_ns)
{
    lock(ckpt);
    ckpt->locked.taken = true;
    int rc = 0;
    while (is_held_locked(ckpt, hold) && rc == 0)
        rc = mst_cond_wait(&ckpt->locked.changed, &ckpt->locked.lock, deadline_ns);
    rc = is_held_locked(ckpt, hold) ? rc : 0;
    ckpt->locked.taken = rc == 0;
    wake_locked(ckpt);
    unlock(ckpt);
    return rc;
}

static void give_back(struct mst_ckpt *ckpt)
{
    lock(ckpt);
    ckpt->locked.taken = false;
    wake_locked(ckpt);
    unlock(ckpt);
}

static void start_job(struct mst_ckpt *ckpt, uint64_t started_ns)
{
    lock(ckpt);
    assert(ckpt->locked.taken && !is_busy_locked(ckpt));
    ckpt->locked.taken = false;
    ckpt->locked.status.saving_step = ckpt->job.step;
    ckpt->locked.status.save_count++;
    ckpt->locked.started_ns = mst_now_ns();
    ckpt->locked.status.stall_ns += ckpt->locked.started_ns - started_ns;
    wake_locked(ckpt);
    unlock(ckpt);
}

static int check_step(const struct mst_ckpt *ckpt, uint64_t step, struct mst_err *err)
{
    if (ckpt->read_only)
        return mst_err_set(err, -EROFS, "step %" PRIu64 ": the root was opened with read_only",
                           step);
    if (step > INT64_MAX)
        return mst_err_set(err, -EINVAL, "step %" PRIu64 " is over 2^63 - 1", step);
    if (ckpt->last_step != MST_CKPT_NONE && step <= ckpt->last_step)
        return mst_err_set(err, -EINVAL, "step %" PRIu64 " is not over the last saved, %" PRIu64,
                           step, ckpt->last_step);
    return 0;
}

static int check_cursor(const struct mst_cspan *cursor, struct mst_err *err)
{
    if (cursor->size_bytes > 0 && !cursor->data)
        return mst_err_set(err, -EINVAL, "a cursor of %zu bytes whose data is NULL",
                           cursor->size_bytes);
    if (cursor->size_bytes > 0 && cursor->mem == MST_MEM_DEVICE)
        return mst_err_set(err, -ENOTSUP, "the cursor is in device memory: copy it to the host");
    return 0;
}

/* Makes the worker's job of it. A rank whose tensors are refused has a job too: its vote tells the
 * others why, so that they need not wait until the deadline. */
static int take_snapshot(struct mst_ckpt *ckpt, uint64_t step, const struct state *state,
                         uint64_t deadline_ns)
{
    struct attempt_job *job = &ckpt->job;
    job->previous_step = ckpt->last_step;
    job->step = ckpt->last_step = step;
    job->cursor_bytes = state->cursor.size_bytes;
    job->failure = (struct mst_err){0};
    if (state->cursor.size_bytes > 0)
        memcpy(job->cursor, state->cursor.data, state->cursor.size_bytes);
    int rc = shard_describe(&ckpt->shard, state, &job->failure);
    if (rc == 0)
        rc = shard_reserve(&ckpt->shard, &job->failure);
    if (rc == 0)
        rc = device_join(&ckpt->shard.device, state, deadline_ns, &job->failure);
    if (rc == 0)
        rc = shard_snapshot(&ckpt->shard, step, state, &job->failure);
    ckpt->error = job->failure;
    return rc;
}

static bool has_failed(struct mst_ckpt *ckpt)
{
    lock(ckpt);
    bool failed = ckpt->locked.last_rc < 0;
    unlock(ckpt);
    return failed;
}

static int save_state(struct mst_ckpt *ckpt, uint64_t step, const struct state *state,
                      uint64_t deadline_ns)
{
    uint64_t started_ns = mst_now_ns();
    int rc = take(ckpt, HOLD_SHARD, deadline_ns);
    if (rc < 0)
        return mst_err_set(&ckpt->error, rc,
                           "step %" PRIu64 " is not saved: the save before it still holds the "
                           "snapshot pool",
                           step);
    ckpt->job.follows_failure = has_failed(ckpt);
    rc = take_snapshot(ckpt, step, state, deadline_ns);
    start_job(ckpt, started_ns);
    return rc;
}

int mst_ckpt_save(struct mst_ckpt *ckpt, uint64_t step, const struct mst_state *state,
                  uint64_t deadline_ns)
{
    ckpt->error = (struct mst_err){0};
    int rc = check_process(ckpt, &ckpt->error);
    if (rc == 0)
        rc = check_step(ckpt, step, &ckpt->error);
    if (rc < 0)
        return rc;
    struct state known = {0};
    rc = state_take(&known, state, &ckpt->error);
    if (rc == 0)
        rc = check_cursor(&known.cursor, &ckpt->error);
    if (rc == 0)
        rc = save_state(ckpt, step, &known, deadline_ns);
    if (rc < 0)
        note_lost(ckpt, step);
    state_fini(&known);
    return rc;
}

int mst_ckpt_drain(struct mst_ckpt *ckpt, uint64_t deadline_ns)
{
    ckpt->error = (struct mst_err){0};
    int rc = check_process(ckpt, &ckpt->error);
    if (rc)
        return rc;
    lock(ckpt);
    while (is_saving_locked(ckpt) && rc == 0)
        rc = mst_cond_wait(&ckpt->locked.changed, &ckpt->locked.lock, deadline_ns);
    rc = is_saving_locked(ckpt) ? rc : 0;
    if (rc < 0)
        mst_err_set(&ckpt->error, rc, "the last save has not ended");
    else if (ckpt->locked.last_rc < 0)
        rc = mst_err_set(&ckpt->error, ckpt->locked.last_rc, "%s", ckpt->locked.status.failed_text);
    unlock(ckpt);
    return rc;
}

const char *mst_ckpt_error(const struct mst_ckpt *ckpt)
{
    return ckpt->error.text;
}

/* Makes the worker fault in the pool for these tensors. The shard is the caller's. */
static int start_preparing(struct mst_ckpt *ckpt, const struct state *state, struct mst_err *err)
{
    int rc = shard_describe(&ckpt->shard, state, err);
    if (rc == 0)
        rc = device_open(&ckpt->shard.device, state, err);
    lock(ckpt);
    assert(ckpt->locked.taken && !is_busy_locked(ckpt));
    ckpt->locked.is_unprepared = rc == 0;
    ckpt->locked.prepare_at_ns = 0;
    unlock(ckpt);
    return rc;
}

static bool is_saving(struct mst_ckpt *ckpt)
{
    lock(ckpt);
    bool saving = is_saving_locked(ckpt);
    unlock(ckpt);
    return saving;
}

int mst_ckpt_prepare(struct mst_ckpt *ckpt, const struct mst_state *state)
{
    ckpt->error = (struct mst_err){0};
    int rc = check_process(ckpt, &ckpt->error);
    if (rc == 0 && ckpt->read_only)
        rc = mst_err_set(&ckpt->error, -EROFS,
                         "nothing to prepare: the root was opened with "
                         "read_only");
    struct state known = {0};
    if (rc == 0)
        rc = state_take(&known, state, &ckpt->error);
    if (rc < 0)
        return rc;
    if (is_saving(ckpt)) {
        rc = mst_err_set(&ckpt->error, -EAGAIN, "a save is in flight, and has the snapshot pool");
    } else {
        (void)take(ckpt, HOLD_SHARD, MST_NEVER); /* as soon as a piece is done */
        rc = start_preparing(ckpt, &known, &ckpt->error);
        give_back(ckpt);
    }
    state_fini(&known);
    return rc;
}

/* What is wrong with this rank's arguments goes to the others as its vote, as in a save. */
static int load_state(struct mst_ckpt *ckpt, struct restore_job *job,
                      struct mst_ckpt_loaded *ret_loaded, struct mst_err *err)
{
    int rc = take(ckpt, HOLD_ALL, job->deadline_ns);
    if (rc < 0)
        return mst_err_set(err, rc, "load: a save is still in flight");
    job->staging = shard_lend_pool(&ckpt->shard);
    job->device = &ckpt->shard.device;
    if (job->failure.code == 0)
        (void)device_join(job->device, job->state, job->deadline_ns,
                          &job->failure); /* its code is in the failure */
    rc = restore_run(&ckpt->site, job, ret_loaded, err);
    if (ckpt->has_thread && job->failure.code == 0 && (rc == 0 || rc == -ENOENT))
        (void)start_preparing(ckpt, job->state, NULL); /* these will be saved; save tells faults */
    give_back(ckpt);
    return rc;
}

/* Every call counts, whatever comes of it, so that ranks of which one has timed out still mean the
 * same load by the same number. What could be refused of the arguments is refused before a tensor
 * is changed. */
int mst_ckpt_load(struct mst_ckpt *ckpt, const struct mst_state *state,
                  struct mst_ckpt_loaded *ret_loaded, uint64_t deadline_ns, struct mst_err *err)
{
    int rc = check_process(ckpt, err);
    if (rc < 0)
        return rc;
    struct state known = {0};
    struct restore_job job = {
        .number = ckpt->load_count++, .state = &known, .deadline_ns = deadline_ns};
    struct mst_ckpt_loaded loaded;
    rc = mst_sized_take(&loaded, sizeof loaded, ret_loaded, "MST_CKPT_LOADED_INIT", &job.failure);
    if (rc == 0)
        (void)state_take(&known, state, &job.failure); /* its code is in the failure */
    rc = load_state(ckpt, &job, &loaded, err);
    if (job.failure.code != 0)
        rc = mst_err_set(err, job.failure.code, "%s", job.failure.text);
    if (rc == 0)
        rc = mst_sized_give(ret_loaded, &loaded, sizeof loaded);
    state_fini(&known);
    return rc;
}

int mst_ckpt_get_status(struct mst_ckpt *ckpt, struct mst_ckpt_status *ret_status)
{
    if (!mst_process_owns(ckpt->process))
        return -ENOTSUP;
    lock(ckpt);
    struct mst_ckpt_status status = ckpt->locked.status;
    unlock(ckpt);
    return mst_sized_give(ret_status, &status, sizeof status);
}

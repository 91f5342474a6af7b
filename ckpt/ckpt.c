/* The face: arguments, lifecycle, and handing a snapshot to the worker. */
#include "muster/ckpt/ckpt.h"

#include "muster/ckpt/attempt.h"
#include "muster/ckpt/restore.h"
#include "muster/ckpt/shard.h"
#include "muster/ckpt/state.h"
#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/err.h"
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
        bool reserving; /* the worker faults the pool in before the first save needs it */
        bool pruning;   /* the worker has the site, for work that may wait */
        bool loading;   /* the caller wants the site, or has it */
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

static bool is_busy_locked(struct mst_ckpt *ckpt)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    return is_saving_locked(ckpt) || ckpt->locked.reserving;
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

static void reserve(struct mst_ckpt *ckpt)
{
    (void)shard_reserve(&ckpt->shard, NULL); /* a save tries again, and tells */
    lock(ckpt);
    ckpt->locked.reserving = false;
    wake_locked(ckpt);
    unlock(ckpt);
}

/* Whoever waits for the worker comes first. */
static bool is_wanted(void *arg)
{
    struct mst_ckpt *ckpt = arg;
    lock(ckpt);
    bool wanted = is_saving_locked(ckpt) || ckpt->locked.loading;
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

/* The most urgent work; NULL: there is none. */
static job_fn next_job_locked(struct mst_ckpt *ckpt)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    if (is_saving_locked(ckpt))
        return run_attempt;
    if (ckpt->locked.reserving)
        return reserve;
    ckpt->locked.pruning = !ckpt->locked.loading && pruner_is_due(&ckpt->pruner);
    return ckpt->locked.pruning ? prune : NULL;
}

/* What there is to do; NULL: no more. Blocks. */
static job_fn await_job(struct mst_ckpt *ckpt)
{
    lock(ckpt);
    job_fn job;
    while (!(job = next_job_locked(ckpt)) && !ckpt->locked.stopping)
        (void)mst_cond_wait(&ckpt->locked.changed, &ckpt->locked.lock,
                            MST_NEVER); /* without a deadline nothing can fail */
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

static struct mst_ckpt *allocate(const struct mst_ckpt_opts *opts, const struct mst_world *world)
{
    struct mst_ckpt *ckpt = calloc(1, sizeof *ckpt);
    if (!ckpt)
        return NULL;
    ckpt->process = mst_process_mark();
    ckpt->last_step = MST_CKPT_NONE;
    ckpt->shard.rank = world->rank;
    ckpt->shard.world_size = world->size;
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
    return rc;
}

static int open_all(struct mst_ckpt *ckpt, struct site_opening *opening, struct mst_err *err)
{
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

/* Waits until the worker is idle. 0; -ETIMEDOUT. */
static int await_idle_locked(struct mst_ckpt *ckpt, uint64_t deadline_ns)
{
    assert(mst_lock_is_held(&ckpt->locked.lock));
    int rc = 0;
    while (is_busy_locked(ckpt) && rc == 0)
        rc = mst_cond_wait(&ckpt->locked.changed, &ckpt->locked.lock, deadline_ns);
    return is_busy_locked(ckpt) ? rc : 0;
}

static void start_job(struct mst_ckpt *ckpt, uint64_t started_ns)
{
    lock(ckpt);
    assert(!is_busy_locked(ckpt));
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
static int take_snapshot(struct mst_ckpt *ckpt, uint64_t step, const struct state *state)
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
        shard_snapshot(&ckpt->shard, step, state);
    ckpt->error = job->failure;
    return rc;
}

static int save_state(struct mst_ckpt *ckpt, uint64_t step, const struct state *state,
                      uint64_t deadline_ns)
{
    uint64_t started_ns = mst_now_ns();
    lock(ckpt);
    int rc = await_idle_locked(ckpt, deadline_ns);
    bool follows_failure = ckpt->locked.last_rc < 0;
    unlock(ckpt);
    if (rc < 0)
        return mst_err_set(&ckpt->error, rc,
                           "step %" PRIu64 " is not saved: the save before it still holds the "
                           "snapshot pool",
                           step);
    ckpt->job.follows_failure = follows_failure;
    rc = take_snapshot(ckpt, step, state);
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
    rc = await_idle_locked(ckpt, deadline_ns);
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

/* These tensors are what will be saved: the pool for them is made while the training begins. What
 * is wrong with them is told by save. */
static void start_reserve(struct mst_ckpt *ckpt, const struct state *state)
{
    if (shard_describe(&ckpt->shard, state, NULL) < 0)
        return;
    lock(ckpt);
    assert(!is_busy_locked(ckpt));
    ckpt->locked.reserving = true;
    wake_locked(ckpt);
    unlock(ckpt);
}

/* Takes the site from the worker, who leaves off what may wait. 0; -ETIMEDOUT. */
static int take_site(struct mst_ckpt *ckpt, uint64_t deadline_ns)
{
    lock(ckpt);
    ckpt->locked.loading = true;
    int rc = 0;
    while ((is_busy_locked(ckpt) || ckpt->locked.pruning) && rc == 0)
        rc = mst_cond_wait(&ckpt->locked.changed, &ckpt->locked.lock, deadline_ns);
    bool taken = !is_busy_locked(ckpt) && !ckpt->locked.pruning;
    ckpt->locked.loading = taken;
    wake_locked(ckpt);
    unlock(ckpt);
    return taken ? 0 : rc;
}

static void give_site_back(struct mst_ckpt *ckpt)
{
    lock(ckpt);
    ckpt->locked.loading = false;
    wake_locked(ckpt);
    unlock(ckpt);
}

/* What is wrong with this rank's arguments goes to the others as its vote, as in a save. */
static int load_state(struct mst_ckpt *ckpt, struct restore_job *job,
                      struct mst_ckpt_loaded *ret_loaded, struct mst_err *err)
{
    int rc = take_site(ckpt, job->deadline_ns);
    if (rc < 0)
        return mst_err_set(err, rc, "load: a save is still in flight");
    job->staging = shard_lend_pool(&ckpt->shard);
    rc = restore_run(&ckpt->site, job, ret_loaded, err);
    give_site_back(ckpt);
    if (ckpt->has_thread && job->failure.code == 0 && (rc == 0 || rc == -ENOENT))
        start_reserve(ckpt, job->state);
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

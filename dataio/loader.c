/* loader: arguments, the life of the worker thread, and batches in either of two ways: straight
 * from a dataset that lies in memory, or from the read-ahead window that the worker runs. */
#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/huge.h"
#include "muster/core/least.h"
#include "muster/core/process.h"
#include "muster/core/sized.h"
#include "muster/core/thread.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"
#include "muster/dataio/cursor.h"
#include "muster/dataio/dataio.h"
#include "muster/dataio/dataset.h"
#include "muster/dataio/feed.h"
#include "muster/dataio/fetch.h"
#include "muster/dataio/index.h"
#include "muster/dataio/order.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET_BYTES_DEFAULT (UINT64_C(128) << 20)
#define SAMPLE_BYTES_MAX 4096u /* as a program knows it: no later form of it comes near */

static_assert(CURSOR_BYTES == MST_CURSOR_BYTES, "the codec's and the face's size");

struct mst_loader {
    struct index *index;
    struct feed *feed; /* NULL for a dataset in memory */
    struct order order;
    uint32_t global_batch, part_first, part_count;
    uint64_t position; /* of the next batch */
    uint32_t process;  /* that opened it */
    struct mst_loader_stats stats;
    struct mst_err error;
    const char *warning;   /* of the last seek, or of opening */
    struct mst_err pages;  /* why there are no huge ones */
    bool refused;          /* the last seek was */
    struct mst_page *page; /* of the node, or NULL */
    uint32_t local_rank;
    uint8_t *samples; /* of the current batch, laid out as the program knows them */
    size_t samples_bytes;

    /* For a dataset that memory does not hold: */
    struct fetch *fetch; /* the worker's, except fetch_samples */
    uint64_t taken;      /* batches handed out since the last seek */
    pthread_t thread;
    bool running;
    pthread_cond_t work;  /* to the worker: released, seek or stop changed */
    pthread_cond_t ready; /* to the caller: progress, failed or seek changed */
    struct {
        pthread_mutex_t lock;
        struct fetch_progress progress;
        uint64_t released;
        uint64_t seek_position;
        bool seek, stop;
        int failed;
        struct mst_err failure;
    } locked;
};

/* ---- the worker ------------------------------------------------------------------------------ */

static void seek_locked(struct mst_loader *loader)
{
    assert(mst_lock_is_held(&loader->locked.lock));
    uint64_t position = loader->locked.seek_position;
    pthread_mutex_unlock(&loader->locked.lock);
    fetch_seek(loader->fetch, position);
    pthread_mutex_lock(&loader->locked.lock);
    loader->locked.progress.ready_count = loader->locked.released = 0;
    loader->locked.progress.busy = true;
    loader->locked.failed = 0;
    loader->locked.seek = false;
    pthread_cond_signal(&loader->ready);
}

static void step_locked(struct mst_loader *loader)
{
    assert(mst_lock_is_held(&loader->locked.lock));
    uint64_t released = loader->locked.released;
    pthread_mutex_unlock(&loader->locked.lock);
    struct fetch_progress progress;
    struct mst_err failure = {0};
    int rc = fetch_step(loader->fetch, released, &progress, &failure);
    pthread_mutex_lock(&loader->locked.lock);
    /* A release during the step may have made the room that the step lacked. */
    progress.busy = progress.busy || loader->locked.released != released;
    loader->locked.progress = progress;
    loader->locked.failed = rc;
    loader->locked.failure = failure;
    assert(progress.ready_count >= loader->locked.released);
    pthread_cond_signal(&loader->ready);
}

static void *worker(void *arg)
{
    struct mst_loader *loader = arg;
    pthread_mutex_lock(&loader->locked.lock);
    while (!loader->locked.stop) {
        if (loader->locked.seek)
            seek_locked(loader);
        else if (loader->locked.progress.busy && !loader->locked.failed)
            step_locked(loader);
        else
            pthread_cond_wait(&loader->work, &loader->locked.lock);
    }
    pthread_mutex_unlock(&loader->locked.lock);
    return NULL;
}

static int start_worker(struct mst_loader *loader, struct mst_err *err)
{
    loader->locked.progress.busy = true;
    int rc = mst_thread_start(&loader->thread, "mst-loader", worker, loader);
    if (rc)
        return mst_err_set(err, -ENOMEM, "loader: cannot start its thread: %s",
                           mst_err_meaning(rc));
    loader->running = true;
    return 0;
}

static void stop_worker(struct mst_loader *loader)
{
    if (!loader->running)
        return;
    pthread_mutex_lock(&loader->locked.lock);
    loader->locked.stop = true;
    pthread_cond_signal(&loader->work);
    pthread_mutex_unlock(&loader->locked.lock);
    pthread_join(loader->thread, NULL);
}

/* ---- samples as the program knows them ------------------------------------------------------- */

/* Makes room for a batch of samples of `sample_bytes`. Later calls for as much are free. */
static int make_room(struct mst_loader *loader, uint32_t sample_bytes, struct mst_err *err)
{
    if (sample_bytes == 0 || sample_bytes > SAMPLE_BYTES_MAX ||
        sample_bytes % alignof(struct mst_sample))
        return mst_err_set(err, -EINVAL,
                           "loader: no sample has %u bytes: begin the batch with MST_BATCH_INIT",
                           sample_bytes);
    size_t needed_bytes = (size_t)loader->part_count * sample_bytes;
    if (needed_bytes <= loader->samples_bytes)
        return 0;
    uint8_t *samples = malloc(needed_bytes);
    if (!samples)
        return mst_err_set(err, -ENOMEM, "loader: no memory for a batch of %u samples",
                           loader->part_count);
    free(loader->samples);
    loader->samples = samples;
    loader->samples_bytes = needed_bytes;
    return 0;
}

/* Of an older form the program sees what it knows; in a newer one it finds zeros. */
static void put_sample(struct mst_loader *loader, uint32_t sample_bytes, uint32_t at,
                       const struct mst_sample *sample)
{
    size_t begin = (size_t)at * sample_bytes, known_bytes = mst_least(sample_bytes, sizeof *sample);
    assert(begin + sample_bytes <= loader->samples_bytes);
    memcpy(loader->samples + begin, sample, known_bytes);
    memset(loader->samples + begin + known_bytes, 0, sample_bytes - known_bytes);
}

/* ---- open and close -------------------------------------------------------------------------- */

static int check_opts(const struct mst_loader_opts *opts, struct mst_err *err)
{
    if (!opts->uri || !*opts->uri)
        return mst_err_set(err, -EINVAL, "loader: uri is empty: name the files of the dataset");
    if (opts->global_batch == 0)
        return mst_err_set(err, -EINVAL, "loader: global_batch is 0: at least 1 sample per step");
    if (opts->fingerprint != MST_FINGERPRINT_SAMPLED && opts->fingerprint != MST_FINGERPRINT_FULL)
        return mst_err_set(err, -EINVAL, "loader: fingerprint %d: sampled or full",
                           (int)opts->fingerprint);
    return 0;
}

static int open_index(struct mst_loader *loader, const struct mst_loader_opts *opts,
                      uint64_t budget_bytes, struct mst_err *err)
{
    struct index_opts index = {.shape = {.format = opts->format,
                                         .dtype = opts->dtype,
                                         .elems = opts->record_elems,
                                         .stride = opts->record_stride},
                               .scratch_dir = opts->scratch_dir,
                               .full = opts->fingerprint == MST_FINGERPRINT_FULL,
                               .resident_bytes = budget_bytes / 2};
    struct dataset *dataset = NULL;
    int rc = dataset_open(opts->uri, loader->feed, &dataset, err);
    index.dataset = dataset;
    if (rc == 0)
        rc = index_open(&index, loader->feed, &loader->index, err);
    dataset_close(dataset);
    if (rc == 0)
        order_init(&loader->order, opts->seed, loader->index->sample_count, opts->sequential != 0);
    return rc;
}

/* Files are read past the page cache, at full speed only into huge pages. */
static void note_pages(struct mst_loader *loader)
{
    const struct index *index = loader->index;
    bool files = false;
    for (uint32_t i = 0; i < index->shard_count; i++)
        files = files || feed_grain(index->shards[i].source.file) > 1;
    if (files && mst_huge_check("", &loader->pages) < 0)
        loader->warning = loader->pages.text;
}

static int open_ahead(struct mst_loader *loader, const struct mst_world *world,
                      uint64_t budget_bytes, struct mst_err *err)
{
    struct fetch_opts fetch = {.index = loader->index,
                               .feed = loader->feed,
                               .order = loader->order,
                               .budget_bytes = budget_bytes,
                               .global_batch = loader->global_batch,
                               .rank = world->rank,
                               .world_size = world->size};
    int rc = fetch_create(&fetch, &loader->fetch, err);
    note_pages(loader);
    return rc ? rc : start_worker(loader, err);
}

static void keep_resident(struct mst_loader *loader)
{
    feed_destroy(loader->feed); /* nothing is read any more: its threads may go */
    loader->feed = NULL;
    loader->stats.bytes_read = loader->index->size_bytes;
}

static int open_data(struct mst_loader *loader, const struct mst_loader_opts *opts,
                     const struct mst_world *world, struct mst_err *err)
{
    uint64_t budget_bytes = opts->budget_bytes ? opts->budget_bytes : BUDGET_BYTES_DEFAULT;
    struct feed_opts feed = {
        .aio = world->tuning.aio, .window_bytes = budget_bytes / 2, .timeout_ms = opts->timeout_ms};
    int rc = feed_create(&feed, &loader->feed, err);
    if (rc == 0)
        rc = open_index(loader, opts, budget_bytes, err);
    if (rc == 0)
        rc = make_room(loader, sizeof(struct mst_sample), err);
    if (rc == 0 && !loader->index->resident)
        rc = open_ahead(loader, world, budget_bytes, err);
    else if (rc == 0)
        keep_resident(loader);
    return rc;
}

int mst_loader_open(const struct mst_loader_opts *opts, const struct mst_world *world,
                    struct mst_loader **ret_loader, struct mst_err *err)
{
    struct mst_loader_opts known;
    int rc = mst_sized_take(&known, sizeof known, opts, "MST_LOADER_OPTS_INIT", err);
    if (rc == 0)
        rc = check_opts(&known, err);
    if (rc)
        return mst_world_note_verdict(world, rc);
    struct mst_loader *loader = calloc(1, sizeof *loader);
    if (!loader)
        return mst_err_set(err, -ENOMEM, "loader: no memory");
    pthread_mutex_init(&loader->locked.lock, NULL);
    mst_cond_init(&loader->work);
    mst_cond_init(&loader->ready);
    loader->process = mst_process_mark();
    loader->warning = "";
    loader->global_batch = known.global_batch;
    loader->part_count = fetch_part(known.global_batch, world->rank, world->size,
                                    &loader->part_first);
    loader->local_rank = world->local_rank;
    rc = world->page_fd < 0 ? 0 : mst_page_map(world->page_fd, &loader->page, err);
    if (rc == 0)
        rc = open_data(loader, &known, world, err);
    if (rc) {
        mst_loader_close(loader);
        return mst_world_note_verdict(world, rc);
    }
    *ret_loader = loader;
    return mst_world_note_verdict(world, 0);
}

void mst_loader_close(struct mst_loader *loader)
{
    if (!loader || !mst_process_owns(loader->process))
        return;
    stop_worker(loader);
    fetch_destroy(loader->fetch);
    index_close(loader->index);
    feed_destroy(loader->feed);
    mst_page_unmap(loader->page);
    free(loader->samples);
    pthread_cond_destroy(&loader->ready);
    pthread_cond_destroy(&loader->work);
    pthread_mutex_destroy(&loader->locked.lock);
    free(loader);
}

int mst_loader_info(const struct mst_loader *loader, struct mst_dataset_info *ret_info)
{
    const struct index *index = loader->index;
    struct mst_dataset_info info = {
        .struct_bytes = sizeof info,
        .source_count = index->shard_count,
        .sample_count = index->sample_count,
        .size_bytes = index->size_bytes,
        .fingerprint = index->fingerprint.full ? index->fingerprint.full
                                               : index->fingerprint.sampled,
        .format = index->shape.format,
        .dtype = index->shape.dtype,
        .hidden_count = (uint32_t)mst_least(index->hidden_count, UINT32_MAX),
        .fingerprint_kind = index->fingerprint.full ? MST_FINGERPRINT_FULL
                                                    : MST_FINGERPRINT_SAMPLED};
    return mst_sized_give(ret_info, &info, sizeof info);
}

int mst_loader_get_stats(const struct mst_loader *loader, struct mst_loader_stats *ret_stats)
{
    return mst_sized_give(ret_stats, &loader->stats, sizeof loader->stats);
}

const char *mst_loader_error(const struct mst_loader *loader)
{
    return loader->error.text;
}

const char *mst_loader_warning(const struct mst_loader *loader)
{
    return loader->warning;
}

/* ---- batches --------------------------------------------------------------------------------- */

static void lay_out_resident(struct mst_loader *loader, struct mst_batch *batch)
{
    uint64_t first = loader->position + loader->part_first;
    for (uint32_t i = 0; i < loader->part_count; i++) {
        uint64_t index = order_sample(&loader->order, first + i);
        struct place place = index_locate(loader->index, index);
        struct mst_sample sample = {
            .data = {.data = loader->index->shards[place.shard].resident + place.offset,
                     .size_bytes = (size_t)place.size_bytes,
                     .mem = MST_MEM_HOST},
            .index = index};
        put_sample(loader, batch->sample_bytes, i, &sample);
    }
    batch->samples = (const void *)loader->samples;
}

/* The window's own, where the program knows samples as it does: they stay until released. */
static void lay_out_ahead(struct mst_loader *loader, struct mst_batch *batch)
{
    const struct mst_sample *samples = fetch_samples(loader->fetch, loader->taken++);
    batch->samples = samples;
    if (batch->sample_bytes == sizeof *samples)
        return;
    for (uint32_t i = 0; i < loader->part_count; i++)
        put_sample(loader, batch->sample_bytes, i, &samples[i]);
    batch->samples = (const void *)loader->samples;
}

/* Names a file that the batch needs. */
static int tell_late(struct mst_loader *loader, uint64_t waited_ns)
{
    uint64_t first = order_sample(&loader->order, loader->position + loader->part_first);
    uint32_t shard = index_locate(loader->index, first).shard;
    return mst_err_set(&loader->error, -ETIMEDOUT,
                       "no batch by the deadline: waited %" PRIu64 " ms on step %" PRIu64
                       ", which begins here with sample %" PRIu64 " in %.120s; ask again",
                       waited_ns / MST_NS_PER_MS, loader->position / loader->global_batch, first,
                       loader->index->shards[shard].source.label);
}

/* Batches that were read before a failure are still handed out. */
static int await_batch_locked(struct mst_loader *loader, uint64_t deadline_ns)
{
    assert(mst_lock_is_held(&loader->locked.lock));
    uint64_t start_ns = 0, waited_ns = 0;
    int waited = 0;
    while (loader->locked.progress.ready_count == loader->taken && !loader->locked.failed &&
           waited == 0) {
        if (!start_ns)
            start_ns = mst_now_ns();
        waited = mst_cond_wait(&loader->ready, &loader->locked.lock, deadline_ns);
    }
    if (start_ns)
        waited_ns = mst_now_ns() - start_ns;
    loader->stats.stall_ns += waited_ns;
    if (loader->locked.progress.ready_count > loader->taken)
        return 0;
    if (!loader->locked.failed)
        return tell_late(loader, waited_ns);
    loader->error = loader->locked.failure;
    return loader->locked.failed;
}

static int take_batch(struct mst_loader *loader, struct mst_batch *batch, uint64_t deadline_ns)
{
    pthread_mutex_lock(&loader->locked.lock);
    if (loader->locked.released != loader->taken) {
        loader->locked.released = loader->taken; /* the batch of the call before */
        loader->locked.progress.busy = true;
        pthread_cond_signal(&loader->work);
    }
    int rc = await_batch_locked(loader, deadline_ns);
    loader->stats.bytes_read = loader->locked.progress.bytes_read;
    pthread_mutex_unlock(&loader->locked.lock);
    if (rc == 0)
        lay_out_ahead(loader, batch);
    return rc;
}

static int check_process(const struct mst_loader *loader, struct mst_err *err)
{
    return mst_process_check(loader->process, "the loader", err);
}

int mst_loader_next(struct mst_loader *loader, struct mst_batch *ret_batch, uint64_t deadline_ns)
{
    struct mst_batch batch;
    loader->error = (struct mst_err){0};
    int rc = check_process(loader, &loader->error);
    if (rc == 0)
        rc = mst_sized_take(&batch, sizeof batch, ret_batch, "MST_BATCH_INIT", &loader->error);
    if (rc == 0)
        rc = make_room(loader, batch.sample_bytes, &loader->error);
    if (rc == 0 && loader->fetch)
        rc = take_batch(loader, &batch, deadline_ns);
    else if (rc == 0)
        lay_out_resident(loader, &batch);
    if (rc)
        return rc;
    batch.sample_count = loader->part_count;
    batch.step = loader->position / loader->global_batch;
    batch.epoch = loader->position / loader->index->sample_count;
    batch.position = loader->position;
    loader->position += loader->global_batch;
    loader->stats.batch_count++;
    if (loader->refused) /* and the program lives on with it */
        loader->refused = mst_page_note_verdict(loader->page, loader->local_rank, 0) < 0;
    return mst_sized_give(ret_batch, &batch, sizeof batch);
}

/* ---- resume ---------------------------------------------------------------------------------- */

static struct cursor cursor_of(const struct mst_loader *loader)
{
    return (struct cursor){.version = CURSOR_VERSION,
                           .fingerprint = loader->index->fingerprint,
                           .place = loader->index->place,
                           .pin = loader->index->pin,
                           .shape = loader->index->shape_hash,
                           .seed = loader->order.seed,
                           .position = loader->position,
                           .sequential = loader->order.sequential};
}

void mst_loader_cursor(const struct mst_loader *loader, uint8_t ret_cursor[MST_CURSOR_BYTES])
{
    struct cursor cursor = cursor_of(loader);
    cursor_encode(&cursor, ret_cursor);
}

/* Waits until the worker stands at the new position: for the reads in flight, nothing else. */
static void move_worker(struct mst_loader *loader, uint64_t position)
{
    pthread_mutex_lock(&loader->locked.lock);
    loader->locked.seek_position = position;
    loader->locked.seek = true;
    pthread_cond_signal(&loader->work);
    while (loader->locked.seek)
        pthread_cond_wait(&loader->ready, &loader->locked.lock);
    pthread_mutex_unlock(&loader->locked.lock);
    loader->taken = 0;
}

int mst_loader_seek(struct mst_loader *loader, const uint8_t *cursor, size_t size_bytes,
                    struct mst_err *err)
{
    struct cursor saved, here = cursor_of(loader);
    int rc = check_process(loader, err);
    if (rc)
        return rc;
    rc = cursor_decode(cursor, size_bytes, &saved, err);
    if (rc == 0)
        rc = cursor_match(&saved, &here, err);
    loader->refused = mst_page_note_verdict(loader->page, loader->local_rank, rc) < 0;
    if (rc)
        return rc;
    if (loader->fetch)
        move_worker(loader, saved.position);
    loader->position = saved.position;
    const char *doubt = cursor_doubt(&saved, &here);
    loader->warning = doubt ? doubt : "";
    return 0;
}

#include "dataio/fetch.h"

#include "core/aio.h"
#include "core/clock.h"
#include "core/err.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_BYTES UINT64_C(4096)
#define BATCH_COUNT_MAX 64u

struct batch;

/* One sample on its way: whole blocks around it. */
struct read {
    struct batch *batch;
    uint8_t *at;
    uint64_t offset, size_bytes; /* of the blocks */
    uint64_t need_bytes;         /* up to the sample's last byte: less is a truncated file */
    uint32_t shard;
};

struct batch {
    struct mst_sample *samples;
    struct read *reads;
    uint64_t size_bytes;    /* of all reads */
    size_t begin;           /* in the arena */
    uint32_t next_read;     /* not yet submitted */
    uint32_t pending_count; /* reads that have not ended */
};

/* The arena's free part is behind head up to tail, around the end or not. */
struct arena {
    uint8_t *data;
    size_t size_bytes;
    size_t head, tail;
    bool wrapped; /* head is below tail */
};

struct fetch {
    struct index *index;
    struct mst_aio *aio;
    struct order order;
    int *fds; /* per shard */
    uint32_t global_batch, part_first, part_count;
    struct arena arena;
    struct batch *batches; /* a ring of batch_cap */
    uint32_t batch_cap;
    /* Counts since the last seek: released <= ready <= submitting <= begun. */
    uint64_t released, ready, submitting, begun;
    bool planned; /* batch `begun` is laid out and waits for room */
    uint64_t position;
    uint64_t bytes_read;
    int failed;
    struct mst_err failure;
};

uint32_t fetch_part(uint32_t global_batch, uint32_t rank, uint32_t world_size, uint32_t *ret_first)
{
    uint64_t first = (uint64_t)rank * global_batch / world_size;
    uint64_t end = ((uint64_t)rank + 1) * global_batch / world_size;

    *ret_first = (uint32_t)first;
    return (uint32_t)(end - first);
}

/* ---- create and destroy ---- */

static uint64_t blocks_around(uint64_t size_bytes)
{
    /* A range that begins in mid-block may touch one block more than its size needs. */
    return (size_bytes + 2 * BLOCK_BYTES - 2) / BLOCK_BYTES * BLOCK_BYTES;
}

/* What two batches take. Lines have any length: then the longest must fit, and batches of average
 * lines; a batch of unusually long ones may still fail later. */
static uint64_t needed_bytes(const struct fetch *fetch)
{
    const struct index *index = fetch->index;
    uint64_t longest = blocks_around(index->record_bytes_max), usual = longest;

    if (index->shards[0].table.starts)
        usual = blocks_around(index->size_bytes / index->sample_count);
    usual *= fetch->part_count;
    return 2 * (usual > longest ? usual : longest);
}

static int check_budget(const struct fetch *fetch, uint64_t budget_bytes, struct mst_err *err)
{
    uint64_t needed = needed_bytes(fetch);

    if (budget_bytes < needed)
        return mst_err_set(err, -ENOMEM,
                           "budget_bytes of %" PRIu64 " is too small: two batches of %u samples "
                           "need %" PRIu64,
                           budget_bytes, fetch->part_count, needed);
    return 0;
}

static int map_arena(struct arena *arena, uint64_t budget_bytes, struct mst_err *err)
{
    size_t size = (size_t)(budget_bytes / BLOCK_BYTES * BLOCK_BYTES);
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (data == MAP_FAILED)
        return mst_err_set(err, -ENOMEM, "no memory for a budget of %" PRIu64 " bytes",
                           budget_bytes);
    *arena = (struct arena){.data = data, .size_bytes = size};
    return 0;
}

/* Book-keeping may take as much as the bytes do, but there are at least two batches. */
static uint32_t batch_cap(uint64_t budget_bytes, uint32_t part_count)
{
    uint64_t per_batch = (uint64_t)part_count * (sizeof(struct mst_sample) + sizeof(struct read)) +
                         1;
    uint64_t cap = budget_bytes / per_batch;

    return cap < 2 ? 2 : cap > BATCH_COUNT_MAX ? BATCH_COUNT_MAX : (uint32_t)cap;
}

static int alloc_batches(struct fetch *fetch, struct mst_err *err)
{
    size_t count = fetch->part_count ? fetch->part_count : 1;

    fetch->batches = calloc(fetch->batch_cap, sizeof *fetch->batches);
    fetch->fds = calloc(fetch->index->shard_count, sizeof *fetch->fds);
    for (uint32_t i = 0; fetch->batches && i < fetch->batch_cap; i++) {
        struct batch *batch = &fetch->batches[i];
        batch->samples = calloc(count, sizeof *batch->samples);
        batch->reads = calloc(count, sizeof *batch->reads);
        if (!batch->samples || !batch->reads)
            return mst_err_set(err, -ENOMEM, "no memory for batches of %zu samples", count);
    }
    if (!fetch->batches || !fetch->fds)
        return mst_err_set(err, -ENOMEM, "no memory for the read-ahead window");
    return 0;
}

int fetch_create(const struct fetch_opts *opts, struct fetch **ret_fetch, struct mst_err *err)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    int rc;

    if (!fetch)
        return mst_err_set(err, -ENOMEM, "no memory for the read-ahead window");
    fetch->index = opts->index;
    fetch->aio = opts->aio;
    fetch->order = opts->order;
    fetch->global_batch = opts->global_batch;
    fetch->part_count = fetch_part(opts->global_batch, opts->rank, opts->world_size,
                                   &fetch->part_first);
    fetch->batch_cap = batch_cap(opts->budget_bytes, fetch->part_count);
    rc = check_budget(fetch, opts->budget_bytes, err);
    if (!rc)
        rc = map_arena(&fetch->arena, opts->budget_bytes, err);
    if (!rc)
        rc = alloc_batches(fetch, err);
    if (rc) {
        fetch_destroy(fetch);
        return rc;
    }
    for (uint32_t i = 0; i < fetch->index->shard_count; i++)
        fetch->fds[i] = source_direct(&fetch->index->shards[i].source);
    *ret_fetch = fetch;
    return 0;
}

static void drain(struct fetch *fetch)
{
    struct mst_aio_done done[FETCH_DEPTH];

    while (mst_aio_in_flight(fetch->aio))
        (void)mst_aio_reap(fetch->aio, done, FETCH_DEPTH, 1, MST_NEVER); /* results of no use */
}

void fetch_destroy(struct fetch *fetch)
{
    if (!fetch)
        return;
    drain(fetch);
    for (uint32_t i = 0; fetch->batches && i < fetch->batch_cap; i++) {
        free(fetch->batches[i].samples);
        free(fetch->batches[i].reads);
    }
    if (fetch->arena.data)
        munmap(fetch->arena.data, fetch->arena.size_bytes);
    free(fetch->batches);
    free(fetch->fds);
    free(fetch);
}

/* ---- the ring of memory ---- */

static bool arena_take(struct arena *arena, size_t size_bytes, size_t *ret_begin)
{
    size_t end = arena->wrapped ? arena->tail : arena->size_bytes;

    if (end - arena->head < size_bytes) {
        if (arena->wrapped || arena->tail < size_bytes)
            return false;
        arena->wrapped = true;
        arena->head = 0;
    }
    *ret_begin = arena->head;
    arena->head += size_bytes;
    return true;
}

/* The oldest batch still used begins at `begin`. */
static void arena_trim(struct arena *arena, size_t begin)
{
    if (begin < arena->tail)
        arena->wrapped = false;
    arena->tail = begin;
}

static void arena_clear(struct arena *arena)
{
    arena->head = arena->tail = 0;
    arena->wrapped = false;
}

/* ---- batches ---- */

static struct batch *batch_at(const struct fetch *fetch, uint64_t number)
{
    return &fetch->batches[number % fetch->batch_cap];
}

const struct mst_sample *fetch_samples(const struct fetch *fetch, uint64_t number)
{
    return batch_at(fetch, number)->samples;
}

/* Which samples the next batch has, and which blocks hold them. */
static void plan(struct fetch *fetch)
{
    struct batch *batch = batch_at(fetch, fetch->begun);
    uint64_t first = fetch->position + fetch->part_first;

    batch->size_bytes = 0;
    batch->next_read = batch->pending_count = 0;
    for (uint32_t i = 0; i < fetch->part_count; i++) {
        uint64_t sample = order_sample(&fetch->order, first + i);
        struct place place = index_locate(fetch->index, sample);
        uint64_t begin = place.offset / BLOCK_BYTES * BLOCK_BYTES;
        uint64_t need = place.size_bytes ? place.offset + place.size_bytes - begin : 0;
        uint64_t size = (need + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
        batch->reads[i] = (struct read){.batch = batch,
                                        .offset = begin,
                                        .size_bytes = size,
                                        .need_bytes = need,
                                        .shard = place.shard};
        batch->samples[i] = (struct mst_sample){
            .data = {.size_bytes = place.size_bytes, .mem = MST_MEM_HOST}, .index = sample};
        batch->size_bytes += size;
        batch->pending_count += size > 0;
    }
}

static void place_reads(const struct fetch *fetch, struct batch *batch)
{
    uint8_t *at = fetch->arena.data + batch->begin;

    for (uint32_t i = 0; i < fetch->part_count; i++) {
        struct read *read = &batch->reads[i];
        read->at = at;
        batch->samples[i].data.data = at + read->need_bytes - batch->samples[i].data.size_bytes;
        at += read->size_bytes;
    }
}

/* Begins the next batch if there is room. False: not now. */
static bool begin(struct fetch *fetch)
{
    struct batch *batch = batch_at(fetch, fetch->begun);

    if (fetch->begun - fetch->released == fetch->batch_cap)
        return false;
    if (!fetch->planned)
        plan(fetch);
    fetch->planned = true;
    if (batch->size_bytes > fetch->arena.size_bytes / 2) {
        fetch->failed = mst_err_set(&fetch->failure, -ENOMEM,
                                    "batch of %" PRIu64 " bytes at position %" PRIu64
                                    ": budget_bytes must be twice that",
                                    batch->size_bytes, fetch->position);
        return false;
    }
    if (!arena_take(&fetch->arena, (size_t)batch->size_bytes, &batch->begin))
        return false;
    place_reads(fetch, batch);
    fetch->planned = false;
    fetch->begun++;
    fetch->position += fetch->global_batch;
    return true;
}

static void release(struct fetch *fetch, uint64_t released_count)
{
    assert(released_count >= fetch->released && released_count <= fetch->ready);
    fetch->released = released_count;
    if (fetch->released == fetch->begun)
        arena_clear(&fetch->arena);
    else
        arena_trim(&fetch->arena, batch_at(fetch, fetch->released)->begin);
}

/* ---- reads ---- */

static bool next_read(struct fetch *fetch, struct read **ret_read)
{
    while (fetch->submitting < fetch->begun) {
        struct batch *batch = batch_at(fetch, fetch->submitting);
        while (batch->next_read < fetch->part_count) {
            struct read *read = &batch->reads[batch->next_read++];
            *ret_read = read;
            if (read->size_bytes)
                return true;
        }
        fetch->submitting++;
    }
    return false;
}

static void submit(struct fetch *fetch)
{
    struct mst_aio_op ops[FETCH_DEPTH];
    size_t room = FETCH_DEPTH - mst_aio_in_flight(fetch->aio), count = 0;
    struct read *read;
    int taken;

    while (count < room && next_read(fetch, &read))
        ops[count++] = (struct mst_aio_op){.kind = MST_AIO_READ,
                                           .fd = fetch->fds[read->shard],
                                           .data = read->at,
                                           .size_bytes = (size_t)read->size_bytes,
                                           .offset = read->offset,
                                           .user = read};
    taken = count ? mst_aio_submit(fetch->aio, ops, count) : 0;
    assert((size_t)taken == count); /* the queue is FETCH_DEPTH deep */
    (void)taken;
}

static int check_read(const struct fetch *fetch, const struct read *read, int64_t result,
                      struct mst_err *err)
{
    const char *path = fetch->index->shards[read->shard].source.path;

    if (result < 0)
        return mst_err_set(err, (int)result, "%s: reading at byte %" PRIu64 ": %s", path,
                           read->offset, strerror((int)-result));
    if ((uint64_t)result < read->need_bytes)
        return mst_err_set(err, -EBADMSG, "%s: became shorter while in use: ends at byte %" PRIu64,
                           path, read->offset + (uint64_t)result);
    return 0;
}

/* A batch with a failed read stays pending, so neither it nor a later one is ever ready. */
static void end_read(struct fetch *fetch, const struct read *read, int64_t result)
{
    struct mst_err failure;
    int rc = check_read(fetch, read, result, &failure);

    if (rc == 0) {
        read->batch->pending_count--;
        fetch->bytes_read += (uint64_t)result;
    } else if (!fetch->failed) {
        fetch->failed = rc;
        fetch->failure = failure;
    }
}

static void reap(struct fetch *fetch)
{
    struct mst_aio_done done[FETCH_DEPTH];
    int count = mst_aio_reap(fetch->aio, done, FETCH_DEPTH, 1, MST_NEVER);

    for (int i = 0; i < count; i++)
        end_read(fetch, done[i].user, done[i].result);
}

static bool is_ready(const struct fetch *fetch, uint64_t number)
{
    return number < fetch->begun && batch_at(fetch, number)->pending_count == 0;
}

void fetch_seek(struct fetch *fetch, uint64_t position)
{
    drain(fetch);
    fetch->released = fetch->ready = fetch->submitting = fetch->begun = 0;
    fetch->planned = false;
    fetch->position = position;
    fetch->failed = 0;
    arena_clear(&fetch->arena);
}

int fetch_step(struct fetch *fetch, uint64_t released_count, struct fetch_progress *ret_progress,
               struct mst_err *err)
{
    bool busy;

    release(fetch, released_count);
    while (!fetch->failed && begin(fetch))
        continue;
    submit(fetch);
    if (mst_aio_in_flight(fetch->aio))
        reap(fetch);
    while (is_ready(fetch, fetch->ready))
        fetch->ready++;
    busy = mst_aio_in_flight(fetch->aio) > 0 || fetch->submitting < fetch->begun;
    *ret_progress = (struct fetch_progress){
        .ready_count = fetch->ready, .bytes_read = fetch->bytes_read, .busy = busy};
    if (!fetch->failed || busy)
        return 0;
    if (err)
        *err = fetch->failure;
    return fetch->failed;
}

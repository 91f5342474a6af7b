/* The life of a batch, in the order that all batches pass:
 *
 *   planned     its samples are known, and what is to be read for them: one read for neighbours
 *   begun       it has room in the arena, a ring of memory, and each of its reads a place there;
 *               its first read may have become part of the last one begun before
 *   submitted   its reads are the feed's, which takes FEED_DEPTH at a time and ends them in any
 *               order
 *   ready       nothing of it is pending, nor of a batch before it: the consumer may have it
 *   released    the consumer is through with it, and its room in the arena is free again
 *
 * As none overtakes another, four counters tell where each of them is. A step moves all as far as
 * they get: begins and submits while there is room and not enough under way, waits for one read to
 * end. A read that failed stays pending, so the window ends in front of its batch: what came before
 * is still handed out, then the failure, until a seek forgets everything.
 *
 * The read begun last is open until it is submitted: the next batch's bytes may join it. It waits
 * for them while the consumer has enough to do, so that a request brings many small batches. */
#include "muster/dataio/fetch.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/huge.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define LINE_BYTES UINT64_C(64) /* of the processor's cache */
#define BATCH_COUNT_MAX 1024u
#define BATCH_COUNT_USUAL 64u
#define BOOKS_BYTES_MAX (UINT64_C(2) << 20) /* of more batches than usual */

#define READ_BYTES_MIN (UINT64_C(1) << 20) /* of several samples of a remote object */
#define READ_SHARE 8u                      /* of the arena: so many are under way at least */

/* Beyond so many reads only small ones are under way: the disk or the net is busy with these. */
#define FLYING_COUNT_LOCAL 8u
#define FLYING_COUNT_REMOTE 16u
#define FLYING_BYTES (UINT64_C(16) << 20)
#define READ_QUICK_NS (MST_NS_PER_S / 2)
#define READ_SLOW_NS (2 * MST_NS_PER_S)
#define PATIENCE_NS MST_NS_PER_S

struct batch;

/* Samples on their way that lie one after the other: all of them, and where their source is read in
 * blocks the whole blocks around them. */
struct read {
    struct batch *batch;
    uint8_t *at;
    uint64_t offset, size_bytes; /* in the source */
    uint64_t submitted_ns;
    uint32_t shard;
    uint32_t first_sample; /* of the batch; the last is the one before the next read's */
};

struct batch {
    struct mst_sample *samples;
    uint64_t *within;    /* where each sample begins in its read */
    struct read *reads;  /* at most one a sample */
    uint64_t size_bytes; /* in the arena */
    size_t begin;        /* in the arena, perhaps within the room of the batch before */
    uint32_t read_count;
    uint32_t next_read;     /* not yet submitted */
    uint32_t pending_count; /* reads that have not ended */
};

/* The arena's free part is behind head up to tail, around the end or not. Memory that was never
 * used costs much the first time, so it is only gone on to when there is no room in front. */
struct arena {
    uint8_t *data;
    size_t size_bytes, used_bytes;
    size_t head, tail;
    bool wrapped; /* head is below tail */
};

struct fetch {
    struct index *index;
    struct feed *feed;
    struct order order;
    uint64_t pitch; /* reads begin at multiples of it in the arena */
    uint32_t global_batch, part_first, part_count;
    struct arena arena;
    struct batch *batches; /* a ring of batch_cap, with part_count of each of these: */
    struct mst_sample *samples;
    uint64_t *within;
    struct read *reads;
    uint32_t batch_cap;
    /* Counts since the last seek: released <= ready <= submitting <= begun. */
    uint64_t released, ready, submitting, begun;
    bool planned;          /* batch `begun` is laid out and waits for room */
    size_t waiting;        /* reads that are begun and not submitted */
    uint64_t flying_bytes; /* of those that are submitted and have not ended */
    struct read *open;     /* the last of them, or NULL */
    uint64_t open_from;    /* what the batch begun last wants of it, in the source */
    uint64_t read_bytes;   /* of a remote object, for now */
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

/* ---- create and destroy ---------------------------------------------------------------------- */

/* What a sample takes in the arena at most: one that begins in mid-block may touch a block more
 * than its size needs. */
static uint64_t room_for(const struct fetch *fetch, uint64_t size_bytes)
{
    return (size_bytes + 2 * fetch->pitch - 2) / fetch->pitch * fetch->pitch;
}

/* What two batches take. Lines have any length: then the longest must fit, and batches of average
 * lines; a batch of unusually long ones may still fail later. */
static uint64_t needed_bytes(const struct fetch *fetch)
{
    const struct index *index = fetch->index;
    uint64_t longest = room_for(fetch, index->record_bytes_max), usual = longest;
    if (index->shards[0].table.starts)
        usual = room_for(fetch, index->size_bytes / index->sample_count);
    if (fetch->part_count && usual > UINT64_MAX / 2 / fetch->part_count)
        return UINT64_MAX;
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

/* Reads past the page cache go to it at full speed only in huge pages. */
static int map_arena(struct arena *arena, uint64_t budget_bytes, struct mst_err *err)
{
    void *data = mst_huge_map((size_t)budget_bytes);
    if (!data)
        return mst_err_set(err, -ENOMEM, "no memory for a budget of %" PRIu64 " bytes",
                           budget_bytes);
    *arena = (struct arena){.data = data, .size_bytes = (size_t)budget_bytes};
    return 0;
}

/* Book-keeping may take as much as the bytes do, but there are at least two batches; many small
 * ones, so that a large read has enough of them. */
static uint32_t batch_cap(uint64_t budget_bytes, uint32_t part_count)
{
    uint64_t per_sample = sizeof(struct mst_sample) + sizeof(uint64_t) + sizeof(struct read);
    uint64_t per_batch = part_count * per_sample + 1;
    uint64_t cap = mst_least(BOOKS_BYTES_MAX / per_batch, BATCH_COUNT_MAX);
    cap = mst_least(cap < BATCH_COUNT_USUAL ? BATCH_COUNT_USUAL : cap, budget_bytes / per_batch);
    return cap < 2 ? 2 : (uint32_t)cap;
}

static int alloc_batches(struct fetch *fetch, struct mst_err *err)
{
    size_t part = fetch->part_count ? fetch->part_count : 1, count = fetch->batch_cap * part;
    fetch->batches = calloc(fetch->batch_cap, sizeof *fetch->batches);
    fetch->samples = calloc(count, sizeof *fetch->samples);
    fetch->within = calloc(count, sizeof *fetch->within);
    fetch->reads = calloc(count, sizeof *fetch->reads);
    if (!fetch->batches || !fetch->samples || !fetch->within || !fetch->reads)
        return mst_err_set(err, -ENOMEM, "no memory for batches of %zu samples", part);
    for (uint32_t i = 0; i < fetch->batch_cap; i++) {
        fetch->batches[i].samples = fetch->samples + i * part;
        fetch->batches[i].within = fetch->within + i * part;
        fetch->batches[i].reads = fetch->reads + i * part;
    }
    return 0;
}

static uint64_t pitch_of(const struct index *index)
{
    uint64_t pitch = LINE_BYTES;
    for (uint32_t i = 0; i < index->shard_count; i++) {
        uint32_t grain = feed_grain(index->shards[i].source.file);
        pitch = grain > pitch ? grain : pitch;
    }
    return pitch;
}

int fetch_create(const struct fetch_opts *opts, struct fetch **ret_fetch, struct mst_err *err)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return mst_err_set(err, -ENOMEM, "no memory for the read-ahead window");
    fetch->index = opts->index;
    fetch->feed = opts->feed;
    fetch->pitch = pitch_of(opts->index);
    fetch->order = opts->order;
    fetch->global_batch = opts->global_batch;
    fetch->part_count = fetch_part(opts->global_batch, opts->rank, opts->world_size,
                                   &fetch->part_first);
    fetch->read_bytes = READ_BYTES_MIN;
    fetch->batch_cap = batch_cap(opts->budget_bytes, fetch->part_count);
    int rc = check_budget(fetch, opts->budget_bytes, err);
    if (!rc)
        rc = map_arena(&fetch->arena, opts->budget_bytes, err);
    if (!rc)
        rc = alloc_batches(fetch, err);
    if (rc) {
        fetch_destroy(fetch);
        return rc;
    }
    *ret_fetch = fetch;
    return 0;
}

void fetch_destroy(struct fetch *fetch)
{
    if (!fetch)
        return;
    feed_cancel(fetch->feed);
    mst_huge_unmap(fetch->arena.data, fetch->arena.size_bytes);
    free(fetch->reads);
    free(fetch->within);
    free(fetch->samples);
    free(fetch->batches);
    free(fetch);
}

/* ---- the ring of memory ---------------------------------------------------------------------- */

static bool arena_is_sound(const struct arena *arena)
{
    size_t low = arena->wrapped ? arena->head : arena->tail;
    size_t high = arena->wrapped ? arena->tail : arena->head;
    return low <= high && high <= arena->used_bytes && arena->used_bytes <= arena->size_bytes;
}

/* Takes what lies behind all that is taken. */
static bool arena_grow(struct arena *arena, size_t size_bytes)
{
    bool is_front_free = !arena->wrapped && arena->tail >= size_bytes;
    size_t end = arena->wrapped  ? arena->tail
                 : is_front_free ? arena->used_bytes
                                 : arena->size_bytes;
    if (end - arena->head < size_bytes)
        return false;
    arena->head += size_bytes;
    if (arena->head > arena->used_bytes)
        arena->used_bytes = arena->head;
    assert(arena_is_sound(arena));
    return true;
}

static bool arena_take(struct arena *arena, size_t size_bytes, size_t *ret_begin)
{
    if (!arena_grow(arena, size_bytes)) {
        if (arena->wrapped || arena->tail < size_bytes)
            return false;
        arena->wrapped = true;
        arena->head = size_bytes;
    }
    *ret_begin = arena->head - size_bytes;
    assert(arena_is_sound(arena));
    return true;
}

/* The oldest batch still used begins at `begin`. */
static void arena_trim(struct arena *arena, size_t begin)
{
    if (begin < arena->tail)
        arena->wrapped = false;
    arena->tail = begin;
    assert(arena_is_sound(arena));
}

static void arena_clear(struct arena *arena)
{
    arena->head = arena->tail = 0;
    arena->wrapped = false;
}

/* ---- batches --------------------------------------------------------------------------------- */

static struct batch *batch_at(const struct fetch *fetch, uint64_t number)
{
    return &fetch->batches[number % fetch->batch_cap];
}

const struct mst_sample *fetch_samples(const struct fetch *fetch, uint64_t number)
{
    return batch_at(fetch, number)->samples;
}

/* What to read for a sample that is not empty. */
static struct read plan_read(const struct fetch *fetch, const struct place *place)
{
    uint64_t grain = feed_grain(fetch->index->shards[place->shard].source.file);
    uint64_t begin = place->offset / grain * grain;
    uint64_t end = mst_round_up(place->offset + place->size_bytes, grain);
    return (struct read){.offset = begin, .size_bytes = end - begin, .shard = place->shard};
}

static bool is_local(const struct fetch *fetch, const struct read *read)
{
    return feed_grain(fetch->index->shards[read->shard].source.file) > 1;
}

static uint64_t bulk_bytes(const struct fetch *fetch, const struct read *read)
{
    return feed_bulk_bytes(fetch->index->shards[read->shard].source.file);
}

static uint64_t read_bytes_max(const struct fetch *fetch, const struct read *read)
{
    uint64_t bulk = bulk_bytes(fetch, read);
    return is_local(fetch, read) ? bulk : mst_least(bulk, fetch->read_bytes);
}

/* Makes the read `last` bring what `next` would, if that lies just behind or within. A gap below
 * the pitch fits the room that each sample has. */
static bool merge(const struct fetch *fetch, struct read *last, const struct read *next)
{
    uint64_t end = next->offset + next->size_bytes;
    if (next->shard != last->shard || next->offset < last->offset ||
        next->offset >= last->offset + last->size_bytes + fetch->pitch ||
        end > last->offset + read_bytes_max(fetch, last))
        return false;
    if (end > last->offset + last->size_bytes)
        last->size_bytes = end - last->offset;
    return true;
}

/* The read that brings a sample which is not empty: the batch's last one so far, or one more. */
static const struct read *read_for(const struct fetch *fetch, struct batch *batch, uint32_t sample,
                                   const struct place *place)
{
    struct read next = plan_read(fetch, place);
    struct read *end = batch->reads + batch->read_count;
    if (batch->read_count && merge(fetch, end - 1, &next))
        return end - 1;
    next.batch = batch;
    next.first_sample = batch->read_count ? sample : 0; /* empty ones before it are its, too */
    *end = next;
    batch->read_count++;
    return end;
}

static void plan_sample(struct fetch *fetch, struct batch *batch, uint32_t sample, uint64_t index)
{
    struct place place = index_locate(fetch->index, index);
    batch->samples[sample] = (struct mst_sample){
        .data = {fetch->arena.data, (size_t)place.size_bytes, MST_MEM_HOST}, .index = index};
    batch->within[sample] = 0;
    if (place.size_bytes)
        batch->within[sample] = place.offset - read_for(fetch, batch, sample, &place)->offset;
}

/* Which samples the next batch has, and what to read for them. */
static void plan(struct fetch *fetch)
{
    struct batch *batch = batch_at(fetch, fetch->begun);
    uint64_t first = fetch->position + fetch->part_first;
    batch->read_count = batch->next_read = 0;
    for (uint32_t i = 0; i < fetch->part_count; i++)
        plan_sample(fetch, batch, i, order_sample(&fetch->order, first + i));
    batch->pending_count = batch->read_count;
    batch->size_bytes = 0;
    for (uint32_t i = 0; i < batch->read_count; i++)
        batch->size_bytes += mst_round_up(batch->reads[i].size_bytes, fetch->pitch);
}

/* The samples of the batch's read `number` lie where that begins, at `at`. */
static void place_samples(const struct fetch *fetch, struct batch *batch, uint32_t number,
                          const uint8_t *at)
{
    uint32_t end = number + 1 < batch->read_count ? batch->reads[number + 1].first_sample
                                                  : fetch->part_count;
    for (uint32_t i = batch->reads[number].first_sample; i < end; i++)
        batch->samples[i].data.data = at + batch->within[i];
}

/* The reads that are the batch's own lie from `at` on. */
static void place_reads(struct fetch *fetch, struct batch *batch, uint8_t *at)
{
    for (uint32_t i = batch->next_read; i < batch->read_count; i++) {
        struct read *read = &batch->reads[i];
        read->at = at;
        place_samples(fetch, batch, i, at);
        at += mst_round_up(read->size_bytes, fetch->pitch);
        fetch->open = read;
        fetch->open_from = read->offset;
    }
}

static const struct read *first_read(const struct batch *batch)
{
    return batch->read_count ? &batch->reads[0] : NULL;
}

/* Whether the open read could bring what the first of a batch would, arena permitting. Batches must
 * begin in the arena one behind the other, so nothing that lies before what it brings last. */
static bool fits_open(const struct fetch *fetch, const struct read *first)
{
    const struct read *open = fetch->open;
    if (!open || !first || first->shard != open->shard || first->offset < fetch->open_from ||
        first->offset >= open->offset + open->size_bytes + fetch->pitch)
        return false;
    uint64_t max = mst_least(read_bytes_max(fetch, open), fetch->arena.size_bytes / READ_SHARE);
    return first->offset + first->size_bytes <= open->offset + max;
}

/* Begins a batch whose first read becomes part of the open one, if there is room behind that. */
static bool join(struct fetch *fetch, struct batch *batch)
{
    struct read *open = fetch->open;
    const struct read *first = first_read(batch);
    if (!fits_open(fetch, first))
        return false;
    assert(open && first); /* they fit */
    uint64_t size = open->size_bytes, end = first->offset + first->size_bytes - open->offset;
    uint64_t grown = mst_round_up(end > size ? end : size, fetch->pitch) -
                     mst_round_up(size, fetch->pitch);
    uint64_t rest = batch->size_bytes - mst_round_up(first->size_bytes, fetch->pitch);
    uint8_t *behind = fetch->arena.data + fetch->arena.head + grown;
    if (!arena_grow(&fetch->arena, grown + rest))
        return false;
    const uint8_t *at = open->at + (first->offset - open->offset);
    batch->begin = (size_t)(at - fetch->arena.data);
    open->size_bytes = end > size ? end : size;
    fetch->open_from = first->offset;
    place_samples(fetch, batch, 0, at);
    batch->next_read = 1;
    batch->pending_count--;
    place_reads(fetch, batch, behind);
    return true;
}

/* Begins a batch with reads of its own. One without a byte lies where the one before it does while
 * a read is open: the next may still join that, and begins within it. */
static bool place(struct fetch *fetch, struct batch *batch)
{
    if (batch->read_count == 0 && fetch->open) {
        batch->begin = batch_at(fetch, fetch->begun - 1)->begin;
        return true;
    }
    if (!arena_take(&fetch->arena, (size_t)batch->size_bytes, &batch->begin))
        return false;
    place_reads(fetch, batch, fetch->arena.data + batch->begin);
    return true;
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
    if (!join(fetch, batch) && !place(fetch, batch))
        return false;
    fetch->waiting += batch->pending_count;
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

/* ---- reads ----------------------------------------------------------------------------------- */

/* The first read that is not yet submitted; `submitting` passes the batches that have none left. */
static struct read *next_read(struct fetch *fetch)
{
    for (; fetch->submitting < fetch->begun; fetch->submitting++) {
        struct batch *batch = batch_at(fetch, fetch->submitting);
        if (batch->next_read < batch->read_count)
            return &batch->reads[batch->next_read];
    }
    return NULL;
}

/* Whether the open read is to wait for the next batch, which would join it and lacks room: other
 * reads are under way, or the consumer has a batch to take beside the one that it holds. */
static bool is_held(const struct fetch *fetch)
{
    return fetch->waiting == 1 && fetch->planned && !fetch->failed &&
           fits_open(fetch, first_read(batch_at(fetch, fetch->begun))) &&
           (feed_in_flight(fetch->feed) || fetch->ready - fetch->released > 1);
}

static bool may_submit(struct fetch *fetch, size_t under_way)
{
    const struct read *read = next_read(fetch);
    if (!read || under_way == FEED_DEPTH || is_held(fetch))
        return false;
    size_t enough = is_local(fetch, read) ? FLYING_COUNT_LOCAL : FLYING_COUNT_REMOTE;
    return under_way < enough || fetch->flying_bytes < FLYING_BYTES;
}

static struct feed_read take_next(struct fetch *fetch, uint64_t now_ns)
{
    struct read *read = next_read(fetch);
    read->submitted_ns = now_ns;
    read->batch->next_read++;
    fetch->waiting--;
    fetch->flying_bytes += read->size_bytes;
    fetch->open = read == fetch->open ? NULL : fetch->open;
    return (struct feed_read){.file = fetch->index->shards[read->shard].source.file,
                              .offset = read->offset,
                              .data = read->at,
                              .size_bytes = (size_t)read->size_bytes,
                              .direct = true,
                              .user = read};
}

/* One read more than the open one, if there is room. */
static void begin_some(struct fetch *fetch)
{
    while (!fetch->failed && fetch->waiting < 2 && begin(fetch))
        continue;
}

/* Begins as many batches as are needed to submit as much as may be: the open read goes last. */
static void submit(struct fetch *fetch)
{
    size_t under_way = feed_in_flight(fetch->feed), count = 0;
    struct feed_read reads[FEED_DEPTH];
    uint64_t now_ns = mst_now_ns();
    begin_some(fetch);
    while (may_submit(fetch, under_way + count)) {
        reads[count++] = take_next(fetch, now_ns);
        begin_some(fetch);
    }
    size_t taken = feed_submit(fetch->feed, reads, count);
    assert(taken == count); /* there was room */
}

/* Few large reads are best, unless they take so long that one may miss its deadline. */
static void pace(struct fetch *fetch, const struct read *read, uint64_t now_ns)
{
    uint64_t took_ns = now_ns - read->submitted_ns;
    if (took_ns > READ_SLOW_NS && fetch->read_bytes > READ_BYTES_MIN)
        fetch->read_bytes /= 2;
    else if (took_ns < READ_QUICK_NS && fetch->read_bytes < bulk_bytes(fetch, read))
        fetch->read_bytes *= 2;
}

/* A batch with a failed read stays pending, so neither it nor a later one is ever ready. */
static void end_read(struct fetch *fetch, const struct feed_done *done, uint64_t now_ns)
{
    const struct read *read = done->user;
    fetch->flying_bytes -= read->size_bytes;
    if (done->result >= 0) {
        pace(fetch, read, now_ns);
        assert(read->batch->pending_count > 0);
        read->batch->pending_count--;
        fetch->bytes_read += (uint64_t)done->result;
    } else if (!fetch->failed) {
        fetch->failed = (int)done->result;
        fetch->failure = *done->err;
    }
}

static void reap(struct fetch *fetch)
{
    struct feed_done done[FEED_DEPTH];
    int count = feed_reap(fetch->feed, done, FEED_DEPTH, 1, mst_now_ns() + PATIENCE_NS);
    uint64_t now_ns = mst_now_ns();
    for (int i = 0; i < count; i++)
        end_read(fetch, &done[i], now_ns);
}

static bool is_ready(const struct fetch *fetch, uint64_t number)
{
    return number < fetch->begun && batch_at(fetch, number)->pending_count == 0;
}

void fetch_seek(struct fetch *fetch, uint64_t position)
{
    feed_cancel(fetch->feed);
    fetch->released = fetch->ready = fetch->submitting = fetch->begun = 0;
    fetch->planned = false;
    fetch->waiting = 0;
    fetch->flying_bytes = 0;
    fetch->open = NULL;
    fetch->position = position;
    fetch->failed = 0;
    arena_clear(&fetch->arena);
}

int fetch_step(struct fetch *fetch, uint64_t released_count, struct fetch_progress *ret_progress,
               struct mst_err *err)
{
    release(fetch, released_count);
    submit(fetch);
    if (feed_in_flight(fetch->feed))
        reap(fetch);
    while (is_ready(fetch, fetch->ready))
        fetch->ready++;
    assert(fetch->released <= fetch->ready && fetch->ready <= fetch->submitting &&
           fetch->submitting <= fetch->begun && fetch->begun - fetch->released <= fetch->batch_cap);
    bool busy = feed_in_flight(fetch->feed) > 0 || (fetch->waiting && !is_held(fetch));
    *ret_progress = (struct fetch_progress){
        .ready_count = fetch->ready, .bytes_read = fetch->bytes_read, .busy = busy};
    if (!fetch->failed || busy)
        return 0;
    if (err)
        *err = fetch->failure;
    return fetch->failed;
}

/* Deposit, step, read: the collectives of one node. */
#include "muster/comm/flat.h"

#include "muster/comm/probe.h"
#include "muster/core/dtype.h"
#include "muster/core/least.h"
#include "muster/core/stream.h"

#include <assert.h>
#include <string.h>

#define CACHE_LINE 64
#define FOLD_BYTES ((size_t)4 << 10) /* so much is copied out of the core's first cache */
#define TAKE_BYTES ((size_t)4 << 10) /* below, it costs what it saves */
#define BROADCAST_CHUNK_BYTES ((size_t)64 << 10) /* the readers begin when the first is there */

static size_t chunks_in(size_t total, size_t chunk)
{
    return (total + chunk - 1) / chunk;
}

static int reserve(struct flat *flat, size_t bytes)
{
    return segment_reserve(&flat->segment, bytes, flat->deadline_ns, &flat->err);
}

static int step(struct flat *flat)
{
    if (flat->streams_deposits)
        mst_stream_finish();
    return segment_step(&flat->segment, flat->deadline_ns, &flat->err);
}

static int step_from(struct flat *flat, uint32_t local_rank)
{
    if (flat->streams_deposits)
        mst_stream_finish();
    return segment_step_from(&flat->segment, local_rank, flat->deadline_ns, &flat->err);
}

static void deposit(const struct flat *flat, void *to, const void *from, size_t bytes)
{
    if (flat->streams_deposits && bytes >= FLAT_STREAM_BYTES)
        mst_stream_lines(to, from, bytes);
    else if (bytes > 0)
        memcpy(to, from, bytes);
}

/* What a reader gets of the root, who waits for nobody. An only reader takes the lines for himself:
 * shared by the two, each would cost the root more when he comes round to it than it does here, and
 * a root who is no faster than his reader has him at his heels for good. */
static void fetch(const struct flat *flat, void *to, const void *from, size_t bytes)
{
    const struct segment *segment = &flat->segment;
    bool has_cache = segment->roams && !flat->streams_deposits;
    if (segment->local_size == 2 && has_cache && bytes >= TAKE_BYTES)
        mst_stream_take(to, from, bytes);
    else
        memcpy(to, from, bytes);
}

int flat_probe(struct flat *flat)
{
    flat->moved_bytes = 0;
    return probe_deposits(&flat->segment, flat->deadline_ns, &flat->streams_deposits, &flat->err);
}

/* Before a collective that moves `bytes`, counted alike by all ranks. */
static int probe_if_due(struct flat *flat, size_t bytes)
{
    flat->moved_bytes += bytes;
    return flat->moved_bytes < FLAT_PROBE_BYTES ? 0 : flat_probe(flat);
}

struct stripes stripes_cut(size_t count, uint32_t owners, size_t elem_size)
{
    assert(owners >= 1 && elem_size >= 1 && CACHE_LINE % elem_size == 0);
    size_t stride = mst_round_up(chunks_in(count, owners), CACHE_LINE / elem_size);
    assert(stride * owners >= count);
    return (struct stripes){
        .count = count, .stride = stride, .owners = owners, .elem_size = elem_size};
}

size_t stripes_start(const struct stripes *stripes, uint32_t owner)
{
    size_t start = (stripes->place ? stripes->place[owner] : owner) * stripes->stride;
    return mst_least(start, stripes->count);
}

size_t stripes_len(const struct stripes *stripes, uint32_t owner)
{
    if (owner >= stripes->owners)
        return 0;
    return mst_least(stripes->stride, stripes->count - stripes_start(stripes, owner));
}

/* One piece of a stripe: elements [base, base + len) of it. */
static size_t piece_len(const struct stripes *stripes, uint32_t owner, size_t base, size_t piece)
{
    size_t len = stripes_len(stripes, owner);
    return base < len ? mst_least(piece, len - base) : 0;
}

/* Where what goes to rank `to` lies among the slots of rank `from`, who has none for himself. */
static uint32_t slot_for(uint32_t to, uint32_t from)
{
    return to < from ? to : to - 1;
}

/* What the others have put into this rank's slots are the streams, but for its own. */
static void others_slots(struct flat *flat, size_t slot_bytes)
{
    const struct segment *segment = &flat->segment;
    for (uint32_t r = 0; r < segment->local_size; r++)
        if (r != segment->local_rank)
            flat->streams[r] = (const uint8_t *)segment_last(segment, r) +
                               slot_for(segment->local_rank, r) * slot_bytes;
}

int flat_barrier(struct flat *flat)
{
    int rc = reserve(flat, 0);
    return rc < 0 ? rc : step(flat);
}

/* ---- allreduce ------------------------------------------------------------------------------- */

/* Everybody deposits everything and reduces everything: one step. */
static int allreduce_one_shot(struct flat *flat, const void *in, void *out, size_t count,
                              size_t bytes, const struct reduce *reduce)
{
    struct segment *segment = &flat->segment;
    int rc = reserve(flat, bytes);
    if (rc < 0)
        return rc;
    deposit(flat, segment_next(segment, segment->local_rank), in, bytes);
    rc = step(flat);
    if (rc < 0)
        return rc;
    for (uint32_t r = 0; r < segment->local_size; r++)
        flat->streams[r] = segment_last(segment, r);
    flat->streams[segment->local_rank] = in;
    reduce_fold(reduce, out, flat->streams, segment->local_size, count);
    return 0;
}

/* A large allreduce: chunk after chunk goes through three stages, deposit → reduce the own slice
 * and deposit the result → copy the others' results out, each one step behind the one before. */
struct pipeline {
    const uint8_t *in;
    uint8_t *out;
    size_t count, elem_size;
    size_t chunk;      /* elements */
    size_t room_bytes; /* of a step: a slot for each other rank's slice, and one for results */
    size_t results_at; /* in it */
    const struct reduce *reduce;
};

/* All but the last chunk have the same; a slice is its stride in the areas, whatever its length. */
static struct stripes chunk_slices(const struct flat *flat, const struct pipeline *pipeline,
                                   size_t index)
{
    assert(index * pipeline->chunk < pipeline->count);
    size_t len = mst_least(pipeline->chunk, pipeline->count - index * pipeline->chunk);
    return stripes_cut(len, flat->segment.local_size, pipeline->elem_size);
}

static void deposit_chunk(struct flat *flat, const struct pipeline *pipeline, size_t index)
{
    struct segment *segment = &flat->segment;
    struct stripes slices = chunk_slices(flat, pipeline, index);
    size_t size = pipeline->elem_size, slice_bytes = slices.stride * size;
    const uint8_t *from = pipeline->in + index * pipeline->chunk * size;
    uint8_t *to = segment_next(segment, segment->local_rank);
    for (uint32_t k = 0; k < segment->local_size; k++)
        if (k != segment->local_rank)
            deposit(flat, to + slot_for(k, segment->local_rank) * slice_bytes,
                    from + stripes_start(&slices, k) * size, stripes_len(&slices, k) * size);
}

/* The result goes to the last slot of the coming step, behind the next chunk's slices. */
static void reduce_chunk(struct flat *flat, const struct pipeline *pipeline, size_t index)
{
    struct segment *segment = &flat->segment;
    uint32_t me = segment->local_rank;
    struct stripes slices = chunk_slices(flat, pipeline, index);
    size_t size = pipeline->elem_size, len = stripes_len(&slices, me);
    size_t base = (index * pipeline->chunk + stripes_start(&slices, me)) * size;
    others_slots(flat, slices.stride * size);
    flat->streams[me] = pipeline->in + base;
    uint8_t *result = (uint8_t *)segment_next(segment, me) + pipeline->results_at;
    for (size_t at = 0; at < len; at += FOLD_BYTES / size) {
        size_t part = mst_least(FOLD_BYTES / size, len - at);
        uint8_t *to = pipeline->out + base + at * size;
        reduce_fold(pipeline->reduce, to, flat->streams, segment->local_size, part);
        deposit(flat, result + at * size, to, part * size);
        for (uint32_t r = 0; r < segment->local_size; r++)
            flat->streams[r] = (const uint8_t *)flat->streams[r] + part * size;
    }
}

static void collect_chunk(struct flat *flat, const struct pipeline *pipeline, size_t index)
{
    const struct segment *segment = &flat->segment;
    struct stripes slices = chunk_slices(flat, pipeline, index);
    size_t size = pipeline->elem_size;
    uint8_t *to = pipeline->out + index * pipeline->chunk * size;
    for (uint32_t r = 0; r < segment->local_size; r++)
        if (r != segment->local_rank && stripes_len(&slices, r) > 0)
            memcpy(to + stripes_start(&slices, r) * size,
                   (const uint8_t *)segment_last(segment, r) + pipeline->results_at,
                   stripes_len(&slices, r) * size);
}

static int allreduce_pipelined(struct flat *flat, const struct pipeline *pipeline)
{
    size_t chunk_count = chunks_in(pipeline->count, pipeline->chunk);
    for (size_t i = 0; i < chunk_count + 2; i++) {
        int rc = i <= chunk_count ? reserve(flat, pipeline->room_bytes) : 0;
        if (rc < 0)
            return rc;
        if (i >= 2)
            collect_chunk(flat, pipeline, i - 2);
        if (i >= 1 && i <= chunk_count)
            reduce_chunk(flat, pipeline, i - 1);
        if (i < chunk_count)
            deposit_chunk(flat, pipeline, i);
        rc = i <= chunk_count ? step(flat) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Whole slots of whole lines, one for each rank. */
static size_t chunk_bytes(const struct flat *flat, size_t bytes)
{
    uint32_t ranks = flat->segment.local_size;
    size_t most = mst_least(FLAT_CHUNK_BYTES, flat->segment.most_bytes);
    size_t slot = mst_round_up(chunks_in(bytes, ranks), CACHE_LINE);
    return ranks * mst_least(slot, most / ranks / CACHE_LINE * CACHE_LINE);
}

int flat_allreduce(struct flat *flat, const void *in, void *out, size_t count,
                   const struct reduce *reduce)
{
    size_t elem_size = mst_dtype_size(reduce->dtype), bytes = count * elem_size;
    uint32_t ranks = flat->segment.local_size;
    if (ranks == 1) {
        reduce_fold(reduce, out, &in, 1, count);
        return 0;
    }
    int rc = probe_if_due(flat, bytes);
    if (rc < 0)
        return rc;
    if (bytes <= FLAT_ONE_SHOT_BYTES && bytes * ranks <= FLAT_ONE_SHOT_BYTES)
        return allreduce_one_shot(flat, in, out, count, bytes, reduce);
    size_t room = chunk_bytes(flat, bytes);
    struct pipeline pipeline = {.in = in,
                                .out = out,
                                .count = count,
                                .elem_size = elem_size,
                                .chunk = room / elem_size,
                                .room_bytes = room,
                                .results_at = room / ranks * (ranks - 1),
                                .reduce = reduce};
    return allreduce_pipelined(flat, &pipeline);
}

/* ---- data movers ----------------------------------------------------------------------------- */

/* The root posts and goes on, as far as there is room. */
int flat_broadcast(struct flat *flat, void *buf, size_t bytes, uint32_t root)
{
    struct segment *segment = &flat->segment;
    bool is_root = segment->local_rank == root;
    size_t most = mst_least(BROADCAST_CHUNK_BYTES, segment->most_bytes), at = 0;
    int rc = probe_if_due(flat, bytes);
    do {
        size_t len = mst_least(bytes - at, most); /* none for a rank alone */
        if (rc == 0)
            rc = reserve(flat, len);
        if (rc < 0)
            return rc;
        if (is_root)
            deposit(flat, segment_next(segment, root), (uint8_t *)buf + at, len);
        rc = step_from(flat, root);
        if (rc == 0 && !is_root && len > 0)
            fetch(flat, (uint8_t *)buf + at, segment_last(segment, root), len);
        at += len;
    } while (rc == 0 && at < bytes && most > 0);
    return rc;
}

static void collect_piece(struct flat *flat, uint8_t *out, const struct stripes *stripes,
                          size_t base, size_t piece)
{
    const struct segment *segment = &flat->segment;
    for (uint32_t k = 0; k < stripes->owners; k++) {
        size_t len = piece_len(stripes, k, base, piece);
        if (k == segment->local_rank || len == 0)
            continue;
        size_t at = (stripes_start(stripes, k) + base) * stripes->elem_size;
        memcpy(out + at, segment_last(segment, k), len * stripes->elem_size);
    }
}

int flat_allgather(struct flat *flat, const void *in, void *out, const struct stripes *stripes)
{
    struct segment *segment = &flat->segment;
    uint32_t me = segment->local_rank;
    size_t size = stripes->elem_size, longest = mst_least(stripes->stride, stripes->count);
    size_t most = mst_least(FLAT_CHUNK_BYTES, segment->most_bytes);
    size_t piece = segment->local_size > 1 ? mst_least(longest, most / size) : 0;
    size_t piece_count = piece > 0 ? chunks_in(longest, piece) : 1;
    int rc = probe_if_due(flat, stripes->count * size);
    for (size_t i = 0; rc == 0 && i <= piece_count; i++) {
        rc = i < piece_count ? reserve(flat, piece * size) : 0;
        if (rc < 0)
            return rc;
        if (i > 0)
            collect_piece(flat, out, stripes, (i - 1) * piece, piece);
        size_t len = piece_len(stripes, me, i * piece, piece) * size;
        if (i < piece_count && len > 0)
            deposit(flat, segment_next(segment, me), (const uint8_t *)in + i * piece * size, len);
        rc = i < piece_count ? step(flat) : 0;
    }
    size_t own = stripes_len(stripes, me) * size;
    uint8_t *own_out = (uint8_t *)out + stripes_start(stripes, me) * size;
    if (rc == 0 && own > 0 && own_out != in)
        memcpy(own_out, in, own);
    return rc;
}

/* ---- reduce_scatter -------------------------------------------------------------------------- */

struct scatter {
    const uint8_t *in;
    uint8_t *out;
    const struct stripes *stripes;
    size_t piece;      /* elements of every stripe that go at a time */
    size_t slot_bytes; /* of one of them in the area */
    const struct reduce *reduce;
};

/* The others' pieces, from element `base` of each stripe on, side by side in the own area. */
static void deposit_pieces(struct flat *flat, const struct scatter *scatter, size_t base)
{
    struct segment *segment = &flat->segment;
    const struct stripes *stripes = scatter->stripes;
    uint32_t me = segment->local_rank;
    size_t size = stripes->elem_size;
    uint8_t *to = segment_next(segment, me);
    for (uint32_t k = 0; k < stripes->owners; k++)
        if (k != me)
            deposit(flat, to + slot_for(k, me) * scatter->slot_bytes,
                    scatter->in + (stripes_start(stripes, k) + base) * size,
                    piece_len(stripes, k, base, scatter->piece) * size);
}

static void reduce_piece(struct flat *flat, const struct scatter *scatter, size_t base)
{
    struct segment *segment = &flat->segment;
    const struct stripes *stripes = scatter->stripes;
    const struct reduce *reduce = scatter->reduce;
    uint32_t me = segment->local_rank;
    size_t size = stripes->elem_size, len = piece_len(stripes, me, base, scatter->piece);
    if (len == 0)
        return;
    others_slots(flat, scatter->slot_bytes);
    flat->streams[me] = scatter->in + (stripes_start(stripes, me) + base) * size;
    size_t out_size = reduce->stage == REDUCE_PARTIAL ? reduce_acc_size(reduce->dtype) : size;
    reduce_fold(reduce, scatter->out + base * out_size, flat->streams, segment->local_size, len);
}

/* Slots begin lines, as streaming wants, unless together they fit one that is posted. */
static size_t slot_bytes_for(size_t piece_bytes, size_t slots)
{
    bool in_line = piece_bytes * slots <= SEGMENT_INLINE_BYTES;
    return in_line ? piece_bytes : mst_round_up(piece_bytes, CACHE_LINE);
}

int flat_reduce_scatter(struct flat *flat, const void *in, void *out, const struct stripes *stripes,
                        const struct reduce *reduce)
{
    size_t size = stripes->elem_size, longest = mst_least(stripes->stride, stripes->count);
    size_t slots = mst_least(stripes->owners, flat->segment.local_size - 1);
    size_t most = mst_least(FLAT_CHUNK_BYTES, flat->segment.most_bytes);
    size_t fits = slots > 0 ? most / slots / CACHE_LINE * CACHE_LINE / size : longest;
    size_t piece = mst_least(longest, fits);
    size_t piece_count = piece > 0 ? chunks_in(longest, piece) : 1;
    struct scatter scatter = {.in = in,
                              .out = out,
                              .stripes = stripes,
                              .piece = piece,
                              .slot_bytes = slot_bytes_for(piece * size, slots),
                              .reduce = reduce};
    assert(piece > 0 || longest == 0);
    int rc = probe_if_due(flat, stripes->count * size);
    for (size_t i = 0; rc == 0 && i <= piece_count; i++) {
        rc = i < piece_count ? reserve(flat, slots * scatter.slot_bytes) : 0;
        if (rc < 0)
            return rc;
        if (i > 0)
            reduce_piece(flat, &scatter, (i - 1) * piece);
        if (i < piece_count)
            deposit_pieces(flat, &scatter, i * piece);
        rc = i < piece_count ? step(flat) : 0;
    }
    return rc;
}

/* Deposit, step, read: the collectives of one node. */
#include "muster/comm/flat.h"

#include "muster/core/dtype.h"
#include "muster/core/least.h"

#include <assert.h>
#include <string.h>

#define CACHE_LINE 64

static size_t chunks_in(size_t total, size_t chunk)
{
    return (total + chunk - 1) / chunk;
}

static int step(struct flat *flat)
{
    return segment_step(&flat->segment, flat->deadline_ns, &flat->err);
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

int flat_barrier(struct flat *flat)
{
    return step(flat);
}

/* ---- allreduce ------------------------------------------------------------------------------- */

/* Everybody deposits everything and reduces everything: one step. */
static int allreduce_one_shot(struct flat *flat, const void *in, void *out, size_t count,
                              const struct reduce *reduce)
{
    struct segment *segment = &flat->segment;
    size_t bytes = count * mst_dtype_size(reduce->dtype);
    if (bytes > 0)
        memcpy(segment_next(segment, segment->local_rank, bytes), in, bytes);
    int rc = step(flat);
    if (rc < 0)
        return rc;
    for (uint32_t r = 0; r < segment->local_size; r++)
        flat->streams[r] = segment_last(segment, r, bytes);
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
    size_t chunk; /* elements */
    const struct reduce *reduce;
};

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
    size_t at = stripes_start(&slices, segment->local_rank) * pipeline->elem_size;
    size_t own = stripes_len(&slices, segment->local_rank) * pipeline->elem_size;
    size_t total = slices.count * pipeline->elem_size;
    const uint8_t *from = pipeline->in + index * pipeline->chunk * pipeline->elem_size;
    uint8_t *to = segment_next(segment, segment->local_rank, segment->area_bytes);
    memcpy(to, from, at);
    memcpy(to + at + own, from + at + own, total - at - own);
}

static void reduce_chunk(struct flat *flat, const struct pipeline *pipeline, size_t index)
{
    struct segment *segment = &flat->segment;
    uint32_t me = segment->local_rank;
    struct stripes slices = chunk_slices(flat, pipeline, index);
    size_t at = stripes_start(&slices, me) * pipeline->elem_size;
    size_t base = index * pipeline->chunk * pipeline->elem_size + at;
    for (uint32_t r = 0; r < segment->local_size; r++)
        flat->streams[r] = (const uint8_t *)segment_last(segment, r, segment->area_bytes) + at;
    flat->streams[me] = pipeline->in + base;
    size_t len = stripes_len(&slices, me);
    reduce_fold(pipeline->reduce, pipeline->out + base, flat->streams, segment->local_size, len);
    uint8_t *results = segment_next(segment, me, segment->area_bytes);
    memcpy(results + SEGMENT_CHUNK_BYTES, pipeline->out + base, len * pipeline->elem_size);
}

static void collect_chunk(struct flat *flat, const struct pipeline *pipeline, size_t index)
{
    const struct segment *segment = &flat->segment;
    struct stripes slices = chunk_slices(flat, pipeline, index);
    uint8_t *to = pipeline->out + index * pipeline->chunk * pipeline->elem_size;
    for (uint32_t r = 0; r < segment->local_size; r++) {
        if (r == segment->local_rank)
            continue;
        const uint8_t *area = segment_last(segment, r, segment->area_bytes);
        memcpy(to + stripes_start(&slices, r) * pipeline->elem_size, area + SEGMENT_CHUNK_BYTES,
               stripes_len(&slices, r) * pipeline->elem_size);
    }
}

static int allreduce_pipelined(struct flat *flat, const struct pipeline *pipeline)
{
    size_t chunk_count = chunks_in(pipeline->count, pipeline->chunk);
    for (size_t i = 0; i < chunk_count + 2; i++) {
        if (i >= 2)
            collect_chunk(flat, pipeline, i - 2);
        if (i >= 1 && i <= chunk_count)
            reduce_chunk(flat, pipeline, i - 1);
        if (i < chunk_count)
            deposit_chunk(flat, pipeline, i);
        int rc = i <= chunk_count ? step(flat) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int flat_allreduce(struct flat *flat, const void *in, void *out, size_t count,
                   const struct reduce *reduce)
{
    size_t elem_size = mst_dtype_size(reduce->dtype);
    if (flat->segment.local_size == 1) {
        reduce_fold(reduce, out, &in, 1, count);
        return 0;
    }
    if (count * elem_size <= FLAT_ONE_SHOT_BYTES / flat->segment.local_size)
        return allreduce_one_shot(flat, in, out, count, reduce);
    struct pipeline pipeline = {.in = in,
                                .out = out,
                                .count = count,
                                .elem_size = elem_size,
                                .chunk = SEGMENT_CHUNK_BYTES / elem_size,
                                .reduce = reduce};
    return allreduce_pipelined(flat, &pipeline);
}

/* ---- data movers ----------------------------------------------------------------------------- */

/* The root is one chunk ahead of the readers. */
int flat_broadcast(struct flat *flat, void *buf, size_t bytes, uint32_t root)
{
    struct segment *segment = &flat->segment;
    bool is_root = segment->local_rank == root;
    size_t chunk = mst_least(bytes, SEGMENT_CHUNK_BYTES);
    size_t chunk_count = chunk > 0 ? chunks_in(bytes, chunk) : 1;
    for (size_t i = 0; i <= chunk_count; i++) {
        size_t at = (is_root ? i : i - 1) * chunk;
        if (is_root && i < chunk_count && bytes > 0)
            memcpy(segment_next(segment, root, chunk), (uint8_t *)buf + at,
                   mst_least(chunk, bytes - at));
        if (!is_root && i > 0 && bytes > 0)
            memcpy((uint8_t *)buf + at, segment_last(segment, root, chunk),
                   mst_least(chunk, bytes - at));
        int rc = i < chunk_count ? step(flat) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
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
        memcpy(out + at, segment_last(segment, k, piece * stripes->elem_size),
               len * stripes->elem_size);
    }
}

int flat_allgather(struct flat *flat, const void *in, void *out, const struct stripes *stripes)
{
    struct segment *segment = &flat->segment;
    uint32_t me = segment->local_rank;
    size_t size = stripes->elem_size;
    size_t longest = mst_least(stripes->stride, stripes->count);
    size_t piece = mst_least(longest, SEGMENT_CHUNK_BYTES / size);
    size_t piece_count = piece > 0 ? chunks_in(longest, piece) : 1;
    for (size_t i = 0; i <= piece_count; i++) {
        if (i > 0)
            collect_piece(flat, out, stripes, (i - 1) * piece, piece);
        size_t len = piece_len(stripes, me, i * piece, piece) * size;
        if (i < piece_count && len > 0)
            memcpy(segment_next(segment, me, piece * size), (const uint8_t *)in + i * piece * size,
                   len);
        int rc = i < piece_count ? step(flat) : 0;
        if (rc < 0)
            return rc;
    }
    size_t own = stripes_len(stripes, me) * size;
    uint8_t *own_out = (uint8_t *)out + stripes_start(stripes, me) * size;
    if (own > 0 && own_out != in)
        memcpy(own_out, in, own);
    return 0;
}

/* ---- reduce_scatter -------------------------------------------------------------------------- */

struct scatter {
    const uint8_t *in;
    uint8_t *out;
    const struct stripes *stripes;
    size_t piece; /* elements of every stripe that go at a time */
    const struct reduce *reduce;
};

/* The others' pieces, from element `base` of each stripe on, side by side in the own area. */
static void deposit_pieces(struct flat *flat, const struct scatter *scatter, size_t base)
{
    struct segment *segment = &flat->segment;
    const struct stripes *stripes = scatter->stripes;
    size_t size = stripes->elem_size, piece_bytes = scatter->piece * size;
    uint8_t *to = segment_next(segment, segment->local_rank, stripes->owners * piece_bytes);
    for (uint32_t k = 0; k < stripes->owners; k++) {
        size_t len = piece_len(stripes, k, base, scatter->piece);
        if (k != segment->local_rank && len > 0)
            memcpy(to + k * piece_bytes, scatter->in + (stripes_start(stripes, k) + base) * size,
                   len * size);
    }
}

static void reduce_piece(struct flat *flat, const struct scatter *scatter, size_t base)
{
    struct segment *segment = &flat->segment;
    const struct stripes *stripes = scatter->stripes;
    const struct reduce *reduce = scatter->reduce;
    uint32_t me = segment->local_rank;
    size_t size = stripes->elem_size, piece_bytes = scatter->piece * size;
    size_t len = piece_len(stripes, me, base, scatter->piece);
    if (len == 0)
        return;
    for (uint32_t r = 0; r < segment->local_size; r++) {
        const uint8_t *area = segment_last(segment, r, stripes->owners * piece_bytes);
        flat->streams[r] = area + me * piece_bytes;
    }
    flat->streams[me] = scatter->in + (stripes_start(stripes, me) + base) * size;
    size_t out_size = reduce->stage == REDUCE_PARTIAL ? reduce_acc_size(reduce->dtype) : size;
    reduce_fold(reduce, scatter->out + base * out_size, flat->streams, segment->local_size, len);
}

int flat_reduce_scatter(struct flat *flat, const void *in, void *out, const struct stripes *stripes,
                        const struct reduce *reduce)
{
    size_t longest = mst_least(stripes->stride, stripes->count);
    size_t fits = SEGMENT_CHUNK_BYTES / stripes->owners / CACHE_LINE * CACHE_LINE;
    size_t piece = mst_least(longest, fits / stripes->elem_size);
    size_t piece_count = piece > 0 ? chunks_in(longest, piece) : 1;
    struct scatter scatter = {
        .in = in, .out = out, .stripes = stripes, .piece = piece, .reduce = reduce};
    assert(piece > 0 || longest == 0);
    for (size_t i = 0; i <= piece_count; i++) {
        if (i > 0)
            reduce_piece(flat, &scatter, (i - 1) * piece);
        if (i < piece_count)
            deposit_pieces(flat, &scatter, i * piece);
        int rc = i < piece_count ? step(flat) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Collectives among the ranks of one node, flat: everybody reads everybody's deposits. Each is a
 * series of segment steps; the work on one chunk overlaps the hand-over of the next, so that a step
 * is paid once per chunk.
 *
 * Cost per rank of p, n bytes: allreduce copies n(p-1)/p in, reduces n/p of p streams, copies
 * n(p-1)/p out. While n * p is at most FLAT_ONE_SHOT_BYTES: copies n in, reduces n of p streams,
 * one step. */
#ifndef MUSTER_COMM_FLAT_H
#define MUSTER_COMM_FLAT_H

#include "muster/comm/reduce.h"
#include "muster/comm/segment.h"

/* Measured: with 2 ranks one step and as much reading win up to 32 KiB. */
#define FLAT_ONE_SHOT_BYTES ((size_t)64 << 10)

/* What goes through the areas at a time. */
#define FLAT_CHUNK_BYTES ((size_t)256 << 10)

/* So often is it measured anew how to deposit: virtual cores move within seconds, and this takes a
 * hundred times as long as the measurement. */
#define FLAT_PROBE_BYTES ((size_t)64 << 20)

/* Measured: below, a streaming store costs more than it saves, however far the reader is. */
#define FLAT_STREAM_BYTES ((size_t)2 << 10)

struct flat {
    struct segment segment;
    bool streams_deposits; /* past the caches; the same bytes either way */
    uint64_t moved_bytes;  /* since that was measured; alike on all ranks */
    const void **streams;  /* one per local rank: arguments of reduce_fold */
    uint64_t deadline_ns;  /* of the collective in progress */
    struct mst_err err;    /* why it failed */
};

/* Measures how to deposit. 0, or the failure of segment_step with flat->err filled. */
int flat_probe(struct flat *flat);

/* A vector of `count` elements cut into stripes of `stride`: stripe k, [k*stride, (k+1)*stride) as
 * far as the vector goes, belongs to local rank k < owners. `place`, if not NULL, says which stripe
 * is k's instead. */
struct stripes {
    size_t count, stride;
    uint32_t owners;
    size_t elem_size;
    const uint32_t *place;
};

/* Cuts `count` elements into `owners` stripes of whole cache lines, as even as that allows. */
struct stripes stripes_cut(size_t count, uint32_t owners, size_t elem_size);
size_t stripes_start(const struct stripes *stripes, uint32_t owner); /* in elements */
size_t stripes_len(const struct stripes *stripes, uint32_t owner);

/* All: 0, or the failure of segment_step with flat->err filled. in == out is allowed. */
int flat_allreduce(struct flat *flat, const void *in, void *out, size_t count,
                   const struct reduce *reduce);

/* `root` is a local rank. */
int flat_broadcast(struct flat *flat, void *buf, size_t bytes, uint32_t root);

/* Each owner's stripe, `in`, to everybody's `out` at its place. Ranks without a stripe pass any
 * `in`. */
int flat_allgather(struct flat *flat, const void *in, void *out, const struct stripes *stripes);

/* Each owner gets its stripe of everybody's `in`, reduced, in `out`, elements of the type that
 * reduce->stage makes. */
int flat_reduce_scatter(struct flat *flat, const void *in, void *out, const struct stripes *stripes,
                        const struct reduce *reduce);

int flat_barrier(struct flat *flat);

#endif

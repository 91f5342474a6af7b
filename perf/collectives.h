/* collectives: what differs between the benchmarks of collectives. bench.c runs any of them. */
#ifndef MUSTER_PERF_COLLECTIVES_H
#define MUSTER_PERF_COLLECTIVES_H

#include "muster/comm/comm.h"
#include "muster/core/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One collective call of this rank, and what it takes to make and check its data. */
struct call {
    struct mst_comm *comm;
    uint32_t rank, size, root;
    enum mst_dtype dtype;
    enum mst_op op;
    size_t count; /* as the collective takes it */
    bool in_place;
    void *in, *out;
    uint64_t seed;
};

struct collective {
    const char *name;
    const char *program; /* nccl-tests' name of it */
    bool reduces;        /* has an operation */
    bool rooted;
    bool in_parts, out_parts; /* in or out holds `count` elements for every rank */
    double bus_factor; /* bytes a link carries per byte of result, for many ranks; 0 = always 1 */
    /* Writes this rank's input. */
    void (*fill)(const struct call *call);
    /* Result of the collective. */
    int (*run)(const struct call *call);
    /* How many elements of `out` differ from what they must be. */
    uint64_t (*wrong)(const struct call *call);
};

/* By name, nccl-tests' name, or either with other underscores ("all_reduce"). NULL if there is
 * none. */
const struct collective *collective_find(const char *name);

/* The count of a call whose larger buffer takes `size_bytes`, as nccl-tests rounds it: shares of
 * a buffer are multiples of 16 bytes. */
size_t collective_count(const struct collective *coll, uint64_t size_bytes, enum mst_dtype dtype,
                        uint32_t rank_count);

/* Elements of the larger buffer. */
size_t collective_elems(const struct collective *coll, const struct call *call);

/* Points in and out of `call` into the buffers; in place both are parts of `recv`. */
void collective_place(const struct collective *coll, struct call *call, void *send, void *recv);

/* Bus bandwidth over algorithm bandwidth: the bytes that the busiest link must carry. */
double collective_bus_ratio(const struct collective *coll, uint32_t rank_count);

#endif

/* The table of collectives: each one's data, call and check. */
#include "muster/perf/collectives.h"

#include "muster/perf/verifiable.h"

#include <string.h>

/* Allreduce and reduce_scatter. */

static struct verifiable reduction_data(const struct call *call)
{
    return (struct verifiable){call->dtype, call->op, call->size, call->seed};
}

static void fill_allreduce(const struct call *call)
{
    struct verifiable data = reduction_data(call);
    verifiable_input(&data, call->rank, 0, call->in, call->count);
}

static int run_allreduce(const struct call *call)
{
    return mst_comm_allreduce(call->comm, call->in, call->out, call->count, call->dtype, call->op,
                              NULL);
}

static uint64_t wrong_allreduce(const struct call *call)
{
    struct verifiable data = reduction_data(call);
    return verifiable_wrong(&data, 0, call->out, call->count);
}

static void fill_reduce_scatter(const struct call *call)
{
    struct verifiable data = reduction_data(call);
    verifiable_input(&data, call->rank, 0, call->in, call->count * call->size);
}

static int run_reduce_scatter(const struct call *call)
{
    return mst_comm_reduce_scatter(call->comm, call->in, call->out, call->count, call->dtype,
                                   call->op, NULL);
}

static uint64_t wrong_reduce_scatter(const struct call *call)
{
    struct verifiable data = reduction_data(call);
    return verifiable_wrong(&data, call->rank * call->count, call->out, call->count);
}

/* Allgather and broadcast move the data of one rank: a sum over one, of a seed of its own. */

static struct verifiable moved_data(const struct call *call, uint32_t source)
{
    return (struct verifiable){call->dtype, MST_SUM, 1, call->seed * 8191 + source};
}

static void fill_allgather(const struct call *call)
{
    struct verifiable data = moved_data(call, call->rank);
    verifiable_input(&data, 0, 0, call->in, call->count);
}

static int run_allgather(const struct call *call)
{
    return mst_comm_allgather(call->comm, call->in, call->out, call->count, call->dtype, NULL);
}

static uint64_t wrong_allgather(const struct call *call)
{
    uint64_t wrong_count = 0;
    size_t part_bytes = call->count * mst_dtype_size(call->dtype);
    for (uint32_t source = 0; source < call->size; source++) {
        struct verifiable data = moved_data(call, source);
        const char *part = (const char *)call->out + source * part_bytes;
        wrong_count += verifiable_wrong(&data, 0, part, call->count);
    }
    return wrong_count;
}

static void fill_broadcast(const struct call *call)
{
    struct verifiable data = moved_data(call, call->root);
    if (call->rank == call->root)
        verifiable_input(&data, 0, 0, call->in, call->count);
}

/* The public broadcast is in place; out of place the root pays for its copy, as NCCL's does. */
static int run_broadcast(const struct call *call)
{
    if (call->rank == call->root && call->in != call->out)
        memcpy(call->out, call->in, call->count * mst_dtype_size(call->dtype));
    return mst_comm_broadcast(call->comm, call->out, call->count, call->dtype, call->root, NULL);
}

static uint64_t wrong_broadcast(const struct call *call)
{
    struct verifiable data = moved_data(call, call->root);
    return verifiable_wrong(&data, 0, call->out, call->count);
}

static const struct collective collectives[] = {
    {.name = "allreduce",
     .program = "all_reduce_perf",
     .reduces = true,
     .bus_factor = 2,
     .fill = fill_allreduce,
     .run = run_allreduce,
     .wrong = wrong_allreduce},
    {.name = "reduce_scatter",
     .program = "reduce_scatter_perf",
     .reduces = true,
     .in_parts = true,
     .bus_factor = 1,
     .fill = fill_reduce_scatter,
     .run = run_reduce_scatter,
     .wrong = wrong_reduce_scatter},
    {.name = "allgather",
     .program = "all_gather_perf",
     .out_parts = true,
     .bus_factor = 1,
     .fill = fill_allgather,
     .run = run_allgather,
     .wrong = wrong_allgather},
    {.name = "broadcast",
     .program = "broadcast_perf",
     .rooted = true,
     .fill = fill_broadcast,
     .run = run_broadcast,
     .wrong = wrong_broadcast},
};

/* Number `index` of the table, NULL after the last. */
static const struct collective *collective_at(size_t index)
{
    return index < sizeof(collectives) / sizeof(collectives[0]) ? &collectives[index] : NULL;
}

static bool same_letters(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "_");
        b += strspn(b, "_");
        if (*a != *b)
            return false;
        if (!*a)
            return true;
    }
}

const struct collective *collective_find(const char *name)
{
    const struct collective *coll;
    for (size_t i = 0; (coll = collective_at(i)) != NULL; i++)
        if (same_letters(name, coll->name) || same_letters(name, coll->program))
            return coll;
    return NULL;
}

size_t collective_count(const struct collective *coll, uint64_t size_bytes, enum mst_dtype dtype,
                        uint32_t rank_count)
{
    size_t elem_bytes = mst_dtype_size(dtype);
    size_t count = (size_t)size_bytes / elem_bytes;
    if (!coll->in_parts && !coll->out_parts)
        return count;
    size_t granule = 16 / elem_bytes;
    return count / rank_count / granule * granule;
}

size_t collective_elems(const struct collective *coll, const struct call *call)
{
    return coll->in_parts || coll->out_parts ? call->count * call->size : call->count;
}

void collective_place(const struct collective *coll, struct call *call, void *send, void *recv)
{
    size_t own = call->rank * call->count * mst_dtype_size(call->dtype);
    call->in = call->in_place ? recv : send;
    call->out = recv;
    if (call->in_place && coll->out_parts)
        call->in = (char *)recv + own;
    if (call->in_place && coll->in_parts)
        call->out = (char *)recv + own;
}

double collective_bus_ratio(const struct collective *coll, uint32_t rank_count)
{
    return coll->bus_factor > 0 ? coll->bus_factor * (rank_count - 1) / rank_count : 1;
}

/* The collectives of the host back end: flat ones inside a node, composed with exchanges of the
 * leaders between nodes. Leader k answers for stripe k of the node's vector.
 *
 * The life of an allreduce over two nodes of three ranks, each node with leaders 0, 1 and 2:
 *   1. the vector goes in rounds, each cut into three stripes; within the node stripe k of all
 *      three inputs is reduced by rank k (flat_reduce_scatter) into its `partial`, unrounded;
 *   2. leader k exchanges with leader k of the other node: it sends slice n of its partial to node
 *      n, receives its own slice of theirs, folds both in node order and rounds (the sliced way;
 *      a short stripe goes whole, and both fold all of it);
 *   3. it exchanges once more: its finished slice for theirs;
 *   4. within the node everybody collects the three finished stripes (flat_allgather).
 * The others are made of the same three moves: a move in the node, an exchange of leaders of equal
 * number, a move in the node. Ranks that do not lead wait in the moves of their node. All ranks cut
 * alike, so that nobody tells anybody sizes; each exchange carries the signature of the call.
 *
 * Determinism: a node's partial is the fold over its ranks in local order, the result is the fold
 * over the partials in node order, in the accumulation type; so no chunk or round boundary shows in
 * the bits. */
#include "muster/comm/host_plan.h"

#include "muster/core/dtype.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what it owns ---------------------------------------------------------------------------- */

static uint32_t smallest_node(const struct boot *boot)
{
    uint32_t least = boot_local_size(boot, 0);
    for (uint32_t n = 1; n < boot->node_count; n++)
        least = (uint32_t)mst_least(least, boot_local_size(boot, n));
    return least;
}

/* Everything is allocated here, so that no collective allocates. */
static bool allocate(struct host_plan *plan)
{
    /* A node's slice is rounded up to a cache line, or 8 bytes become 16 on the way to f32. */
    size_t slack = (size_t)plan->node_count * 128;
    plan->streams = calloc(plan->node_count, sizeof *plan->streams);
    plan->parts = calloc(plan->node_count, sizeof *plan->parts);
    plan->block = malloc(HOST_ROUND_BYTES);
    if (!plan->streams || !plan->parts || !plan->block)
        return false;
    if (!plan->leads)
        return true;
    plan->partial = malloc(HOST_ROUND_BYTES);
    plan->received = malloc(HOST_ROUND_BYTES + slack);
    return plan->partial && plan->received;
}

int host_plan_init(struct host_plan *plan, const struct boot *boot, uint32_t rank,
                   struct mst_err *err)
{
    const struct boot_peer *self = &boot->peers[rank];
    plan->boot = boot;
    plan->isa = reduce_best();
    plan->rank = rank;
    plan->size = boot->size;
    plan->node = self->node;
    plan->node_count = boot->node_count;
    plan->locals = &boot->ranks[boot->first[self->node]];
    plan->leader_count = smallest_node(boot);
    plan->leads = self->local_rank < plan->leader_count;
    assert(plan->leader_count >= 1 && plan->locals[self->local_rank] == rank);
    if (plan->node_count > 1 && !allocate(plan))
        return mst_err_set(err, -ENOMEM, "no memory for a communicator's buffers");
    return 0;
}

void host_plan_fini(struct host_plan *plan)
{
    free(plan->streams);
    free(plan->parts);
    free(plan->block);
    free(plan->partial);
    free(plan->received);
}

/* ---- exchanges ------------------------------------------------------------------------------- */

static int exchange(struct host_plan *plan)
{
    return tcp_exchange(plan->tcp, plan->parts, &plan->flat->err);
}

static void clear_parts(struct host_plan *plan)
{
    memset(plan->parts, 0, plan->node_count * sizeof *plan->parts);
}

static const void **node_streams(struct host_plan *plan, const void *mine, size_t stream_bytes)
{
    for (uint32_t n = 0; n < plan->node_count; n++)
        plan->streams[n] = plan->received + n * stream_bytes;
    plan->streams[plan->node] = mine;
    return plan->streams;
}

/* ---- allreduce ------------------------------------------------------------------------------- */

/* Everybody gets everybody's partial: one exchange. */
static int across_whole(struct host_plan *plan, void *out, size_t len, const struct reduce *reduce)
{
    size_t bytes = len * reduce_acc_size(reduce->dtype);
    for (uint32_t n = 0; n < plan->node_count; n++)
        plan->parts[n] = (struct tcp_part){.send = plan->partial,
                                           .send_bytes = bytes,
                                           .recv = plan->received + n * bytes,
                                           .recv_bytes = bytes};
    int rc = exchange(plan);
    if (rc < 0)
        return rc;
    const void **streams = node_streams(plan, plan->partial, bytes);
    reduce_fold(reduce, out, streams, plan->node_count, len);
    return 0;
}

/* Node n reduces slice n, then sends it to all: two exchanges, 2(n-1)/n of the bytes. */
static int across_sliced(struct host_plan *plan, uint8_t *out, size_t len,
                         const struct reduce *reduce)
{
    size_t size = mst_dtype_size(reduce->dtype), acc_size = reduce_acc_size(reduce->dtype);
    struct stripes slices = stripes_cut(len, plan->node_count, size);
    size_t own_at = stripes_start(&slices, plan->node), own = stripes_len(&slices, plan->node);
    for (uint32_t n = 0; n < plan->node_count; n++)
        plan->parts[n] = (struct tcp_part){.send = plan->partial +
                                                   stripes_start(&slices, n) * acc_size,
                                           .send_bytes = stripes_len(&slices, n) * acc_size,
                                           .recv = plan->received + n * own * acc_size,
                                           .recv_bytes = own * acc_size};
    int rc = exchange(plan);
    if (rc < 0)
        return rc;
    const void **streams = node_streams(plan, plan->partial + own_at * acc_size, own * acc_size);
    reduce_fold(reduce, out + own_at * size, streams, plan->node_count, own);
    for (uint32_t n = 0; n < plan->node_count; n++)
        plan->parts[n] = (struct tcp_part){.send = out + own_at * size,
                                           .send_bytes = own * size,
                                           .recv = out + stripes_start(&slices, n) * size,
                                           .recv_bytes = stripes_len(&slices, n) * size};
    return exchange(plan);
}

static int across_allreduce(struct host_plan *plan, void *out, size_t len, struct reduce reduce)
{
    size_t bytes = len * reduce_acc_size(reduce.dtype);
    reduce.stage = REDUCE_FINISH;
    if (bytes * plan->node_count <= HOST_ONE_EXCHANGE_BYTES)
        return across_whole(plan, out, len, &reduce);
    return across_sliced(plan, out, len, &reduce);
}

static int allreduce_round(struct host_plan *plan, const uint8_t *in, uint8_t *out, size_t count,
                           struct reduce reduce)
{
    size_t size = mst_dtype_size(reduce.dtype);
    struct stripes stripes = stripes_cut(count, plan->leader_count, size);
    uint32_t me = plan->flat->segment.local_rank;
    reduce.stage = REDUCE_PARTIAL;
    int rc = flat_reduce_scatter(plan->flat, in, plan->partial, &stripes, &reduce);
    if (rc < 0)
        return rc;
    uint8_t *own = plan->leads ? out + stripes_start(&stripes, me) * size : NULL;
    if (plan->leads)
        rc = across_allreduce(plan, own, stripes_len(&stripes, me), reduce);
    return rc < 0 ? rc : flat_allgather(plan->flat, own, out, &stripes);
}

static int allreduce(struct host_plan *plan, const struct comm_call *call,
                     const struct reduce *reduce)
{
    size_t count = call->desc.count, size = mst_dtype_size(reduce->dtype), done = 0;
    if (plan->node_count == 1)
        return flat_allreduce(plan->flat, call->in, call->out, count, reduce);
    size_t round = HOST_ROUND_BYTES / reduce_acc_size(reduce->dtype) * plan->leader_count;
    do {
        size_t len = mst_least(round, count - done);
        int rc = allreduce_round(plan, (const uint8_t *)call->in + done * size,
                                 (uint8_t *)call->out + done * size, len, *reduce);
        if (rc < 0)
            return rc;
        done += len;
    } while (done < count);
    return 0;
}

/* ---- reduce_scatter -------------------------------------------------------------------------- */

/* Leaders send their stripes of one rank's block to that rank's node, which reduces them. */
static int across_reduce(struct host_plan *plan, uint32_t to_node, void *out, size_t len,
                         struct reduce reduce)
{
    size_t bytes = len * reduce_acc_size(reduce.dtype);
    bool receives = to_node == plan->node;
    clear_parts(plan);
    for (uint32_t n = 0; n < plan->node_count; n++) {
        struct tcp_part *part = &plan->parts[n];
        if (receives) {
            part->recv = plan->received + n * bytes;
            part->recv_bytes = bytes;
        } else if (n == to_node) {
            part->send = plan->partial;
            part->send_bytes = bytes;
        }
    }
    int rc = exchange(plan);
    if (rc < 0 || !receives)
        return rc;
    reduce.stage = REDUCE_FINISH;
    const void **streams = node_streams(plan, plan->partial, bytes);
    reduce_fold(&reduce, out, streams, plan->node_count, len);
    return 0;
}

/* A round of the block of rank `to`. */
static int scatter_round(struct host_plan *plan, uint32_t to, const uint8_t *in, uint8_t *out,
                         size_t count, struct reduce reduce)
{
    size_t size = mst_dtype_size(reduce.dtype);
    struct stripes stripes = stripes_cut(count, plan->leader_count, size);
    uint32_t me = plan->flat->segment.local_rank, to_node = plan->boot->peers[to].node;
    uint8_t *dest = to == plan->rank ? out : plan->block;
    reduce.stage = REDUCE_PARTIAL;
    int rc = flat_reduce_scatter(plan->flat, in, plan->partial, &stripes, &reduce);
    if (rc < 0)
        return rc;
    uint8_t *own = plan->leads ? dest + stripes_start(&stripes, me) * size : NULL;
    if (plan->leads)
        rc = across_reduce(plan, to_node, own, stripes_len(&stripes, me), reduce);
    if (rc < 0 || to_node != plan->node)
        return rc;
    return flat_allgather(plan->flat, own, dest, &stripes);
}

static int reduce_scatter(struct host_plan *plan, const struct comm_call *call,
                          const struct reduce *reduce)
{
    size_t count = call->desc.count, size = mst_dtype_size(reduce->dtype);
    if (plan->node_count == 1) {
        struct stripes stripes = {.count = count * plan->size,
                                  .stride = count,
                                  .owners = plan->size,
                                  .elem_size = size,
                                  .place = plan->locals};
        return flat_reduce_scatter(plan->flat, call->in, call->out, &stripes, reduce);
    }
    /* Every node's stripe of a round must fit the leaders' memory at once. */
    size_t round = HOST_ROUND_BYTES / reduce_acc_size(reduce->dtype) / plan->node_count + 1;
    for (uint32_t to = 0; to < plan->size; to++) {
        size_t done = 0;
        do {
            size_t len = mst_least(round, count - done);
            const uint8_t *in = (const uint8_t *)call->in + (to * count + done) * size;
            int rc = scatter_round(plan, to, in, (uint8_t *)call->out + done * size, len, *reduce);
            if (rc < 0)
                return rc;
            done += len;
        } while (done < count);
    }
    return 0;
}

/* ---- data movers ----------------------------------------------------------------------------- */

static int broadcast_round(struct host_plan *plan, uint8_t *buf, size_t bytes, uint32_t root)
{
    const struct boot_peer *from = &plan->boot->peers[root];
    struct stripes stripes = stripes_cut(bytes, plan->leader_count, 1);
    uint32_t me = plan->flat->segment.local_rank;
    uint8_t *own = plan->leads ? buf + stripes_start(&stripes, me) : NULL;
    size_t own_bytes = stripes_len(&stripes, me);
    int rc = 0;
    if (from->node == plan->node)
        rc = flat_broadcast(plan->flat, buf, bytes, from->local_rank);
    if (rc == 0 && plan->leads) {
        clear_parts(plan);
        if (from->node != plan->node)
            plan->parts[from->node] = (struct tcp_part){.recv = own, .recv_bytes = own_bytes};
        for (uint32_t n = 0; n < plan->node_count && from->node == plan->node; n++)
            plan->parts[n] = (struct tcp_part){.send = own, .send_bytes = own_bytes};
        rc = exchange(plan);
    }
    if (rc == 0 && from->node != plan->node)
        rc = flat_allgather(plan->flat, own, buf, &stripes);
    return rc;
}

static int broadcast(struct host_plan *plan, const struct comm_call *call)
{
    size_t bytes = call->desc.count * mst_dtype_size(call->desc.dtype), done = 0;
    uint32_t root = call->desc.root;
    if (plan->node_count == 1)
        return flat_broadcast(plan->flat, call->out, bytes, plan->boot->peers[root].local_rank);
    do {
        size_t len = mst_least(HOST_ROUND_BYTES * plan->leader_count, bytes - done);
        int rc = broadcast_round(plan, (uint8_t *)call->out + done, len, root);
        if (rc < 0)
            return rc;
        done += len;
    } while (done < bytes);
    return 0;
}

/* Leader k sends stripe k of the block of its node's local rank l, and gets the same of the other
 * nodes'. */
static int gather_across(struct host_plan *plan, uint8_t *out, uint32_t l, size_t block_bytes,
                         const struct stripes *stripes)
{
    uint32_t me = plan->flat->segment.local_rank;
    size_t at = stripes_start(stripes, me), bytes = stripes_len(stripes, me);
    const struct boot *boot = plan->boot;
    bool sends = l < boot_local_size(boot, plan->node);
    clear_parts(plan);
    for (uint32_t n = 0; n < plan->node_count; n++) {
        struct tcp_part *part = &plan->parts[n];
        if (sends) {
            part->send = out + plan->locals[l] * block_bytes + at;
            part->send_bytes = bytes;
        }
        if (l < boot_local_size(boot, n)) {
            part->recv = out + boot_rank(boot, n, l) * block_bytes + at;
            part->recv_bytes = bytes;
        }
    }
    return exchange(plan);
}

static int allgather(struct host_plan *plan, const struct comm_call *call)
{
    size_t block_bytes = call->desc.count * mst_dtype_size(call->desc.dtype);
    struct stripes blocks = {.count = block_bytes * plan->size,
                             .stride = block_bytes,
                             .owners = boot_local_size(plan->boot, plan->node),
                             .elem_size = 1,
                             .place = plan->locals};
    int rc = flat_allgather(plan->flat, call->in, call->out, &blocks);
    if (rc < 0 || plan->node_count == 1)
        return rc;
    struct stripes stripes = stripes_cut(block_bytes, plan->leader_count, 1);
    uint32_t most = 0, me = plan->flat->segment.local_rank;
    for (uint32_t n = 0; n < plan->node_count; n++)
        most = boot_local_size(plan->boot, n) > most ? boot_local_size(plan->boot, n) : most;
    for (uint32_t l = 0; plan->leads && l < most; l++) {
        rc = gather_across(plan, call->out, l, block_bytes, &stripes);
        if (rc < 0)
            return rc;
    }
    for (uint32_t r = 0; r < plan->size; r++) {
        uint8_t *block = (uint8_t *)call->out + r * block_bytes;
        if (plan->boot->peers[r].node != plan->node)
            rc = flat_allgather(plan->flat, block + stripes_start(&stripes, me), block, &stripes);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int barrier(struct host_plan *plan)
{
    int rc = flat_barrier(plan->flat);
    if (rc < 0 || plan->node_count == 1)
        return rc;
    if (plan->leads) {
        clear_parts(plan);
        rc = exchange(plan);
    }
    return rc < 0 ? rc : flat_barrier(plan->flat);
}

int host_plan_run(struct host_plan *plan, const struct comm_call *call)
{
    struct reduce reduce = {.isa = plan->isa,
                            .stage = REDUCE_WHOLE,
                            .dtype = call->desc.dtype,
                            .op = call->desc.op,
                            .divisor = plan->size};
    switch (call->desc.coll) {
    case MST_COLL_ALLREDUCE: return allreduce(plan, call, &reduce);
    case MST_COLL_BROADCAST: return broadcast(plan, call);
    case MST_COLL_ALLGATHER: return allgather(plan, call);
    case MST_COLL_REDUCE_SCATTER: return reduce_scatter(plan, call, &reduce);
    default: assert(call->desc.coll == MST_COLL_BARRIER); return barrier(plan);
    }
}

/* The collectives of the host back end: flat ones inside a node, composed with exchanges of the
 * leaders between nodes. Leader k answers for stripe k of the node's vector.
 *
 * Determinism: a node's partial is the fold over its ranks in local order, the result is the fold
 * over the partials in node order, in the accumulation type; so no chunk or round boundary shows in
 * the bits. */
#include "muster/comm/host.h"

#include "muster/core/dtype.h"

#include <assert.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int exchange(struct host *host)
{
    return tcp_exchange(&host->tcp, host->parts, &host->flat.err);
}

static void clear_parts(struct host *host)
{
    memset(host->parts, 0, host->node_count * sizeof *host->parts);
}

static const void **node_streams(struct host *host, const void *mine, size_t stream_bytes)
{
    for (uint32_t n = 0; n < host->node_count; n++)
        host->flat.streams[n] = host->received + n * stream_bytes;
    host->flat.streams[host->node] = mine;
    return host->flat.streams;
}

/* ---- allreduce ------------------------------------------------------------------------------- */

/* Everybody gets everybody's partial: one exchange. */
static int across_whole(struct host *host, void *out, size_t len, const struct reduce *reduce)
{
    size_t bytes = len * reduce_acc_size(reduce->dtype);
    for (uint32_t n = 0; n < host->node_count; n++)
        host->parts[n] = (struct tcp_part){.send = host->partial,
                                           .send_bytes = bytes,
                                           .recv = host->received + n * bytes,
                                           .recv_bytes = bytes};
    int rc = exchange(host);
    if (rc < 0)
        return rc;
    const void **streams = node_streams(host, host->partial, bytes);
    reduce_fold(reduce, out, streams, host->node_count, len);
    return 0;
}

/* Node n reduces slice n, then sends it to all: two exchanges, 2(n-1)/n of the bytes. */
static int across_sliced(struct host *host, uint8_t *out, size_t len, const struct reduce *reduce)
{
    size_t size = mst_dtype_size(reduce->dtype), acc_size = reduce_acc_size(reduce->dtype);
    struct stripes slices = stripes_cut(len, host->node_count, size);
    size_t own_at = stripes_start(&slices, host->node), own = stripes_len(&slices, host->node);
    for (uint32_t n = 0; n < host->node_count; n++)
        host->parts[n] = (struct tcp_part){.send = host->partial +
                                                   stripes_start(&slices, n) * acc_size,
                                           .send_bytes = stripes_len(&slices, n) * acc_size,
                                           .recv = host->received + n * own * acc_size,
                                           .recv_bytes = own * acc_size};
    int rc = exchange(host);
    if (rc < 0)
        return rc;
    const void **streams = node_streams(host, host->partial + own_at * acc_size, own * acc_size);
    reduce_fold(reduce, out + own_at * size, streams, host->node_count, own);
    for (uint32_t n = 0; n < host->node_count; n++)
        host->parts[n] = (struct tcp_part){.send = out + own_at * size,
                                           .send_bytes = own * size,
                                           .recv = out + stripes_start(&slices, n) * size,
                                           .recv_bytes = stripes_len(&slices, n) * size};
    return exchange(host);
}

static int across_allreduce(struct host *host, void *out, size_t len, struct reduce reduce)
{
    size_t bytes = len * reduce_acc_size(reduce.dtype);
    reduce.stage = REDUCE_FINISH;
    if (bytes * host->node_count <= HOST_ONE_EXCHANGE_BYTES)
        return across_whole(host, out, len, &reduce);
    return across_sliced(host, out, len, &reduce);
}

static int allreduce_round(struct host *host, const uint8_t *in, uint8_t *out, size_t count,
                           struct reduce reduce)
{
    size_t size = mst_dtype_size(reduce.dtype);
    struct stripes stripes = stripes_cut(count, host->leader_count, size);
    uint32_t me = host->flat.segment.local_rank;
    reduce.stage = REDUCE_PARTIAL;
    int rc = flat_reduce_scatter(&host->flat, in, host->partial, &stripes, &reduce);
    if (rc < 0)
        return rc;
    uint8_t *own = host->leads ? out + stripes_start(&stripes, me) * size : NULL;
    if (host->leads)
        rc = across_allreduce(host, own, stripes_len(&stripes, me), reduce);
    return rc < 0 ? rc : flat_allgather(&host->flat, own, out, &stripes);
}

static int allreduce(struct host *host, const struct comm_call *call, const struct reduce *reduce)
{
    size_t count = call->desc.count, size = mst_dtype_size(reduce->dtype), done = 0;
    if (host->node_count == 1)
        return flat_allreduce(&host->flat, call->in, call->out, count, reduce);
    size_t round = HOST_ROUND_BYTES / reduce_acc_size(reduce->dtype) * host->leader_count;
    do {
        size_t len = least(round, count - done);
        int rc = allreduce_round(host, (const uint8_t *)call->in + done * size,
                                 (uint8_t *)call->out + done * size, len, *reduce);
        if (rc < 0)
            return rc;
        done += len;
    } while (done < count);
    return 0;
}

/* ---- reduce_scatter -------------------------------------------------------------------------- */

/* Leaders send their stripes of one rank's block to that rank's node, which reduces them. */
static int across_reduce(struct host *host, uint32_t to_node, void *out, size_t len,
                         struct reduce reduce)
{
    size_t bytes = len * reduce_acc_size(reduce.dtype);
    bool receives = to_node == host->node;
    clear_parts(host);
    for (uint32_t n = 0; n < host->node_count; n++) {
        struct tcp_part *part = &host->parts[n];
        if (receives) {
            part->recv = host->received + n * bytes;
            part->recv_bytes = bytes;
        } else if (n == to_node) {
            part->send = host->partial;
            part->send_bytes = bytes;
        }
    }
    int rc = exchange(host);
    if (rc < 0 || !receives)
        return rc;
    reduce.stage = REDUCE_FINISH;
    const void **streams = node_streams(host, host->partial, bytes);
    reduce_fold(&reduce, out, streams, host->node_count, len);
    return 0;
}

/* A round of the block of rank `to`. */
static int scatter_round(struct host *host, uint32_t to, const uint8_t *in, uint8_t *out,
                         size_t count, struct reduce reduce)
{
    size_t size = mst_dtype_size(reduce.dtype);
    struct stripes stripes = stripes_cut(count, host->leader_count, size);
    uint32_t me = host->flat.segment.local_rank, to_node = host->boot.peers[to].node;
    uint8_t *dest = to == host->rank ? out : host->block;
    reduce.stage = REDUCE_PARTIAL;
    int rc = flat_reduce_scatter(&host->flat, in, host->partial, &stripes, &reduce);
    if (rc < 0)
        return rc;
    uint8_t *own = host->leads ? dest + stripes_start(&stripes, me) * size : NULL;
    if (host->leads)
        rc = across_reduce(host, to_node, own, stripes_len(&stripes, me), reduce);
    if (rc < 0 || to_node != host->node)
        return rc;
    return flat_allgather(&host->flat, own, dest, &stripes);
}

static int reduce_scatter(struct host *host, const struct comm_call *call,
                          const struct reduce *reduce)
{
    size_t count = call->desc.count, size = mst_dtype_size(reduce->dtype);
    if (host->node_count == 1) {
        struct stripes stripes = {.count = count * host->size,
                                  .stride = count,
                                  .owners = host->size,
                                  .elem_size = size,
                                  .place = host->locals};
        return flat_reduce_scatter(&host->flat, call->in, call->out, &stripes, reduce);
    }
    /* Every node's stripe of a round must fit the leaders' memory at once. */
    size_t round = HOST_ROUND_BYTES / reduce_acc_size(reduce->dtype) / host->node_count + 1;
    for (uint32_t to = 0; to < host->size; to++) {
        size_t done = 0;
        do {
            size_t len = least(round, count - done);
            const uint8_t *in = (const uint8_t *)call->in + (to * count + done) * size;
            int rc = scatter_round(host, to, in, (uint8_t *)call->out + done * size, len, *reduce);
            if (rc < 0)
                return rc;
            done += len;
        } while (done < count);
    }
    return 0;
}

/* ---- data movers ----------------------------------------------------------------------------- */

static int broadcast_round(struct host *host, uint8_t *buf, size_t bytes, uint32_t root)
{
    const struct boot_peer *from = &host->boot.peers[root];
    struct stripes stripes = stripes_cut(bytes, host->leader_count, 1);
    uint32_t me = host->flat.segment.local_rank;
    uint8_t *own = host->leads ? buf + stripes_start(&stripes, me) : NULL;
    size_t own_bytes = stripes_len(&stripes, me);
    int rc = 0;
    if (from->node == host->node)
        rc = flat_broadcast(&host->flat, buf, bytes, from->local_rank);
    if (rc == 0 && host->leads) {
        clear_parts(host);
        if (from->node != host->node)
            host->parts[from->node] = (struct tcp_part){.recv = own, .recv_bytes = own_bytes};
        for (uint32_t n = 0; n < host->node_count && from->node == host->node; n++)
            host->parts[n] = (struct tcp_part){.send = own, .send_bytes = own_bytes};
        rc = exchange(host);
    }
    if (rc == 0 && from->node != host->node)
        rc = flat_allgather(&host->flat, own, buf, &stripes);
    return rc;
}

static int broadcast(struct host *host, const struct comm_call *call)
{
    size_t bytes = call->desc.count * mst_dtype_size(call->desc.dtype), done = 0;
    uint32_t root = call->desc.root;
    if (host->node_count == 1)
        return flat_broadcast(&host->flat, call->out, bytes, host->boot.peers[root].local_rank);
    do {
        size_t len = least(HOST_ROUND_BYTES * host->leader_count, bytes - done);
        int rc = broadcast_round(host, (uint8_t *)call->out + done, len, root);
        if (rc < 0)
            return rc;
        done += len;
    } while (done < bytes);
    return 0;
}

/* Leader k sends stripe k of the block of its node's local rank l, and gets the same of the other
 * nodes'. */
static int gather_across(struct host *host, uint8_t *out, uint32_t l, size_t block_bytes,
                         const struct stripes *stripes)
{
    uint32_t me = host->flat.segment.local_rank;
    size_t at = stripes_start(stripes, me), bytes = stripes_len(stripes, me);
    const struct boot *boot = &host->boot;
    bool sends = l < boot_local_size(boot, host->node);
    clear_parts(host);
    for (uint32_t n = 0; n < host->node_count; n++) {
        struct tcp_part *part = &host->parts[n];
        if (sends) {
            part->send = out + host->locals[l] * block_bytes + at;
            part->send_bytes = bytes;
        }
        if (l < boot_local_size(boot, n)) {
            part->recv = out + boot_rank(boot, n, l) * block_bytes + at;
            part->recv_bytes = bytes;
        }
    }
    return exchange(host);
}

static int allgather(struct host *host, const struct comm_call *call)
{
    size_t block_bytes = call->desc.count * mst_dtype_size(call->desc.dtype);
    struct stripes blocks = {.count = block_bytes * host->size,
                             .stride = block_bytes,
                             .owners = boot_local_size(&host->boot, host->node),
                             .elem_size = 1,
                             .place = host->locals};
    int rc = flat_allgather(&host->flat, call->in, call->out, &blocks);
    if (rc < 0 || host->node_count == 1)
        return rc;
    struct stripes stripes = stripes_cut(block_bytes, host->leader_count, 1);
    uint32_t most = 0, me = host->flat.segment.local_rank;
    for (uint32_t n = 0; n < host->node_count; n++)
        most = boot_local_size(&host->boot, n) > most ? boot_local_size(&host->boot, n) : most;
    for (uint32_t l = 0; host->leads && l < most; l++) {
        rc = gather_across(host, call->out, l, block_bytes, &stripes);
        if (rc < 0)
            return rc;
    }
    for (uint32_t r = 0; r < host->size; r++) {
        uint8_t *block = (uint8_t *)call->out + r * block_bytes;
        if (host->boot.peers[r].node != host->node)
            rc = flat_allgather(&host->flat, block + stripes_start(&stripes, me), block, &stripes);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int barrier(struct host *host)
{
    int rc = flat_barrier(&host->flat);
    if (rc < 0 || host->node_count == 1)
        return rc;
    if (host->leads) {
        clear_parts(host);
        rc = exchange(host);
    }
    return rc < 0 ? rc : flat_barrier(&host->flat);
}

int host_collective(struct host *host, const struct comm_call *call)
{
    struct reduce reduce = {.isa = reduce_best(),
                            .stage = REDUCE_WHOLE,
                            .dtype = call->desc.dtype,
                            .op = call->desc.op,
                            .divisor = host->size};
    switch (call->desc.coll) {
    case MST_COLL_ALLREDUCE: return allreduce(host, call, &reduce);
    case MST_COLL_BROADCAST: return broadcast(host, call);
    case MST_COLL_ALLGATHER: return allgather(host, call);
    case MST_COLL_REDUCE_SCATTER: return reduce_scatter(host, call, &reduce);
    default: assert(call->desc.coll == MST_COLL_BARRIER); return barrier(host);
    }
}

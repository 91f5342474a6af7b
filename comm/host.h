/* The host back end's object, shared by host.c (its life) and host_ops.c (the collectives). */
#ifndef MUSTER_COMM_HOST_H
#define MUSTER_COMM_HOST_H

#include "muster/comm/backend.h"
#include "muster/comm/boot.h"
#include "muster/comm/flat.h"
#include "muster/comm/tcp.h"

/* Bytes of the accumulation type that one leader reduces at a time; its memory is three times
 * that. */
#define HOST_ROUND_BYTES ((size_t)1 << 20)

/* Up to here leaders send whole partials to all, one exchange; above, slices, two exchanges. */
#define HOST_ONE_EXCHANGE_BYTES ((size_t)16 << 10)

struct host {
    struct comm_backend base;
    struct boot boot;
    struct flat flat;
    struct tcp tcp;
    uint32_t rank, size, node, node_count;
    uint32_t leader_count; /* the local size of the smallest node */
    bool leads;
    enum mst_wait_policy policy;
    const uint32_t *locals; /* local rank → rank, of this node */

    /* Between nodes only, NULL otherwise. */
    uint8_t *partial;  /* leader: its stripe of this node's partial result */
    uint8_t *received; /* leader: the other nodes' */
    uint8_t *block;    /* where ranks put a result that is not theirs */
    struct tcp_part *parts;
};

/* One collective over all nodes. 0, or -E… with host->flat.err filled. */
int host_collective(struct host *host, const struct comm_call *call);

/* For a back end that moves its data by other means, over a communicator of comm_host_ops. */

/* A barrier in which all ranks must be about to call `desc`, the `op_seq`-th collective. As run. */
int host_meet(struct comm_backend *backend, const struct signature_desc *desc, uint64_t op_seq,
              uint64_t deadline_ns);

/* 0, or what has ended it: another rank's failure, or the generation's abort. Between two of the
 * above. Does not block. */
int host_alive(struct comm_backend *backend, struct mst_err *err);

/* Ends it with *err on all ranks: they see it in host_alive, and in their next collective. An
 * earlier failure stands, and is copied to *err. Returns err->code. */
int host_fail(struct comm_backend *backend, struct mst_err *err);

#endif

/* What a collective of the host back end does: steps inside the node, exchanges between the nodes.
 * It is made of the ranks' places and of the two that move bytes, and knows nothing of how they
 * came to be: that is host.c. */
#ifndef MUSTER_COMM_HOST_PLAN_H
#define MUSTER_COMM_HOST_PLAN_H

#include "muster/comm/backend.h"
#include "muster/comm/boot.h"
#include "muster/comm/flat.h"
#include "muster/comm/tcp.h"

/* Bytes of the accumulation type that one leader reduces at a time; its memory is three times
 * that. */
#define HOST_ROUND_BYTES ((size_t)1 << 20)

/* Up to here leaders send whole partials to all, one exchange; above, slices, two exchanges. */
#define HOST_ONE_EXCHANGE_BYTES ((size_t)16 << 10)

struct host_plan {
    struct flat *flat; /* borrowed, opened by whoever runs the plan; so is tcp, on leaders */
    struct tcp *tcp;
    const struct boot *boot; /* borrowed: who is where */
    uint32_t rank, size, node, node_count;
    uint32_t leader_count; /* the local size of the smallest node */
    bool leads;
    const uint32_t *locals; /* local rank → rank, of this node */
    const struct reduce_isa *isa;

    /* Between nodes only, NULL otherwise. */
    uint8_t *partial;     /* leader: its stripe of this node's partial result */
    uint8_t *received;    /* leader: the other nodes' */
    uint8_t *block;       /* where ranks put a result that is not theirs */
    const void **streams; /* one per node: arguments of reduce_fold */
    struct tcp_part *parts;
};

/* Finds the place of `rank` in a zeroed plan with flat and tcp, and takes the memory. 0; -ENOMEM
 * with text: fini is due all the same. */
int host_plan_init(struct host_plan *plan, const struct boot *boot, uint32_t rank,
                   struct mst_err *err);

/* Zeroed and half-built are allowed. */
void host_plan_fini(struct host_plan *plan);

/* One collective over all nodes, announced to both. 0, or -E… with plan->flat->err filled. */
int host_plan_run(struct host_plan *plan, const struct comm_call *call);

#endif

/* The flight recorder: what this rank's collectives were, in the node page, where agent and
 * `muster status` read it even after the rank was killed. Costs a cache line per collective;
 * does nothing without a page. The thread that runs the collectives only. */
#ifndef MUSTER_COMM_RECORDER_H
#define MUSTER_COMM_RECORDER_H

#include "muster/comm/signature.h"

#include <stdint.h>

struct mst_page;
struct mst_page_op;

struct recorder {
    struct mst_page *page; /* NULL: nothing is recorded; borrowed */
    uint32_t local_rank;
    uint32_t comm_id;
};

/* A collective begins, the `seq`-th of its communicator. Returns its entry, NULL without a page. */
struct mst_page_op *recorder_enter(const struct recorder *recorder,
                                   const struct signature_desc *desc, uint64_t seq,
                                   uint64_t now_ns);

/* It ended with `result`. */
void recorder_leave(const struct recorder *recorder, struct mst_page_op *op, int result,
                    uint64_t now_ns);

#endif

/* Entries of the flight recorder. */
#include "muster/comm/recorder.h"

#include "muster/core/world/page.h"

#include <assert.h>

struct mst_page_op *recorder_enter(const struct recorder *recorder,
                                   const struct signature_desc *desc, uint64_t seq, uint64_t now_ns)
{
    if (!recorder->page)
        return NULL;
    assert((unsigned)desc->coll < MST_COLL_COUNT && seq > 0);
    struct mst_page_slot *slot = mst_page_slot(recorder->page, recorder->local_rank);
    /* Relaxed: this thread is the only writer. */
    uint64_t index = atomic_load_explicit(&slot->op_count, memory_order_relaxed);
    struct mst_page_op *op = mst_page_op(recorder->page, recorder->local_rank, index);
    *op = (struct mst_page_op){.seq = seq,
                               .enter_ns = now_ns,
                               .count = desc->count,
                               .comm_id = recorder->comm_id,
                               .signature = signature_of(desc),
                               .kind = (uint8_t)desc->coll,
                               .dtype = (uint8_t)desc->dtype,
                               .op = (uint8_t)desc->op};
    /* Release: whoever sees the count sees the entry. */
    atomic_store_explicit(&slot->op_count, index + 1, memory_order_release);
    atomic_store_explicit(&slot->beat_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&slot->state, MST_RANK_IN_COLL, memory_order_relaxed);
    return op;
}

void recorder_leave(const struct recorder *recorder, struct mst_page_op *op, int result,
                    uint64_t now_ns)
{
    if (!op)
        return;
    struct mst_page_slot *slot = mst_page_slot(recorder->page, recorder->local_rank);
    assert(result <= 0);
    op->result = result;
    op->done_ns = now_ns;
    atomic_store_explicit(&slot->waits_for, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->beat_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&slot->state, MST_RANK_RUNNING, memory_order_relaxed);
}

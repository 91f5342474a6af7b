#include "muster/launcher/late.h"

#include "muster/core/clock.h"
#include "muster/core/coll.h"
#include "muster/launcher/ranks.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The last operation of a rank, if it has recorded one. Its values may be those of two operations,
 * if the rank goes on meanwhile: they are for people. */
static bool last_op(const struct ranks *ranks, uint32_t local_rank, struct mst_page_op *ret_op)
{
    const struct mst_page_slot *slot = mst_page_slot(ranks->page, local_rank);
    /* Acquire: pairs with the rank's release in comm's recorder, which writes the entry before. */
    uint64_t count = atomic_load_explicit(&slot->op_count, memory_order_acquire);
    if (count == 0)
        return false;
    *ret_op = *mst_page_op(ranks->page, local_rank, count - 1);
    return true;
}

static bool is_alive(const struct ranks *ranks, uint32_t local_rank)
{
    return ranks->procs[local_rank].pid > 0;
}

/* Whether the rank is in the operation, or has passed it. */
static bool has_come(const struct ranks *ranks, uint32_t local_rank, const struct mst_page_op *op)
{
    for (uint64_t i = 0; i < MST_PAGE_RING_OPS; i++) {
        const struct mst_page_op *own = mst_page_op(ranks->page, local_rank, i);
        if (own->seq >= op->seq && own->comm_id == op->comm_id)
            return true;
    }
    return false;
}

/* The operation whose first rank has waited longest. */
static bool find_oldest(const struct ranks *ranks, struct mst_page_op *ret_op)
{
    bool found = false;
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        struct mst_page_op op;
        if (is_alive(ranks, i) && last_op(ranks, i, &op) && op.done_ns == 0 &&
            (!found || op.enter_ns < ret_op->enter_ns)) {
            *ret_op = op;
            found = true;
        }
    }
    return found;
}

__attribute__((format(printf, 2, 3))) static void append(struct late_report *report,
                                                         const char *format, ...)
{
    size_t size = strlen(report->who);
    va_list args;
    va_start(args, format);
    (void)snprintf(report->who + size, sizeof report->who - size, "%s", size ? ", " : "");
    size = strlen(report->who);
    (void)vsnprintf(report->who + size, sizeof report->who - size, format, args); /* may be cut */
    va_end(args);
}

static void append_rank(struct late_report *report, const struct ranks *ranks, uint32_t local_rank)
{
    const struct mst_page_slot *slot = mst_page_slot(ranks->page, local_rank);
    uint32_t rank = ranks->first_rank + local_rank;
    /* Relaxed, as below: words for people, which may lag. */
    uint64_t step = atomic_load_explicit(&slot->step, memory_order_relaxed);
    const char *state = mst_rank_state_name(
        atomic_load_explicit(&slot->state, memory_order_relaxed));
    if (!is_alive(ranks, local_rank))
        append(report, "rank %u (has left)", rank);
    else if (step == MST_PAGE_NO_STEP)
        append(report, "rank %u (%s)", rank, state);
    else
        append(report, "rank %u (%s, step %llu)", rank, state, (unsigned long long)step);
}

static void name_the_late(const struct ranks *ranks, const struct mst_page_op *op,
                          struct late_report *report)
{
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        if (has_come(ranks, i, op))
            report->here++;
        else
            append_rank(report, ranks, i);
    }
    for (uint32_t i = 0; report->here == ranks->local_size && i < ranks->local_size; i++) {
        uint32_t other = atomic_load_explicit(&mst_page_slot(ranks->page, i)->waits_for,
                                              memory_order_relaxed);
        if (other)
            append(report, "rank %u (of another node)", other - 1);
    }
}

void late_init(struct late *late, uint64_t now_ns)
{
    *late = (struct late){.look_ns = now_ns + LATE_EVERY_S * MST_NS_PER_S};
}

bool late_look(struct late *late, const struct ranks *ranks, uint64_t now_ns,
               struct late_report *ret_report)
{
    struct mst_page_op op = {0};
    late->look_ns = now_ns + LATE_EVERY_S * MST_NS_PER_S;
    if (!ranks->page || !find_oldest(ranks, &op) || op.enter_ns >= now_ns)
        return false;
    if (op.seq != late->told_seq || op.comm_id != late->told_comm)
        *late = (struct late){late->look_ns, op.seq, op.comm_id, LATE_AFTER_S};
    uint64_t wait_s = (now_ns - op.enter_ns) / MST_NS_PER_S;
    if (wait_s < late->wait_s)
        return false;
    late->wait_s = (uint32_t)(2 * wait_s);
    *ret_report = (struct late_report){.coll = mst_coll_name((enum mst_coll)op.kind),
                                       .seq = op.seq,
                                       .comm_id = op.comm_id,
                                       .wait_s = (uint32_t)wait_s};
    name_the_late(ranks, &op, ret_report);
    return true;
}

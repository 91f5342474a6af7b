#include "muster/launcher/job.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/process.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <stdlib.h>

struct mst_job {
    struct mst_page *page;      /* NULL without an agent */
    struct mst_page_slot *slot; /* this rank's */
    uint32_t local_rank;
    uint32_t process; /* that opened it */
};

static int attach(struct mst_job *job, const struct mst_world *world, struct mst_err *err)
{
    int rc = mst_page_map(world->page_fd, &job->page, err);
    if (rc)
        return rc;
    if (world->local_rank >= mst_page_local_size(job->page))
        return mst_err_set(err, -EBADMSG, "the node page has %u slots, none for local rank %u",
                           mst_page_local_size(job->page), world->local_rank);
    job->local_rank = world->local_rank;
    job->slot = mst_page_slot(job->page, world->local_rank);
    atomic_store(&job->slot->beat_ns, mst_now_ns());
    atomic_store(&job->slot->state, MST_RANK_RUNNING);
    return 0;
}

int mst_job_open(const struct mst_world *world, struct mst_job **ret_job, struct mst_err *err)
{
    struct mst_job *job = calloc(1, sizeof *job);
    if (!job)
        return mst_err_set(err, -ENOMEM, "no memory for the job handle");
    job->process = mst_process_mark();
    int rc = mst_world_check_process(world, err);
    if (rc == 0 && world->page_fd >= 0)
        rc = attach(job, world, err);
    if (rc) {
        mst_page_unmap(job->page);
        free(job);
        return rc;
    }
    *ret_job = job;
    return 0;
}

void mst_job_close(struct mst_job *job)
{
    if (!job || !mst_process_owns(job->process))
        return;
    if (job->page)
        atomic_store(&job->slot->state, MST_RANK_FINISHING);
    mst_page_unmap(job->page);
    free(job);
}

/* What the rank does at the agreed step, or at the first that it tells after it: it stops whenever
 * it asks, and saves once. The slot says so before the program is told, as the agent lets nothing
 * else into the gate until every rank has taken its word. */
static int act(struct mst_job *job, struct mst_gate gate)
{
    /* Relaxed: this rank wrote it. */
    uint64_t acted = atomic_load_explicit(&job->slot->acted_step, memory_order_relaxed);
    if (gate.action == MST_GATE_CHECKPOINT && acted == gate.step)
        return MST_JOB_GO;
    /* Release: pairs with the agent's acquire; the gate was read before. */
    atomic_store_explicit(&job->slot->acted_step, gate.step, memory_order_release);
    return gate.action == MST_GATE_STOP ? MST_JOB_STOP : MST_JOB_CHECKPOINT;
}

/* A rank at the proposed step or past it waits: either the agent has seen that it is there, and
 * proposes a later one, or all agree. */
static int verdict_at(struct mst_job *job, struct mst_gate gate, uint64_t step,
                      uint64_t deadline_ns)
{
    struct mst_page_slot *slot = job->slot;
    while (gate.state == MST_GATE_PROPOSED && step >= gate.step) {
        atomic_store(&slot->state, MST_RANK_AT_GATE);
        int rc = mst_page_gate_wait(job->page, gate, deadline_ns);
        atomic_store(&slot->state, MST_RANK_RUNNING);
        if (rc)
            return rc;
        gate = mst_page_gate(job->page);
    }
    return gate.state == MST_GATE_AGREED && step >= gate.step ? act(job, gate) : MST_JOB_GO;
}

int mst_job_step(struct mst_job *job, uint64_t step, uint64_t deadline_ns)
{
    if (step > MST_PAGE_STEP_MAX)
        return -EINVAL;
    if (!mst_process_owns(job->process))
        return -ENOTSUP;
    if (!job->page)
        return MST_JOB_GO;
    atomic_store_explicit(&job->slot->beat_ns, mst_now_ns(),
                          memory_order_relaxed); /* only shown, never waited for */
    struct mst_gate gate = mst_page_enter_step(job->page, job->local_rank, step);
    if (mst_page_aborted(job->page))
        return -ECONNRESET;
    return verdict_at(job, gate, step, deadline_ns);
}

void mst_job_committed(struct mst_job *job, uint64_t step)
{
    if (job->page && mst_process_owns(job->process))
        atomic_store(&job->slot->ckpt_step, step);
}

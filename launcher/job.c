#include "muster/launcher/job.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <stdlib.h>

struct mst_job {
    struct mst_page *page;      /* NULL without an agent */
    struct mst_page_slot *slot; /* this rank's */
    uint32_t local_rank;
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
    int rc = world->page_fd >= 0 ? attach(job, world, err) : 0;
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
    if (!job)
        return;
    if (job->page)
        atomic_store(&job->slot->state, MST_RANK_FINISHING);
    mst_page_unmap(job->page);
    free(job);
}

/* Only the rank that is exactly at the step waits: an earlier one is not there yet, and a later one
 * passed before the gate was shut, which the agent has seen. */
static int verdict_at(struct mst_job *job, struct mst_gate gate, uint64_t step,
                      uint64_t deadline_ns)
{
    struct mst_page_slot *slot = job->slot;
    while (gate.state == MST_GATE_PROPOSED && gate.step == step) {
        atomic_store(&slot->state, MST_RANK_AT_GATE);
        int rc = mst_page_gate_wait(job->page, gate, deadline_ns);
        atomic_store(&slot->state, MST_RANK_RUNNING);
        if (rc)
            return rc;
        gate = mst_page_gate(job->page);
    }
    if (gate.state != MST_GATE_AGREED || gate.step != step)
        return MST_JOB_GO;
    return gate.action == MST_GATE_STOP ? MST_JOB_STOP : MST_JOB_CHECKPOINT;
}

int mst_job_step(struct mst_job *job, uint64_t step, uint64_t deadline_ns)
{
    if (step > MST_PAGE_STEP_MAX)
        return -EINVAL;
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
    if (job->page)
        atomic_store(&job->slot->ckpt_step, step);
}

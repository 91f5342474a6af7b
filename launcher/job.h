/* Job: the rank's side of the launcher. One call per step is all a training loop owes for
 * preemption without loss.
 *
 *   mst_job_open(world, &job, &err)
 *   for (step = first; ; step++) {
 *       … compute step `step` …
 *       int verdict = mst_job_step(job, step + 1, deadline_ns);  steps finished so far
 *       verdict < 0              a -errno: exit non-zero
 *       == MST_JOB_GO            go on
 *       == MST_JOB_STOP          save, drain the checkpoint, leave the loop, exit MST_EXIT_DRAINED,
 *                                or MST_EXIT_SAVE_LOST if the drain failed
 *       else                     save, go on
 *   }
 *   mst_job_close(job)
 *
 * Every rank gets the same answer at the same step: the agents propose a step ahead of all ranks,
 * and a rank that comes to it waits at the gate until all nodes agree or a later step is proposed.
 * A handle serves one thread at a time. Without an agent every answer is MST_JOB_GO. */
#ifndef MUSTER_LAUNCHER_JOB_H
#define MUSTER_LAUNCHER_JOB_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_err;
struct mst_job;
struct mst_world;

/* Later versions may add verdicts over 0. Each will ask for a checkpoint at least: a program takes
 * one that it does not know for MST_JOB_CHECKPOINT. */
enum mst_job_verdict {
    MST_JOB_GO = 0,
    MST_JOB_CHECKPOINT = 1, /* the user asked for one (SIGUSR1 to the agent): save and go on */
    MST_JOB_STOP = 2,       /* preemption: save, wait until it is committed, exit */
};

/* How a rank exits after MST_JOB_STOP; never 0: the work is not done. */
#define MST_EXIT_DRAINED 143

/* How a rank exits whose last checkpoint is not committed (mst_ckpt_drain failed), at its end or
 * after MST_JOB_STOP: the work is done, but not kept. */
#define MST_EXIT_SAVE_LOST 74

/* Maps the node page and marks the rank as running; a handler of SIGTERM or of another signal that
 * the program has set stays as it is. The handle is the caller's to close; the world
 * is not needed any longer. Does not block. 0; with text -ENOMEM; -EBADMSG the page is not one of
 * this version, or has no slot for this rank; -ENOTSUP the world is that of the process that this
 * one was forked from. */
int mst_job_open(const struct mst_world *world, struct mst_job **ret_job, struct mst_err *err);

/* Marks the rank as finishing and frees. Does not block. NULL is allowed. */
void mst_job_close(struct mst_job *job);

/* Says that `step` steps (at most 2^59) are finished and asks what to do. The first call may name
 * any step, where a checkpoint left off; from then on steps rise, and every rank names the same
 * ones: each, or each tenth. A verdict holds at the agreed step or at the first that is named after
 * it, and MST_JOB_STOP from there on. A load and a store when nothing is proposed; blocks only at
 * the gate, until deadline_ns (core/clock.h). A verdict >= 0; -ECONNRESET the generation was
 * aborted: exit non-zero at once; -ETIMEDOUT the nodes did not agree by the deadline; -EINVAL a
 * step over 2^59; -ENOTSUP this is a forked child of the process that opened the handle. */
int mst_job_step(struct mst_job *job, uint64_t step, uint64_t deadline_ns);

/* Tells agent and `muster status` that the checkpoint of `step` is committed. Every rank calls it
 * after each commit that it learns of (committed_step of mst_ckpt_status): it is shown rank by
 * rank. Does not block and never fails. Safe beside mst_job_step on another thread. */
void mst_job_committed(struct mst_job *job, uint64_t step);

#ifdef __cplusplus
}
#endif

#endif

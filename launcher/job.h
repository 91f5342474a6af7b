/* Job: the rank's side of the launcher. One call per step is all a training loop owes for
 * preemption without loss.
 *
 *   mst_job_open(&world, &job, &err)
 *   for (step = first; ; step++) {
 *       … compute step `step` …
 *       switch (mst_job_step(job, step + 1, deadline)) {      steps finished so far
 *       case MST_JOB_STOP:       save, drain the checkpoint, leave the loop
 *       case MST_JOB_CHECKPOINT: save
 *       case MST_JOB_GO:         go on
 *       }
 *   }
 *   mst_job_close(job)
 *
 * Every rank gets the same answer at the same step: the agents propose a step ahead of all ranks,
 * and a rank that reaches it waits at the gate until all nodes agree or a later step is proposed.
 * One thread at a time. Without an agent every answer is MST_JOB_GO. */
#ifndef MUSTER_LAUNCHER_JOB_H
#define MUSTER_LAUNCHER_JOB_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_err;
struct mst_job;
struct mst_world;

enum mst_job_verdict {
    MST_JOB_GO = 0,
    MST_JOB_CHECKPOINT = 1, /* the user asked for one (SIGUSR1 to the agent): save and go on */
    MST_JOB_STOP = 2,       /* preemption: save, wait until it is committed, exit */
};

#define MST_EXIT_DRAINED                                                                           \
    143 /* how a rank exits after MST_JOB_STOP; never 0: the work is not done */

/* Maps the node page and marks the rank as running. 0; -ENOMEM; -EBADMSG if the page is not one. */
int mst_job_open(const struct mst_world *world, struct mst_job **ret_job, struct mst_err *err);

/* Marks the rank as finishing. NULL is allowed. */
void mst_job_close(struct mst_job *job);

/* Says that `step` steps are finished and asks what to do. A load and a store when nothing is
 * proposed; blocks only at the gate. A verdict >= 0; -ECONNRESET the generation was aborted: exit
 * non-zero at once; -ETIMEDOUT; -EINVAL a step over 2^59. */
int mst_job_step(struct mst_job *job, uint64_t step, uint64_t deadline_ns);

/* Tells agent and `muster status` that the checkpoint of `step` is committed. Never fails. */
void mst_job_committed(struct mst_job *job, uint64_t step);

#ifdef __cplusplus
}
#endif

#endif

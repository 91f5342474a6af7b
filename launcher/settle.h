/* Settle: what a start decides by several words at once, when all of them are known. */
#ifndef MUSTER_LAUNCHER_SETTLE_H
#define MUSTER_LAUNCHER_SETTLE_H

struct mst_err;
struct opts;

/* Whose exit codes the job ends with: a flag's, if it is none of -1, else by whose variables are
 * found. Fills opts->profile and opts->profile_by. */
void settle_profile(struct opts *opts, int flag);

/* When the job's own time is over: fills opts->end_ns of opts->deadline_ms and `start`, which is
 * when the job began, in seconds since 1970, or NULL: now. What is to come is now, too. 0; -EINVAL
 * with text. */
int settle_end(struct opts *opts, const char *start, struct mst_err *err);

#endif

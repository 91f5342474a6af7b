/* Pmix_rank: how a rank begins that muster-pmix connects. Its process is this program first, which
 * waits until muster-pmix tells it the variables that a library of MPI looks for, and then becomes
 * the rank's program: the agent waits for neither. */
#ifndef MUSTER_LAUNCHER_PMIX_RANK_H
#define MUSTER_LAUNCHER_PMIX_RANK_H

/* What the agent's program is called with to do that, and how it calls itself for it. */
#define PMIX_RANK_WORD "rank-of-pmix"
#define PMIX_RANK_SELF "/proc/self/exe"

/* In whose value the rank finds the number of its descriptor. */
#define PMIX_RANK_FD "MST_PMIX_FD"

/* Becomes the program that `argv` begins with; both end with NULL. Returns an exit code, with why
 * it did not on the standard error. */
int pmix_rank(char **argv, char *const *inherited);

#endif

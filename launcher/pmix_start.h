/* Pmix_start: how muster-pmix begins, and who clears up behind it should it be killed.
 *
 *   open → (become, in the child that is to be muster-pmix) → close, when the ranks have ended
 *
 * Ranks of MPI put files into folders that muster-pmix makes and removes. A process beside it,
 * which outlives the agent too, does it when both have let go of a pipe and neither has. */
#ifndef MUSTER_LAUNCHER_PMIX_START_H
#define MUSTER_LAUNCHER_PMIX_START_H

#include <sys/types.h>

struct rankenv_facts;

struct pmix_process {
    pid_t tidy_pid; /* who clears up; 0: there is no muster-pmix */
    int life_fd;    /* the agent's end of the pipe; close-on-exec; -1: it has let go */
};

/* For the muster-pmix that is to run `program`. 0; errors of pipe2 and fork. */
int pmix_open(struct pmix_process *ret_process, const char *program,
              const struct rankenv_facts *facts);

/* Becomes muster-pmix; theirs[0] is its end of the connection with the agent, and behind it come
 * those with the ranks. */
_Noreturn void pmix_become(const struct pmix_process *process, const char *program,
                           const struct rankenv_facts *facts, const int *theirs);

/* A zeroed one is allowed. */
void pmix_close(struct pmix_process *process);

#endif

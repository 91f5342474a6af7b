/* Exit codes: what `muster run` says to whoever restarts pods, in one table. */
/* pure */
#ifndef MUSTER_LAUNCHER_EXITCODE_H
#define MUSTER_LAUNCHER_EXITCODE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    EXITCODE_OK = 0,
    EXITCODE_USAGE = 64,     /* unknown flag or command, a value out of range */
    EXITCODE_INTERNAL = 70,  /* the agent itself could not go on: no memory, no fds */
    EXITCODE_NO_MEMORY = 71, /* a rank was killed for want of memory; EXITCODE_PLAIN has 137 */
    EXITCODE_SAVE_LOST = 74, /* all ranks finished, but the last checkpoint is not on disk */
    EXITCODE_CONFIG = 78,    /* the environment contradicts itself, port in use, no secret */
    EXITCODE_DEADLINE = 124, /* the job's own time is over, as timeout(1) says it */
    EXITCODE_NOT_EXECUTABLE = 126,
    EXITCODE_NOT_FOUND = 127,
    EXITCODE_RENDEZVOUS = 138, /* nodes missing at the deadline, or node 0 lost: retryable */
    EXITCODE_DRAINED =
        143, /* a drain was asked for: retryable, and never 0, as the work is not done */
};

/* How a job ends, whatever its code. */
enum exitcode_end {
    EXITCODE_END_DONE,
    EXITCODE_END_DRAINED,
    EXITCODE_END_SAVE_LOST,
    EXITCODE_END_REFUSED,   /* called or configured wrongly, no program, no resources */
    EXITCODE_END_RETRYABLE, /* a signal ended a rank, be it a fault that may not come again */
    EXITCODE_END_FOR_GOOD,  /* a rank failed by itself, or again and again */
    EXITCODE_END_NO_MEMORY,
    EXITCODE_END_LOST_NODE, /* or it never came */
    EXITCODE_END_DEADLINE,
    EXITCODE_END_COUNT
};

/* Who looks at the exit code to decide whether the job is started again. */
enum exitcode_profile {
    EXITCODE_PLAIN,    /* nobody that we know of */
    EXITCODE_KUBEFLOW, /* training-operator, restartPolicy ExitCode: from 128 on */
    EXITCODE_JOBSET,   /* podFailurePolicy of the child Jobs, by listed codes */
    EXITCODE_FLYTE,    /* 137 is an interruption, which costs no retry of the user's */
    EXITCODE_SLURM,    /* a script, or RequeueExit, by listed codes */
    EXITCODE_VOLCANO,  /* policies by listed codes */
    EXITCODE_PADDLE,   /* paddle's elastic launcher: 101 */
    EXITCODE_BATCH,    /* a Job's podFailurePolicy, by listed codes */
    EXITCODE_PROFILE_COUNT
};

/* "plain", "kubeflow", … as the enum counts; NULL-ended. */
extern const char *const exitcode_profiles[];

/* The code of a child that exited with `value`, or was killed by signal `value`: 128 + signal. */
int exitcode_of_death(bool killed, int value);

/* What a job ends with because of a rank's `code`: that code, but 1 for 138 and 143, which a job
 * says of itself: a rank that somebody else's signal killed was not preempted. */
int exitcode_of_failure(int code);

/* The code of a program that execve refused with `errno_value`: 127, 126 or 70. */
int exitcode_of_exec(int errno_value);

/* True if starting the ranks again cannot help: called wrongly, configured wrongly, the program is
 * missing or not executable. */
bool exitcode_is_final(int code);

/* The end that a code of the job's own means; of another one EXITCODE_END_RETRYABLE. */
enum exitcode_end exitcode_end_of(int code);

/* That of a rank which died with `code`. `is_hopeless`: its library met what no restart cures, or
 * restarts were tried and none got further. */
enum exitcode_end exitcode_end_of_rank(int code, bool no_memory, bool is_hopeless);

/* What a job that ends so, and by itself would with `code`, tells `profile`. */
int exitcode_in(enum exitcode_profile profile, enum exitcode_end end, int code);

/* Who that is likely to be, by the name of one whose variables are set ("PyTorchJob", "Slurm", …;
 * struct mst_plan): EXITCODE_PLAIN if it is nobody of these. */
enum exitcode_profile exitcode_guess(const char *scheduler);

/* What a job's end means: "finished", "preempted, to be resumed", "exit code 3", … into `text`,
 * which it returns. 70 may be the agent's or the program's own, a code over 128 a signal's or the
 * program's own: that is said. */
const char *exitcode_describe(int code, char *text, size_t cap);

/* The same for the end of a rank of which the code is known and no more: "program not found",
 * "killed by SIGTERM, or exit code 143", … */
const char *exitcode_describe_rank(int code, char *text, size_t cap);

/* The same of which is known whether a signal killed it: "killed by SIGTERM", "exit code 143". */
const char *exitcode_describe_death(bool killed, int code, char *text, size_t cap);

#endif

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
    EXITCODE_SAVE_LOST = 74, /* all ranks finished, but the last checkpoint is not on disk */
    EXITCODE_CONFIG = 78,    /* the environment contradicts itself, port in use, no secret */
    EXITCODE_NOT_EXECUTABLE = 126,
    EXITCODE_NOT_FOUND = 127,
    EXITCODE_RENDEZVOUS = 138, /* nodes missing at the deadline, or node 0 lost: retryable */
    EXITCODE_DRAINED =
        143, /* a drain was asked for: retryable, and never 0, as the work is not done */
};

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

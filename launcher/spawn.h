/* Spawn: one rank's process, set up so that it cannot outlive the agent: a session and a process
 * group of its own, which the guard knows, killed when the agent dies, signals and limits as
 * inherited.h hands them on, no stdin but for the one that is to have it. */
#ifndef MUSTER_LAUNCHER_SPAWN_H
#define MUSTER_LAUNCHER_SPAWN_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct guard;
struct mst_err;

struct spawn_request {
    char *const *argv; /* argv[0] is looked up in PATH */
    char *const *env;
    int out_fd, err_fd;  /* become stdout and stderr; stay the caller's */
    bool keeps_stdin;    /* the agent's own; else /dev/null */
    const int *keep_fds; /* stay open in the child under the same numbers */
    size_t keep_fd_count;
    const cpu_set_t *cores; /* the only ones it may use; NULL: those of the agent */
    bool deaf;              /* begins with what the agent acts on ignored (inherited.h) */
    struct guard *guard;    /* is told of it; NULL, or not open: nobody */
};

/* Starts the program. Returns when it has been executed or refused, or after half a second: one
 * that its file system holds up for longer has started, and ends with exitcode_of_exec if it is
 * refused after all. Call it from the thread that lives as long as the agent: the child dies with
 * the thread that forked it. 0; the -errno of execve (-ENOENT, -EACCES …) naming the program;
 * -EAGAIN, -ENOMEM, -EMFILE with text. */
int spawn_start(const struct spawn_request *request, pid_t *ret_pid, struct mst_err *err);

#endif

/* Spawn: starts the processes of ranks, each set up so that it cannot outlive the agent: a session
 * and a process group of its own, which the guard knows, killed when the agent dies, signals and
 * limits as inherited.h hands them on, no stdin but for the one that is to have it.
 *
 *   create → start, per batch → destroy
 *
 * Threads of its own are the processes' parents: a child dies with the thread that made it, so that
 * they end in destroy. One thread calls. */
#ifndef MUSTER_LAUNCHER_SPAWN_H
#define MUSTER_LAUNCHER_SPAWN_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SPAWN_KEEP_MAX 4
#define SPAWN_BATCH 8 /* programs that are started at once, at most */

struct guard;
struct mst_err;
struct spawn;

struct spawn_request {
    char *const *argv; /* argv[0] is looked up in PATH */
    char *const *env;
    int out_fd, err_fd;           /* become stdout and stderr; stay the caller's */
    bool keeps_stdin;             /* the agent's own; else /dev/null */
    int keep_fds[SPAWN_KEEP_MAX]; /* stay open in the child under the same numbers */
    size_t keep_fd_count;
    const cpu_set_t *cores; /* the only ones it may use; NULL: those of the agent */
    bool deaf;              /* begins with what the agent acts on ignored (inherited.h) */
    struct guard *guard;    /* is told of it; NULL, or not open: nobody */
};

struct spawn_child {
    pid_t pid;
    bool is_late; /* held up, as below */
};

/* 0; -ENOMEM with text. */
int spawn_create(struct spawn **ret_spawn, struct mst_err *err);

/* Call it when the processes have ended: those that live are killed. NULL is allowed. */
void spawn_destroy(struct spawn *spawn);

/* Starts `count` programs (at most SPAWN_BATCH), one after the other, until one is refused. 0; the
 * -errno of execve (-ENOENT, -EACCES …) naming the program; -EAGAIN, -ENOMEM, -EMFILE with text;
 * *ret_started is how many were started, in any case. One that takes more than half a second (next
 * to no time behind another such) is held up by its file system: it is late, counts as started, and
 * ends with exitcode_of_exec if it is refused after all; what its request points to must stay until
 * it has ended. */
int spawn_start(struct spawn *spawn, const struct spawn_request *requests, size_t count,
                struct spawn_child *ret_children, size_t *ret_started, struct mst_err *err);

#endif

/* Guard: a process that outlives the agent's SIGKILL just long enough to end its ranks. The kernel
 * kills a rank whose agent dies, but not what a rank started: `sh -c 'train; …'` leaves training
 * behind. As PID 1 the agent needs none: the kernel ends its whole container.
 *
 *   open → (guard_tell add, in the rank before its program runs → forget, before it is reaped) … →
 *   dismiss → close
 *
 * It is a copy of the agent that holds nothing but the reading end of a pipe. At the pipe's end it
 * kills the groups and sessions that it was told of, and ends. It is no child that SIGCHLD or an
 * ordinary wait tells of, and blocks all signals, as whoever opens it has to. */
#ifndef MUSTER_LAUNCHER_GUARD_H
#define MUSTER_LAUNCHER_GUARD_H

#include <sys/types.h>

struct mst_err;

struct guard {
    int fd;    /* the pipe's writing end; -1: there is none */
    pid_t pid; /* 0: nor is there one that ends */
};

/* 0; errors of pipe2 and clone with text, and then there is none. */
int guard_open(struct guard *guard, struct mst_err *err);

/* Lets it end, which takes its time, beside whatever else is to be done: whom it knows is left
 * alone. One that is not open is allowed, here and below. */
void guard_dismiss(struct guard *guard);

/* The same, and waits until it has ended. */
void guard_close(struct guard *guard);

/* The group and session `leader` live. Async-signal-safe; for the child that leads them. A guard
 * that does not listen costs its service only. */
void guard_add(int guard_fd, pid_t leader);

/* `leader` is dead and not reaped: its number is soon another's. A guard that cannot be told so is
 * ended at once, which the log tells. One that is not open, or NULL, is allowed. */
void guard_forget(struct guard *guard, pid_t leader);

#endif

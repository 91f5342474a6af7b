/* Helper: a child that stays a copy of the agent and does what its loop must not wait for. What it
 * inherits would live on in it: the agent's end of a pipe, a rank's output, a connection. */
#ifndef MUSTER_LAUNCHER_HELPER_H
#define MUSTER_LAUNCHER_HELPER_H

/* In the child, first of all: it is called `name`, and holds nothing of the agent but `fd`, which
 * is descriptor 0 from now on. Async-signal-safe. */
void helper_begin(const char *name, int fd);

#endif

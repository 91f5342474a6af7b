/* Helper: a child that stays a copy of the agent and does what its loop must not wait for. What it
 * inherits would live on in it: the agent's end of a pipe, a rank's output, a connection. */
#ifndef MUSTER_LAUNCHER_HELPER_H
#define MUSTER_LAUNCHER_HELPER_H

#include <stddef.h>

/* In the child, first of all: it is called `name`, and holds nothing of the agent but the
 * descriptors `fds`, whose numbers ascend, and are 0, 1, … from now on. Async-signal-safe. */
void helper_begin(const char *name, const int *fds, size_t fd_count);

#endif

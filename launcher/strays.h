/* Strays: processes that ranks left behind and that came to the agent as their nearest ancestor
 * (PR_SET_CHILD_SUBREAPER, or PID 1). */
#ifndef MUSTER_LAUNCHER_STRAYS_H
#define MUSTER_LAUNCHER_STRAYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ranks;

/* Kills every child of this process but the guard of `ranks` and those of `spared`, which are ours
 * (0: none), and waits until the others are reaped, or the deadline. Children that the killed ones
 * leave behind are killed in turn; of whoever is reaped, a rank that was given up too, the guard is
 * told. SIGCHLD must be blocked. Returns how many were reaped. */
uint32_t strays_kill(const struct ranks *ranks, const pid_t *spared, size_t spared_count,
                     uint64_t deadline_ns);

#endif

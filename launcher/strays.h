/* Strays: processes that ranks left behind and that came to the agent as their nearest ancestor
 * (PR_SET_CHILD_SUBREAPER, or PID 1). */
#ifndef MUSTER_LAUNCHER_STRAYS_H
#define MUSTER_LAUNCHER_STRAYS_H

#include <stdint.h>
#include <sys/types.h>

/* Kills every child of this process but `spared` (0: none; else one whose end raises no signal),
 * and waits until all are reaped, or the deadline. Children that the killed ones leave behind are
 * killed in turn. SIGCHLD must be blocked. Returns how many were reaped. */
uint32_t strays_kill(pid_t spared, uint64_t deadline_ns);

#endif

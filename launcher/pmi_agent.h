/* Pmi_agent: the agent, as the process that connects ranks of MPI has it: at descriptor 0, a socket
 * that keeps the bounds of messages. */
#ifndef MUSTER_LAUNCHER_PMI_AGENT_H
#define MUSTER_LAUNCHER_PMI_AGENT_H

#include <stdbool.h>
#include <stdint.h>

struct pmi_failure;

/* Whether it has closed its end. What it has told stays to be heard. */
bool pmi_agent_is_gone(void);

/* What it tells: the local number of a rank that has ended, though a child may hold its connection;
 * UINT32_MAX: nothing yet. False: it has closed its end. Does not block. */
bool pmi_agent_hear(uint32_t *ret_rank);

/* One that has gone needs to know nothing. */
void pmi_agent_tell(const struct pmi_failure *failure);

/* Tells it what this process does, from time to time and when that is another: that it lives.
 * Returns after how many ms to call it again. `doing`, which goes on behind "it ", is static. */
int pmi_agent_beat(const char *doing);

/* Tells it what went wrong, if anything did, and returns then when it has closed its end: a rank
 * that aborts, or waits for an answer, goes on at its connection's end. -ECONNRESET, which the
 * death of a rank explains, is left for a second to the agent, which acts on that by itself. */
void pmi_agent_leave(const struct pmi_failure *failure);

#endif

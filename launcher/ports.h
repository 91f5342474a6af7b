/* Ports: where node 0 listens if nobody says it. Jobs that share nodes must not meet, so it follows
 * from the job's name; and as the port of one name may be taken by another's, there are four, which
 * both sides try in one order: node 0 listens on the first that is free, the others dial them all.
 * They lie below the ports that kernels give to outgoing connections (32768 and up). */
/* pure */
#ifndef MUSTER_LAUNCHER_PORTS_H
#define MUSTER_LAUNCHER_PORTS_H

#include <stdint.h>

#define PORTS_COUNT 4
#define PORTS_FIRST 20000
#define PORTS_LAST 28999

void ports_derive(const char *job, uint16_t ports[PORTS_COUNT]);

#endif

/* Ports: where a job's key-value server listens if nobody says it. Jobs that share nodes must not
 * meet, so it follows from the job's name; and as the port of one name may be taken by another's,
 * there are four, which agents try in one order: node 0 listens on the first that is free, the
 * others dial them all. They lie below the ports that kernels give to outgoing connections (32768
 * and up). */
/* pure */
#ifndef MUSTER_CORE_RESOLVE_PORTS_H
#define MUSTER_CORE_RESOLVE_PORTS_H

#include <stdint.h>

#define MST_PORTS_COUNT 4
#define MST_PORTS_FIRST 20000
#define MST_PORTS_LAST 28999

/* The same for equal names, in every build. */
void mst_ports_derive(const char *job, uint16_t ports[MST_PORTS_COUNT]);

#endif

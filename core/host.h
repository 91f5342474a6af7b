/* What the name of a host says by itself, without a look-up. */
/* pure */
#ifndef MUSTER_CORE_HOST_H
#define MUSTER_CORE_HOST_H

#include <stdbool.h>

/* localhost and its addresses: what only processes of this machine reach, and an operator's word
 * for "this pod". */
bool mst_host_is_local(const char *host);

#endif

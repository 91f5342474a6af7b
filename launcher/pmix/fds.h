/* Fds: what the agent starts muster-pmix with. */
#ifndef MUSTER_LAUNCHER_PMIX_FDS_H
#define MUSTER_LAUNCHER_PMIX_FDS_H

/* Descriptor 0 is the agent's connection, a struct pmi_failure a message; 1 and 2 are its standard
 * error; the one of its life closes by its end (pmix_start.h); and behind the last of these are the
 * connections of the node's ranks. */
enum { PMIX_SECRET_FD = 3, PMIX_LIFE_FD, PMIX_FIRST_RANK_FD };

/* Behind the folder's name: it is to be removed, and no more. */
#define PMIX_REMOVE "remove"

#endif

/* Machine: what this machine tells the resolver (core/resolve/resolve.h): names, hardware and
 * files. Options of `muster env` may stand in for each, so the owner changes fields before the
 * resolve. One owner at a time. */
#ifndef MUSTER_CORE_RESOLVE_MACHINE_H
#define MUSTER_CORE_RESOLVE_MACHINE_H

#include "muster/core/resolve/resolve.h"

struct machine {
    const char *root; /* stands before the paths of files; borrowed */
    const char *pod_ip;
    uint32_t gpu_count, core_count;
    char hostname[MST_HOST_BYTES];
    char *text; /* the last file read; owned */
};

/* Reads the host's name; nothing else is known yet. */
void machine_init(struct machine *machine, const char *root);
void machine_fini(struct machine *machine);

/* As mst_resolve. */
int machine_resolve(struct machine *machine, char **env, const char *from,
                    struct mst_answer *ret_answer);

#endif

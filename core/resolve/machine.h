/* Machine: what this machine tells the resolver (core/resolve/resolve.h): names, hardware and
 * files.
 *
 *   machine_init → machine_look → change facts: options of `muster env` may stand in for each
 *   → mst_resolve(&machine.facts, …) → machine_fini
 *
 * The facts point into the struct: it stays where it is. One owner at a time. */
#ifndef MUSTER_CORE_RESOLVE_MACHINE_H
#define MUSTER_CORE_RESOLVE_MACHINE_H

#include "muster/core/resolve/resolve.h"

struct machine {
    struct mst_machine facts;
    const char *root; /* stands before the paths of files; borrowed */
    char hostname[MST_HOST_BYTES];
    char *text; /* the last file read; owned */
};

/* Reads the host's name, and files when they are asked for; of the rest nothing is known yet. `env`
 * is borrowed; NULL, which clearenv leaves, is an empty one. */
void machine_init(struct machine *machine, char *const *env, const char *root);

/* The rest: this pod's address by POD_IP, and GPUs and cores, which are counted when they are asked
 * for: that takes as long as many small things of a start. */
void machine_look(struct machine *machine);

void machine_fini(struct machine *machine);

#endif

/* Foreign: options of torchrun, of the mpirun of Open MPI and MPICH, and of launchers like them,
 * that `muster run` has not, and what is to be done instead. What it understands by another name
 * stands beside its own option (launcher/opts.c). */
/* pure */
#ifndef MUSTER_LAUNCHER_FOREIGN_H
#define MUSTER_LAUNCHER_FOREIGN_H

#include "muster/core/cli/options.h"

extern const struct option_foreign foreign_options[];

#endif

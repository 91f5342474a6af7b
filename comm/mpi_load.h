/* Finding and loading the module for the MPI that this process runs under. */
#ifndef MUSTER_COMM_MPI_LOAD_H
#define MUSTER_COMM_MPI_LOAD_H

#include "muster/comm/mpi_abi.h"

struct mst_err;
struct mst_world;

/* Loads the module, once per process; it stays. tuning.mpi_module names it, else it is that of the
 * MPI in the process already, else of the launcher's; and is looked for beside libmuster, beside
 * the program, in ../lib of it, and where the dynamic linker looks. 0; -ENOTSUP naming it and why
 * it did not load. Safe from any thread. */
int mpi_load(const struct mst_world *world, const struct mpi_abi **ret_abi, struct mst_err *err);

#endif

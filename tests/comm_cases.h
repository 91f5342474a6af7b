/* What every back end must do, bit for bit: all collectives, types, operators and counts, in and
 * out of place, blocking and started, against a serial reference that shares no code with comm. The
 * ranks are whatever the driver has: unit/comm_conformance.c threads over the host back end,
 * e2e/mpi_conformance.c processes under an MPI. */
#ifndef MUSTER_TESTS_COMM_CASES_H
#define MUSTER_TESTS_COMM_CASES_H

#include "muster/comm/comm.h"

#include <stddef.h>
#include <stdint.h>

/* One rank's view of the world. */
struct cases_rank {
    struct mst_comm *comm;
    uint32_t rank, size;
    const uint32_t *node_sizes; /* ranks per node, in the order of reduction; 0 ends them */
    const uint32_t *order;      /* all ranks by node, then by local rank; NULL = as they are */
    char *expected;             /* cases_bytes(size) of memory for right results */
    /* A barrier of ranks that share `expected`: rank 0 fills it. NULL = each has its own. */
    void (*together)(void *arg);
    void *arg;
    char fault[400];
};

/* Fills the tables of input values; once, before any rank runs. */
void cases_init(void);

/* Bytes of the largest result in a world of `size` ranks. */
size_t cases_bytes(uint32_t size);

/* Runs all cases. NULL, or rank->fault: what went wrong. */
const char *cases_run(struct cases_rank *rank);

#endif

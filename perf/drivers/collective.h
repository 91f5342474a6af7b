/* The collectives of a library, for the loop of collective.c: Muster's in collective_muster.c, any
 * MPI's in perf/peers/collective_mpi.c. Each ends the process, with a message, where it cannot. */
#ifndef MUSTER_PERF_DRIVERS_COLLECTIVE_H
#define MUSTER_PERF_DRIVERS_COLLECTIVE_H

#include <stddef.h>

struct collective_world {
    int rank, size;
};

enum collective_kind { ALLREDUCE, BROADCAST, REDUCE_SCATTER };

struct collective_world collective_open(void);
void collective_close(void);
void collective_barrier(void);

/* The greatest of all ranks' numbers. */
double collective_greatest(double number);

/* `count` floats of sums in the larger buffer; allreduce and broadcast are in place. */
void collective_run(enum collective_kind kind, float *in, float *out, size_t count);

#endif

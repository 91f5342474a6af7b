#include "muster/perf/drivers/collective.h"

#include <mpi.h>

/* MPI's default is to end the job, with a message, where a call fails. */
struct collective_world collective_open(void)
{
    struct collective_world world;
    MPI_Init(NULL, NULL);
    MPI_Comm_rank(MPI_COMM_WORLD, &world.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world.size);
    return world;
}

void collective_close(void)
{
    MPI_Finalize();
}

void collective_barrier(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
}

double collective_greatest(double number)
{
    MPI_Allreduce(MPI_IN_PLACE, &number, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return number;
}

void collective_run(enum collective_kind kind, float *in, float *out, size_t count)
{
    int number = (int)count, size;
    switch (kind) {
    case ALLREDUCE:
        MPI_Allreduce(MPI_IN_PLACE, out, number, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        break;
    case BROADCAST: MPI_Bcast(out, number, MPI_FLOAT, 0, MPI_COMM_WORLD); break;
    case REDUCE_SCATTER:
        MPI_Comm_size(MPI_COMM_WORLD, &size);
        MPI_Reduce_scatter_block(in, out, number / size, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        break;
    }
}

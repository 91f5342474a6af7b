/* A program that has an MPI of its own and uses comm beside it: mpirun -n 2 mpi_guest [single].
 * "single" initialises MPI for one thread, which comm must refuse in words. */
#include "muster/comm/comm.h"
#include "muster/core/err.h"
#include "muster/core/world/world.h"

#include <errno.h>
#include <mpi.h>
#include <stdio.h>

static int sum_by_comm(const struct mst_world *world, int *value)
{
    struct mst_comm *comm;
    struct mst_err err = {0};
    int rc = mst_comm_join(world, NULL, &comm, &err);
    if (rc < 0) {
        printf("%s\n", err.text);
        return rc;
    }
    rc = mst_comm_allreduce(comm, value, value, 1, MST_I32, MST_SUM, NULL);
    mst_comm_destroy(comm);
    return rc;
}

int main(int argc, char **argv)
{
    struct mst_world *world = NULL;
    int level, sum = 1, sum_of_sums, want = argc > 1 ? MPI_THREAD_SINGLE : MPI_THREAD_SERIALIZED;
    MPI_Init_thread(&argc, &argv, want, &level);
    if (mst_world_from_env(&world, NULL) < 0)
        return 1;
    int rc = sum_by_comm(world, &sum);
    MPI_Allreduce(&sum, &sum_of_sums, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    int size = (int)mst_world_size(world);
    printf("rank %u: %d %d\n", mst_world_rank(world), rc, sum_of_sums == size * size);
    MPI_Finalize();
    mst_world_destroy(world);
    return rc < 0;
}

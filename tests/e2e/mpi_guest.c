/* A program that has an MPI of its own and uses comm beside it: mpirun -n 2 mpi_guest
 * [single|torn]. "single" initialises MPI for one thread, which comm must refuse in words; "torn"
 * leaves with 0 after its ranks called different collectives. */
#include "muster/comm/comm.h"
#include "muster/core/err.h"
#include "muster/core/world/world.h"

#include <errno.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

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

/* The communicator is not even destroyed. */
static int tear(const struct mst_world *world)
{
    struct mst_comm *comm;
    double value[8] = {0};
    if (mst_comm_join(world, NULL, &comm, NULL) < 0)
        return 1;
    int rc = mst_world_rank(world) == 0
                 ? mst_comm_allreduce(comm, value, value, 8, MST_F64, MST_MAX, NULL)
                 : mst_comm_broadcast(comm, value, 7, MST_F64, 1, NULL);
    printf("rank %u: %d, leaves with 0\n", mst_world_rank(world), rc);
    return rc == 0;
}

int main(int argc, char **argv)
{
    struct mst_world *world = NULL;
    const char *way = argc > 1 ? argv[1] : "";
    int want = strcmp(way, "single") == 0 ? MPI_THREAD_SINGLE : MPI_THREAD_SERIALIZED;
    int level, sum = 1, sum_of_sums;
    MPI_Init_thread(&argc, &argv, want, &level);
    if (mst_world_from_env(&world, NULL) < 0)
        return 1;
    if (strcmp(way, "torn") == 0)
        return tear(world);
    int rc = sum_by_comm(world, &sum);
    MPI_Allreduce(&sum, &sum_of_sums, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    int size = (int)mst_world_size(world);
    printf("rank %u: %d %d\n", mst_world_rank(world), rc, sum_of_sums == size * size);
    MPI_Finalize();
    mst_world_destroy(world);
    return rc < 0;
}

/* mpi_hello: a plain MPI program without Muster, to try an MPI and its launcher with.
 *
 *   mpirun -n 2 mpi_hello-openmpi
 *   mpiexec.hydra -n 2 mpi_hello-mpich */
#include <mpi.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc > 1) {
        int asked = strcmp(argv[1], "--help") == 0;
        fputs("usage: mpi_hello\n\nEach rank says hello.\n", asked ? stdout : stderr);
        return asked ? 0 : 64;
    }
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    printf("hello from rank %d of %d\n", rank, size);
    MPI_Finalize();
    return 0;
}

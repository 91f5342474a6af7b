/* A program of MPI whose ranks make communicators of some of them, without the others:
 *
 *   mpi_parts
 *
 * the first and the last, those of even numbers, and of each all that it has a copy of. Each rank
 * prints "rank N of M: OK", or what was wrong. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static int rank, size;

static void expect(int is_so, const char *what)
{
    if (is_so)
        return;
    printf("rank %d: wrong %s\n", rank, what);
    fflush(stdout);
    MPI_Abort(MPI_COMM_WORLD, 9);
}

static int sum_of(MPI_Comm comm)
{
    int sum = 0;
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, comm);
    return sum;
}

static void meet(const int *ranks, int count, int tag, int sum, const char *what)
{
    MPI_Group all, some;
    MPI_Comm comm, copy;
    int is_in = 0;
    for (int i = 0; i < count; i++)
        is_in = is_in || ranks[i] == rank;
    if (!is_in)
        return;
    MPI_Comm_group(MPI_COMM_WORLD, &all);
    MPI_Group_incl(all, count, ranks, &some);
    expect(MPI_Comm_create_group(MPI_COMM_WORLD, some, tag, &comm) == MPI_SUCCESS, what);
    expect(sum_of(comm) == sum, what);
    MPI_Comm_dup(comm, &copy);
    expect(sum_of(copy) == sum, what);
    MPI_Comm_free(&copy);
    MPI_Comm_free(&comm);
    MPI_Group_free(&some);
    MPI_Group_free(&all);
}

int main(int argc, char **argv)
{
    int even[64], count = 0, sum = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int i = 0; i < size && count < 64; i += 2, count++)
        sum += even[count] = i;
    meet((int[]){0, size - 1}, size > 1 ? 2 : 1, 1, size - 1, "first and last");
    meet(even, count, 2, sum, "even ones");
    expect(sum_of(MPI_COMM_WORLD) == size * (size - 1) / 2, "all");
    printf("rank %d of %d: OK\n", rank, size);
    fflush(stdout);
    MPI_Finalize();
    return 0;
}

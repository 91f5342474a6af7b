/* A plain program of MPI whose rank 1 does as it is told:
 *
 *   mpi_ends [well | outside | unfinished | orphans | aborts | killed | stays]
 *
 * The others compute a sum that they print. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is(const char *told, const char *word)
{
    return strcmp(told, word) == 0;
}

/* It has all descriptors of its parent, and soon a session of its own. */
static void leave_a_child(void)
{
    if (fork() == 0) {
        setsid();
        sleep(60);
        _exit(0);
    }
    sleep(1); /* it is so by then */
}

static void end(const char *told)
{
    if (is(told, "orphans"))
        leave_a_child();
    if (is(told, "unfinished") || is(told, "orphans"))
        _exit(0);
    if (is(told, "aborts"))
        MPI_Abort(MPI_COMM_WORLD, 5);
    if (is(told, "killed"))
        (void)raise(SIGKILL);
    if (is(told, "stays")) {
        printf("it stays\n");
        fflush(stdout);
        sleep(60);
    }
}

static void print_sum(int rank)
{
    int mine = rank + 1, sum = 0, size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("rank %d of %d: sum %d\n", rank, size, sum);
}

int main(int argc, char **argv)
{
    const char *told = argc > 1 ? argv[1] : "well", *number = getenv("RANK");
    if (is(told, "outside") && number && is(number, "1"))
        return 0;
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 1)
        end(told);
    print_sum(rank);
    MPI_Finalize();
    return 0;
}

/* allreduce_mpi: the loop of perf/bench.c with MPI in place of Muster, to stand beside it. Same
 * sizes, warm-up, iterations and averaging over ranks, out of place and in place; float sum, with
 * results checked after each timing.
 *
 *   mpirun -n 2 allreduce_mpi MIN_BYTES MAX_BYTES FACTOR ITERS WARMUP
 *
 * Prints one line per size: bytes, out-of-place and in-place microseconds, wrong elements. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank, size;

static void die(const char *what)
{
    fprintf(stderr, "allreduce_mpi: %s\n", what);
    MPI_Abort(MPI_COMM_WORLD, 2);
}

/* Whole numbers small enough for every sum to be exact. */
static void fill(float *in, float *recv, size_t count)
{
    memset(recv, 0x5a, count * sizeof(*recv));
    for (size_t i = 0; i < count; i++)
        in[i] = (float)(rank + (int)(i % 1000));
}

static long long count_wrong(const float *out, size_t count)
{
    long long wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += out[i] != (float)(size * (size - 1) / 2 + size * (int)(i % 1000));
    MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_LONG_LONG, MPI_SUM, MPI_COMM_WORLD);
    return wrong;
}

static void allreduce(const float *send, float *recv, size_t count, int times)
{
    const void *in = send ? (const void *)send : MPI_IN_PLACE;
    for (int i = 0; i < times; i++)
        MPI_Allreduce(in, recv, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

/* Microseconds of one call, mean over ranks. send NULL = in place. */
static double measure(float *send, float *recv, size_t count, int iters, long long *wrong)
{
    fill(send ? send : recv, recv, count);
    allreduce(send, recv, count, 1);
    MPI_Barrier(MPI_COMM_WORLD);
    double time = MPI_Wtime();
    allreduce(send, recv, count, iters);
    time = (MPI_Wtime() - time) * 1e6 / iters / size;
    MPI_Allreduce(MPI_IN_PLACE, &time, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    fill(send ? send : recv, recv, count);
    allreduce(send, recv, count, 1);
    *wrong += count_wrong(recv, count);
    return time;
}

static float *make_buffer(size_t bytes)
{
    float *buffer = aligned_alloc(4096, (bytes / 4096 + 1) * 4096);
    if (!buffer)
        die("no memory");
    memset(buffer, 0, bytes);
    return buffer;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc != 6)
        die("usage: allreduce_mpi MIN_BYTES MAX_BYTES FACTOR ITERS WARMUP");
    size_t min = strtoull(argv[1], NULL, 10), max = strtoull(argv[2], NULL, 10);
    size_t factor = strtoull(argv[3], NULL, 10);
    int iters = (int)strtol(argv[4], NULL, 10), warmup = (int)strtol(argv[5], NULL, 10);
    if (min < sizeof(float) || factor < 2 || iters < 1)
        die("MIN_BYTES must be 4 or more, FACTOR 2 or more, ITERS 1 or more");
    float *send = make_buffer(max), *recv = make_buffer(max);
    for (size_t bytes = min; bytes <= max; bytes *= 2)
        allreduce(send, recv, bytes / sizeof(float), warmup);
    for (size_t bytes = min; bytes <= max; bytes *= factor) {
        long long wrong = 0;
        size_t count = bytes / sizeof(float);
        double out_of_place = measure(send, recv, count, iters, &wrong);
        double in_place = measure(NULL, recv, count, iters, &wrong);
        if (rank == 0)
            printf("%zu %.3f %.3f %lld\n", bytes, out_of_place, in_place, wrong);
    }
    free(send);
    free(recv);
    MPI_Finalize();
    return 0;
}

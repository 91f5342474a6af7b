/* allreduce: the shortest honest program on Muster. Sums a known vector over all ranks in a few
 * sizes and checks every element on every rank.
 *
 *   muster run --nproc 4 -- allreduce
 *   mpirun -n 4 allreduce */
#include "muster/comm/comm.h"
#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/core/world/world.h"

#include <stdio.h>
#include <stdlib.h>

static void die(const char *what, const char *why)
{
    fprintf(stderr, "allreduce: %s: %s\n", what, why);
    exit(1);
}

/* Element i of rank r is r + i % 1000, so the sum over n ranks is n(n-1)/2 + n * (i % 1000): whole
 * numbers that a float holds exactly. */
static void sum_and_check(struct mst_comm *comm, float *data, size_t count)
{
    float rank = (float)mst_comm_rank(comm), size = (float)mst_comm_size(comm);
    for (size_t i = 0; i < count; i++)
        data[i] = rank + (float)(i % 1000);
    if (mst_comm_allreduce(comm, data, data, count, MST_F32, MST_SUM, NULL) < 0)
        die("mst_comm_allreduce", mst_comm_error(comm));
    for (size_t i = 0; i < count; i++)
        if (data[i] != size * (size - 1) / 2 + size * (float)(i % 1000))
            die("wrong result", "one element or more");
}

static const struct options command_line = {
    .program = "allreduce", .about = "Sums known vectors over all ranks and checks every element."};

int main(int argc, char **argv)
{
    options_or_exit(&command_line, argc, argv, NULL);
    static const size_t counts[] = {1, 1000, 1000003};
    struct mst_err err;
    struct mst_world *world = NULL;
    struct mst_comm *comm;
    if (mst_world_from_env(&world, &err) < 0)
        die("mst_world_from_env", err.text);
    if (mst_comm_join(world, NULL, &comm, &err) < 0)
        die("mst_comm_join", err.text);
    float *data = malloc(1000003 * sizeof(*data));
    if (!data)
        die("malloc", "no memory");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        sum_and_check(comm, data, counts[i]);
    if (mst_comm_barrier(comm, NULL) < 0)
        die("mst_comm_barrier", mst_comm_error(comm));
    if (mst_world_rank(world) == 0)
        printf("allreduce: OK on %u ranks\n", mst_world_size(world));
    free(data);
    mst_comm_destroy(comm);
    mst_world_destroy(world);
    return 0;
}

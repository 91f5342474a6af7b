#include "muster/perf/drivers/api.h"
#include "muster/perf/drivers/collective.h"

#include <stdio.h>
#include <stdlib.h>

static struct mst_world *world;
static struct mst_comm *comm;

static void check(int rc, const char *text)
{
    if (rc == 0)
        return;
    fprintf(stderr, "collective: %s\n", text);
    exit(1);
}

struct collective_world collective_open(void)
{
    struct mst_err err = {0};
    check(mst_world_from_env(&world, &err), err.text);
    check(mst_comm_join(world, NULL, &comm, &err), err.text);
    return (struct collective_world){.rank = (int)mst_comm_rank(comm),
                                     .size = (int)mst_comm_size(comm)};
}

void collective_close(void)
{
    mst_comm_destroy(comm);
    mst_world_destroy(world);
}

void collective_barrier(void)
{
    check(mst_comm_barrier(comm, NULL), mst_comm_error(comm));
}

double collective_greatest(double number)
{
    int rc = mst_comm_allreduce(comm, &number, &number, 1, MST_F64, MST_MAX, NULL);
    check(rc, mst_comm_error(comm));
    return number;
}

void collective_run(enum collective_kind kind, float *in, float *out, size_t count)
{
    int rc = 0;
    switch (kind) {
    case ALLREDUCE: rc = mst_comm_allreduce(comm, in, out, count, MST_F32, MST_SUM, NULL); break;
    case BROADCAST: rc = mst_comm_broadcast(comm, out, count, MST_F32, 0, NULL); break;
    case REDUCE_SCATTER:
        count /= mst_comm_size(comm);
        rc = mst_comm_reduce_scatter(comm, in, out, count, MST_F32, MST_SUM, NULL);
        break;
    }
    check(rc, mst_comm_error(comm));
}

/* A program that wants nothing but collectives. C11 and C++17. */
#include <muster/comm/comm.h>
#include <muster/core/clock.h>
#include <muster/core/err.h>
#include <muster/core/kv/kv.h>
#include <muster/core/version.h>
#include <muster/core/world/world.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct mst_world *world = NULL;
    struct mst_kv *kv = NULL;
    struct mst_comm *comm = NULL;
    struct mst_err err = {0, ""};
    struct mst_req *req = NULL;
    struct mst_call call = MST_CALL_INIT;
    struct mst_comm_stats stats = MST_COMM_STATS_INIT;
    double sum = 0, one = 1;
    call.ret_req = &req;
    if (mst_world_from_env(&world, &err) < 0 ||
        mst_kv_dial(world, mst_deadline_ms(10000), &kv, &err) < 0 ||
        mst_comm_create(world, kv, NULL, &comm, &err) < 0 ||
        mst_comm_allreduce(comm, &one, &sum, 1, MST_F64, MST_SUM, &call) < 0 ||
        mst_req_wait(req) < 0 ||
        mst_comm_allreduce(comm, &sum, &sum, 1, MST_F64, MST_MAX, NULL) < 0 ||
        mst_comm_get_stats(comm, &stats) < 0)
        fprintf(stderr, "%s\n", err.text);
    printf("sum over %u ranks: %.0f, %u operations\n", mst_world_size(world), sum,
           (unsigned)stats.op_count);
    int good = world && sum == mst_world_size(world) && stats.op_count == 2 &&
               strcmp(mst_version(), MUSTER_VERSION) == 0;
    mst_comm_destroy(comm);
    mst_kv_close(kv);
    mst_world_destroy(world);
    return good ? 0 : 1;
}

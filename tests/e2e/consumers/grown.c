/* Structs of another minor version: compiled against headers in which the last field of an option
 * and a result is missing, and against some that have one more (SHINY is what it is set to). Says
 * what opening answers, and what of a result arrived. */
#include <muster/muster.h>

#include <stdio.h>

int main(void)
{
    struct mst_world *world = NULL;
    struct mst_kv *kv = NULL;
    struct mst_comm *comm = NULL;
    struct mst_err err = {0, ""};
    struct mst_comm_opts opts = {.struct_bytes = sizeof opts, .timeout_ms = 1000};
    struct mst_comm_stats stats = {.struct_bytes = sizeof stats};
#ifdef SHINY
    opts.shiny = SHINY;
    stats.shiny = 77;
#endif
    if (mst_world_single(&world) < 0 || mst_kv_dial(world, mst_deadline_ms(1000), &kv, &err) < 0)
        return 1;
    int rc = mst_comm_create(world, kv, &opts, &comm, &err);
    printf("create %d %s\n", rc, err.text);
    if (rc == 0) {
        rc = mst_comm_barrier(comm, NULL);
        if (rc == 0)
            rc = mst_comm_get_stats(comm, &stats);
        printf("stats %d operations %u\n", rc, (unsigned)stats.op_count);
#ifdef SHINY
        printf("shiny %llu\n", (unsigned long long)stats.shiny);
#endif
    }
    mst_comm_destroy(comm);
    mst_kv_close(kv);
    mst_world_destroy(world);
    return rc == 0 ? 0 : 1;
}

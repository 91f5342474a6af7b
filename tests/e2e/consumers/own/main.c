/* A project whose headers are called as Muster's are in its tree, and whose functions are called as
 * some inside the library are. */
#include "comm/comm.h"
#include "core/log.h"

#include <muster/muster.h>

#include <stdio.h>

int index_locate(void);
int xml_read(void);
int kv_table_init(void);

int index_locate(void)
{
    return OWN_COMM;
}

int xml_read(void)
{
    return OWN_COMM;
}

int kv_table_init(void)
{
    return OWN_COMM;
}

int main(void)
{
    struct mst_world *world = NULL;
    struct mst_kv *kv = NULL;
    int rc = mst_world_single(&world);
    if (rc == 0)
        rc = mst_kv_dial(world, mst_deadline_ms(1000), &kv, NULL);
    OWN_LOG("started");
    mst_kv_close(kv);
    mst_world_destroy(world);
    return rc == 0 && index_locate() + xml_read() + kv_table_init() == 3 ? 0 : 1;
}

/* Two nodes of muster-pmix that meet at a table of this process, for the tests of what they tell
 * one another. It is included behind cmocka's header. */
#ifndef MUSTER_TESTS_PMIX_NODES_H
#define MUSTER_TESTS_PMIX_NODES_H

#include "muster/core/kv/kv.h"
#include "muster/core/world/state.h"
#include "muster/launcher/pmi_nodes.h"
#include "soon.h"

static inline void open_nodes(struct pmi_nodes nodes[2])
{
    static struct mst_world world;
    world_init_single(&world);
    for (uint32_t i = 0; i < 2; i++)
        nodes[i] = (struct pmi_nodes){.name = "pmix", .node = i, .node_count = 2};
    assert_int_equal(mst_kv_dial(&world, soon(), &nodes[0].kv, NULL), 0);
    assert_int_equal(mst_kv_clone(nodes[0].kv, soon(), &nodes[1].kv, NULL), 0);
}

static inline void close_nodes(struct pmi_nodes nodes[2])
{
    pmi_nodes_close(&nodes[1]);
    pmi_nodes_close(&nodes[0]);
}

#endif

/* Where a rank is in its world, all of it at once. */
#ifndef MUSTER_TESTS_WORLD_PLACE_H
#define MUSTER_TESTS_WORLD_PLACE_H

#include "muster/core/world/state.h"

/* `at` names the fields that are not 0. After cmocka.h. */
static inline void expect_place(const struct mst_world *world, const struct mst_world *at)
{
    assert_int_equal(world->source, at->source);
    assert_int_equal(world->rank, at->rank);
    assert_int_equal(world->size, at->size);
    assert_int_equal(world->local_rank, at->local_rank);
    assert_int_equal(world->local_size, at->local_size);
    assert_int_equal(world->node, at->node);
    assert_int_equal(world->node_count, at->node_count);
    assert_int_equal(world->generation, at->generation);
}

#endif

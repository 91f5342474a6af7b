/* The suite over the in-process table, and what kv's face decides by itself. */
#include "unit/kv_suite.h"

#include "muster/core/err.h"
#include "muster/core/kv/store.h"
#include "muster/core/world/state.h"

static int make_store(void **state)
{
    return mst_kv_store_create((struct mst_kv_store **)state);
}

static int drop_store(void **state)
{
    mst_kv_store_destroy(*state);
    return 0;
}

static struct mst_kv *open_kv(void **state, uint32_t generation)
{
    struct mst_kv *kv;
    assert_int_equal(mst_kv_local(*state, generation, &kv), 0);
    return kv;
}

static void end_generations(void **state, uint32_t generation)
{
    mst_kv_store_advance(*state, generation);
}

static void generations_do_not_see_each_other(void **state)
{
    struct mst_kv *old = open_kv(state, 1), *new = open_kv(state, 2);
    assert_int_equal(mst_kv_set(old, "a", "old", 3, soon()), 0);
    assert_int_equal(mst_kv_set(new, "a", "new", 3, soon()), 0);
    assert_value(old, "a", "old");
    assert_int_equal(mst_kv_delete_prefix(old, "", soon()), 0);
    assert_value(new, "a", "new");
    mst_kv_close(new);
    mst_kv_close(old);
}

static void world_of_one_has_its_own_table(void **state)
{
    (void)state;
    struct mst_world world;
    world_init_single(&world);
    struct mst_kv *kv, *clone;
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, NULL), 0);
    assert_int_equal(mst_kv_set(kv, "a", "mine", 4, soon()), 0);
    assert_int_equal(mst_kv_clone(kv, soon(), &clone, NULL), 0);
    mst_kv_close(kv);
    assert_value(clone, "a", "mine");
    assert_int_equal(mst_kv_barrier(clone, "alone", 1, soon()), 0);
    mst_kv_close(clone);
    mst_kv_close(NULL);
}

static void more_ranks_need_a_server(void **state)
{
    (void)state;
    struct mst_world world;
    world_init_single(&world);
    world.rank = 1;
    world.size = 4;
    struct mst_kv *kv = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, &err), -ENOTSUP);
    assert_null(kv);
    assert_non_null(strstr(err.text, "rank 1 of 4"));
    assert_non_null(strstr(err.text, "muster run"));
}

static void dial_names_the_server(void **state)
{
    (void)state;
    struct mst_world world;
    world_init_single(&world);
    (void)snprintf(world.kv_addr, sizeof world.kv_addr, "127.0.0.1:1");
    struct mst_kv *kv = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_kv_dial(&world, mst_deadline_ms(15), &kv, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "key-value server 127.0.0.1:1"));
    assert_null(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KV_SUITE(make_store, drop_store),
        cmocka_unit_test_setup_teardown(generations_do_not_see_each_other, make_store, drop_store),
        cmocka_unit_test(world_of_one_has_its_own_table),
        cmocka_unit_test(more_ranks_need_a_server),
        cmocka_unit_test(dial_names_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

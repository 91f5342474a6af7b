#include "core/resolve.h"

#include "core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* `arg` is a list name, value, name, value, …, NULL. */
static const char *get(void *arg, const char *name)
{
    for (const char **pair = arg; *pair; pair += 2) {
        if (strcmp(pair[0], name) == 0)
            return pair[1];
    }
    return NULL;
}

static void test_no_operator_is_one_node(void **state)
{
    (void)state;
    const char *env[] = {"HOME", "/root", NULL};
    struct mst_plan plan;

    assert_int_equal(mst_resolve(get, env, &plan, NULL), 0);
    assert_string_equal(plan.source, "none");
    assert_int_equal(plan.node_count, 1);
    assert_int_equal(plan.local_size, 0);
}

/* As the PyTorchJob controller sets them for a master and two workers, nprocPerNode "auto". */
static void test_pytorchjob_auto(void **state)
{
    (void)state;
    const char *env[] = {"MASTER_PORT",
                         "8080",
                         "PET_MASTER_PORT",
                         "8080",
                         "MASTER_ADDR",
                         "job-master-0",
                         "PET_MASTER_ADDR",
                         "job-master-0",
                         "WORLD_SIZE",
                         "3",
                         "RANK",
                         "1",
                         "PET_NODE_RANK",
                         "1",
                         "PET_NPROC_PER_NODE",
                         "auto",
                         "PET_NNODES",
                         "3",
                         "PET_MAX_RESTARTS",
                         "7",
                         NULL};
    struct mst_plan plan;

    assert_int_equal(mst_resolve(get, env, &plan, NULL), 0);
    assert_string_equal(plan.source, "pet");
    assert_int_equal(plan.node_count, 3);
    assert_int_equal(plan.node_rank, 1);
    assert_int_equal(plan.local_size, 0);
    assert_string_equal(plan.master_host, "job-master-0");
    assert_int_equal(plan.master_port, 8080);
    assert_true(plan.has_max_restarts);
    assert_int_equal(plan.max_restarts, 7);
}

/* With nprocPerNode 4 the controller's WORLD_SIZE counts ranks, and RANK still nodes. */
static void test_pytorchjob_counted(void **state)
{
    (void)state;
    const char *env[] = {
        "MASTER_ADDR",        "m", "WORLD_SIZE", "8", "RANK", "1", "PET_NODE_RANK", "1",
        "PET_NPROC_PER_NODE", "4", "PET_NNODES", "2", NULL};
    struct mst_plan plan;

    assert_int_equal(mst_resolve(get, env, &plan, NULL), 0);
    assert_int_equal(plan.local_size, 4);
    assert_int_equal(plan.node_count, 2);
    assert_int_equal(plan.master_port, 29500);
    assert_false(plan.has_max_restarts);
}

static void test_trainjob(void **state)
{
    (void)state;
    const char *env[] = {"PET_NNODES",
                         "4",
                         "PET_NPROC_PER_NODE",
                         "8",
                         "PET_NODE_RANK",
                         "3",
                         "PET_MASTER_ADDR",
                         "tj-node-0-0.tj",
                         "PET_MASTER_PORT",
                         "29500",
                         NULL};
    struct mst_plan plan;

    assert_int_equal(mst_resolve(get, env, &plan, NULL), 0);
    assert_int_equal(plan.node_rank, 3);
    assert_int_equal(plan.local_size, 8);
    assert_string_equal(plan.master_host, "tj-node-0-0.tj");
}

static void test_legacy_pytorchjob_counts_nodes(void **state)
{
    (void)state;
    const char *env[] = {"MASTER_ADDR", "localhost", "MASTER_PORT", "23456", "WORLD_SIZE",
                         "3",           "RANK",      "0",           NULL};
    struct mst_plan plan;

    assert_int_equal(mst_resolve(get, env, &plan, NULL), 0);
    assert_string_equal(plan.source, "pytorchjob-legacy");
    assert_int_equal(plan.node_count, 3);
    assert_int_equal(plan.node_rank, 0);
    assert_int_equal(plan.master_port, 23456);
}

/* The text must name what is wrong: each of `words`, separated by blanks. */
static void refuse(const char **env, int code, const char *first, const char *second)
{
    struct mst_err err = {0};
    struct mst_plan plan;

    assert_int_equal(mst_resolve(get, env, &plan, &err), code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, first));
    assert_non_null(strstr(err.text, second));
}

static void test_contradictions_are_named(void **state)
{
    (void)state;
    refuse((const char *[]){"RANK", "5", "WORLD_SIZE", "4", NULL}, -EINVAL, "RANK=5",
           "WORLD_SIZE=4");
    refuse((const char *[]){"RANK", "1", "WORLD_SIZE", "2", NULL}, -EINVAL, "MASTER_ADDR",
           "--rdzv");
    refuse((const char *[]){"RANK", "1", "WORLD_SIZE", "2", "LOCAL_RANK", "0", NULL}, -EINVAL,
           "LOCAL_RANK=0", "a rank already");
    refuse((const char *[]){"RANK", "x", "WORLD_SIZE", "2", NULL}, -EINVAL, "RANK=x", "0 …");
    refuse((const char *[]){"PET_NNODES", "0", NULL}, -EINVAL, "PET_NNODES=0", "1 … 4096");
    refuse((const char *[]){"PET_NNODES", "99999999999999999999", NULL}, -EINVAL, "PET_NNODES",
           "99999999999999999999");
    refuse((const char *[]){"PET_NNODES", "1:3", NULL}, -ENOTSUP, "1:3", "elastic");
    refuse((const char *[]){"PET_NNODES", "2", "PET_NPROC_PER_NODE", "tpu", NULL}, -EINVAL,
           "PET_NPROC_PER_NODE=tpu", "number");
    refuse((const char *[]){"PET_NNODES", "2", NULL}, -EINVAL, "PET_NODE_RANK", "--node-rank");
    refuse((const char *[]){"PET_NNODES", "2", "PET_NODE_RANK", "2", NULL}, -EINVAL,
           "PET_NODE_RANK=2", "PET_NNODES=2");
    refuse((const char *[]){"PET_NNODES", "2", "PET_NODE_RANK", "1", "RANK", "0", NULL}, -EINVAL,
           "RANK=0", "PET_NODE_RANK=1");
    refuse((const char *[]){"PET_NNODES", "2", "PET_NODE_RANK", "1", "WORLD_SIZE", "5", NULL},
           -EINVAL, "WORLD_SIZE=5", "PET_NNODES=2");
    refuse((const char *[]){"PET_NNODES", "2", "PET_NODE_RANK", "1", NULL}, -EINVAL,
           "PET_MASTER_ADDR", "MASTER_ADDR");
    refuse((const char *[]){"PET_NNODES", "2", "PET_NODE_RANK", "1", "PET_MASTER_ADDR", "a",
                            "MASTER_ADDR", "b", NULL},
           -EINVAL, "PET_MASTER_ADDR=a", "MASTER_ADDR=b");
    refuse((const char *[]){"PET_NNODES", "2", "PET_NODE_RANK", "1", "MASTER_ADDR", "b",
                            "PET_MASTER_PORT", "1", "MASTER_PORT", "2", NULL},
           -EINVAL, "PET_MASTER_PORT=1", "MASTER_PORT=2");
    refuse((const char *[]){"PET_NNODES", "1", "PET_MASTER_PORT", "65536", NULL}, -EINVAL,
           "PET_MASTER_PORT=65536", "65535");
}

static void test_empty_means_unset(void **state)
{
    (void)state;
    const char *env[] = {"PET_NNODES", "", "RANK", "", "WORLD_SIZE", "4", NULL};
    struct mst_plan plan;

    assert_int_equal(mst_resolve(get, env, &plan, NULL), 0);
    assert_string_equal(plan.source, "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_operator_is_one_node),
        cmocka_unit_test(test_pytorchjob_auto),
        cmocka_unit_test(test_pytorchjob_counted),
        cmocka_unit_test(test_trainjob),
        cmocka_unit_test(test_legacy_pytorchjob_counts_nodes),
        cmocka_unit_test(test_contradictions_are_named),
        cmocka_unit_test(test_empty_means_unset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

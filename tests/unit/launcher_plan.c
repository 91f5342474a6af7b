/* Flags and environment together: who overrules whom, who is told so, and what is still missing. */
#include "muster/launcher/plan.h"

#include "muster/core/err.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/flags.h"
#include "muster/launcher/opts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct mst_answer answer;
static struct opts opts;
static struct mst_err err;

#define ENV(...) ((char *[]){__VA_ARGS__, NULL})
#define TORCHRUN                                                                                   \
    "RANK=1", "WORLD_SIZE=4", "LOCAL_RANK=1", "LOCAL_WORLD_SIZE=2", "GROUP_RANK=0",                \
        "GROUP_WORLD_SIZE=2"
#define OPERATOR "PET_NNODES=2", "PET_NODE_RANK=1", "PET_NPROC_PER_NODE=4", "PET_MASTER_ADDR=m"

static struct flags none(void)
{
    return (struct flags){.node_rank = -1, .max_restarts = -1, .gpu_count = 2, .hostname = "h"};
}

static int read_plan(char **env, const struct flags *flags)
{
    opts = (struct opts){.answer = &answer, .env = env};
    err = (struct mst_err){0};
    return plan_read(flags, &opts, &err);
}

static void refused(char **env, const struct flags *flags, const char *word)
{
    assert_int_equal(read_plan(env, flags), -EINVAL);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
}

static void a_rank_of_several_stays_one(void **state)
{
    (void)state;
    struct flags flags = none();
    flags.local_size = 3;
    refused(ENV(TORCHRUN), &flags, "--nproc 3");
    flags.local_size = FLAGS_NPROC_AUTO; /* two GPUs are what torchrun says, too */
    assert_int_equal(read_plan(ENV(TORCHRUN), &flags), 0);
    flags.node_count = 1;
    refused(ENV(TORCHRUN), &flags, "--nnodes 1");
    flags.node_count = 2;
    flags.node_rank = 1;
    refused(ENV(TORCHRUN), &flags, "--node-rank 1");
    flags.node_rank = 0;
    assert_int_equal(read_plan(ENV(TORCHRUN), &flags), 0);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_RANK);
    assert_string_equal(opts.overruled, "");
}

/* What its launcher does not tell cannot be agreed with. */
static void a_rank_of_an_unknown_world_takes_no_flags(void **state)
{
    (void)state;
    struct flags flags = none();
    flags.local_size = 1;
    refused(ENV("PMIX_RANK=0"), &flags, "of an unknown number");
}

static void from_none_believes_no_variable(void **state)
{
    (void)state;
    struct flags flags = none();
    flags.local_size = 3;
    flags.from = "none";
    assert_int_equal(read_plan(ENV(TORCHRUN), &flags), 0);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_SPAWN);
    assert_string_equal(opts.answer->plan.scheme, "flags");
    assert_int_equal(opts.answer->plan.node_count, 1);
    assert_int_equal(opts.answer->plan.world_size, 3);
    assert_string_equal(opts.overruled, "");
}

static void flags_overrule_a_world_of_one(void **state)
{
    (void)state;
    struct flags flags = none();
    char **env = ENV("RANK=0", "WORLD_SIZE=1", "LOCAL_RANK=0");
    assert_int_equal(read_plan(env, &flags), 0);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_RANK);
    flags.local_size = 1;
    assert_int_equal(read_plan(env, &flags), 0);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_RANK);
    flags.local_size = 2;
    assert_int_equal(read_plan(env, &flags), 0);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_SPAWN);
    assert_int_equal(opts.answer->plan.world_size, 2);
    assert_string_equal(opts.overruled, "rank 0 of 1 (torchrun)");
}

static void flags_overrule_a_plan_and_say_so(void **state)
{
    (void)state;
    struct flags flags = none();
    assert_int_equal(read_plan(ENV(OPERATOR), &flags), 0);
    assert_string_equal(opts.overruled, "");
    flags.local_size = 4; /* what the operator says */
    assert_int_equal(read_plan(ENV(OPERATOR), &flags), 0);
    assert_string_equal(opts.overruled, "");
    flags.local_size = 3;
    assert_int_equal(read_plan(ENV(OPERATOR), &flags), 0);
    assert_int_equal(opts.answer->plan.world_size, 6);
    assert_string_equal(opts.overruled, "ranks per node 4 (pet)");
    flags.node_count = 3;
    flags.node_rank = 2;
    flags.rdzv = "n:5";
    assert_int_equal(read_plan(ENV(OPERATOR), &flags), 0);
    assert_string_equal(opts.overruled,
                        "nodes 2, node rank 1, ranks per node 4, node 0 at m (pet)");
    assert_int_equal(opts.answer->plan.node_rank, 2);
    assert_string_equal(opts.rdzv_host, "n");
}

/* A count that nobody gave but the GPUs is nobody's word. */
static void what_nobody_said_is_not_overruled(void **state)
{
    (void)state;
    struct flags flags = none();
    flags.local_size = 1;
    assert_int_equal(read_plan(ENV("HOME=/"), &flags), 0);
    assert_string_equal(opts.overruled, "");
    assert_int_equal(read_plan(ENV("PET_NNODES=1", "PET_NPROC_PER_NODE=auto"), &flags), 0);
    assert_string_equal(opts.overruled, "");
}

static void a_number_of_nodes_settles_what_was_open(void **state)
{
    (void)state;
    struct flags flags = none();
    assert_int_equal(read_plan(ENV("JOB_COMPLETION_INDEX=1"), &flags), 0);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_ERROR);
    flags.node_count = 1;
    assert_int_equal(read_plan(ENV("JOB_COMPLETION_INDEX=1"), &flags), 0);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_SPAWN);
    assert_string_equal(opts.answer->err.text, "");
    assert_non_null(strstr(opts.overruled, "nothing says how many nodes"));
    assert_int_equal(read_plan(ENV("K_MPI_JOB_ROLE=worker"), &flags), 0);
    assert_string_equal(opts.overruled, "worker (mpi)");
    assert_int_equal(read_plan(ENV("STRANGER_NNODES=2"), &flags), 0);
    assert_non_null(strstr(opts.overruled, "STRANGER_NNODES=2"));
}

static void what_cannot_be_started_says_what_to_do(void **state)
{
    (void)state;
    static const struct {
        char *var;
        int code;
        const char *word;
    } cases[] = {
        {"K_MPI_JOB_ROLE=worker", -EINVAL, "sshd"},
        {"TF_CONFIG={\"cluster\":{\"worker\":[\"a:1\"]},\"task\":{\"type\":\"evaluator\","
         "\"index\":0}}",
         0, ""},
        {"PET_NNODES=1:3", -EINVAL, "1 to 3 nodes, but not which one"},
        {"MST_NNODES=1", 0, ""},
    };
    struct flags flags = none();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(read_plan(ENV(cases[i].var), &flags), 0);
        err = (struct mst_err){0};
        assert_int_equal(plan_check(&opts.answer->plan, &err), cases[i].code);
        assert_non_null(strstr(err.text, cases[i].word));
    }
}

/* How many nodes there will be is not known: neither is the world's size. */
static void nodes_may_come_and_go(void **state)
{
    (void)state;
    struct flags flags = none();
    char **elastic = ENV("PET_NNODES=1:3", "PET_NODE_RANK=2", "PET_RDZV_ENDPOINT=w:1");
    assert_int_equal(read_plan(elastic, &flags), 0);
    assert_int_equal(plan_check(&opts.answer->plan, &err), 0);
    assert_int_equal(plan_most_nodes(&opts.answer->plan), 3);
    flags.total = 4;
    refused(elastic, &flags, "-n 4 counts the ranks of a fixed world");
    flags.total = 0;
    flags.node_least = 2;
    flags.node_count = 4;
    flags.node_rank = 3;
    assert_int_equal(read_plan(elastic, &flags), 0);
    assert_int_equal(plan_check(&opts.answer->plan, &err), 0);
    assert_int_equal(opts.answer->plan.elastic_min, 2);
    assert_int_equal(opts.answer->plan.elastic_max, 4);
    assert_int_equal(opts.answer->plan.node_count, MST_UNKNOWN);
    assert_int_equal(opts.answer->plan.world_size, MST_UNKNOWN);
    flags.node_rank = 4;
    refused(elastic, &flags, "node rank 4 is not below the number of nodes, 4");
    flags.node_rank = 0; /* and torchrun's two nodes are of these */
    assert_int_equal(read_plan(ENV(TORCHRUN), &flags), 0);
    flags.node_least = 3;
    refused(ENV(TORCHRUN), &flags, "--nnodes 4");
}

static size_t missing(bool has_secret)
{
    size_t count = 0;
    plan_find_missing(&opts, has_secret);
    while (opts.missing[count])
        count++;
    return count;
}

static void what_is_missing_is_told_at_once(void **state)
{
    (void)state;
    struct flags flags = none();
    flags.node_count = 2;
    assert_int_equal(read_plan(ENV("HOME=/"), &flags), 0);
    assert_int_equal(missing(false), 3);
    char list[128];
    assert_string_equal(opts_join_missing(&opts, list, sizeof list),
                        "--node-rank R; --rdzv HOST:PORT; MST_JOB_SECRET_FILE, or --insecure");
    flags.node_rank = 1;
    flags.rdzv = "localhost:5"; /* by a flag this machine, which needs no secret */
    assert_int_equal(read_plan(ENV("HOME=/"), &flags), 0);
    assert_int_equal(missing(false), 0);
    flags = none();
    assert_int_equal(read_plan(ENV(OPERATOR), &flags), 0);
    assert_int_equal(missing(true), 0);
    assert_int_equal(missing(false), 1);
    opts.missing[0] = NULL;
    opts.insecure = true;
    assert_int_equal(missing(false), 0);
    assert_int_equal(read_plan(ENV("HOME=/"), &flags), 0);
    assert_int_equal(missing(false), 0);
}

static void a_node_beyond_the_last_is_refused(void **state)
{
    (void)state;
    struct flags flags = none();
    flags.node_rank = 2;
    assert_int_equal(read_plan(ENV(OPERATOR), &flags), -EINVAL);
    assert_non_null(strstr(err.text, "node rank 2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_of_several_stays_one),
        cmocka_unit_test(a_rank_of_an_unknown_world_takes_no_flags),
        cmocka_unit_test(from_none_believes_no_variable),
        cmocka_unit_test(flags_overrule_a_world_of_one),
        cmocka_unit_test(flags_overrule_a_plan_and_say_so),
        cmocka_unit_test(what_nobody_said_is_not_overruled),
        cmocka_unit_test(a_number_of_nodes_settles_what_was_open),
        cmocka_unit_test(nodes_may_come_and_go),
        cmocka_unit_test(what_cannot_be_started_says_what_to_do),
        cmocka_unit_test(what_is_missing_is_told_at_once),
        cmocka_unit_test(a_node_beyond_the_last_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

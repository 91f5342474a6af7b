#include "muster/launcher/rankenv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct rankenv_facts facts = {.rank = 5,
                                           .world_size = 7,
                                           .local_rank = 1,
                                           .local_size = 3,
                                           .node = 2,
                                           .node_count = 3,
                                           .generation = 4,
                                           .max_restarts = 9,
                                           .kv_addr = "head:29500",
                                           .master_host = "head",
                                           .master_port = 4321,
                                           .job_id = "job",
                                           .job_nonce = UINT64_C(0xc0ffee),
                                           .secret_fd = 10,
                                           .page_fd = 11,
                                           .shm_fd = 12,
                                           .take_root = 1,
                                           .error_fd = 23,
                                           .agent_pid = 71};

static uint32_t count(const struct rankenv *env, const char *prefix)
{
    uint32_t found = 0;
    for (char **var = env->vars; *var; var++)
        found += strncmp(*var, prefix, strlen(prefix)) == 0;
    return found;
}

static void test_contract_and_families(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "MST_RANK=5",
        "MST_WORLD_SIZE=7",
        "MST_LOCAL_RANK=1",
        "MST_LOCAL_SIZE=3",
        "MST_NODE=2",
        "MST_NODE_COUNT=3",
        "MST_GENERATION=4",
        "MST_KV_ADDR=head:29500",
        "MST_JOB_ID=job",
        "MST_JOB_NONCE=0000000000c0ffee",
        "MST_SECRET_FD=10",
        "MST_PAGE_FD=11",
        "MST_SHM_FD=12",
        "MST_TAKE_ROOT=1",
        "RANK=5",
        "LOCAL_RANK=1",
        "WORLD_SIZE=7",
        "LOCAL_WORLD_SIZE=3",
        "GROUP_RANK=2",
        "GROUP_WORLD_SIZE=3",
        "ROLE_RANK=5",
        "ROLE_WORLD_SIZE=7",
        "ROLE_NAME=default",
        "MASTER_ADDR=head",
        "MASTER_PORT=4321",
        "TORCHELASTIC_RESTART_COUNT=4",
        "OMP_NUM_THREADS=1",
        "TORCHELASTIC_RUN_ID=job",
        "TORCHELASTIC_MAX_RESTARTS=9",
        "TORCHELASTIC_ERROR_FILE=/proc/71/fd/23",
        "OMPI_COMM_WORLD_RANK=5",
        "OMPI_COMM_WORLD_SIZE=7",
        "OMPI_COMM_WORLD_LOCAL_RANK=1",
        "OMPI_COMM_WORLD_LOCAL_SIZE=3",
        "HOROVOD_RANK=5",
        "HOROVOD_SIZE=7",
        "HOROVOD_LOCAL_RANK=1",
        "HOROVOD_LOCAL_SIZE=3",
        "HOROVOD_CROSS_RANK=2",
        "HOROVOD_CROSS_SIZE=3",
        "PADDLE_TRAINER_ID=5",
        "PADDLE_TRAINERS_NUM=7",
        "PADDLE_GLOBAL_RANK=5",
        "PADDLE_GLOBAL_SIZE=7",
        "PADDLE_LOCAL_RANK=1",
        "PADDLE_LOCAL_SIZE=3",
        "PADDLE_MASTER=head:4321",
        "JAX_PROCESS_ID=5",
        "JAX_NUM_PROCESSES=7",
        "JAX_COORDINATOR_ADDRESS=head:4321",
        "PROCESS_ID=5",
        "NUM_PROCESSES=7",
        "COORDINATOR_ADDRESS=head",
        "COORDINATOR_PORT=4321",
        "DMLC_TASK_ID=5",
        "DMLC_NUM_WORKER=7",
        "DMLC_TRACKER_URI=head",
        "DMLC_TRACKER_PORT=4321",
    };
    char *inherited[] = {NULL};
    struct rankenv env;
    assert_int_equal(rankenv_init(&env, inherited, &facts), 0);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(count(&env, expected[i]), 1);
    assert_int_equal(env.own_count, sizeof expected / sizeof expected[0]);
    rankenv_fini(&env);
}

/* Where nobody named the job, and where nobody has started it yet. */
static void test_without_a_name(void **state)
{
    (void)state;
    char outer[] = "MST_JOB_ID=outer", *inherited[] = {outer, NULL};
    struct rankenv_facts nameless = facts;
    struct rankenv env;
    nameless.job_id = "";
    assert_int_equal(rankenv_init(&env, inherited, &nameless), 0);
    assert_int_equal(count(&env, "MST_JOB_ID="), 0);
    assert_int_equal(count(&env, "TORCHELASTIC_RUN_ID=muster-0000000000c0ffee"), 1);
    rankenv_fini(&env);
    nameless.job_nonce = 0;
    assert_int_equal(rankenv_init(&env, inherited, &nameless), 0);
    assert_int_equal(count(&env, "MST_JOB_NONCE="), 0);
    assert_int_equal(count(&env, "TORCHELASTIC_RUN_ID="), 0);
    rankenv_fini(&env);
}

static void test_what_is_inherited(void **state)
{
    (void)state;
    char *inherited[] = {"HOME=/root",
                         "RANK=0",
                         "MASTER_ADDR=elsewhere",
                         "PET_NNODES=3",
                         "RANKING=kept",
                         "MST_JOB_SECRET=hush",
                         "OMP_NUM_THREADS=8",
                         "MST_AIO=uring",
                         "MST_JOB_SECRET_FILE=/hush",
                         "MST_WORLD=single",
                         "MST_FROM=pet",
                         "MST_WORLD_SIZE=99",
                         NULL};
    struct rankenv env;
    assert_int_equal(rankenv_init(&env, inherited, &facts), 0);
    assert_int_equal(count(&env, "HOME=/root"), 1);
    assert_int_equal(count(&env, "RANKING=kept"), 1);
    assert_int_equal(count(&env, "MST_AIO=uring"), 1);
    assert_int_equal(count(&env, "RANK="), 1);
    assert_int_equal(count(&env, "MASTER_ADDR="), 1);
    assert_int_equal(count(&env, "OMP_NUM_THREADS=8"), 1);
    assert_int_equal(count(&env, "OMP_NUM_THREADS=1"), 0);
    assert_int_equal(count(&env, "PET_"), 0);
    assert_int_equal(count(&env, "MST_JOB_SECRET"), 0);
    assert_int_equal(count(&env, "MST_WORLD="), 0);
    assert_int_equal(count(&env, "MST_FROM="), 0);
    assert_int_equal(count(&env, "MST_WORLD_SIZE="), 1);
    rankenv_fini(&env);
}

/* torchrun may give every rank the local rank 0 on purpose: its words are its own. The pod's are
 * replaced by what its ranks are. */
static void test_a_program_beside_the_world_is_told_of_none(void **state)
{
    (void)state;
    char *inherited[] = {"TF_CONFIG={}", "DMLC_NUM_WORKER=2", "MST_WORLD=x", "MST_JOB_SECRET=hush",
                         NULL};
    struct rankenv_facts beside = facts;
    struct rankenv env;
    beside.is_beside = true;
    assert_int_equal(rankenv_init(&env, inherited, &beside), 0);
    assert_string_equal(env.vars[0], "TF_CONFIG={}");
    assert_string_equal(env.vars[1], "DMLC_NUM_WORKER=2");
    assert_string_equal(env.vars[2], "MST_WORLD=single");
    assert_null(env.vars[3]);
    rankenv_fini(&env);
}

static void test_a_rank_of_another_launcher(void **state)
{
    (void)state;
    char *inherited[] = {"LOCAL_RANK=0",           "RANK=5",       "NUM_PROCESSES=2",
                         "OMPI_COMM_WORLD_RANK=1", "PET_NNODES=2", NULL};
    struct rankenv env;
    assert_int_equal(rankenv_init_foreign(&env, inherited, &facts, "torchrun"), 0);
    assert_int_equal(count(&env, "LOCAL_RANK="), 1);
    assert_int_equal(count(&env, "LOCAL_RANK=0"), 1);
    assert_int_equal(count(&env, "OMPI_COMM_WORLD_RANK="), 1);
    assert_int_equal(count(&env, "OMPI_COMM_WORLD_RANK=5"), 1);
    assert_int_equal(count(&env, "NUM_PROCESSES=7"), 1);
    assert_int_equal(count(&env, "HOROVOD_LOCAL_RANK=1"), 1);
    assert_int_equal(count(&env, "PET_NNODES=2"), 1);
    assert_int_equal(count(&env, "MST_FROM=torchrun"), 1);
    assert_int_equal(count(&env, "MST_"), 2); /* MST_FROM, MST_TAKE_ROOT */
    assert_int_equal(count(&env, "TORCHELASTIC_"), 0);
    rankenv_fini(&env);
}

static void test_what_a_launcher_did_not_say_is_not_said(void **state)
{
    (void)state;
    const struct rankenv_facts few = {.rank = 1, .world_size = 2, .master_host = ""};
    char *inherited[] = {NULL};
    struct rankenv env;
    assert_int_equal(rankenv_init_foreign(&env, inherited, &few, "pmi1"), 0);
    assert_int_equal(count(&env, "RANK=1"), 1);
    assert_int_equal(count(&env, "JAX_NUM_PROCESSES=2"), 1);
    static const char *const absent[] = {
        "LOCAL_",        "GROUP_",        "MASTER_",      "OMPI_COMM_WORLD_LOCAL",
        "HOROVOD_LOCAL", "HOROVOD_CROSS", "PADDLE_LOCAL", "PADDLE_MASTER",
        "JAX_COORD",     "COORD",         "DMLC_TRACKER"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        assert_int_equal(count(&env, absent[i]), 0);
    rankenv_fini(&env);
}

static void test_what_it_decides(void **state)
{
    (void)state;
    static const char *const ours[] = {"RANK",
                                       "WORLD_SIZE=3",
                                       "MST_RANK=1",
                                       "MST_JOB_NONCE",
                                       "MASTER_PORT",
                                       "PET_NNODES=2",
                                       "MST_FROM=jax",
                                       "JAX_PROCESS_ID=",
                                       "TORCHELASTIC_RUN_ID=a",
                                       "MST_JOB_SECRET_FILE=/f",
                                       "PMI_RANK=3"};
    static const char *const others[] = {"RAN",
                                         "RANKS=1",
                                         "OMP_NUM_THREADS=2",
                                         "A=RANK=1",
                                         "MST_TIMEOUT_MS=1",
                                         "MST_TAKE_ROOT=1",
                                         "NCCL_DEBUG=INFO"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        assert_true(rankenv_decides(ours[i]));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(rankenv_decides(others[i]));
}

static void test_of_pmi_and_pmix_one_is_said(void **state)
{
    (void)state;
    char theirs[] = "PMIX_RANK=7", too[] = "PMI_RANK=7", setting[] = "PMIX_MCA_gds=hash";
    char *const inherited[] = {theirs, too, setting, NULL};
    struct rankenv env;
    struct rankenv_facts mine = facts;
    assert_int_equal(rankenv_init(&env, inherited, &mine), 0);
    assert_int_equal(count(&env, "PMI"), 3); /* nobody here serves ranks of MPI */
    rankenv_fini(&env);
    mine.pmi_fd = 20;
    assert_int_equal(rankenv_init(&env, inherited, &mine), 0);
    assert_int_equal(count(&env, "PMI_RANK=5"), 1);
    assert_int_equal(count(&env, "PMI_RANK="), 1);
    assert_int_equal(count(&env, "PMIX_"), 1);
    assert_int_equal(count(&env, setting), 1);
    rankenv_fini(&env);
    mine.pmi_fd = 0;
    mine.pmix_fd = 20;
    assert_int_equal(rankenv_init(&env, inherited, &mine), 0);
    assert_int_equal(count(&env, "MST_PMIX_FD=20"), 1);
    assert_int_equal(count(&env, "PMI_"), 0);
    assert_int_equal(count(&env, "PMIX_"), 1);
    rankenv_fini(&env);
}

static void test_the_contract_alone(void **state)
{
    (void)state;
    char other[] = "OTHER=1";
    struct rankenv env;
    struct rankenv_facts mine = facts;
    mine.page_fd = mine.shm_fd = -1;
    assert_int_equal(rankenv_init_contract(&env, (char *[]){other, NULL}, &mine), 0);
    assert_int_equal(count(&env, "MST_RANK=5"), 1);
    assert_int_equal(count(&env, "MST_SECRET_FD=10"), 1);
    assert_int_equal(count(&env, "MST_PAGE_FD"), 0);
    assert_int_equal(count(&env, "MST_SHM_FD"), 0);
    assert_int_equal(count(&env, "RANK="), 0);
    assert_int_equal(count(&env, other), 1);
    rankenv_fini(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract_and_families),
        cmocka_unit_test(test_without_a_name),
        cmocka_unit_test(test_what_is_inherited),
        cmocka_unit_test(test_a_program_beside_the_world_is_told_of_none),
        cmocka_unit_test(test_a_rank_of_another_launcher),
        cmocka_unit_test(test_what_a_launcher_did_not_say_is_not_said),
        cmocka_unit_test(test_what_it_decides),
        cmocka_unit_test(test_of_pmi_and_pmix_one_is_said),
        cmocka_unit_test(test_the_contract_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Who may be alone where no family of variables speaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/resolve/resolve.h"
#include "resolve_fixture.h"

static bool is_alone(const char *env)
{
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, env);
    bool is_refused = mst_resolve(&pod.machine, NULL, &pod.answer) < 0;
    assert_true(is_refused || strcmp(pod.answer.plan.scheme, "single") == 0);
    assert_int_equal(mst_answer_has_others(&pod.answer), is_refused);
    if (is_refused) {
        assert_non_null(strstr(pod.answer.err.text, "--nnodes 1"));
        assert_non_null(strstr(pod.answer.err.text, "MST_WORLD=single"));
    }
    return !is_refused;
}

static void words_that_count_others_are_refused(void **state)
{
    (void)state;
    static const char *const others[] = {
        "FOO_NNODES=2",
        "NUM_NODES=2",
        "MY_CLUSTER_NODE_COUNT=16",
        "FOO_NODE_RANK=1",
        "FOO_WORLD_SIZE=8",
        "NUM_PROCESSES=4",
        "TPU_NUM_HOSTS=2",
        "NODE_RANK=3",
        "LOCAL_WORLD_SIZE=2",
        "NODE_COUNT=2",
        "HOME=/ A_NUM_NODES=2",
        "FOO_NNODES=99999999999999999999",
        "FOO_NNODES=002",
        /* one of another beginning is no word on this */
        "A_NUM_NODES=2 B_NUM_NODES=1",
        "A_B_NUM_NODES=2 B_NUM_NODES=1",
        "A_NUM_NODES=2 NUM_NODES=1",
        /* a launcher's numbers without what it is known by */
        "HOROVOD_SIZE=4",
        "HOROVOD_LOCAL_RANK=1",
        "PMI_SIZE=4",
        "SLURM_NTASKS=4",
        "SLURM_STEP_NUM_TASKS=2",
        "SLURM_NODEID=1",
        "SLURM_PROCID=3",
        "FLUX_JOB_SIZE=4",
        "DMLC_NUM_WORKER=4",
        "PADDLE_TRAINERS_NUM=2",
        "PADDLE_TRAINER_NUM=2",
        "LOCAL_RANK=1",
        "GROUP_RANK=1",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (is_alone(others[i]))
            fail_msg("%s: alone", others[i]);
    }
}

static void nothing_else_is(void **state)
{
    (void)state;
    static const char *const alone[] = {
        "",
        "FOO_NNODES=1",
        "FOO_NODE_RANK=0",
        "FOO_NUM_NODES=1 FOO_NODE_RANK=0 FOO_WORLD_SIZE=8",
        "FOO_WORLD_SIZE=8 FOO_NNODES=1",
        "FOO_NNODES=two",
        "FOO_NNODES=2.5",
        "FOO_NNODES=",
        "FOO_NNODES=-2",
        "FOONNODES=2",
        "NNODES_FOO=2",
        "NODE_RANKS=2",
        "FOO_SERVICE_NODE_COUNT=2",
        "FOO_PORT_NUM_NODES=2",
        "FOO_PORT_80_TCP_NUM_NODES=2",
        "RABBITMQ_NODE_COUNT=3",
        "GUNICORN_NUM_PROCESSES=8",
        "OMP_NUM_THREADS=8",
        "TRAINING_JOB_NAME=mine",
        "HOROVOD_SIZE=1 HOROVOD_LOCAL_RANK=0",
        "SLURM_NTASKS=1 SLURM_PROCID=0",
        "SLURM_NTASKS=many",
        "LOCAL_RANK=0",
        "PROCESS_ID=1234",
        "LOCAL_SIZE=4",
        "FOO_PROCID=1",
        "FOO_WORKER_NUM=4",
    };
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        if (!is_alone(alone[i]))
            fail_msg("%s: refused", alone[i]);
    }
}

static void the_text_names_variable_and_value(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, "HOME=/root FOO_NUM_NODES=4");
    pod_refused(&pod, "FOO_NUM_NODES=4 says that there are other processes");
}

/* Who has spoken has spoken for these, too. */
static void a_familys_word_silences_all(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, "FOO_NUM_NODES=4 MST_NNODES=1");
    assert_int_equal(pod_resolve(&pod), 0);
    pod_init(&pod);
    pod_env(&pod, "FOO_NUM_NODES=4 PET_NNODES=1");
    assert_int_equal(pod_resolve(&pod), 0);
    pod_init(&pod);
    pod_env(&pod, "FOO_NUM_NODES=4 MST_WORLD=single");
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.plan.world_size, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_that_count_others_are_refused),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(the_text_names_variable_and_value),
        cmocka_unit_test(a_familys_word_silences_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

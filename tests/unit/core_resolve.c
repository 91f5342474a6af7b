/* Every environment of tests/data/env-vectors*.json (recorded from launchers, derived from their
 * sources, or written as people do), and the rules of the operators and of the merge that no
 * vector shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/resolve/resolve.h"
#include "resolve_vectors.h"

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"world_size", offsetof(struct mst_plan, world_size)},
    {"node_rank", offsetof(struct mst_plan, node_rank)},
    {"nnodes", offsetof(struct mst_plan, node_count)},
    {"nproc_per_node", offsetof(struct mst_plan, local_size)},
    {"master_port", offsetof(struct mst_plan, master_port)},
    {"elastic_min", offsetof(struct mst_plan, elastic_min)},
    {"elastic_max", offsetof(struct mst_plan, elastic_max)},
    {"rank", offsetof(struct mst_plan, rank)},
    {"local_rank", offsetof(struct mst_plan, local_rank)},
    {"local_size", offsetof(struct mst_plan, local_size)},
    {"max_restarts", offsetof(struct mst_plan, max_restarts)},
    {"incarnation", offsetof(struct mst_plan, incarnation)},
};

static int compare_text(const json_t *expected, const char *key, const char *got)
{
    const char *want = json_string_value(json_object_get(expected, key));
    if (!want || strcmp(want, got) == 0)
        return 0;
    print_error("  %s: \"%s\" instead of \"%s\"\n", key, got, want);
    return 1;
}

static int compare(const json_t *expected, const struct mst_answer *answer)
{
    int faults = compare_text(expected, "mode", mst_plan_mode_name(answer->plan.mode));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const json_t *want = json_object_get(expected, numbers[i].name);
        int64_t got = *(const int64_t *)((const char *)&answer->plan + numbers[i].offset);
        if (!json_is_integer(want) || json_integer_value(want) == got)
            continue;
        print_error("  %s: %lld instead of %lld\n", numbers[i].name, (long long)got,
                    (long long)json_integer_value(want));
        faults++;
    }
    faults += compare_text(expected, "master_addr", answer->plan.master_host);
    faults += compare_text(expected, "role", answer->plan.role);
    faults += compare_text(expected, "rdzv_id", answer->plan.rdzv_id);
    faults += compare_text(expected, "job_id", answer->plan.job_id);
    faults += compare_text(expected, "step_id", answer->plan.step_id);
    return faults + (json_is_string(json_object_get(expected, "error")) && !answer->err.text[0]);
}

/* What a program gets from the library when it is started here by itself. */
static const char *library(const struct mst_answer *answer)
{
    if (answer->plan.mode == MST_PLAN_RANK && answer->plan.world_size > 0)
        return "rank";
    return mst_answer_has_others(answer) ? "refused" : "alone";
}

static bool is_answered_wrong(struct pod *pod, const json_t *vector)
{
    (void)mst_resolve(&pod->machine, NULL, &pod->answer); /* some are to be refused */
    if (compare(json_object_get(vector, "expected"), &pod->answer) == 0 &&
        compare_text(vector, "library", library(&pod->answer)) == 0)
        return false;
    print_error("vector %s (%s)\n", json_string_value(json_object_get(vector, "name")),
                pod->answer.err.text);
    return true;
}

static void every_vector_has_its_answer(void **state)
{
    (void)state;
    assert_int_equal(vectors_wrong(MUSTER_TEST_DATA "/env-vectors.json", 36, is_answered_wrong), 0);
    assert_int_equal(vectors_wrong(MUSTER_TEST_DATA "/env-vectors-2.json", 61, is_answered_wrong),
                     0);
}

static void agreeing_sources_are_merged(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, "PET_NNODES=4 PET_NODE_RANK=3 PET_MASTER_ADDR=j-node-0-0.j "
                  "JOB_COMPLETION_INDEX=3 MST_MASTER_PORT=1234");
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.candidate_count, 3);
    assert_string_equal(pod.answer.plan.scheme, "pet");
    assert_int_equal(pod.answer.plan.node_rank, 3);
    assert_int_equal(pod.answer.plan.master_port, 1234);
}

static void contradictions_name_both_sides(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, "PET_NNODES=4 PET_NODE_RANK=3 PET_MASTER_ADDR=m JOB_COMPLETION_INDEX=2");
    pod_refused(&pod, "node rank is 3 by pet but 2 by index");
    pod_init(&pod);
    pod_env(&pod, "MST_NNODES=3 LWS_GROUP_SIZE=2 LWS_WORKER_INDEX=0 LWS_LEADER_ADDRESS=l");
    pod_refused(&pod, "number of nodes is 3 by muster but 2 by lws");
    pod_init(&pod);
    pod_env(&pod, "JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=1 JAX_COORDINATOR_ADDRESS=a:1 MASTER_ADDR=b");
    pod_refused(&pod, "master is a by jax but b by bare");
    pod_init(&pod);
    pod_env(&pod, "PET_NNODES=2 PET_NODE_RANK=0 PET_MASTER_ADDR=m MASTER_ADDR=n");
    pod_refused(&pod, "PET_MASTER_ADDR=m but MASTER_ADDR=n");
}

static void from_believes_one_scheme(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, "PET_NNODES=4 PET_NODE_RANK=3 PET_MASTER_ADDR=m JOB_COMPLETION_INDEX=2");
    assert_int_equal(mst_resolve(&pod.machine, "pet", &pod.answer), 0);
    assert_int_equal(pod.answer.plan.node_rank, 3);
    assert_true(mst_resolve(&pod.machine, "index", &pod.answer) < 0); /* has no size */
    assert_true(mst_resolve(&pod.machine, "slurm", &pod.answer) < 0);
    assert_non_null(strstr(pod.answer.err.text, "SLURM_JOB_ID"));
    assert_true(mst_resolve(&pod.machine, "pets", &pod.answer) < 0);
    assert_non_null(strstr(pod.answer.err.text, "no such scheme"));
}

static void a_rank_is_not_launched_again(void **state)
{
    (void)state;
    struct pod pod;
    /* a batch script's variables are inherited by mpirun's ranks and mean nothing there */
    pod_init(&pod);
    pod_env(&pod, "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 SLURM_JOB_ID=1 SLURM_NNODES=2");
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.plan.mode, MST_PLAN_RANK);
    assert_true(pod.answer.candidates[1].is_passed_over);
    pod_init(&pod);
    pod_env(&pod, "MST_NNODES=2 PET_NNODES=2 PET_NODE_RANK=0 PET_MASTER_ADDR=m RANK=5 "
                  "LOCAL_RANK=1 WORLD_SIZE=8");
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.plan.mode, MST_PLAN_RANK);
    assert_int_equal(pod.answer.plan.rank, 5);
    /* ranks under two names must be one */
    pod_init(&pod);
    pod_env(&pod, "PMI_RANK=1 PMI_SIZE=4 OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4");
    pod_refused(&pod, "rank is 1 by pmi1 but 2 by ompi");
    pod_init(&pod);
    pod_env(&pod, "MST_RANK=1 MST_WORLD_SIZE=2 RANK=1 WORLD_SIZE=2 LOCAL_RANK=1");
    assert_int_equal(pod_resolve(&pod), 0);
    assert_string_equal(pod.answer.plan.scheme, "muster-rank");
}

static void broken_ranks_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"RANK=2 WORLD_SIZE=2 LOCAL_RANK=0", "rank 2 is not below"},
        {"RANK=1 LOCAL_RANK=0", "WORLD_SIZE is not set"},
        {"HOROVOD_RANK=x HOROVOD_SIZE=2", "HOROVOD_RANK=x"},
        {"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE is not set"},
        {"PMI_FD=3 PMI_SIZE=2", "PMI_ID is not set"},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=4 LOCAL_WORLD_SIZE=2", "local rank 4 of 2"},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=2 LOCAL_WORLD_SIZE=2", "local rank 2 of 2"},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=0 GROUP_RANK=2 GROUP_WORLD_SIZE=2", "node 2"},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=0 GROUP_RANK=3 GROUP_WORLD_SIZE=2", "node 3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, bad[i][0]);
        pod_refused(&pod, bad[i][1]);
    }
}

/* Each of these would have been a world of one, or a rank twice, with a laxer reader. */
static void nothing_is_a_silent_world_of_one(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"JOB_COMPLETION_INDEX=0", "nothing says how many"},
        {"VC_TASK_INDEX=0", "nothing says how many"},
        {"JOBSET_NAME=js", "nothing says how many"},
        {"MASTER_ADDR=m", "nothing says how many"},
        {"RANK=1", "nothing says how many"},
        {"WORLD_SIZE=2", "nothing says which one this is"},
        {"WORLD_SIZE=2 RANK=1", "nothing says where node 0 is"},
        {"WORLD_SIZE=2 RANK=1 MASTER_ADDR=localhost", "localhost"},
        {"WORLD_SIZE=2 RANK=1 MASTER_ADDR=127.0.1.1", "127.0.1.1"},
        {"WORLD_SIZE=2 RANK=0 MASTER_ADDR=", "MASTER_ADDR is empty"},
        {"LWS_LEADER_ADDRESS=l LWS_WORKER_INDEX=1", "LWS_GROUP_SIZE is not set"},
        {"LWS_LEADER_ADDRESS=l LWS_GROUP_SIZE=2 LWS_WORKER_INDEX=2", "not below"},
        {"LWS_LEADER_ADDRESS=l LWS_GROUP_SIZE=2", "LWS_WORKER_INDEX is not set"},
        {"PET_NNODES=3:1 PET_RDZV_ENDPOINT=m:1", "minimum is over the maximum"},
        {"PET_NNODES=0 PET_NODE_RANK=0", "PET_NNODES=0"},
        {"PET_NNODES=2 PET_MASTER_ADDR=m", "nothing says which one this is"},
        {"PET_NNODES=2 PET_NODE_RANK=0", "where node 0 is"},
        {"PET_NNODES=2 PET_NODE_RANK=2 PET_MASTER_ADDR=m", "not below"},
        {"PET_NNODES=2 PET_NODE_RANK=1 PET_MASTER_ADDR=m WORLD_SIZE=5", "WORLD_SIZE=5"},
        {"PET_NNODES=1 PET_NPROC_PER_NODE=gpu", "no GPU"},
        {"PET_NNODES=1 PET_NPROC_PER_NODE=many", "PET_NPROC_PER_NODE=many"},
        {"PET_NNODES=2 PET_RDZV_ENDPOINT=m:0", "PET_RDZV_ENDPOINT=m:0"},
        {"MST_NNODES=2 MST_NODE_RANK=5 MST_MASTER_ADDR=m", "not below"},
        {"COORDINATOR_ADDRESS=c NUM_PROCESSES=2 PROCESS_ID=0", "COORDINATOR_PORT is not set"},
        {"NUM_PROCESSES=2 PROCESS_ID=0 COORDINATOR_ADDRESS= COORDINATOR_PORT=1", "is empty"},
        {"PADDLE_NNODES=2 PADDLE_MASTER=10.0.0.1:1", "nothing says which one this is"},
        {"DMLC_TRACKER_URI=t DMLC_TASK_ID=0", "DMLC_NUM_WORKER is not set"},
        {"K_MPI_JOB_ROLE=launcher", "no variable names a hostfile"},
        {"K_MPI_JOB_ROLE=launcher HYDRA_HOST_FILE=/absent", "/absent"},
        {"JOBSET_NAME=j NNODES=2 NPROC_PER_NODE=1", "POD_NAMESPACE"},
        {"DLROVER_MASTER_ADDR=d:1", "nothing says how many"},
        {"JAX_COORDINATOR_ADDRESS=c:1", "nothing says how many nodes there are and which one"},
        {"NNODES=2", "nothing says which one this is and where node 0 is: set MST_NODE_RANK and "
                     "MST_MASTER_ADDR, or give --node-rank and --rdzv"},
        {"VK_TASK_INDEX=0", "how many nodes there are, which one this is and where node 0 is: set "
                            "MST_NNODES, MST_NODE_RANK and MST_MASTER_ADDR"},
        {"COORDINATOR_ADDRESS=c", "NUM_PROCESSES, PROCESS_ID, COORDINATOR_PORT are not set"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, bad[i][0]);
        pod_refused(&pod, bad[i][1]);
    }
}

static void lost_variables_show_in_the_pods_name(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod.machine.hostname = "tf-worker-1";
    assert_int_equal(pod_resolve(&pod), 0); /* not in Kubernetes: just a name */
    pod_env(&pod, "KUBERNETES_SERVICE_HOST=10.0.0.1");
    pod_refused(&pod, "tf-worker-1");
    pod.machine.hostname = "tf-worker-0"; /* a job of one replica gets no variables */
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.plan.world_size, 1);
}

static void one_gpu_is_one_rank(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod.machine.gpu_count = 4;
    pod.machine.core_count = 64;
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.plan.local_size, 4);
    pod_env(&pod, "PET_NNODES=1 PET_NPROC_PER_NODE=cpu");
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.plan.local_size, 64);
}

static void the_last_of_two_values_counts(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, "PET_NNODES=1 PET_NPROC_PER_NODE=auto PET_NPROC_PER_NODE=3");
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.plan.world_size, 3);
}

static void world_size_may_count_nodes_or_ranks(void **state)
{
    (void)state;
    for (int world = 1; world <= 10; world++) {
        char size[16];
        (void)snprintf(size, sizeof size, "%d", world);
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, "SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_NNODES=2 SLURM_NTASKS=2 "
                      "SLURM_NODEID=1 SLURM_JOB_NODELIST=n[1-2] SLURMD_NODENAME=n2 MASTER_ADDR=n1");
        pod_set(&pod, "WORLD_SIZE", size);
        pod.machine.gpu_count = 4;
        assert_int_equal(pod_resolve(&pod) == 0, world == 2 || world == 8);
    }
}

static void who_wants_to_be_alone_is(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, "MST_WORLD=single MST_RANK=1 PET_NNODES=4 PET_NPROC_PER_NODE=many RANK=x");
    pod.machine.gpu_count = 8;
    assert_int_equal(pod_resolve(&pod), 0);
    assert_string_equal(pod.answer.plan.scheme, "single");
    assert_string_equal(pod.answer.plan.scheduler, "MST_WORLD=single");
    assert_int_equal(pod.answer.plan.world_size, 1);
    assert_string_equal(pod.answer.plan.master_host, "127.0.0.1");
    assert_true(pod.answer.candidates[1].is_passed_over);
    assert_false(mst_answer_has_others(&pod.answer));
    pod_init(&pod);
    pod_env(&pod, "MST_WORLD=alone");
    pod_refused(&pod, "MST_WORLD=alone");
    pod_init(&pod);
    pod_env(&pod, "MST_WORLD=");
    assert_int_equal(pod_resolve(&pod), 0);
    assert_string_equal(pod.answer.plan.scheduler, "none");
}

static void an_answer_tells_whether_there_are_others(void **state)
{
    (void)state;
    static const struct {
        bool has_others;
        const char *env;
    } cases[] = {
        {false, ""},
        {false, "MASTER_ADDR=localhost"},
        {false, "RANK=0 WORLD_SIZE=1 MASTER_ADDR=localhost"},
        {false, "RANK=0 WORLD_SIZE=1 LOCAL_RANK=0"},
        {false, "PET_NNODES=1 PET_NPROC_PER_NODE=auto"},
        {false, "PET_NNODES=1 PET_NPROC_PER_NODE=1"},
        {false, "PET_NNODES=1 PET_RDZV_ENDPOINT=h:1 PET_STANDALONE="},
        {false, "SLURM_JOB_ID=1 SLURM_NNODES=1 SLURM_NTASKS=1"},
        {false, "PADDLE_NNODES=2 PADDLE_MASTER=j-master-0:1 PADDLE_SERVER_NUM=1"},
        {true, "PET_NNODES=1 PET_NPROC_PER_NODE=4"},
        {true, "PET_NNODES=1 PET_NPROC_PER_NODE=gpu"},
        {true, "PET_NNODES=2 PET_NODE_RANK=0 PET_MASTER_ADDR=m"},
        {true, "PET_NNODES=1:2 PET_RDZV_ENDPOINT=m:1"},
        {true, "SLURM_JOB_ID=1 SLURM_NNODES=1 SLURM_NTASKS=6"},
        {true, "RANK=0 WORLD_SIZE=2 MASTER_ADDR=localhost"},
        {true, "RANK=0 WORLD_SIZE=2 LOCAL_RANK=0"},
        {true, "PMIX_RANK=0"},
        {true, "K_MPI_JOB_ROLE=worker"},
        {true, "JOB_COMPLETION_INDEX=0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, cases[i].env);
        pod.machine.gpu_count = 8;
        (void)mst_resolve(&pod.machine, NULL, &pod.answer);
        if (mst_answer_has_others(&pod.answer) != cases[i].has_others)
            fail_msg("%s: %s", cases[i].env, pod.answer.err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_has_its_answer),
        cmocka_unit_test(agreeing_sources_are_merged),
        cmocka_unit_test(contradictions_name_both_sides),
        cmocka_unit_test(from_believes_one_scheme),
        cmocka_unit_test(a_rank_is_not_launched_again),
        cmocka_unit_test(broken_ranks_are_refused),
        cmocka_unit_test(nothing_is_a_silent_world_of_one),
        cmocka_unit_test(lost_variables_show_in_the_pods_name),
        cmocka_unit_test(one_gpu_is_one_rank),
        cmocka_unit_test(the_last_of_two_values_counts),
        cmocka_unit_test(world_size_may_count_nodes_or_ranks),
        cmocka_unit_test(who_wants_to_be_alone_is),
        cmocka_unit_test(an_answer_tells_whether_there_are_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a job is called: the same on each of its nodes, something else for another job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/resolve/resolve.h"
#include "resolve_fixture.h"

static void resolve(struct pod *pod, const char *hostname, const char *env)
{
    pod_init(pod);
    pod_env(pod, env);
    pod_file(pod, "/nf", "n1\nn2\n");
    pod->machine.hostname = hostname;
    pod->machine.gpu_count = 4;
    if (mst_resolve(&pod->machine, NULL, &pod->answer))
        fail_msg("%s: %s", env, pod->answer.err.text);
}

#define K8S "KUBERNETES_SERVICE_HOST=10.0.0.1 "
#define STEP "SLURM_STEP_ID=0 SLURM_NNODES=2 SLURM_NTASKS=2 SLURM_JOB_NODELIST=n[1-2] "
#define TF(job, role, index)                                                                       \
    "TF_CONFIG={\"cluster\":{\"worker\":[\"" job "-worker-0.ns3.svc:2222\",\"" job                 \
    "-worker-1.ns3.svc:2222\"]},\"task\":{\"type\":\"" role "\",\"index\":" index "}}"
#define MX(job, index)                                                                             \
    "MX_CONFIG={\"cluster\":{\"worker\":[{\"url\":\"" job                                          \
    "-worker-0\",\"port\":9},{\"url\":\"x\",\"port\":9}]},\"task\":{\"type\":\"worker\","          \
    "\"index\":" index "}}"
#define PET(job, rank) "PET_NNODES=2 PET_MASTER_ADDR=" job " PET_NODE_RANK=" rank

/* Two nodes of a job, what it is called, and a node of another one. */
static const struct job {
    const char *id;
    const char *first_host, *first, *second_host, *second, *other;
} jobs[] = {
    {"slurm-42", "n1", "SLURM_JOB_ID=42 SLURM_NODEID=0 " STEP, "n2",
     "SLURM_JOB_ID=42 SLURM_NODEID=1 " STEP, "SLURM_JOB_ID=43 SLURM_NODEID=1 " STEP},
    {"slurm-40_0", "n1",
     "SLURM_JOB_ID=42 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=0 SLURM_NODEID=0 " STEP, "n2",
     "SLURM_JOB_ID=42 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=0 SLURM_NODEID=1 " STEP,
     "SLURM_JOB_ID=43 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=1 SLURM_NODEID=1 " STEP},
    {"slurm-42", "n1", "SLURM_JOB_ID=42 SLURM_HET_JOB_ID=42 SLURM_NODEID=0 " STEP, "n2",
     "SLURM_JOB_ID=43 SLURM_HET_JOB_ID=42 SLURM_NODEID=1 " STEP,
     "SLURM_JOB_ID=45 SLURM_HET_JOB_ID=44 SLURM_NODEID=1 " STEP},
    {"lsf-77", "n1", "LSB_JOBID=77 LSB_JOBINDEX=0 LSB_MCPU_HOSTS=n1 MST_RANK=0 MST_WORLD_SIZE=2",
     "n2", "LSB_JOBID=77 LSB_JOBINDEX=0 LSB_MCPU_HOSTS=n1 MST_RANK=1 MST_WORLD_SIZE=2",
     "LSB_JOBID=77 LSB_JOBINDEX=2 LSB_MCPU_HOSTS=n1 MST_RANK=1 MST_WORLD_SIZE=2"},
    {"pbs-12.pbs", "n1", "PBS_JOBID=12.pbs PBS_NODEFILE=/nf PBS_TASKNUM=2", "n2",
     "PBS_JOBID=12.pbs PBS_NODEFILE=/nf PBS_TASKNUM=3",
     "PBS_JOBID=13.pbs PBS_NODEFILE=/nf PBS_TASKNUM=3"},
    {"flux-f2e73NP", "n1", "FLUX_JOB_ID=f2e73NP FLUX_JOB_SIZE=4 FLUX_JOB_NNODES=2 FLUX_TASK_RANK=0",
     "n2", "FLUX_JOB_ID=f2e73NP FLUX_JOB_SIZE=4 FLUX_JOB_NNODES=2 FLUX_TASK_RANK=3",
     "FLUX_JOB_ID=f2e73Nq FLUX_JOB_SIZE=4 FLUX_JOB_NNODES=2 FLUX_TASK_RANK=3"},
    {"llm.ns", "llm-w-0-0", "JOBSET_NAME=llm POD_NAMESPACE=ns JOB_COMPLETION_INDEX=0 MST_NNODES=2",
     "llm-w-0-1", "JOBSET_NAME=llm POD_NAMESPACE=ns JOB_COMPLETION_INDEX=1 MST_NNODES=2",
     "JOBSET_NAME=llm POD_NAMESPACE=other JOB_COMPLETION_INDEX=1 MST_NNODES=2"},
    {"abc12", "f-worker-0",
     "PET_NNODES=2 PET_RDZV_ENDPOINT=f-worker-0:1 FLYTE_INTERNAL_EXECUTION_ID=abc12", "f-worker-1",
     "PET_NNODES=2 PET_RDZV_ENDPOINT=f-worker-0:1 FLYTE_INTERNAL_EXECUTION_ID=abc12",
     "PET_NNODES=2 PET_RDZV_ENDPOINT=f-worker-0:1 FLYTE_INTERNAL_EXECUTION_ID=abc13"},
    {"aws-batch-9f", "a",
     "AWS_BATCH_JOB_ID=9f#0 AWS_BATCH_JOB_NUM_NODES=2 AWS_BATCH_JOB_NODE_INDEX=0", "b",
     "AWS_BATCH_JOB_ID=9f#1 AWS_BATCH_JOB_NUM_NODES=2 AWS_BATCH_JOB_NODE_INDEX=1 "
     "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS=10.0.0.9",
     "AWS_BATCH_JOB_ID=9e#0 AWS_BATCH_JOB_NUM_NODES=2 AWS_BATCH_JOB_NODE_INDEX=0"},
    {"test-job", "test-job-worker-0", /* node 0 is told its own address, the others its name */
     "PADDLE_JOB_ID=test-job PADDLE_NNODES=2 PADDLE_MASTER=10.244.1.7:1 POD_IP_DUMMY=10.244.1.7",
     "test-job-worker-1",
     "PADDLE_JOB_ID=test-job PADDLE_NNODES=2 PADDLE_MASTER=test-job-worker-0:1",
     "PADDLE_JOB_ID=test PADDLE_NNODES=2 PADDLE_MASTER=test-job-worker-0:1"},
    {"j1", "a", "RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=a TORCHELASTIC_RUN_ID=j1", "b",
     "RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 MASTER_ADDR=a TORCHELASTIC_RUN_ID=j1",
     "RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 MASTER_ADDR=a TORCHELASTIC_RUN_ID=j2"},
    {"run", "w", "PET_NNODES=1:2 PET_RDZV_ENDPOINT=etcd:1 PET_RDZV_ID=run", "w",
     "PET_NNODES=1:2 PET_RDZV_ENDPOINT=etcd:1 PET_RDZV_ID=run",
     "PET_NNODES=1:2 PET_RDZV_ENDPOINT=etcd:1 PET_RDZV_ID=run2"},
    /* in an operator's name of node 0 */
    {"a-job", "x", PET("a-job-master-0", "0"), "y", PET("a-job-master-0", "1"),
     PET("b-job-master-0", "0")},
    {"tj", "x", PET("tj-node-0-0.tj", "0"), "y", PET("tj-node-0-0.tj", "1"),
     PET("tj-2-node-0-0.tj-2", "0")},
    {"tj.ns", "x", PET("tj-node-0-0.tj.ns.svc.cluster.local", "0"), "y",
     PET("tj-node-0-0.tj.ns.svc.cluster.local", "1"), PET("tj-node-0-0.tj.ns2.svc", "0")},
    {"mnist.ns", "x", PET("mnist-master-0.ns", "0"), "y", PET("mnist-master-0.ns", "1"),
     PET("mnist-master-0", "0")},
    {"pai", "pai-master-0", K8S "MASTER_ADDR=pai-master-0 WORLD_SIZE=2 RANK=0", "pai-worker-0",
     K8S "MASTER_ADDR=pai-master-0 WORLD_SIZE=2 RANK=1",
     K8S "MASTER_ADDR=pai2-master-0 WORLD_SIZE=2 RANK=1"},
    {"tf.ns3", "x", TF("tf", "worker", "0"), "y", TF("tf", "worker", "1"),
     TF("tf2", "worker", "1")},
    {"tf.ns3", "x", TF("tf", "worker", "0"), "tf-evaluator-0", TF("tf", "evaluator", "0"),
     TF("tf2", "evaluator", "0")},
    {"mx", "x", MX("mx", "0"), "y", MX("mx", "1"), MX("my", "1")},
    {"jx", "x", "COORDINATOR_ADDRESS=jx-worker-0 COORDINATOR_PORT=1 NUM_PROCESSES=2 PROCESS_ID=0",
     "y", "COORDINATOR_ADDRESS=jx-worker-0 COORDINATOR_PORT=1 NUM_PROCESSES=2 PROCESS_ID=1",
     "COORDINATOR_ADDRESS=jy-worker-0 COORDINATOR_PORT=1 NUM_PROCESSES=2 PROCESS_ID=1"},
    {"ddp", "ddp-master-0", "VC_TASK_INDEX=0 VC_MASTER_HOSTS=ddp-master-0.ddp,ddp-master-1.ddp",
     "ddp-master-1", "VC_TASK_INDEX=1 VC_MASTER_HOSTS=ddp-master-0.ddp,ddp-master-1.ddp",
     "VC_TASK_INDEX=1 VC_MASTER_HOSTS=dd-master-0.dd,ddp-master-1.dd"},
    /* every group of a LeaderWorkerSet is a world */
    {"s-0.default", "x", "LWS_LEADER_ADDRESS=s-0.s.default LWS_GROUP_SIZE=2 LWS_WORKER_INDEX=0",
     "y", "LWS_LEADER_ADDRESS=s-0.s.default LWS_GROUP_SIZE=2 LWS_WORKER_INDEX=1",
     "LWS_LEADER_ADDRESS=s-1.s.default LWS_GROUP_SIZE=2 LWS_WORKER_INDEX=1"},
};

static void nodes_of_one_job_agree_and_other_jobs_differ(void **state)
{
    (void)state;
    for (const struct job *job = jobs; job < jobs + sizeof jobs / sizeof *jobs; job++) {
        struct pod first, second, other;
        resolve(&first, job->first_host, job->first);
        resolve(&second, job->second_host, job->second);
        resolve(&other, job->second_host, job->other);
        assert_string_equal(first.answer.plan.job_id, job->id);
        assert_string_equal(second.answer.plan.job_id, job->id);
        assert_string_not_equal(other.answer.plan.job_id, job->id);
    }
}

/* What two jobs may have in common: defaults, numbers out of examples, machines, pods' own
 * names. */
static void what_names_no_job_is_no_name(void **state)
{
    (void)state;
    static const char *const unnamed[] = {
        "RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=a TORCHELASTIC_RUN_ID=none",
        "RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=a TORCHELASTIC_RUN_ID=456",
        "PET_NNODES=1:2 PET_RDZV_ENDPOINT=a:1 PET_RDZV_ID=0",
        "PADDLE_JOB_ID=default PADDLE_NNODES=2 PADDLE_MASTER=10.0.0.1:1 MST_NODE_RANK=1",
        "MASTER_ADDR=gpu-worker-0 NNODES=2 NODE_RANK=0", /* a machine's name */
        "PET_NNODES=2 PET_MASTER_ADDR=10.0.0.1 PET_NODE_RANK=0",
        "PET_NNODES=2 PET_MASTER_ADDR=fd00::1 PET_NODE_RANK=0",
        "PET_NNODES=2 PET_MASTER_ADDR=head PET_NODE_RANK=0",
        "PET_NNODES=1:2 PET_RDZV_ENDPOINT=etcd:1 PET_RDZV_BACKEND=etcd-v2",
        "JOB_COMPLETION_INDEX=1 MST_NNODES=2 MST_SUBDOMAIN=s",
        "MST_NNODES=2 MST_NODE_RANK=1 MST_MASTER_ADDR=gpu-worker-0",
        "",
    };
    for (size_t i = 0; i < sizeof unnamed / sizeof *unnamed; i++) {
        struct pod pod;
        resolve(&pod, "j-worker-1", unnamed[i]);
        if (pod.answer.plan.job_id[0])
            fail_msg("%s: called %s", unnamed[i], pod.answer.plan.job_id);
        assert_string_equal(pod.answer.plan.step_id, "");
    }
}

static void the_users_word_stands_first(void **state)
{
    (void)state;
    struct pod pod;
    resolve(&pod, "n2", "MST_JOB_ID=mine SLURM_JOB_ID=42 SLURM_NODEID=1 " STEP);
    assert_string_equal(pod.answer.plan.job_id, "mine");
}

static void a_step_is_not_in_the_name(void **state)
{
    (void)state;
    struct pod pod;
    resolve(&pod, "n2",
            "SLURM_JOB_ID=42 SLURM_NODEID=1 SLURM_STEP_ID=7 SLURM_NNODES=2 SLURM_NTASKS=2 "
            "SLURM_JOB_NODELIST=n[1-2]");
    assert_string_equal(pod.answer.plan.job_id, "slurm-42");
    assert_string_equal(pod.answer.plan.step_id, "7");
}

/* A flag may say what the environment leaves open: the job has its name all the same. */
static void a_plan_that_is_refused_has_a_name(void **state)
{
    (void)state;
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, "SLURM_JOB_ID=42 SLURM_NNODES=2");
    pod_refused(&pod, "batch script");
    assert_string_equal(pod.answer.plan.job_id, "slurm-42");
}

/* Names that differ only in what does not fit, or in what may not stand there, stay two. */
static void a_name_fits_without_becoming_another(void **state)
{
    (void)state;
    char a[300], b[300];
    memset(a, 'a', sizeof a);
    a[sizeof a - 1] = '\0';
    memcpy(b, a, sizeof b);
    b[sizeof b - 2] = 'b';
    struct pod first, second;
    pod_init(&first);
    pod_set(&first, "JOBSET_NAME", a);
    mst_plan_name_job(&first.machine, &first.answer.plan);
    pod_init(&second);
    pod_set(&second, "JOBSET_NAME", b);
    mst_plan_name_job(&second.machine, &second.answer.plan);
    assert_int_equal(strlen(first.answer.plan.job_id), MST_JOB_ID_BYTES - 1);
    assert_int_equal(first.answer.plan.job_id[MST_JOB_ID_BYTES - 18], '-');
    assert_string_not_equal(first.answer.plan.job_id, second.answer.plan.job_id);
    pod_init(&first);
    pod_env(&first, "PBS_JOBID=12[3].pbs");
    mst_plan_name_job(&first.machine, &first.answer.plan);
    assert_memory_equal(first.answer.plan.job_id, "pbs-12_3_.pbs-", 14);
    pod_init(&second);
    pod_env(&second, "PBS_JOBID=12{3}.pbs");
    mst_plan_name_job(&second.machine, &second.answer.plan);
    assert_string_not_equal(first.answer.plan.job_id, second.answer.plan.job_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_of_one_job_agree_and_other_jobs_differ),
        cmocka_unit_test(what_names_no_job_is_no_name),
        cmocka_unit_test(the_users_word_stands_first),
        cmocka_unit_test(a_step_is_not_in_the_name),
        cmocka_unit_test(a_plan_that_is_refused_has_a_name),
        cmocka_unit_test(a_name_fits_without_becoming_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

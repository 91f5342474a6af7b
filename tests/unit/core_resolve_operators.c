/* What each operator does beyond the recorded environments, as a table: the rule, the environment,
 * and the whole answer on one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/resolve/resolve.h"
#include "resolve_fixture.h"

struct rule {
    const char *rule, *hostname, *env;
    const char
        *want; /* "mode world/node/nodes/local master:port role" and, if set, "elastic a:b" */
};

static void describe(const struct mst_plan *plan, char *text, size_t cap)
{
    int size = snprintf(
        text, cap, "%s %lld/%lld/%lld/%lld %s:%lld %s", mst_plan_mode_name(plan->mode),
        (long long)plan->world_size, (long long)plan->node_rank, (long long)plan->node_count,
        (long long)plan->local_size, plan->master_host, (long long)plan->master_port, plan->role);
    if (plan->mode == MST_PLAN_RANK)
        size += snprintf(text + size, cap - (size_t)size, " rank %lld local %lld",
                         (long long)plan->rank, (long long)plan->local_rank);
    if (plan->elastic_min >= 0)
        (void)snprintf(text + size, cap - (size_t)size, " elastic %lld:%lld",
                       (long long)plan->elastic_min, (long long)plan->elastic_max);
}

static void check(const struct rule *rules, size_t count)
{
    int failed = 0;
    for (const struct rule *rule = rules; rule < rules + count; rule++) {
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, rule->env);
        pod_file(&pod, "/etc/mpi/hostfile", "j-launcher slots=1\nj-worker-0 slots=2\n");
        pod_file(&pod, "/hydra", "j-worker-0.j:4\nj-worker-1.j:4\n");
        pod_file(&pod, "/etc/mpi/discover_hosts.sh",
                 "#!/bin/sh\necho k-worker-1\necho k-worker-0\n");
        pod.machine.hostname = rule->hostname;
        pod.machine.pod_ip = "10.0.0.7";
        pod.machine.gpu_count = 4;
        (void)mst_resolve(&pod.machine, NULL, &pod.answer);
        char got[1024];
        describe(&pod.answer.plan, got, sizeof got);
        if (strcmp(got, rule->want) == 0)
            continue;
        print_error("%s:\n  got  %s\n  want %s\n  %s\n", rule->rule, got, rule->want,
                    pod.answer.err.text);
        failed++;
    }
    assert_int_equal(failed, 0);
}

#define CHECK(rules) check(rules, sizeof(rules) / sizeof(rules)[0])

#define TF(cluster, task, index)                                                                   \
    "TF_CONFIG={\"cluster\":{" cluster "},\"task\":{\"type\":\"" task "\",\"index\":" index "}}"

#define MX(task, index)                                                                            \
    "MX_CONFIG={\"cluster\":{\"worker\":[{\"url\":\"w0\",\"port\":9}],\"server\":[{\"url\":"       \
    "\"s0\","                                                                                      \
    "\"port\":9}]},\"task\":{\"type\":\"" task "\",\"index\":" index "}}"

static void tensorflow(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"the chief is rank 0 and workers follow", "h",
         TF("\"worker\":[\"w0:1\",\"w1:1\"],\"chief\":[\"c0:2\"],\"ps\":[\"p:1\"]", "worker", "1"),
         "spawn 12/2/3/4 c0:2 worker"},
        {"an old master is a chief", "h",
         TF("\"master\":[\"m0:2\"],\"worker\":[\"w0:1\"]", "master", "0"),
         "spawn 8/0/2/4 m0:2 master"},
        {"an evaluator need not be in the cluster", "h",
         TF("\"worker\":[\"w0:1\"]", "evaluator", "0"), "no_collective 4/-1/1/4 w0:1 evaluator"},
        {"a server beside dynamic workers sees none of them", "h",
         TF("\"ps\":[\"p0:1\"]", "ps", "0"), "no_collective -1/-1/-1/4 :-1 ps"},
        {"nor of its like", "h", TF("\"worker\":{},\"ps\":[\"p3:1\"]", "ps", "3"),
         "no_collective -1/-1/-1/4 :-1 ps"},
        {"a role of the user's own stands beside the world", "h",
         TF("\"worker\":[\"w0:1\"],\"reader\":[\"r:1\"]", "reader", "0"),
         "no_collective 4/-1/1/4 w0:1 reader"},
        {"a dynamic worker with a chief", "h",
         TF("\"worker\":{\"3\":\"j-worker-3.j:1\"},\"chief\":[\"c0:2\"]", "worker", "3"),
         "elastic_unknown_size -1/4/-1/4 c0:2 worker"},
        {"a dynamic worker and the user's word", "h",
         TF("\"worker\":{\"3\":\"j-worker-3.j:1\"}", "worker", "3") " MST_NNODES=8",
         "spawn 32/3/8/4 j-worker-0.j:1 worker"},
        {"Volcano's host lists count servers too, TF_CONFIG does not", "j-worker-0",
         TF("\"worker\":[\"j-worker-0.j:1\"],\"ps\":[\"j-ps-0.j:1\"]", "worker",
            "0") " VC_TASK_INDEX=0 VC_WORKER_HOSTS=j-worker-0.j VC_PS_HOSTS=j-ps-0.j",
         "spawn 4/0/1/4 j-worker-0.j:1 worker"},
    };
    CHECK(rules);
}

static void torch(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"a TrainJob has no RANK", "h", "PET_NNODES=2 PET_NODE_RANK=0 PET_MASTER_ADDR=t-node-0-0.t",
         "spawn 8/0/2/4 t-node-0-0.t:29500 worker"},
        {"torchrun's own port for a rendezvous", "j-worker-2",
         "PET_NNODES=2:4 PET_RDZV_ENDPOINT=j-worker-0 PET_NPROC_PER_NODE=2",
         "spawn -1/2/-1/2 j-worker-0:29400 worker elastic 2:4"},
        {"an etcd endpoint is not node 0", "j-worker-1",
         "PET_NNODES=1:2 PET_RDZV_ENDPOINT=etcd:2379 PET_RDZV_BACKEND=etcd-v2",
         "spawn -1/1/-1/4 j-worker-0:29400 worker elastic 1:2"},
        {"a world without room to change is fixed", "j-worker-1",
         "PET_NNODES=2 PET_RDZV_ENDPOINT=j-worker-0:1",
         "spawn 8/1/2/4 j-worker-0:1 worker elastic 2:2"},
        {"a kept master may stand outside of the range", "j-worker-2",
         "PET_NNODES=1:2 PET_RDZV_ENDPOINT=j-master-0:1 RANK=3 WORLD_SIZE=4",
         "spawn -1/-1/-1/4 j-master-0:1 worker elastic 1:2"},
        {"a PyTorchJob without a Master says how many, and the name which", "j-worker-1",
         "PET_NNODES=2 PET_NPROC_PER_NODE=2", "spawn 4/1/2/2 j-worker-0:23456 worker"},
        {"a worker beyond their number is none of them", "j-worker-2", "PET_NNODES=2",
         "error -1/-1/-1/-1 :-1 worker"},
        {"where node 0 is without who this is", "j-worker-1", "PET_NNODES=2 PET_MASTER_ADDR=m",
         "error -1/-1/-1/-1 :-1 worker"},
        {"PyTorchJob before 1.4: its master is told localhost", "j-master-0",
         "MASTER_ADDR=localhost MASTER_PORT=5 WORLD_SIZE=2 RANK=0",
         "spawn 8/0/2/4 localhost:5 master"},
        {"MASTER_ADDR=localhost alone is a workstation", "h", "MASTER_ADDR=localhost",
         "spawn 4/0/1/4 localhost:29500 worker"},
        {"the worker's number counts, wherever the endpoint is", "j-worker-2",
         "PET_NNODES=1:3 PET_RDZV_ENDPOINT=other:1", "spawn -1/2/-1/4 other:1 worker elastic 1:3"},
        {"an endpoint that is localhost on every pod", "j-worker-1",
         "PET_NNODES=1:3 PET_RDZV_ENDPOINT=localhost:1", "error -1/1/-1/-1 :-1 worker"},
        {"DeepSpeed's launcher", "h",
         "RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_SIZE=2 MASTER_ADDR=m MASTER_PORT=1",
         "rank 4/1/2/2 m:1 worker rank 3 local 1"},
    };
    CHECK(rules);
}

static void other_frameworks(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"an MXJob's scheduler is no rank", "h",
         "MX_CONFIG={\"cluster\":{\"worker\":[{\"url\":\"w0\",\"port\":9}]},\"task\":{\"type\":"
         "\"scheduler\",\"index\":0}}",
         "no_collective 1/-1/1/1 w0:9 scheduler"},
        {"DMLC variables without MX_CONFIG", "j-worker-1",
         "DMLC_ROLE=worker DMLC_PS_ROOT_URI=s DMLC_NUM_WORKER=3 DMLC_WORKER_ID=1",
         "spawn 3/1/3/1 j-worker-0:29500 worker"},
        {"a Paddle pod is node 0 by its address", "whatever",
         "PADDLE_NNODES=2 PADDLE_MASTER=10.0.0.7:36543", "spawn 8/0/2/4 10.0.0.7:36543 worker"},
        {"an elastic PaddleJob", "j-worker-3", "PADDLE_NNODES=2:4 PADDLE_MASTER=j-worker-0:1",
         "spawn -1/3/-1/4 j-worker-0:1 worker elastic 2:4"},
        {"Paddle nodes that meet at an etcd", "j-worker-1",
         "PADDLE_NNODES=1:2 PADDLE_MASTER=etcd://e:2379",
         "spawn -1/1/-1/4 j-worker-0:29500 worker elastic 1:2"},
        {"Paddle's master by URL", "j-worker-1",
         "PADDLE_NNODES=2 PADDLE_MASTER=http://j-worker-0:5", "spawn 8/1/2/4 j-worker-0:5 worker"},
        {"a Paddle parameter server", "j-master-0",
         "PADDLE_NNODES=2 PADDLE_MASTER=j-master-0:1 PADDLE_SERVER_NUM=1",
         "no_collective 8/-1/2/4 j-master-0:1 server"},
        {"the old paddle-operator counts by addresses", "h",
         "PADDLE_TRAINER_ID=1 PADDLE_TRAINER_ENDPOINTS=10.0.0.6:36000,10.0.0.7:36000 "
         "TRAINING_ROLE=TRAINER",
         "spawn 8/1/2/4 10.0.0.6:36000 worker"},
        {"a trainer of another kind of device is no rank", "h",
         "PADDLE_TRAINER_ID=0 PADDLE_TRAINERS_NUM=2 PADDLE_TRAINER_ENDPOINTS=10.0.0.6:1,10.0.0.7:1 "
         "TRAINING_ROLE=HETER_TRAINER",
         "no_collective 8/-1/2/4 10.0.0.6:1 heter_trainer"},
        {"the older name of its role", "h",
         "PADDLE_TRAINER_ID=0 PADDLE_TRAINERS_NUM=2 PADDLE_TRAINER_ENDPOINTS=10.0.0.6:1,10.0.0.7:1 "
         "PADDLE_TRAINING_ROLE=PSERVER",
         "no_collective 8/-1/2/4 10.0.0.6:1 server"},
        {"ranks of paddle launch", "h",
         "PADDLE_GLOBAL_RANK=5 PADDLE_GLOBAL_SIZE=8 PADDLE_LOCAL_RANK=1 PADDLE_LOCAL_SIZE=4 "
         "PADDLE_TRAINER_ID=5 PADDLE_TRAINERS_NUM=8",
         "rank 8/1/2/4 :-1 worker rank 5 local 1"},
        {"JAX has one process per pod, whatever its GPUs", "h",
         "COORDINATOR_ADDRESS=c COORDINATOR_PORT=6666 NUM_PROCESSES=3 PROCESS_ID=2",
         "spawn 3/2/3/1 c:6666 worker"},
        {"an XGBoostJob's master trains", "h",
         "WORKER_ADDRS=w0 WORLD_SIZE=2 RANK=0 MASTER_ADDR=m MASTER_PORT=9",
         "spawn 2/0/2/1 m:9 master"},
        {"the user's ranks per node decide how many nodes a tracker means", "h",
         "DMLC_TRACKER_URI=t DMLC_TASK_ID=3 DMLC_NUM_WORKER=8 MST_NPROC_PER_NODE=2",
         "spawn 8/3/4/2 t:29500 worker"},
        {"a DLRover parameter server", "h",
         "DLROVER_MASTER_ADDR=d:1 NODE_TYPE=ps NODE_NUM=2 NODE_RANK=1",
         "no_collective 8/-1/2/4 d:1 ps"},
    };
    CHECK(rules);
}

static void mpi(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"slots may differ: this node's count is its own", "j-launcher",
         "K_MPI_JOB_ROLE=launcher OMPI_MCA_orte_default_hostfile=/etc/mpi/hostfile",
         "spawn 3/0/2/1 j-launcher:-1 launcher"},
        {"another pod with that file runs no rank", "k-launcher",
         "K_MPI_JOB_ROLE=launcher PRTE_MCA_prte_default_hostfile=/etc/mpi/hostfile",
         "control 3/-1/2/-1 j-launcher:-1 launcher"},
        {"Hydra's host:4 is a count", "j-launcher",
         "K_MPI_JOB_ROLE=launcher HYDRA_HOST_FILE=/hydra",
         "control 8/-1/2/4 j-worker-0.j:-1 launcher"},
        {"without a hostfile the discovery script, by number", "k-launcher",
         "OMPI_MCA_plm_rsh_agent=/etc/mpi/kubexec.sh OMPI_MCA_orte_default_hostfile=/absent "
         "OMPI_MCA_orte_set_default_slots=3",
         "control 6/-1/2/3 k-worker-0:-1 launcher"},
        {"an agent in a worker's pod", "j-worker-1",
         "K_MPI_JOB_ROLE=worker MST_NNODES=2 MST_MASTER_ADDR=j-worker-0.j",
         "spawn 8/1/2/4 j-worker-0.j:29500 worker"},
        {"mpirun's ranks in such a pod", "j-worker-1",
         "K_MPI_JOB_ROLE=worker OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 "
         "OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=2",
         "rank 4/1/2/2 :-1 worker rank 3 local 1"},
        {"a rank that asks its library for the rest", "h", "PMIX_RANK=3 MASTER_ADDR=m",
         "rank -1/-1/-1/-1 m:29500 worker rank 3 local -1"},
        {"Hydra with a port", "h", "PMI_PORT=h:5 PMI_ID=3",
         "rank -1/-1/-1/-1 :-1 worker rank 3 local -1"},
        {"a user's master for ranks of mpirun", "h",
         "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 MASTER_ADDR=m MASTER_PORT=7",
         "rank 2/-1/-1/-1 m:7 worker rank 0 local -1"},
        {"a worker's number is one too low beside a launcher with ranks", "j-worker-0",
         "K_MPI_JOB_ROLE=worker MST_NNODES=2 MST_NODE_RANK=1 MST_MASTER_ADDR=j-launcher",
         "spawn 8/1/2/4 j-launcher:29500 worker"},
        {"an uneven world has no guess of its nodes", "h",
         "PMI_FD=5 PMI_ID=4 PMI_SIZE=5 MPI_LOCALNRANKS=2 MPI_LOCALRANKID=1",
         "rank 5/-1/-1/2 :-1 worker rank 4 local 1"},
        {"Volcano's mpi master may run ranks", "m-0", "VC_TASK_INDEX=0 MPI_HOST=m-0.j,w-0.j",
         "spawn 2/0/2/1 m-0.j:-1 launcher"},
    };
    CHECK(rules);
}

static void kubernetes(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"an Indexed Job with a master by name", "t-1",
         "JOB_COMPLETION_INDEX=1 MST_NNODES=2 MASTER_ADDR=t-0.t MASTER_PORT=7",
         "spawn 8/1/2/4 t-0.t:7 worker"},
        {"a JobSet of one Job, named by its pods", "js-w-0-3",
         "JOBSET_NAME=js JOB_COMPLETION_INDEX=3 MST_NNODES=4",
         "spawn 16/3/4/4 js-w-0-0.js:29500 worker"},
        {"the second Job's pods start behind the first's", "js-w-1-0",
         "JOBSET_NAME=js JOB_COMPLETION_INDEX=0 JOBSET_REPLICATEDJOB_REPLICAS=2 MST_PODS_PER_JOB=3",
         "spawn 24/3/6/4 js-w-0-0.js:29500 worker"},
        {"a coordinator's annotation", "js-w-0-0",
         "JOBSET_NAME=js JOB_COMPLETION_INDEX=0 MST_NNODES=1 JOBSET_COORDINATOR=js-c-0-0.js",
         "spawn 4/0/1/4 js-c-0-0.js:29500 worker"},
        {"a JobSet that may restart more often than it has nodes", "js-w-0-0",
         "JOBSET_NAME=js JOB_COMPLETION_INDEX=0 MST_NNODES=2 JOBSET_MAX_RESTARTS=100000",
         "spawn 8/0/2/4 js-w-0-0.js:29500 worker"},
        {"the index of a second Job is not a node's rank", "js-w-1-0",
         "JOBSET_NAME=js JOB_COMPLETION_INDEX=0 MST_NNODES=4", "error -1/-1/-1/-1 :-1 worker"},
        {"an elastic Flyte task", "f-workers-0-1",
         "JOBSET_NAME=f POD_NAMESPACE=n JOB_COMPLETION_INDEX=1 NNODES=1:2 NPROC_PER_NODE=8",
         "spawn -1/1/-1/8 f-workers-0-0.f.n.svc.cluster.local:29500 worker elastic 1:2"},
        {"an LWS group of one", "x-0",
         "LWS_GROUP_SIZE=1 LWS_WORKER_INDEX=0 LWS_LEADER_ADDRESS=x-0.x",
         "spawn 4/0/1/4 x-0.x:29500 leader"},
        {"Volcano's tasks in order, leaders first", "j-a-1.j",
         "VC_TASK_INDEX=1 VC_A_HOSTS=j-a-0.j,j-a-1.j VC_CHIEF_HOSTS=j-chief-0.j "
         "VC_MY_TASK_HOSTS=j-my-task-0.j",
         "spawn 16/2/4/4 j-chief-0.j:29500 a"},
        {"a task's own name has dashes", "j-my-task-0",
         "VC_TASK_INDEX=0 VC_A_HOSTS=j-a-0.j VC_MY_TASK_HOSTS=j-my-task-0.j",
         "spawn 8/1/2/4 j-a-0.j:29500 my-task"},
        {"Volcano's host lists without its index", "j-a-1", "VC_A_HOSTS=j-a-0.j,j-a-1.j VC_A_NUM=2",
         "spawn 8/1/2/4 j-a-0.j:29500 a"},
        {"a Volcano pod under another name is nobody", "elsewhere",
         "VC_TASK_INDEX=0 VC_A_HOSTS=j-a-0.j", "error -1/-1/-1/-1 :-1 "},
    };
    CHECK(rules);
}

#define STEP "SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_NODEID=1 SLURM_PROCID=2 SLURM_LOCALID=0 "

static void slurm(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"a batch script on one node may launch", "n7",
         "SLURM_JOB_ID=1 SLURM_NNODES=1 SLURM_NTASKS=1 SLURM_JOB_NODELIST=n7",
         "spawn 4/0/1/4 n7:29500 worker"},
        {"its tasks are the ranks", "n7",
         "SLURM_JOB_ID=1 SLURM_NNODES=1 SLURM_NTASKS=6 SLURM_JOB_NODELIST=n7",
         "spawn 6/0/1/6 n7:29500 worker"},
        {"a step uses a part of the job's nodes", "n3",
         STEP "SLURM_NNODES=8 SLURM_STEP_NUM_NODES=2 SLURM_STEP_TASKS_PER_NODE=1(x2) "
              "SLURM_JOB_NODELIST=n[1-8] SLURM_STEP_NODELIST=n[2-3]",
         "spawn 8/1/2/4 n2:29500 worker"},
        {"a batch script on several nodes is no task", "n1",
         "SLURM_JOB_ID=1 SLURM_JOB_NUM_NODES=2 SLURM_NODEID=0 SLURM_NODELIST=n[1-2]",
         "error -1/-1/-1/-1 :-1 "},
        {"a job's id alone", "n1", "SLURM_JOB_ID=1", "error -1/-1/-1/-1 :-1 "},
        {"a node under another node's place is refused", "n5",
         STEP "SLURM_NNODES=2 SLURM_NTASKS=2 SLURM_TASKS_PER_NODE=1(x2) SLURM_JOB_NODELIST=n[1-2]",
         "error -1/1/-1/-1 :-1 "},
        {"unless Slurm knows it by that name", "container",
         STEP "SLURM_NNODES=2 SLURM_NTASKS=2 SLURM_TASKS_PER_NODE=1(x2) SLURM_JOB_NODELIST=n[1-2] "
              "SLURMD_NODENAME=n2",
         "spawn 8/1/2/4 n1:29500 worker"},
        {"two tasks on a node are ranks", "anything",
         STEP "SLURM_NNODES=2 SLURM_NTASKS=4 SLURM_TASKS_PER_NODE=2(x2) SLURM_JOB_NODELIST=n[1-2]",
         "rank 4/1/2/2 n1:29500 worker rank 2 local 0"},
        {"fewer hosts than nodes", "n1",
         STEP "SLURM_NNODES=3 SLURM_NTASKS=3 SLURM_TASKS_PER_NODE=1(x3) SLURM_JOB_NODELIST=n[1-2]",
         "error -1/1/-1/-1 :-1 "},
        {"PMIx under srun: the size is Slurm's", "n2",
         STEP "SLURM_NNODES=2 SLURM_NTASKS=4 SLURM_TASKS_PER_NODE=2(x2) SLURM_JOB_NODELIST=n[1-2] "
              "PMIX_RANK=2",
         "rank 4/1/2/2 n1:29500 worker rank 2 local 0"},
    };
    CHECK(rules);
}

static void ranks(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"virtual local ranks: each sees one GPU and number 0", "h",
         "RANK=6 LOCAL_RANK=0 GROUP_RANK=1 LOCAL_WORLD_SIZE=4 WORLD_SIZE=8 GROUP_WORLD_SIZE=2 "
         "CUDA_VISIBLE_DEVICES=2",
         "rank 8/1/2/4 :-1 worker rank 6 local 2"},
        {"a first local rank is what it says", "h",
         "RANK=4 LOCAL_RANK=0 GROUP_RANK=1 LOCAL_WORLD_SIZE=4 WORLD_SIZE=8 GROUP_WORLD_SIZE=2 "
         "CUDA_VISIBLE_DEVICES=2",
         "rank 8/1/2/4 :-1 worker rank 4 local 0"},
        {"nodes of three and of two ranks tell nothing by their numbers", "h",
         "RANK=3 LOCAL_RANK=0 GROUP_RANK=1 LOCAL_WORLD_SIZE=2 WORLD_SIZE=5 GROUP_WORLD_SIZE=2 "
         "CUDA_VISIBLE_DEVICES=0",
         "rank 5/1/2/2 :-1 worker rank 3 local 0"},
        {"who sees several GPUs has a true local rank", "h",
         "RANK=6 LOCAL_RANK=0 GROUP_RANK=1 LOCAL_WORLD_SIZE=4 WORLD_SIZE=8 GROUP_WORLD_SIZE=2 "
         "CUDA_VISIBLE_DEVICES=2,3",
         "rank 8/1/2/4 :-1 worker rank 6 local 0"},
        {"Ray Train says which node a rank is on", "h",
         "RANK=3 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 NODE_RANK=1 WORLD_SIZE=4 MASTER_ADDR=m",
         "rank 4/1/2/2 m:29500 worker rank 3 local 1"},
        {"a node that is not where even ones would be: their number is not guessed", "h",
         "RANK=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 NODE_RANK=1 WORLD_SIZE=3 MASTER_ADDR=m",
         "rank 3/1/-1/1 m:29500 worker rank 2 local 0"},
        {"a mpiexec in a task of Flux makes ranks of its own", "h",
         "FLUX_JOB_ID=f FLUX_TASK_RANK=0 FLUX_JOB_SIZE=1 FLUX_JOB_NNODES=1 FLUX_TASK_LOCAL_ID=0 "
         "PMI_FD=3 PMI_RANK=1 PMI_SIZE=2 MPI_LOCALNRANKS=2 MPI_LOCALRANKID=1",
         "rank 2/0/1/2 :-1 worker rank 1 local 1"},
        {"Open MPI's ranks below srun are Open MPI's", "n2",
         STEP "SLURM_NNODES=2 SLURM_NTASKS=2 SLURM_TASKS_PER_NODE=1(x2) SLURM_JOB_NODELIST=n[1-2] "
              "OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=0 "
              "OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_RANK=2",
         "rank 4/1/2/2 :-1 worker rank 2 local 0"},
        {"a Cray's PALS under srun is Slurm's", "n2",
         "SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_NODEID=1 SLURM_PROCID=1 SLURM_LOCALID=0 "
         "SLURM_NNODES=2 SLURM_NTASKS=2 SLURM_TASKS_PER_NODE=1(x2) SLURM_JOB_NODELIST=n[1-2] "
         "PALS_RANKID=1 PALS_NODEID=1 PALS_LOCAL_RANKID=0 PMI_RANK=1 PMI_SIZE=2",
         "spawn 8/1/2/4 n1:29500 worker"},
    };
    CHECK(rules);
}

static void scripts(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"nodes by their number", "h", "NNODES=2 NODE_RANK=1 NPROC_PER_NODE=3 MASTER_ADDR=m",
         "spawn 6/1/2/3 m:29500 worker"},
        {"a world of ranks beside nodes", "h",
         "NNODES=2 NODE_RANK=1 NPROC_PER_NODE=3 WORLD_SIZE=6 MASTER_ADDR=m",
         "spawn 6/1/2/3 m:29500 worker"},
        {"RANK may be the node's, too", "h", "NNODES=2 NODE_RANK=1 RANK=1 MASTER_ADDR=m",
         "spawn 8/1/2/4 m:29500 worker"},
        {"NODE_RANK makes WORLD_SIZE a number of ranks", "h",
         "NODE_RANK=1 WORLD_SIZE=16 MASTER_ADDR=m", "spawn 16/1/4/4 m:29500 worker"},
        {"ranks that do not fill nodes", "h", "NODE_RANK=1 WORLD_SIZE=6 MASTER_ADDR=m",
         "error -1/1/-1/-1 :-1 worker"},
        {"between two numbers of nodes", "h", "NNODES=1:3 NODE_RANK=1 MASTER_ADDR=m",
         "spawn -1/1/-1/4 m:29500 worker elastic 1:3"},
        {"a port in the address", "h", "NNODES=2 NODE_RANK=1 MASTER_ADDR=m:7",
         "spawn 8/1/2/4 m:7 worker"},
        {"by hand in a JobSet", "js-w-0-1",
         "JOBSET_NAME=js JOB_COMPLETION_INDEX=1 NNODES=2 NPROC_PER_NODE=2 MASTER_ADDR=js-w-0-0.js",
         "spawn 4/1/2/2 js-w-0-0.js:29500 worker"},
    };
    CHECK(rules);
}

static void broken_platforms(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"SM_HOSTS=[", "SM_HOSTS is no JSON"},
        {"SM_HOSTS=[] SM_CURRENT_HOST=a", "no list of 1"},
        {"SM_HOSTS=[3] SM_CURRENT_HOST=a", "no list of 1"},
        {"SM_HOSTS={} SM_CURRENT_HOST=a", "no list of 1"},
        {"SM_HOSTS=[\"a\",\"b\"] SM_CURRENT_HOST=c", "nothing says which one this is"},
        {"TRAINING_JOB_ARN=arn:aws:sagemaker:eu-1:1:training-job/j", "resourceconfig.json"},
        {"DET_ALLOCATION_ID=1 DET_TASK_TYPE=TRIAL", "rendezvous.json"},
        {"CLUSTER_SPEC={}", "CLUSTER_SPEC lacks cluster"},
        {"CLUSTER_SPEC={\"cluster\":{},\"task\":{\"type\":\"workerpool0\",\"index\":0}}",
         "CLUSTER_SPEC: task workerpool0 0, but the cluster has 0"},
        {"AWS_BATCH_JOB_NUM_NODES=2", "AWS_BATCH_JOB_NODE_INDEX is not set"},
        {"AWS_BATCH_JOB_NUM_NODES=2 AWS_BATCH_JOB_NODE_INDEX=2", "not below"},
        {"AWS_BATCH_JOB_NUM_NODES=2 AWS_BATCH_JOB_NODE_INDEX=0 AWS_BATCH_JOB_MAIN_NODE_INDEX=2",
         "AWS_BATCH_JOB_MAIN_NODE_INDEX=2"},
        {"AWS_BATCH_JOB_NUM_NODES=2 AWS_BATCH_JOB_NODE_INDEX=1", "where node 0 is"},
        {"SKYPILOT_NUM_NODES=2 SKYPILOT_NODE_RANK=1", "where node 0 is"},
        {"SKYPILOT_NODE_RANK=1", "how many nodes there are and where node 0 is"},
        {"DSTACK_NODES_NUM=2 DSTACK_NODE_RANK=1 DSTACK_MASTER_NODE_IP=", "is empty"},
        {"LEPTON_JOB_TOTAL_WORKERS=2 LEPTON_JOB_WORKER_INDEX=1", "where node 0 is"},
        {"LSB_JOBID=1", "LSB_MCPU_HOSTS"},
        {"LSB_JOBID=1 LSB_DJOB_HOSTFILE=/absent", "LSB_MCPU_HOSTS"},
        {"PBS_JOBID=1", "PBS_NODEFILE"},
        {"PBS_JOBID=1 PBS_NUM_NODES=4", "PBS_NODEFILE"},
        {"FLUX_TASK_RANK=1 FLUX_JOB_ID=f", "FLUX_JOB_SIZE is not set"},
        {"JSM_NAMESPACE_RANK=1", "JSM_NAMESPACE_SIZE is not set"},
        {"GROVE_PCLQ_POD_INDEX=0", "how many nodes there are"},
        {"MST_NNODES=1:3 MST_NODE_RANK=2 MST_MASTER_ADDR=127.0.0.1",
         "this node, but this is node 2 of 3: set MASTER_ADDR to node 0's name"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, bad[i][0]);
        pod_refused(&pod, bad[i][1]);
    }
}

/* A misspelt role would stand beside the world, and train alone as if it were all of it. */
static void a_role_that_nobody_knows_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {TF("\"worker\":[\"a:1\",\"b:1\"]", "wroker", "1"),
         "TF_CONFIG: task.type is \"wroker\", and this job knows worker, evaluator: correct it"},
        {TF("\"worker\":[\"a:1\"],\"ps\":[\"p:1\"]", "Worker", "0"), "knows worker, ps, evaluator"},
        {TF("\"wroker\":[\"a:1\",\"b:1\"]", "wroker", "0"),
         "TF_CONFIG: the cluster has no chief and none of its like, only \"wroker\": correct it"},
        {TF("\"worker\":[\"a:1\"]", "ps", "0"), "task.type is \"ps\""},
        {TF("\"worker\":{\"3\":\"j-worker-3.j:1\"},\"ps\":[]", "wroker", "3"), "\"wroker\""},
        {TF("\"worker\":[\"a:1\"],\"ps\":[\"p:1\"]", "ps", "3"),
         "TF_CONFIG: task ps 3, but the cluster has 1"},
        {TF("\"worker\":[\"a:1\"],\"evaluator\":[\"e:1\"]", "evaluator", "1"),
         "task evaluator 1, but the cluster has 1"},
        {"CLUSTER_SPEC={\"cluster\":{\"workerpool0\":[\"a:1\"]},"
         "\"task\":{\"type\":\"workerpol0\",\"index\":0}}",
         "CLUSTER_SPEC: task.type is \"workerpol0\", and this job knows workerpool0: correct it"},
        {"CLUSTER_SPEC={\"cluster\":{\"workerpool0\":[\"a:1\"],\"workerpool3\":[\"e:1\"]},"
         "\"task\":{\"type\":\"workerpool3\",\"index\":1}}",
         "task workerpool3 1, but the cluster has 1"},
        {MX("wroker", "0"),
         "MX_CONFIG: task.type=wroker: set it to one of worker server scheduler"},
        {MX("server", "2"), "MX_CONFIG: task server 2, but the cluster has 1"},
        {"DMLC_ROLE=wroker DMLC_PS_ROOT_URI=s DMLC_NUM_WORKER=3 DMLC_WORKER_ID=1",
         "DMLC_ROLE=wroker: set it to one of worker server scheduler"},
        {"DLROVER_MASTER_ADDR=d:1 NODE_TYPE=wroker NODE_NUM=2 NODE_RANK=1",
         "NODE_TYPE=wroker: set it to one of worker chief master ps evaluator dlrover-master"},
        {"PADDLE_TRAINER_ID=1 PADDLE_TRAINERS_NUM=2 TRAINING_ROLE=TRIANER",
         "TRAINING_ROLE=TRIANER: set it to one of TRAINER PSERVER"},
        {"PADDLE_TRAINER_ID=1 PADDLE_TRAINERS_NUM=2 PADDLE_TRAINING_ROLE=PSREVER",
         "PADDLE_TRAINING_ROLE=PSREVER: set it to one of TRAINER PSERVER"},
        {"K_MPI_JOB_ROLE=wroker OMPI_MCA_orte_default_hostfile=/etc/mpi/hostfile",
         "K_MPI_JOB_ROLE=wroker: set it to one of launcher worker"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, bad[i][0]);
        pod_file(&pod, "/etc/mpi/hostfile", "some-host slots=1\n");
        pod_refused(&pod, bad[i][1]);
    }
}

/* Roles and hosts as long as they come, more of them than an error has room for. */
static void a_long_list_of_roles_leaves_room_for_the_advice(void **state)
{
    (void)state;
    char env[4096], role[64];
    memset(role, 'x', sizeof role - 1);
    role[sizeof role - 1] = '\0';
    int size = snprintf(env, sizeof env, "{\"cluster\":{\"worker\":[\"a:1\"]");
    for (int i = 0; i < 20; i++)
        size += snprintf(env + size, sizeof env - (size_t)size, ",\"role-of-some-length-%d\":[]",
                         i);
    (void)snprintf(env + size, sizeof env - (size_t)size,
                   "},\"task\":{\"type\":\"%s\",\"index\":0}}", role);
    struct pod pod;
    pod_init(&pod);
    pod_set(&pod, "TF_CONFIG", env);
    pod_refused(&pod, "… and more, evaluator: correct it");
}

static void a_batch_system_lists_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *file, *hostname, *task, *refusal; /* NULL: node 1 of 2 */
    } cases[] = {
        {"n1\nn2\n", "n2", "1", NULL},
        {"n1\nn1\nn2\nn2\n", "n2.cluster", "1", NULL},
        {"n1\nn2\n", "n3", "1", "this is host n3, and none of the 2"},
        {"n1\nn2\n", "n1", "1", "this is the script of a PBS job"},
        {"", "n1", "1", "/nf: no host is listed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, "PBS_JOBID=1 PBS_NODEFILE=/nf");
        pod_set(&pod, "PBS_TASKNUM", cases[i].task);
        pod_file(&pod, "/nf", cases[i].file);
        pod.machine.hostname = cases[i].hostname;
        if (cases[i].refusal) {
            pod_refused(&pod, cases[i].refusal);
            continue;
        }
        assert_int_equal(pod_resolve(&pod), 0);
        assert_int_equal(pod.answer.plan.node_rank, 1);
        assert_int_equal(pod.answer.plan.node_count, 2);
        assert_string_equal(pod.answer.plan.master_host, "n1");
    }
    struct pod pod;
    pod_init(&pod);
    pod_set(&pod, "LSB_JOBID", "1");
    pod_set(&pod, "LSB_MCPU_HOSTS", "n1 4 n2");
    pod_refused(&pod, "no count of slots behind n2");
    pod_init(&pod);
    pod_env(&pod, "LSB_JOBID=1 LSB_DJOB_HOSTFILE=/nf LSF_PM_TASKID=1");
    pod_file(&pod, "/nf", "n1\nn1\nn2\nn2\n");
    pod.machine.hostname = "n1";
    assert_int_equal(pod_resolve(&pod), 0);
    assert_int_equal(pod.answer.plan.node_rank, 0);
    assert_int_equal(pod.answer.plan.node_count, 2);
}

/* An Indexed Job names node 0 by its Service, whoever else speaks; and not from any host. */
static void test_what_names_node_0_of_an_indexed_job(void **state)
{
    (void)state;
    static const struct {
        const char *env, *want;
    } cases[] = {
        {"JOB_COMPLETION_INDEX=1", "MST_MASTER_ADDR (or MST_SUBDOMAIN)"},
        {"JOB_COMPLETION_INDEX=1 MST_NNODES=2", "MST_MASTER_ADDR (or MST_SUBDOMAIN)"},
        {"JOB_COMPLETION_INDEX=1 MST_NNODES=2 MST_SUBDOMAIN=s",
         "(MST_SUBDOMAIN=s serves a host called JOB-1, not some-host)"},
        {"MST_NODE_RANK=1 MST_NNODES=2 MST_SUBDOMAIN=s", "set MST_MASTER_ADDR, or give --rdzv"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, cases[i].env);
        assert_true(mst_resolve(&pod.machine, NULL, &pod.answer) < 0);
        if (!strstr(pod.answer.err.text, cases[i].want))
            fail_msg("\"%s\" lacks \"%s\"", pod.answer.err.text, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_names_node_0_of_an_indexed_job),
        cmocka_unit_test(tensorflow),
        cmocka_unit_test(torch),
        cmocka_unit_test(other_frameworks),
        cmocka_unit_test(mpi),
        cmocka_unit_test(kubernetes),
        cmocka_unit_test(slurm),
        cmocka_unit_test(ranks),
        cmocka_unit_test(scripts),
        cmocka_unit_test(broken_platforms),
        cmocka_unit_test(a_role_that_nobody_knows_is_refused),
        cmocka_unit_test(a_long_list_of_roles_leaves_room_for_the_advice),
        cmocka_unit_test(a_batch_system_lists_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

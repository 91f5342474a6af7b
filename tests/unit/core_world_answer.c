/* What the resolver's answers are to a program that nobody started as a rank of `muster run`. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/world/answer.h"
#include "muster/core/world/state.h"
#include "resolve_vectors.h"
#include "world_place.h"

static int ask(const char *vars, struct mst_world *world, struct mst_err *err)
{
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, vars);
    pod.machine.gpu_count = 8;
    (void)mst_resolve(&pod.machine, NULL, &pod.answer); /* its errors are some of the cases */
    world_init_single(world);
    return world_from_answer(&pod.answer, world, err);
}

static struct mst_world expect_world(const char *vars)
{
    struct mst_world world;
    struct mst_err err = {0};
    int rc = ask(vars, &world, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, 0);
    return world;
}

/* Both words are in the text, and the world is as it was. */
static void expect_fault(const char *vars, int code, const char *first, const char *second)
{
    struct mst_world world;
    struct mst_err err = {0};
    int rc = ask(vars, &world, &err);
    if (rc != code || !strstr(err.text, first) || !strstr(err.text, second))
        fail_msg("%s: %d %s", vars, rc, err.text);
    assert_int_equal(world.size, 1);
    assert_int_equal(world.source, MST_WORLD_SINGLE);
}

/* Whether a program in the pod is not what the column "library" says. */
static bool is_not_as_recorded(struct pod *pod, const json_t *vector)
{
    const json_t *expected = json_object_get(vector, "expected");
    const char *library = json_string_value(json_object_get(vector, "library"));
    struct mst_world world;
    struct mst_err err = {0};
    (void)mst_resolve(&pod->machine, NULL, &pod->answer); /* its errors are some of them */
    world_init_single(&world);
    int rc = world_from_answer(&pod->answer, &world, &err);
    bool is_right = false;
    if (strcmp(library, "refused") == 0)
        is_right = rc < 0 && strstr(err.text, "MST_WORLD=single");
    else if (strcmp(library, "alone") == 0)
        is_right = rc == 0 && world.source == MST_WORLD_SINGLE && world.size == 1;
    else
        is_right = rc == 0 && world.source != MST_WORLD_SINGLE &&
                   world.rank == json_integer_value(json_object_get(expected, "rank")) &&
                   world.size == json_integer_value(json_object_get(expected, "world_size"));
    if (!is_right)
        print_error("%s: not %s: %d %s\n", json_string_value(json_object_get(vector, "name")),
                    library, rc, err.text);
    return !is_right;
}

static void every_environment_has_its_world(void **state)
{
    (void)state;
    assert_int_equal(vectors_wrong(MUSTER_TEST_DATA "/env-vectors.json", 40, is_not_as_recorded),
                     0);
    assert_int_equal(vectors_wrong(MUSTER_TEST_DATA "/env-vectors-2.json", 60, is_not_as_recorded),
                     0);
}

static void a_legitimate_single_process_goes_on(void **state)
{
    (void)state;
    static const char *const alone[] = {
        "HOME=/",
        "MASTER_ADDR=localhost",
        "RANK=0 WORLD_SIZE=1 MASTER_ADDR=localhost",
        "PET_NNODES=1 PET_NPROC_PER_NODE=auto",
        "PET_NNODES=1 PET_NPROC_PER_NODE=1 PET_NODE_RANK=0",
        "SLURM_JOB_ID=1 SLURM_NNODES=1 SLURM_NTASKS=1",
        "JAX_NUM_PROCESSES=1 JAX_PROCESS_ID=0 JAX_COORDINATOR_ADDRESS=j:1",
        "MST_WORLD=single PET_NNODES=4 RANK=2",
    };
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
        struct mst_world world = expect_world(alone[i]);
        assert_int_equal(world.size, 1);
        assert_int_equal(world.source, MST_WORLD_SINGLE);
    }
}

static void nobody_is_alone_by_mistake(void **state)
{
    (void)state;
    static const char *const several[] = {
        "PET_NNODES=2 PET_NODE_RANK=0 PET_MASTER_ADDR=m",
        "PET_NNODES=1 PET_NPROC_PER_NODE=4",
        "PET_NNODES=1:3 PET_RDZV_ENDPOINT=m:1",
        "RANK=0 WORLD_SIZE=2 MASTER_ADDR=m",
        "RANK=1 WORLD_SIZE=2 MASTER_ADDR=m",
        "SLURM_JOB_ID=1 SLURM_NNODES=1 SLURM_NTASKS=6",
    };
    for (size_t i = 0; i < sizeof several / sizeof several[0]; i++)
        expect_fault(several[i], -EINVAL, "muster run", "MST_WORLD=single");
    expect_fault("JOB_COMPLETION_INDEX=1", -EINVAL, "MST_NNODES", "MST_WORLD=single");
    expect_fault("STRANGER_NNODES=2", -EINVAL, "STRANGER_NNODES=2", "MST_WORLD=single to be alone");
    expect_fault("K_MPI_JOB_ROLE=worker", -EINVAL, "its launcher", "MST_WORLD=single");
    expect_fault("MPI_HOST=a,b VC_TASK_INDEX=0", -EINVAL, "mpirun", "MST_WORLD=single");
    expect_fault("PMIX_RANK=0", -ENOTSUP, "not of how many", "MST_WORLD=single");
    expect_fault("PMI_FD=3 PMI_ID=1", -ENOTSUP, "rank 1", "muster run");
}

/* The resolver's text may fill an error; what to do stands behind it all the same. */
static void a_long_reason_leaves_room_for_the_way_on(void **state)
{
    (void)state;
    struct mst_answer answer = {.plan = {.mode = MST_PLAN_ERROR}, .err = {.code = -EINVAL}};
    memset(answer.err.text, 'x', sizeof answer.err.text - 1);
    struct mst_world world;
    struct mst_err err = {0};
    world_init_single(&world);
    assert_int_equal(world_from_answer(&answer, &world, &err), -EINVAL);
    assert_non_null(strstr(err.text, "; who means to be alone sets MST_WORLD=single"));
}

static void reads_torchrun(void **state)
{
    (void)state;
    struct mst_world world = expect_world(
        "TORCHELASTIC_RUN_ID=run7 RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 GROUP_RANK=1 "
        "GROUP_WORLD_SIZE=2 TORCHELASTIC_RESTART_COUNT=6 MASTER_ADDR=m MASTER_PORT=1");
    expect_place(&world, &(struct mst_world){.source = MST_WORLD_TORCHRUN,
                                             .rank = 5,
                                             .size = 8,
                                             .local_rank = 1,
                                             .local_size = 4,
                                             .node = 1,
                                             .node_count = 2,
                                             .generation = 6});
    assert_string_equal(world.job_id, "run7");
    assert_true(world.is_resident);
    assert_memory_equal(world.kv_addr, "m:2", 3);
}

/* All ranks of a start dial one door, and those of another start none of theirs. */
static void rank_0_serves_where_every_rank_looks(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *other, *host;
    } starts[] = {
        {"RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=h MASTER_PORT=9",
         "RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=h MASTER_PORT=9",
         "RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=h MASTER_PORT=8",
         "127.0.0.1:"},
        {"RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=fd00::1 MASTER_PORT=9",
         "RANK=1 WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=fd00::1 MASTER_PORT=9",
         "RANK=1 WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=fd00::1 MASTER_PORT=7",
         "[fd00::1]:"},
        {"SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_LOCALID=0 SLURM_NODEID=0 SLURMD_NODENAME=n1 "
         "SLURM_NNODES=2 "
         "SLURM_TASKS_PER_NODE=2(x2) SLURM_STEP_NODELIST=n[1-2] SLURM_JOB_ID=7 SLURM_STEP_ID=1",
         "SLURM_PROCID=2 SLURM_NTASKS=4 SLURM_LOCALID=0 SLURM_NODEID=1 SLURMD_NODENAME=n2 "
         "SLURM_NNODES=2 "
         "SLURM_TASKS_PER_NODE=2(x2) SLURM_STEP_NODELIST=n[1-2] SLURM_JOB_ID=7 SLURM_STEP_ID=1",
         "SLURM_PROCID=2 SLURM_NTASKS=4 SLURM_LOCALID=0 SLURM_NODEID=1 SLURMD_NODENAME=n2 "
         "SLURM_NNODES=2 "
         "SLURM_TASKS_PER_NODE=2(x2) SLURM_STEP_NODELIST=n[1-2] SLURM_JOB_ID=7 SLURM_STEP_ID=2",
         "n1:"},
        {"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0 "
         "OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_NAMESPACE=4711.1",
         "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 "
         "OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_NAMESPACE=4711.1",
         "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 "
         "OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_NAMESPACE=4712.1",
         "127.0.0.1:"},
    };
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct mst_world first = expect_world(starts[i].first);
        struct mst_world second = expect_world(starts[i].second);
        struct mst_world other = expect_world(starts[i].other);
        assert_true(first.is_resident && second.is_resident && other.is_resident);
        assert_memory_equal(first.kv_addr, starts[i].host, strlen(starts[i].host));
        assert_string_equal(first.kv_addr, second.kv_addr);
        assert_string_not_equal(first.kv_addr, other.kv_addr);
    }
}

/* A door that other jobs have, too, is none. */
static void where_nobody_can_tell_there_is_no_server(void **state)
{
    (void)state;
    static const char *const vars[] = {
        "PMI_RANK=1 PMI_SIZE=2 PMI_FD=5 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2",
        "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1 "
        "OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_NAMESPACE=4711.1",
    };
    for (size_t i = 0; i < sizeof vars / sizeof vars[0]; i++) {
        struct mst_world world = expect_world(vars[i]);
        assert_false(world.is_resident);
        assert_string_equal(world.kv_addr, "");
        assert_non_null(strstr(world.no_kv, "MASTER_ADDR"));
    }
}

/* Of a long text of the resolver's own its values give way, and neither its advice nor ours. */
static void what_to_do_is_told_to_the_end(void **state)
{
    (void)state;
    static const char *const ends[] = {"--hostname; who means to be alone sets MST_WORLD=single",
                                       "correct it; who means to be alone sets MST_WORLD=single"};
    char vars[2][512], name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    (void)snprintf(vars[0], sizeof vars[0], "VC_TASK_INDEX=0 VC_A_HOSTS=j-a-0.j");
    (void)snprintf(
        vars[1], sizeof vars[1],
        "TF_CONFIG={\"cluster\":{\"%.90s\":[],\"worker\":[]},\"task\":{\"type\":\"%.60s\","
        "\"index\":0}}",
        name, name);
    for (size_t i = 0; i < 2; i++) {
        struct mst_world world;
        struct mst_err err = {0};
        struct pod pod;
        pod_init(&pod);
        pod_env(&pod, vars[i]);
        pod.machine.hostname = name;
        assert_true(mst_resolve(&pod.machine, NULL, &pod.answer) < 0);
        world_init_single(&world);
        assert_int_equal(world_from_answer(&pod.answer, &world, &err), -EINVAL);
        size_t size = strlen(err.text), tail = strlen(ends[i]);
        if (size < tail || strcmp(err.text + size - tail, ends[i]) != 0)
            fail_msg("%s", err.text);
    }
}

static void reads_openmpi(void **state)
{
    (void)state;
    struct mst_world world = expect_world(
        "OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=6 OMPI_COMM_WORLD_LOCAL_RANK=1 "
        "OMPI_COMM_WORLD_LOCAL_SIZE=4 OMPI_COMM_WORLD_NODE_RANK=1 PMIX_RANK=5");
    expect_place(&world, &(struct mst_world){.source = MST_WORLD_OPENMPI,
                                             .rank = 5,
                                             .size = 6,
                                             .local_rank = 1,
                                             .local_size = 4,
                                             .node = 1,
                                             .node_count = 2,
                                             .generation = 0});
    expect_fault("OMPI_COMM_WORLD_RANK=0", -EINVAL, "OMPI_COMM_WORLD_SIZE", "");
}

static void reads_pmi(void **state)
{
    (void)state;
    struct mst_world world = expect_world(
        "PMI_RANK=2 PMI_SIZE=3 PMI_FD=9 MPI_LOCALRANKID=0 MPI_LOCALNRANKS=2");
    expect_place(&world, &(struct mst_world){.source = MST_WORLD_PMI,
                                             .rank = 2,
                                             .size = 3,
                                             .local_rank = 0,
                                             .local_size = 2,
                                             .node = 1,
                                             .node_count = 2,
                                             .generation = 0});
    world = expect_world("PMI_RANK=2 PMI_SIZE=3");
    expect_place(&world, &(struct mst_world){.source = MST_WORLD_PMI,
                                             .rank = 2,
                                             .size = 3,
                                             .local_rank = 0,
                                             .local_size = 1,
                                             .node = 2,
                                             .node_count = 3,
                                             .generation = 0});
}

static void reads_slurm(void **state)
{
    (void)state;
    struct mst_world world = expect_world(
        "SLURM_PROCID=4 SLURM_NTASKS=7 SLURM_LOCALID=0 SLURM_NODEID=2 SLURM_NNODES=4 "
        "SLURM_STEP_ID=0 SLURM_RESTART_COUNT=2 SLURM_JOB_ID=991 SLURM_TASKS_PER_NODE=2(x3),1");
    expect_place(&world, &(struct mst_world){.source = MST_WORLD_SLURM,
                                             .rank = 4,
                                             .size = 7,
                                             .local_rank = 0,
                                             .local_size = 2,
                                             .node = 2,
                                             .node_count = 4,
                                             .generation = 2});
}

static void reads_launchers_without_a_name_here(void **state)
{
    (void)state;
    struct mst_world world = expect_world("HOROVOD_RANK=5 HOROVOD_SIZE=8 HOROVOD_LOCAL_RANK=1 "
                                          "HOROVOD_LOCAL_SIZE=4");
    expect_place(&world, &(struct mst_world){.source = MST_WORLD_FOREIGN,
                                             .rank = 5,
                                             .size = 8,
                                             .local_rank = 1,
                                             .local_size = 4,
                                             .node = 1,
                                             .node_count = 2,
                                             .generation = 0});
}

/* Scripts set torchrun's variables in ranks of mpirun and srun, which MPI connects; torchrun itself
 * says so by its run's id. */
static void the_launcher_is_the_one_whose_mpi_connects(void **state)
{
    (void)state;
    static const struct {
        const char *vars;
        enum mst_world_source source;
    } cases[] = {
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 "
         "OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=2",
         MST_WORLD_OPENMPI},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 PMI_RANK=1 PMI_SIZE=2", MST_WORLD_PMI},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=1", MST_WORLD_TORCHRUN},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 TORCHELASTIC_RUN_ID=r PMI_RANK=1 PMI_SIZE=2",
         MST_WORLD_TORCHRUN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(expect_world(cases[i].vars).source, cases[i].source);
}

static void refuses_numbers_over_the_librarys_limits(void **state)
{
    (void)state;
    expect_fault("RANK=1 WORLD_SIZE=16777217 LOCAL_RANK=0", -EINVAL, "16777217", "");
}

/* What goes into keys and log lines has no blanks. */
static void a_name_with_blanks_is_none(void **state)
{
    (void)state;
    struct mst_answer answer = {.plan = mst_plan_unknown};
    answer.plan.mode = MST_PLAN_NO_COLLECTIVE;
    (void)snprintf(answer.plan.job_id, sizeof answer.plan.job_id, "%s", "job 7");
    struct mst_world world;
    world_init_single(&world);
    assert_int_equal(world_from_answer(&answer, &world, NULL), 0);
    assert_string_equal(world.job_id, "");
    answer.plan.job_id[3] = '-';
    assert_int_equal(world_from_answer(&answer, &world, NULL), 0);
    assert_string_equal(world.job_id, "job-7");
}

/* All worlds of 1 to 17 ranks on nodes of 1 to 5, the last node short: what a launcher that tells
 * no nodes lets us guess always fits. */
static void guesses_fit_in_every_small_world(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= 17; size++) {
        for (unsigned width = 1; width <= 5 && width <= size; width++) {
            for (unsigned rank = 0; rank < size; rank++) {
                unsigned first = rank / width * width;
                unsigned local_size = size - first < width ? size - first : width;
                char vars[160];
                (void)snprintf(vars, sizeof vars,
                               "PMI_RANK=%u PMI_SIZE=%u MPI_LOCALRANKID=%u MPI_LOCALNRANKS=%u",
                               rank, size, rank - first, local_size);
                struct mst_world world = expect_world(vars);
                assert_true(world.node < world.node_count && world.node_count <= size);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_environment_has_its_world),
        cmocka_unit_test(a_legitimate_single_process_goes_on),
        cmocka_unit_test(nobody_is_alone_by_mistake),
        cmocka_unit_test(a_long_reason_leaves_room_for_the_way_on),
        cmocka_unit_test(reads_torchrun),
        cmocka_unit_test(rank_0_serves_where_every_rank_looks),
        cmocka_unit_test(where_nobody_can_tell_there_is_no_server),
        cmocka_unit_test(what_to_do_is_told_to_the_end),
        cmocka_unit_test(reads_openmpi),
        cmocka_unit_test(reads_pmi),
        cmocka_unit_test(reads_slurm),
        cmocka_unit_test(reads_launchers_without_a_name_here),
        cmocka_unit_test(the_launcher_is_the_one_whose_mpi_connects),
        cmocka_unit_test(refuses_numbers_over_the_librarys_limits),
        cmocka_unit_test(a_name_with_blanks_is_none),
        cmocka_unit_test(guesses_fit_in_every_small_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

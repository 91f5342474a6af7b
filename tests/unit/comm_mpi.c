/* The mpi back end over an MPI between threads: the conformance cases, and every way to fail. The
 * real ones are in e2e/test_mpi.sh. */
#include "comm_cases.h"
#include "comm_fake_mpi.h"
#include "comm_team.h"

#include "muster/comm/mpi_load.h"

int __wrap_mpi_load(const struct mst_world *world, const struct mpi_abi **ret_abi,
                    struct mst_err *err);

int __wrap_mpi_load(const struct mst_world *world, const struct mpi_abi **ret_abi,
                    struct mst_err *err)
{
    (void)err; /* always there */
    fake_rank = world->rank;
    *ret_abi = &fake_abi;
    return 0;
}

static int join_within(struct team_rank *rank, uint32_t timeout_ms, struct mst_err *err)
{
    struct mst_comm_opts opts = {
        .struct_bytes = sizeof opts, .backend = "mpi", .timeout_ms = timeout_ms};
    return mst_comm_create(&rank->world, NULL, &opts, &rank->comm, err);
}

#define JOIN(rank, timeout_ms)                                                                     \
    do {                                                                                           \
        struct mst_err join_err = {0};                                                             \
        int join_rc = join_within(rank, timeout_ms, &join_err);                                    \
        TEAM_CHECK(rank, join_rc == 0, "join: %s", join_err.text);                                 \
    } while (0)

#define EXPECT_END(rank, rc, want, words)                                                          \
    do {                                                                                           \
        const char *end_text = mst_comm_error((rank)->comm);                                       \
        TEAM_CHECK(rank, (rc) == (want) && strstr(end_text, words), "%d: %s", rc, end_text);       \
        TEAM_CHECK(rank, mst_comm_barrier((rank)->comm, NULL) == (want), "alive again");           \
    } while (0)

static void run_team(struct team *team, team_fn run)
{
    uint32_t size = 0;
    for (size_t n = 0; n < TEAM_NODES_MAX; n++)
        size += team->node_sizes[n];
    fake_reset(size);
    team->by_hand = true;
    team->run = run;
    team_run(team);
    fake_forget();
}

static void together(void *arg)
{
    struct team *team = arg;
    (void)pthread_barrier_wait(&team->barrier);
}

/* ---- right results --------------------------------------------------------------------------- */

static const char *run_cases(struct team_rank *rank)
{
    uint32_t node_sizes[] = {rank->team->size, 0}; /* in rank order, wherever ranks are */
    JOIN(rank, 20000);
    struct cases_rank view = {
        .comm = rank->comm,
        .rank = rank->world.rank,
        .size = rank->team->size,
        .node_sizes = node_sizes,
        .expected = rank->team->arg,
        .together = together,
        .arg = rank->team,
    };
    const char *fault = cases_run(&view);
    TEAM_CHECK(rank, !fault, "%s", fault);
    TEAM_CHECK(rank, strcmp(mst_comm_backend(rank->comm), "mpi") == 0, "name");
    return NULL;
}

static void conforms(void **state)
{
    struct team teams[] = {{.name = "one", .node_sizes = {1}},
                           {.name = "three", .node_sizes = {3}},
                           {.name = "two nodes", .node_sizes = {1, 3}}};
    (void)state;
    for (size_t i = 0; i < sizeof teams / sizeof teams[0]; i++) {
        teams[i].arg = malloc(cases_bytes(TEAM_RANKS_MAX));
        assert_non_null(teams[i].arg);
        run_team(&teams[i], run_cases);
        free(teams[i].arg);
        assert_false(fake.abandoned);
        assert_null(fake.ops);
    }
}

/* ---- failures -------------------------------------------------------------------------------- */

static const char *comes_late(struct team_rank *rank)
{
    float value[100] = {0};
    bool is_late = rank->world.rank == 2, by_call = *(bool *)rank->team->arg;
    bool is_first = rank->world.rank == 0;
    JOIN(rank, is_first && !by_call ? 100 : 20000);
    if (is_late)
        together(rank->team);
    int rc = mst_comm_allreduce(rank->comm, value, value, 100, MST_F32, MST_SUM,
                                is_first && by_call ? BY(mst_deadline_ms(100)) : NULL);
    const char *text = "op 1, allreduce sum f32 count 100: still missing rank 2";
    EXPECT_END(rank, rc, -ETIMEDOUT, text);
    TEAM_CHECK(rank, !strstr(mst_comm_error(rank->comm), "rank 1"), "rank 1 is blamed");
    TEAM_CHECK(rank, fake.abandoned, "an exit now would be a success");
    if (!is_late)
        together(rank->team);
    return NULL;
}

static void a_late_rank_is_named_to_all(void **state)
{
    (void)state;
    for (int n = 0; n < 2; n++) {
        bool by_call = n == 1;
        struct team team = {.name = __func__, .node_sizes = {3}, .arg = &by_call};
        run_team(&team, comes_late);
        assert_true(fake.abandoned);
    }
}

static const char *calls_something_else(struct team_rank *rank)
{
    double value[20] = {0};
    JOIN(rank, 20000);
    int rc = rank->world.rank == 1
                 ? mst_comm_reduce_scatter(rank->comm, value, value, 4, MST_F64, MST_MIN, NULL)
                 : mst_comm_allgather(rank->comm, value, value, 4, MST_F64, NULL);
    EXPECT_END(rank, rc, -EPROTO,
               "rank 0: allgather f64 count 4; rank 1: reduce_scatter min f64 count 4");
    return NULL;
}

static void different_calls_are_told_apart(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {3}};
    run_team(&team, calls_something_else);
}

static const char *is_aborted(struct team_rank *rank)
{
    struct mst_req *req;
    int64_t value = 0;
    int rc;
    JOIN(rank, 20000);
    if (rank->world.rank == 1) {
        mst_comm_abort(rank->comm);
        rc = mst_comm_barrier(rank->comm, NULL);
    } else {
        rc = mst_comm_allreduce(rank->comm, &value, &value, 1, MST_I64, MST_SUM, STARTED(&req));
        rc = rc == 0 ? mst_req_wait(req) : rc;
    }
    EXPECT_END(rank, rc, -ECONNRESET, "rank 1 aborted the communicator");
    return NULL;
}

static void an_abort_ends_all_waits(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {3}};
    run_team(&team, is_aborted);
}

/* MPI's own error, at each of the calls of a collective of many rounds. */
static const char *meets_mpi_error(struct team_rank *rank)
{
    static double in[2][1 << 16], out[2][1 << 16];
    uint32_t me = rank->world.rank;
    JOIN(rank, 20000);
    if (me == 1)
        fake.fails_in[me] = *(uint32_t *)rank->team->arg;
    int rc = mst_comm_allreduce(rank->comm, in[me], out[me], 1 << 16, MST_F64, MST_SUM, NULL);
    EXPECT_END(rank, rc, -ECONNRESET, "MPI: fake error 15");
    return NULL;
}

static void errors_of_mpi_reach_all(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 5; n++) {
        struct team team = {.name = __func__, .node_sizes = {2}, .arg = &n};
        run_team(&team, meets_mpi_error);
    }
}

/* Of the third rank; n = 1, 2: the copies, 3: the greeting. */
static const char *fails_to_join(struct team_rank *rank)
{
    struct mst_err err = {0};
    bool cause = rank->world.rank == 2;
    if (cause)
        fake.fails_in[2] = *(uint32_t *)rank->team->arg;
    int rc = join_within(rank, 100, &err);
    TEAM_CHECK(rank, cause ? rc == -ECONNRESET : rc == -ETIMEDOUT || rc == -ECONNRESET, "%d %s", rc,
               err.text);
    TEAM_CHECK(rank, !rank->comm && err.code == rc && err.text[0], "half a communicator");
    return NULL;
}

static void joining_fails_in_words(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 3; n++) {
        struct team team = {.name = __func__, .node_sizes = {3}, .arg = &n};
        run_team(&team, fails_to_join);
    }
}

static void another_world_is_refused(void **state)
{
    (void)state;
    struct team_rank rank = {0};
    struct mst_err err = {0};
    world_init_single(&rank.world);
    fake_reset(2);
    assert_int_equal(join_within(&rank, 100, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "rank 0 of 1 is rank 0 of 2 to MPI"));
    assert_null(rank.comm);
}

/* Which back end it is without a word from the program. */
static void ranks_of_an_mpi_launcher_need_no_server(void **state)
{
    (void)state;
    struct mst_world world;
    struct mst_comm *comm = NULL;
    struct mst_err err = {0};
    world_init_single(&world);
    assert_int_equal(mst_comm_create(&world, NULL, NULL, &comm, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "MST_COMM=mpi"));
    fake_reset(1);
    world.source = MST_WORLD_OPENMPI;
    assert_int_equal(mst_comm_create(&world, NULL, NULL, &comm, &err), 0);
    assert_string_equal(mst_comm_backend(comm), "mpi");
    mst_comm_destroy(comm);
    fake_reset(1);
    assert_int_equal(mst_comm_join(&world, NULL, &comm, &err), 0);
    assert_string_equal(mst_comm_backend(comm), "host"); /* one rank has a table of its own */
    mst_comm_destroy(comm);
    memcpy(world.tuning.comm, "mpi", sizeof "mpi");
    assert_int_equal(mst_comm_join(&world, NULL, &comm, &err), 0);
    assert_string_equal(mst_comm_backend(comm), "mpi");
    mst_comm_destroy(comm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conforms),
        cmocka_unit_test(a_late_rank_is_named_to_all),
        cmocka_unit_test(different_calls_are_told_apart),
        cmocka_unit_test(an_abort_ends_all_waits),
        cmocka_unit_test(errors_of_mpi_reach_all),
        cmocka_unit_test(joining_fails_in_words),
        cmocka_unit_test(another_world_is_refused),
        cmocka_unit_test(ranks_of_an_mpi_launcher_need_no_server),
    };
    cases_init();
    return cmocka_run_group_tests_name("comm_mpi", tests, NULL, NULL);
}

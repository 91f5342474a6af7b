/* What the nccl back end has of NCCL by its version: on a fake driver and a fake NCCL, which is of
 * the version that it is told to be. */
#include "comm_team.h"
#include "unit/fake_driver.h"

static void script(const char *text)
{
    (void)setenv("FAKE_NCCL", text, 1);
}

static int reset(void **state)
{
    (void)state;
    script("");
    return 0;
}

static void run_three(const char *name, team_fn run)
{
    struct team team = {.name = name, .backend = "nccl", .node_sizes = {3}, .run = run};
    team_run(&team);
}

/* ---- 8-bit floats ---------------------------------------------------------------------------- */

/* Bytes to NCCL, so that one which does not know the types moves them, too, and any device. */
static const char *move_floats_of_8_bits(struct team_rank *rank)
{
    uint8_t value = (uint8_t)(rank->world.rank + 1), all[3] = {0}, mine = value;
    int moved = mst_comm_broadcast(rank->comm, &mine, 1, MST_F8E4M3, 1, NULL);
    int gathered = mst_comm_allgather(rank->comm, &value, all, 1, MST_F8E5M2, NULL);
    TEAM_CHECK(rank, moved == 0 && mine == 2, "broadcast: %d, %u", moved, mine);
    TEAM_CHECK(rank, gathered == 0 && all[0] == 1 && all[1] == 2 && all[2] == 3, "allgather: %d",
               gathered);
    return NULL;
}

static void floats_of_8_bits_are_moved(void **state)
{
    (void)state;
    script("version=21400");
    run_three(__func__, move_floats_of_8_bits);
    script("sm=80");
    run_three(__func__, move_floats_of_8_bits);
}

static const char *refuse_floats_of_8_bits(struct team_rank *rank)
{
    uint8_t value = 0;
    int rc = mst_comm_allreduce(rank->comm, &value, &value, 1, MST_F8E5M2, MST_SUM, NULL);
    TEAM_CHECK(rank,
               rc == -ENOTSUP &&
                   strcmp(mst_comm_error(rank->comm),
                          "allreduce sum f8e5m2 count 1: NCCL 2.23.4 does not reduce f8e5m2: "
                          "install 2.24 or later, or convert it") == 0,
               "%d %s", rc, mst_comm_error(rank->comm));
    return move_floats_of_8_bits(rank); /* it lives on */
}

static void old_versions_do_not_reduce_floats_of_8_bits(void **state)
{
    (void)state;
    script("version=22304");
    run_three(__func__, refuse_floats_of_8_bits);
}

/* 1, 2 and 3 on the three ranks, in either type. */
static const char *reduce_floats_of_8_bits(struct team_rank *rank)
{
    static const uint8_t e4m3[] = {0x38, 0x40, 0x44}, e5m2[] = {0x3c, 0x40, 0x42};
    uint8_t in = e4m3[rank->world.rank], other = e5m2[rank->world.rank], sum, mean, most, part;
    uint8_t all[] = {other, other, other};
    struct mst_comm *comm = rank->comm;
    int rc = mst_comm_allreduce(comm, &in, &sum, 1, MST_F8E4M3, MST_SUM, NULL);
    rc = rc ? rc : mst_comm_allreduce(comm, &in, &mean, 1, MST_F8E4M3, MST_AVG, NULL);
    rc = rc ? rc : mst_comm_allreduce(comm, &other, &most, 1, MST_F8E5M2, MST_MAX, NULL);
    rc = rc ? rc : mst_comm_reduce_scatter(comm, all, &part, 1, MST_F8E5M2, MST_SUM, NULL);
    TEAM_CHECK(rank, rc == 0, "%d %s", rc, mst_comm_error(comm));
    TEAM_CHECK(rank, sum == 0x4c && mean == 0x40 && most == 0x42 && part == 0x46,
               "sum %x, mean %x, most %x, part %x", sum, mean, most, part);
    return NULL;
}

static void floats_of_8_bits_are_reduced(void **state)
{
    (void)state;
    script("version=22400");
    run_three(__func__, reduce_floats_of_8_bits);
}

/* NCCL knows its devices, and says so. */
static const char *hear_of_the_device(struct team_rank *rank)
{
    uint8_t value = 0;
    int rc = mst_comm_allreduce(rank->comm, &value, &value, 1, MST_F8E4M3, MST_SUM, NULL);
    TEAM_CHECK(rank,
               rc == -EPROTO && strstr(mst_comm_error(rank->comm), "8-bit floats begin with sm90"),
               "%d %s", rc, mst_comm_error(rank->comm));
    return NULL;
}

static void devices_may_not_reduce_floats_of_8_bits(void **state)
{
    (void)state;
    script("sm=80");
    run_three(__func__, hear_of_the_device);
}

/* ---- names ----------------------------------------------------------------------------------- */

struct naming {
    const char *job, *expected;
};

static const char *be_named(struct team_rank *rank)
{
    const struct naming *naming = rank->team->arg;
    struct mst_err err = {0};
    void (*last_name)(char *text, size_t cap);
    char name[256];
    (void)snprintf(rank->world.job_id, sizeof rank->world.job_id, "%s", naming->job);
    int rc = team_join(rank, &err);
    TEAM_CHECK(rank, rc == 0, "%d %s", rc, err.text);
    TEAM_CHECK(rank, find_fake_in("libnccl.so.2", "fake_nccl_last_name", &last_name), "no fake");
    last_name(name, sizeof name);
    TEAM_CHECK(rank, strcmp(name, naming->expected) == 0, "\"%s\"", name);
    rc = mst_comm_barrier(rank->comm, NULL);
    return rc == 0 ? NULL : "no barrier";
}

static void name_three(const char *name, const char *job, const char *expected)
{
    struct naming naming = {job, expected};
    struct team team = {.name = name,
                        .backend = "nccl",
                        .node_sizes = {3},
                        .by_hand = true,
                        .run = be_named,
                        .arg = &naming};
    team_run(&team);
}

static void communicators_are_named(void **state)
{
    char longest[MST_JOB_ID_BYTES], expected[sizeof longest + 16];
    (void)state;
    script("version=22700");
    name_three(__func__, "train-17", "train-17/comm/1");
    name_three(__func__, "", "muster/comm/1");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    (void)snprintf(expected, sizeof expected, "%s/comm/1", longest);
    name_three(__func__, longest, expected);
}

static void old_versions_have_no_names(void **state)
{
    (void)state;
    script("version=22602");
    name_three(__func__, "train-17", "");
    script("version=21400");
    name_three(__func__, "train-17", "");
}

#define CASE(test) cmocka_unit_test_setup(test, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(floats_of_8_bits_are_moved),   CASE(old_versions_do_not_reduce_floats_of_8_bits),
        CASE(floats_of_8_bits_are_reduced), CASE(devices_may_not_reduce_floats_of_8_bits),
        CASE(communicators_are_named),      CASE(old_versions_have_no_names),
    };
    if (!has_fake_driver())
        return 77;
    return cmocka_run_group_tests_name("comm_nccl_versions", tests, NULL, NULL);
}

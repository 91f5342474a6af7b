#include "muster/core/world/env.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/err.h"
#include "muster/core/world/state.h"
#include "world_place.h"

/* "NAME=value" strings, NULL-ended: an environment as execve takes it. */
static const char *find(void *arg, const char *name)
{
    size_t length = strlen(name);
    for (const char *const *entry = arg; *entry; entry++)
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
            return *entry + length + 1;
    return NULL;
}

static int decode(const char **entries, struct mst_world *world, int *secret_fd,
                  struct mst_err *err)
{
    struct world_env env = {.lookup = find, .arg = entries};
    return world_env_decode(&env, world, secret_fd, err);
}

#define ENTRIES(...) ((const char *[]){__VA_ARGS__, NULL})
#define CONTRACT                                                                                   \
    "MST_RANK=5", "MST_WORLD_SIZE=8", "MST_LOCAL_RANK=1", "MST_LOCAL_SIZE=4", "MST_NODE=1",        \
        "MST_NODE_COUNT=2", "MST_GENERATION=3", "MST_KV_ADDR=node-0:4711"

static struct mst_world expect_world(const char **entries, int *ret_secret_fd)
{
    struct mst_err err = {0};
    struct mst_world world;
    int rc = decode(entries, &world, ret_secret_fd, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, 1);
    return world;
}

/* Every word of `words` must be in the text. */
static void expect_fault(const char **entries, const char *const *words)
{
    struct mst_world world = {.rank = 77};
    int secret_fd = -7;
    struct mst_err err = {0};
    assert_int_equal(decode(entries, &world, &secret_fd, &err), -EINVAL);
    for (; *words; words++)
        if (!strstr(err.text, *words))
            fail_msg("\"%s\" does not say \"%s\"", err.text, *words);
    assert_int_equal(world.rank, 77);
    assert_int_equal(secret_fd, -7);
}

static void reads_the_contract(void **state)
{
    (void)state;
    int secret_fd;
    struct mst_world world = expect_world(ENTRIES(CONTRACT, "MST_SECRET_FD=10", "MST_PAGE_FD=11",
                                                  "MST_SHM_FD=12", "MST_JOB_ID=ns/job-1",
                                                  "MST_JOB_NONCE=00c0ffee00000001", "RANK=0",
                                                  "WORLD_SIZE=1", "OMPI_COMM_WORLD_RANK=0"),
                                          &secret_fd);
    expect_place(&world, &(struct mst_world){.source = MST_WORLD_MUSTER,
                                             .rank = 5,
                                             .size = 8,
                                             .local_rank = 1,
                                             .local_size = 4,
                                             .node = 1,
                                             .node_count = 2,
                                             .generation = 3});
    assert_string_equal(world.kv_addr, "node-0:4711");
    assert_string_equal(world.job_id, "ns/job-1");
    assert_true(world.job_nonce == UINT64_C(0xc0ffee00000001));
    assert_int_equal(secret_fd, 10);
    assert_int_equal(world.page_fd, 11);
    assert_int_equal(world.shm_fd, 12);
    assert_int_equal(world.secret_bytes, 0);
}

static void names_what_is_missing(void **state)
{
    (void)state;
    const char *contract[] = {CONTRACT};
    const size_t count = sizeof contract / sizeof contract[0];
    for (size_t left_out = 0; left_out < count; left_out++) {
        const char *entries[sizeof contract / sizeof contract[0]], **next = entries;
        for (size_t i = 0; i < count; i++)
            if (i != left_out)
                *next++ = contract[i];
        *next = NULL;
        char name[32];
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(contract[left_out], "="),
                       contract[left_out]);
        expect_fault(entries, ENTRIES(name, "not set"));
    }
    expect_fault(ENTRIES("MST_PAGE_FD=4"), ENTRIES("MST_RANK", "MST_PAGE_FD"));
}

static void refuses_bad_numbers(void **state)
{
    (void)state;
    static const char *const values[] = {"",   "-1", "x",   "1x",         "0x1",
                                         " 1", "1 ", "1.0", "4294967296", "99999999999999999999"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char entry[64];
        (void)snprintf(entry, sizeof entry, "MST_RANK=%s", values[i]);
        expect_fault(ENTRIES(entry, CONTRACT), ENTRIES("MST_RANK", values[i], "not a number"));
    }
    expect_fault(ENTRIES(CONTRACT, "MST_PAGE_FD=2147483648"), ENTRIES("MST_PAGE_FD"));
    expect_fault(ENTRIES(CONTRACT, "MST_SECRET_FD=-1"), ENTRIES("MST_SECRET_FD", "-1"));
    expect_fault(ENTRIES(CONTRACT, "MST_SHM_FD="), ENTRIES("MST_SHM_FD"));
    expect_fault(ENTRIES(CONTRACT, "MST_JOB_NONCE=12"), ENTRIES("MST_JOB_NONCE=12", "16 hex"));
    expect_fault(ENTRIES(CONTRACT, "MST_JOB_NONCE=00c0ffee0000000G"), ENTRIES("MST_JOB_NONCE"));
}

static void refuses_numbers_that_contradict(void **state)
{
    (void)state;
    expect_fault(ENTRIES("MST_RANK=8", CONTRACT), ENTRIES("rank 8", "size 8"));
    expect_fault(ENTRIES("MST_WORLD_SIZE=0", CONTRACT), ENTRIES("size 0"));
    expect_fault(ENTRIES("MST_LOCAL_RANK=4", CONTRACT), ENTRIES("local rank 4", "local size 4"));
    expect_fault(ENTRIES("MST_NODE=2", CONTRACT), ENTRIES("node 2", "node count 2"));
    expect_fault(ENTRIES("MST_LOCAL_SIZE=9", CONTRACT), ENTRIES("local size 9", "size of 8"));
    expect_fault(ENTRIES("MST_NODE_COUNT=9", CONTRACT), ENTRIES("node count 9"));
    expect_fault(ENTRIES("MST_WORLD_SIZE=16777217", CONTRACT), ENTRIES("16777217"));
    expect_fault(ENTRIES("MST_WORLD_SIZE=2000", "MST_LOCAL_SIZE=1025", CONTRACT),
                 ENTRIES("local size 1025", "1024", "fewer ranks"));
    int secret_fd;
    struct mst_world most = expect_world(
        ENTRIES("MST_WORLD_SIZE=2000", "MST_LOCAL_SIZE=1024", CONTRACT), &secret_fd);
    assert_int_equal(most.local_size, 1024);
}

static void refuses_words_that_would_break_keys_and_lines(void **state)
{
    (void)state;
    char job[160] = "MST_JOB_ID=", address[400] = "MST_KV_ADDR=";
    memset(job + 11, 'j', 128);
    memset(address + 12, 'a', 272);
    expect_fault(ENTRIES(job, CONTRACT), ENTRIES("MST_JOB_ID", "127"));
    expect_fault(ENTRIES(address, CONTRACT), ENTRIES("MST_KV_ADDR", "271"));
    expect_fault(ENTRIES("MST_JOB_ID=a b", CONTRACT), ENTRIES("MST_JOB_ID"));
    expect_fault(ENTRIES("MST_KV_ADDR=h\n:1", CONTRACT), ENTRIES("MST_KV_ADDR"));
}

/* MST_JOB_ID alone is no claim to be a rank, and what other launchers say is not asked here. */
static void is_no_rank_without_the_contract(void **state)
{
    (void)state;
    struct mst_world world;
    int secret_fd;
    const char **entries = ENTRIES("HOME=/", "MST_JOB_ID=mine", "RANK=1", "WORLD_SIZE=2");
    assert_int_equal(decode(entries, &world, &secret_fd, NULL), 0);
    assert_int_equal(world.source, MST_WORLD_SINGLE);
    assert_int_equal(world.size, 1);
    assert_int_equal(world.local_size, 1);
    assert_int_equal(world.node_count, 1);
    assert_int_equal(world.page_fd, -1);
    assert_int_equal(world.shm_fd, -1);
    assert_int_equal(secret_fd, -1);
    assert_string_equal(world.tuning.aio, "auto");
}

/* A tool inside of a rank, which is to run by itself. */
static void who_means_to_be_alone_is_no_rank(void **state)
{
    (void)state;
    struct mst_world world;
    int secret_fd;
    const char **entries = ENTRIES(CONTRACT, "MST_WORLD=single", "MST_PAGE_FD=3");
    assert_int_equal(decode(entries, &world, &secret_fd, NULL), 0);
    assert_int_equal(world.size, 1);
    assert_int_equal(world.page_fd, -1);
    struct world_env env = {.lookup = find, .arg = ENTRIES("MST_WORLD=single")};
    assert_true(world_env_is_alone(&env));
    env.arg = ENTRIES("MST_WORLD=");
    assert_false(world_env_is_alone(&env));
}

static void reads_tuning(void **state)
{
    (void)state;
    struct world_env env = {.lookup = find,
                            .arg = ENTRIES("MST_AIO=threads", "MST_WAIT=block",
                                           "MST_TIMEOUT_MS=1500", "MST_TAKE_ROOT=1")};
    struct mst_tuning tuning;
    assert_int_equal(world_env_tuning(&env, &tuning, NULL), 0);
    assert_string_equal(tuning.aio, "threads");
    assert_int_equal(tuning.wait, MST_WAIT_BLOCK);
    assert_int_equal(tuning.timeout_ms, 1500);
    assert_int_equal(tuning.take_root, 1);
    env.arg = ENTRIES("MST_TIMEOUT_MS=4294967295");
    assert_int_equal(world_env_tuning(&env, &tuning, NULL), 0);
    assert_int_equal(tuning.timeout_ms, UINT32_MAX);
    env.arg = ENTRIES("HOME=/");
    assert_int_equal(world_env_tuning(&env, &tuning, NULL), 0);
    assert_string_equal(tuning.aio, "auto");
    assert_int_equal(tuning.wait, MST_WAIT_AUTO);
    assert_int_equal(tuning.timeout_ms, 0);
    env.arg = ENTRIES("MST_AIO=magic");
    struct mst_err err = {0};
    assert_int_equal(world_env_tuning(&env, &tuning, &err), -EINVAL);
    assert_string_equal(err.text, "MST_AIO=magic is none of auto, uring or threads");
    env.arg = ENTRIES("MST_WAIT=");
    assert_int_equal(world_env_tuning(&env, &tuning, &err), -EINVAL);
    assert_string_equal(err.text, "MST_WAIT= is none of auto, spin, yield or block");
    env.arg = ENTRIES("MST_COMM=mpi", "MST_MPI_MODULE=/opt/module.so");
    assert_int_equal(world_env_tuning(&env, &tuning, &err), 0);
    assert_string_equal(tuning.comm, "mpi");
    assert_string_equal(tuning.mpi_module, "/opt/module.so");
    env.arg = ENTRIES("MST_COMM=nccl", "MST_NCCL_LIB=/opt/libnccl.so.2");
    assert_int_equal(world_env_tuning(&env, &tuning, &err), 0);
    assert_string_equal(tuning.nccl_lib, "/opt/libnccl.so.2");
    env.arg = ENTRIES("MST_COMM=pigeon");
    assert_int_equal(world_env_tuning(&env, &tuning, &err), -EINVAL);
    assert_string_equal(err.text, "MST_COMM=pigeon is none of auto, host, mpi or nccl");
    env.arg = ENTRIES("MST_TAKE_ROOT=yes");
    assert_int_equal(world_env_tuning(&env, &tuning, NULL), -EINVAL);
    env.arg = ENTRIES("MST_TIMEOUT_MS=1s");
    assert_int_equal(world_env_tuning(&env, &tuning, &err), -EINVAL);
    expect_fault(ENTRIES("MST_TIMEOUT_MS=1s"), ENTRIES("MST_TIMEOUT_MS=1s"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_contract),
        cmocka_unit_test(names_what_is_missing),
        cmocka_unit_test(refuses_bad_numbers),
        cmocka_unit_test(refuses_numbers_that_contradict),
        cmocka_unit_test(refuses_words_that_would_break_keys_and_lines),
        cmocka_unit_test(is_no_rank_without_the_contract),
        cmocka_unit_test(who_means_to_be_alone_is_no_rank),
        cmocka_unit_test(reads_tuning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

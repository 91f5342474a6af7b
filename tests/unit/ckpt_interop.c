/* Other people's tools read what we write: h5dump and h5py, every value. Skipped where they are not
 * installed. */
#include "unit/ckpt_fixture.h"

#include <spawn.h>
#include <sys/wait.h>

#define PYTHON "/usr/bin/python3"
#define H5DUMP "/usr/bin/h5dump"

/* The exit status of a program whose output nobody reads. */
static int run(char *const *argv)
{
    posix_spawn_file_actions_t actions;
    char *const environment[] = {NULL};
    int status = -1;
    pid_t pid;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0), 0);
    assert_int_equal(posix_spawn(&pid, argv[0], &actions, NULL, argv, environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void save(char step_dir[512])
{
    static const uint64_t steps[] = {12, 0};
    fixture_save(3, steps);
    snprintf(step_dir, 512, "%s/step_12", fixture_root);
}

static void test_h5dump(void **state)
{
    char path[600];
    char *argv[] = {H5DUMP, "-H", path, NULL};
    (void)state;
    if (access(H5DUMP, X_OK) < 0)
        skip();
    char step_dir[512];
    save(step_dir);
    for (int r = 0; r < 3; r++) {
        snprintf(path, sizeof path, "%s/rank_%d.h5", step_dir, r);
        assert_int_equal(run(argv), 0);
    }
}

static void test_h5py(void **state)
{
    char *probe[] = {PYTHON, "-c", "import h5py, numpy", NULL};
    char script[] = MUSTER_TEST_DATA "/ckpt_compare.py";
    char step_dir[512];
    char *argv[] = {PYTHON, script, step_dir, "12", NULL};
    (void)state;
    if (access(PYTHON, X_OK) < 0 || run(probe) != 0)
        skip();
    save(step_dir);
    assert_int_equal(run(argv), 0);
}

/* Every code of every type that HDF5 has no name for. */
static void save_small_types(struct fixture_rank *rank)
{
    static uint16_t wide[65536];
    static uint8_t narrow[256];
    for (uint32_t i = 0; i < 65536; i++)
        wide[i] = (uint16_t)i;
    for (uint32_t i = 0; i < 256; i++)
        narrow[i] = (uint8_t)i;
    const struct mst_span words = {wide, sizeof wide, MST_MEM_HOST};
    const struct mst_span bytes = {narrow, sizeof narrow, MST_MEM_HOST};
    const struct mst_tensor tensors[] = {
        {.name = "f16", .dtype = MST_F16, .dim_count = 1, .shape = {65536}, .data = words},
        {.name = "bf16", .dtype = MST_BF16, .dim_count = 1, .shape = {65536}, .data = words},
        {.name = "f8e4m3", .dtype = MST_F8E4M3, .dim_count = 1, .shape = {256}, .data = bytes},
        {.name = "f8e5m2", .dtype = MST_F8E5M2, .dim_count = 1, .shape = {256}, .data = bytes},
    };
    struct mst_state state = MST_STATE_INIT;
    state.tensors = tensors;
    state.tensor_count = 4;
    assert_int_equal(mst_ckpt_save(rank->ckpt, 1, &state, soon()), 0);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
}

static void test_small_types(void **state)
{
    char *probe[] = {PYTHON, "-c", "import h5py, numpy", NULL};
    char script[] = MUSTER_TEST_DATA "/ckpt_small_types.py";
    char path[600];
    char has_h5dump[] = {access(H5DUMP, X_OK) == 0 ? '1' : '0', '\0'};
    char *argv[] = {PYTHON, script, path, has_h5dump, NULL};
    (void)state;
    if (access(PYTHON, X_OK) < 0 || run(probe) != 0)
        skip();
    struct fixture_rank rank;
    fixture_run(&rank, 1, save_small_types, NULL);
    snprintf(path, sizeof path, "%s/step_1/rank_0.h5", fixture_root);
    assert_int_equal(run(argv), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_h5dump), CASE(test_h5py), CASE(test_small_types)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

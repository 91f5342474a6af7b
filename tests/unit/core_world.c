#include "muster/core/world/state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "muster/core/err.h"
#include "muster/core/world/page.h"

static void set_number(const char *name, int value)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%d", value);
    assert_int_equal(setenv(name, text, 1), 0);
}

/* Rank 0 of two. */
static int enter_contract(void **state)
{
    (void)state;
    clearenv();
    set_number("MST_RANK", 0);
    set_number("MST_WORLD_SIZE", 2);
    set_number("MST_LOCAL_RANK", 0);
    set_number("MST_LOCAL_SIZE", 2);
    set_number("MST_NODE", 0);
    set_number("MST_NODE_COUNT", 1);
    set_number("MST_GENERATION", 1);
    return setenv("MST_KV_ADDR", "localhost:1", 1);
}

/* A memfd that is inherited: not close-on-exec, its position at the end. */
static int make_memfd(const void *data, size_t size)
{
    int fd = memfd_create("test", 0);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    return fd;
}

static void takes_the_fds_and_the_secret(void **state)
{
    (void)state;
    int secret_fd = make_memfd("open sesame", 11);
    int page_fd = make_memfd("p", 1), shm_fd = make_memfd("s", 1);
    set_number("MST_SECRET_FD", secret_fd);
    set_number("MST_PAGE_FD", page_fd);
    set_number("MST_SHM_FD", shm_fd);
    struct mst_world world;
    assert_int_equal(world_init_from_env(&world, NULL), 0);
    assert_int_equal(world.source, MST_WORLD_MUSTER);
    assert_int_equal(world.secret_bytes, 11);
    assert_memory_equal(world.secret, "open sesame", 11);
    assert_int_equal(fcntl(secret_fd, F_GETFD), -1);
    assert_int_equal(world.page_fd, page_fd);
    assert_int_equal(world.shm_fd, shm_fd);
    assert_true(fcntl(page_fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(shm_fd, F_GETFD) & FD_CLOEXEC);
    world_fini(&world);
    assert_int_equal(fcntl(page_fd, F_GETFD), -1);
    assert_int_equal(fcntl(shm_fd, F_GETFD), -1);
    assert_int_equal(world.page_fd, -1);
    assert_int_equal(world.secret_bytes, 0);
    for (size_t i = 0; i < sizeof world.secret; i++)
        assert_int_equal(world.secret[i], 0);
    world_fini(&world); /* once more is harmless */
    world_fini(NULL);
}

static void reads_a_secret_up_to_its_limit(void **state)
{
    (void)state;
    char bytes[MST_SECRET_BYTES_MAX + 1];
    memset(bytes, 's', sizeof bytes);
    int fd = make_memfd(bytes, MST_SECRET_BYTES_MAX);
    set_number("MST_SECRET_FD", fd);
    struct mst_world world;
    assert_int_equal(world_init_from_env(&world, NULL), 0);
    assert_int_equal(world.secret_bytes, MST_SECRET_BYTES_MAX);
    world_fini(&world);
    fd = make_memfd(bytes, sizeof bytes);
    set_number("MST_SECRET_FD", fd);
    struct mst_err err = {0};
    assert_int_equal(world_init_from_env(&world, &err), -EINVAL);
    assert_non_null(strstr(err.text, "MST_SECRET_FD"));
    assert_null(strstr(err.text, "sss"));
    assert_int_equal(close(fd), 0);
}

static void names_an_fd_that_is_not_open(void **state)
{
    (void)state;
    static const char *const names[] = {"MST_SECRET_FD", "MST_PAGE_FD", "MST_SHM_FD"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(enter_contract(NULL), 0);
        set_number(names[i], 999);
        struct mst_world world = {.rank = 77};
        struct mst_err err = {0};
        assert_int_equal(world_init_from_env(&world, &err), -EINVAL);
        assert_non_null(strstr(err.text, names[i]));
        assert_non_null(strstr(err.text, "999"));
        assert_int_equal(world.rank, 77);
    }
}

/* A pipe has no offset 0 to read from. */
static void names_a_secret_that_cannot_be_read(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    set_number("MST_SECRET_FD", fds[0]);
    struct mst_err err = {0};
    struct mst_world world;
    assert_int_equal(world_init_from_env(&world, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cannot be read"));
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
}

static void reads_the_process_environment(void **state)
{
    (void)state;
    clearenv();
    struct mst_world world;
    assert_int_equal(world_init_from_env(&world, NULL), 0);
    assert_int_equal(world.source, MST_WORLD_SINGLE);
    world_fini(&world);
    assert_int_equal(setenv("MST_WAIT", "spin", 1), 0);
    struct mst_tuning tuning;
    assert_int_equal(world_tuning_from_env(&tuning, NULL), 0);
    assert_int_equal(tuning.wait, MST_WAIT_SPIN);
    assert_int_equal(setenv("MST_WAIT", "doze", 1), 0);
    assert_int_equal(world_tuning_from_env(&tuning, NULL), -EINVAL);
}

/* What `muster run` would refuse or start is no world of one, and --from is there as a variable. */
static void asks_what_muster_run_would_do(void **state)
{
    (void)state;
    clearenv();
    assert_int_equal(setenv("PET_NNODES", "2", 1), 0);
    assert_int_equal(setenv("PET_NODE_RANK", "1", 1), 0);
    assert_int_equal(setenv("PET_MASTER_ADDR", "m", 1), 0);
    struct mst_world world = {.rank = 77};
    struct mst_err err = {0};
    assert_int_equal(world_init_from_env(&world, &err), -EINVAL);
    assert_non_null(strstr(err.text, "muster run"));
    assert_int_equal(world.rank, 77);
    assert_int_equal(setenv("MST_WORLD", "single", 1), 0);
    assert_int_equal(world_init_from_env(&world, NULL), 0);
    assert_int_equal(world.size, 1);
    world_fini(&world);
    assert_int_equal(unsetenv("MST_WORLD"), 0);
    assert_int_equal(setenv("PMI_RANK", "1", 1), 0);
    assert_int_equal(setenv("PMI_SIZE", "2", 1), 0);
    assert_int_equal(setenv("HOROVOD_RANK", "0", 1), 0);
    assert_int_equal(setenv("HOROVOD_SIZE", "2", 1), 0);
    assert_int_equal(world_init_from_env(&world, NULL), -EINVAL);
    assert_int_equal(setenv("MST_FROM", "pmi1", 1), 0);
    assert_int_equal(world_init_from_env(&world, NULL), 0);
    assert_int_equal(world.rank, 1);
    assert_int_equal(world.source, MST_WORLD_PMI);
    world_fini(&world);
}

/* A wrapper may clear the variables of a rank, but not take its page. */
static void a_rank_without_variables_is_not_alone(void **state)
{
    (void)state;
    clearenv();
    int fd;
    struct mst_page *page;
    struct mst_world world = {.rank = 77};
    struct mst_err err = {0};
    assert_int_equal(mst_page_create(2, &fd, &page, NULL), 0);
    assert_int_equal(mst_page_find_inherited(), fd);
    assert_int_equal(world_init_from_env(&world, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cleared the environment"));
    assert_int_equal(world.rank, 77);
    assert_int_equal(setenv("MST_WORLD", "single", 1), 0);
    assert_int_equal(world_init_from_env(&world, NULL), 0);
    world_fini(&world);
    assert_int_equal(unsetenv("MST_WORLD"), 0);
    mst_page_unmap(page);
    close(fd);
    assert_int_equal(mst_page_find_inherited(), -1);
    assert_int_equal(world_init_from_env(&world, NULL), 0);
    world_fini(&world);
}

static void a_program_sees_the_world_through_accessors(void **state)
{
    (void)state;
    set_number("MST_RANK", 5);
    set_number("MST_WORLD_SIZE", 12);
    set_number("MST_LOCAL_RANK", 2);
    set_number("MST_LOCAL_SIZE", 3);
    set_number("MST_NODE", 1);
    set_number("MST_NODE_COUNT", 4);
    set_number("MST_GENERATION", 7);
    assert_int_equal(setenv("MST_JOB_ID", "gcide", 1), 0);
    struct mst_world *world = NULL;
    assert_int_equal(mst_world_from_env(&world, NULL), 0);
    assert_int_equal(mst_world_rank(world), 5);
    assert_int_equal(mst_world_size(world), 12);
    assert_int_equal(mst_world_local_rank(world), 2);
    assert_int_equal(mst_world_local_size(world), 3);
    assert_int_equal(mst_world_node(world), 1);
    assert_int_equal(mst_world_node_count(world), 4);
    assert_int_equal(mst_world_generation(world), 7);
    assert_int_equal(mst_world_get_source(world), MST_WORLD_MUSTER);
    assert_string_equal(mst_world_job_id(world), "gcide");
    struct mst_world *second = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_world_from_env(&second, &err), -EINVAL);
    assert_non_null(strstr(err.text, "hand that one on"));
    assert_null(second);
    mst_world_destroy(world);
    mst_world_destroy(NULL);
    assert_int_equal(mst_world_single(&world), 0);
    assert_int_equal(mst_world_rank(world), 0);
    assert_int_equal(mst_world_size(world), 1);
    assert_int_equal(mst_world_get_source(world), MST_WORLD_SINGLE);
    assert_string_equal(mst_world_job_id(world), "");
    mst_world_destroy(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_the_fds_and_the_secret, enter_contract),
        cmocka_unit_test_setup(reads_a_secret_up_to_its_limit, enter_contract),
        cmocka_unit_test(names_an_fd_that_is_not_open),
        cmocka_unit_test_setup(names_a_secret_that_cannot_be_read, enter_contract),
        cmocka_unit_test_setup(a_program_sees_the_world_through_accessors, enter_contract),
        cmocka_unit_test(reads_the_process_environment),
        cmocka_unit_test(asks_what_muster_run_would_do),
        cmocka_unit_test(a_rank_without_variables_is_not_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which module is loaded, from where, and what is said when none is. The dynamic linker and the
 * file system are played by the test. */
#include "muster/comm/mpi_load.h"
#include "muster/core/err.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TRIES_MAX 8

static struct {
    char opened[TRIES_MAX][4200]; /* what dlopen was asked for */
    size_t opened_count;
    char accessed[TRIES_MAX][4200];
    size_t accessed_count;
    const char *present;       /* files that end so can be read */
    const char *in_process;    /* a symbol that the program has */
    const struct mpi_abi *abi; /* in whatever is opened; NULL = nothing can be opened */
} stage;

void *__wrap_dlopen(const char *path, int flags);
void *__wrap_dlsym(void *handle, const char *name);
char *__wrap_dlerror(void);
int __wrap_access(const char *path, int mode);

void *__wrap_dlopen(const char *path, int flags)
{
    (void)flags; /* how it is opened shows with a real MPI only */
    assert_in_range(stage.opened_count, 0, TRIES_MAX - 1);
    (void)snprintf(stage.opened[stage.opened_count++], sizeof stage.opened[0], "%s", path);
    return stage.abi ? &stage : NULL;
}

void *__wrap_dlsym(void *handle, const char *name)
{
    if (handle == &stage)
        return strcmp(name, MPI_ABI_SYMBOL) == 0 ? (void *)(uintptr_t)stage.abi : NULL;
    return stage.in_process && strcmp(name, stage.in_process) == 0 ? &stage : NULL;
}

char *__wrap_dlerror(void)
{
    static char text[] = "the linker's words";
    return text;
}

static bool ends_in(const char *path, const char *end)
{
    size_t length = strlen(path), end_length = strlen(end);
    return length >= end_length && strcmp(path + length - end_length, end) == 0;
}

int __wrap_access(const char *path, int mode)
{
    (void)mode; /* reading */
    assert_in_range(stage.accessed_count, 0, TRIES_MAX - 1);
    (void)snprintf(stage.accessed[stage.accessed_count++], sizeof stage.accessed[0], "%s", path);
    return stage.present && ends_in(path, stage.present) ? 0 : -1;
}

static int set_stage(void **state)
{
    (void)state;
    memset(&stage, 0, sizeof stage);
    return 0;
}

static int load(enum mst_world_source source, const char *module, struct mst_err *err)
{
    const struct mpi_abi *abi = NULL;
    struct mst_world world;
    world_init_single(&world);
    world.source = source;
    (void)snprintf(world.tuning.mpi_module, sizeof world.tuning.mpi_module, "%s", module);
    int rc = mpi_load(&world, &abi, err);
    assert_true(rc == 0 ? abi == stage.abi : abi == NULL);
    return rc;
}

/* The file that is asked for under a launcher, when it is nowhere. */
static void expect_file(enum mst_world_source source, const char *file)
{
    struct mst_err err = {0};
    stage.opened_count = stage.accessed_count = 0;
    assert_int_equal(load(source, "", &err), -ENOTSUP);
    assert_int_equal(stage.opened_count, 1);
    assert_string_equal(stage.opened[0], file);
    assert_non_null(strstr(err.text, "MST_MPI_MODULE"));
    assert_non_null(strstr(err.text, "the linker's words"));
}

static void the_launcher_says_which_mpi(void **state)
{
    (void)state;
    expect_file(MST_WORLD_OPENMPI, "libmuster-mpi-openmpi.so");
    expect_file(MST_WORLD_PMI, "libmuster-mpi-mpich.so");
    expect_file(MST_WORLD_SLURM, "libmuster-mpi-openmpi.so");
}

static void the_programs_own_mpi_goes_first(void **state)
{
    (void)state;
    stage.in_process = "ompi_mpi_comm_world";
    expect_file(MST_WORLD_PMI, "libmuster-mpi-openmpi.so");
    stage.in_process = "MPI_Init";
    expect_file(MST_WORLD_OPENMPI, "libmuster-mpi-mpich.so");
}

static void it_is_looked_for_around_the_program(void **state)
{
    (void)state;
    expect_file(MST_WORLD_PMI, "libmuster-mpi-mpich.so");
    assert_int_equal(stage.accessed_count, 3);
    for (size_t i = 0; i < stage.accessed_count; i++)
        assert_true(ends_in(stage.accessed[i], "/libmuster-mpi-mpich.so"));
    assert_true(ends_in(stage.accessed[2], "/../lib/libmuster-mpi-mpich.so"));
}

/* A module that is there and does not load is the answer, not a reason to look elsewhere. */
static void a_broken_module_is_told(void **state)
{
    (void)state;
    struct mst_err err = {0};
    stage.present = "/libmuster-mpi-openmpi.so";
    assert_int_equal(load(MST_WORLD_OPENMPI, "", &err), -ENOTSUP);
    assert_int_equal(stage.opened_count, 1);
    assert_string_equal(stage.opened[0], stage.accessed[0]);
    assert_int_equal(stage.accessed_count, 1);
    assert_non_null(strstr(err.text, "the linker's words"));
}

static void a_named_module_is_taken_as_it_is(void **state)
{
    (void)state;
    struct mst_err err = {0};
    assert_int_equal(load(MST_WORLD_PMI, "/opt/x.so", &err), -ENOTSUP);
    assert_int_equal(stage.accessed_count, 0);
    assert_string_equal(stage.opened[0], "/opt/x.so");
    assert_non_null(strstr(err.text, "MST_MPI_MODULE=/opt/x.so"));
}

static void another_release_is_refused(void **state)
{
    (void)state;
    static const struct mpi_abi newer = {.version = MPI_ABI_VERSION + 1};
    struct mst_err err = {0};
    const struct mpi_abi *abi = NULL;
    struct mst_world world;
    world_init_single(&world);
    stage.abi = &newer;
    assert_int_equal(mpi_load(&world, &abi, &err), -ENOTSUP);
    assert_null(abi);
    assert_non_null(strstr(err.text, "no MPI module of this release"));
}

/* Last, since what is loaded stays. */
static void a_module_is_loaded_once(void **state)
{
    (void)state;
    static const struct mpi_abi abi = {.version = MPI_ABI_VERSION};
    stage.abi = &abi;
    stage.present = "/../lib/libmuster-mpi-mpich.so";
    assert_int_equal(load(MST_WORLD_PMI, "", NULL), 0);
    assert_true(ends_in(stage.opened[0], "/../lib/libmuster-mpi-mpich.so"));
    assert_int_equal(load(MST_WORLD_OPENMPI, "/opt/x.so", NULL), 0);
    assert_int_equal(stage.opened_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_launcher_says_which_mpi, set_stage),
        cmocka_unit_test_setup(the_programs_own_mpi_goes_first, set_stage),
        cmocka_unit_test_setup(it_is_looked_for_around_the_program, set_stage),
        cmocka_unit_test_setup(a_broken_module_is_told, set_stage),
        cmocka_unit_test_setup(a_named_module_is_taken_as_it_is, set_stage),
        cmocka_unit_test_setup(another_release_is_refused, set_stage),
        cmocka_unit_test_setup(a_module_is_loaded_once, set_stage),
    };
    return cmocka_run_group_tests_name("comm_mpi_load", tests, NULL, NULL);
}

/* Pythons as they lie about, with an mpi4py among their packages. */
#include "muster/launcher/mpi4py.h"

#include "muster/launcher/mpi.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tiny_elf.h"

static char folder[] = "/tmp/muster-mpi4py-XXXXXX";
static char library[MPI_LIBRARY_BYTES];

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static int enter(void **state)
{
    (void)state;
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    library[0] = '\0';
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    return chdir("/") == 0 ? nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) : -1;
}

/* With its folders. */
static void make_file(const char *path, const char *text)
{
    char name[256];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        (void)snprintf(name, sizeof name, "%.*s", (int)(slash - path), path);
        (void)mkdir(name, 0700); /* it may be there */
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static const char *absolute(const char *path)
{
    static char name[512];
    (void)snprintf(name, sizeof name, "%s/%s", folder, path);
    return name;
}

static void make_library(const char *path, const char *name)
{
    make_file(path, "");
    tiny_elf_write(path, TINY_ELF_SONAME, name);
}

static void make_wheel(const char *packages)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/mpi4py/MPI.openmpi.cpython-311-x86_64-linux-gnu.so",
                   packages);
    make_file(path, "");
    (void)snprintf(path, sizeof path, "%s/mpi4py/MPI.mpich.cpython-311-x86_64-linux-gnu.so",
                   packages);
    make_file(path, "");
}

static void make_base(void)
{
    make_file("base/bin/python3.11", "");
    assert_int_equal(symlink("python3.11", "base/bin/python3"), 0);
}

static void make_venv(const char *config)
{
    make_base();
    make_file("venv/pyvenv.cfg", config);
    make_file("venv/bin/x", "");
    assert_int_equal(symlink("../../base/bin/python3", "venv/bin/python3"), 0);
}

/* What is found where the loader looks in `folders` first. */
static bool finds(const char *python, const char *folders)
{
    char path[512], paths[1024], *env[] = {paths, NULL};
    (void)snprintf(path, sizeof path, "%s", absolute(python));
    (void)snprintf(paths, sizeof paths, "LD_LIBRARY_PATH=%s", folders);
    return mpi4py_finds(path, env, library);
}

static void without_mpi4py_there_is_nothing(void **state)
{
    (void)state;
    make_venv("");
    make_library("lib/libmpi.so", "libmpi.so.40");
    assert_false(finds("base/bin/python3", absolute("lib")));
    assert_false(finds("venv/bin/python3", absolute("lib")));
    make_wheel("base/lib/python3.12/site-packages"); /* another's */
    assert_false(finds("base/bin/python3", absolute("lib")));
    assert_false(finds("base/bin/none", absolute("lib")));
}

static void a_wheel_loads_what_the_loader_finds(void **state)
{
    (void)state;
    make_base();
    make_wheel("base/lib/python3.11/site-packages");
    make_library("one/libmpi.so", "libmpi.so.12");
    make_library("two/libmpi.so", "libmpi.so.40");
    make_file("text/libmpi.so", "INPUT(libmpi.so.12)");
    make_library("text/libmpi.so.12", "libmpich.so.12");
    char first[512], both[1200];
    assert_true(finds("base/bin/python3", absolute("two")));
    assert_string_equal(library, "libmpi.so.40");
    (void)snprintf(first, sizeof first, "/nowhere::%s", absolute("one"));
    (void)snprintf(both, sizeof both, "%s:%s", first, absolute("two"));
    assert_true(finds("base/bin/python3", both));
    assert_string_equal(library, "libmpi.so.12");
    (void)snprintf(first, sizeof first, "%s", absolute("text")); /* nobody loads that */
    (void)snprintf(both, sizeof both, "%s:%s", first, absolute("two"));
    assert_true(finds("base/bin/python3", both));
    assert_string_equal(library, "libmpich.so.12");
}

/* Its own packages come first, and others only if it says so. */
static void an_environment_has_packages_of_its_own(void **state)
{
    (void)state;
    make_venv("home = x\ninclude-system-site-packages = false\n");
    make_wheel("base/lib/python3.11/site-packages");
    make_library("lib/libmpi.so", "libmpi.so.40");
    assert_false(finds("venv/bin/python3", absolute("lib")));
    make_file("venv/pyvenv.cfg", "home = x\ninclude-system-site-packages = true\n");
    assert_true(finds("venv/bin/python3", absolute("lib")));
    assert_string_equal(library, "libmpi.so.40");
    make_library("venv/lib/libmpi.so.12.5.2", "libmpi.so.12");
    assert_int_equal(symlink("libmpi.so.12.5.2", "venv/lib/libmpi.so.12"), 0);
    make_wheel("venv/lib/python3.11/site-packages");
    make_file("venv/pyvenv.cfg", "");
    assert_true(finds("venv/bin/python3", absolute("lib")));
    assert_string_equal(library, "libmpi.so.12");
}

static void folders_of_the_environment_count(void **state)
{
    (void)state;
    char python[512], paths[600], loader[600], home[600];
    make_base();
    make_library("lib/libmpi.so", "libmpi.so.40");
    (void)snprintf(python, sizeof python, "%s", absolute("base/bin/python3"));
    (void)snprintf(paths, sizeof paths, "PYTHONPATH=:/nowhere:%s", absolute("packages"));
    (void)snprintf(loader, sizeof loader, "LD_LIBRARY_PATH=%s", absolute("lib"));
    (void)snprintf(home, sizeof home, "HOME=%s", absolute("home"));
    char *env[] = {paths, loader, home, NULL};
    assert_false(mpi4py_finds(python, env, library));
    make_wheel("home/.local/lib/python3.11/site-packages");
    assert_true(mpi4py_finds(python, env, library));
    make_library("home/.local/lib/libmpi.so.12", "libmpi.so.12");
    assert_true(mpi4py_finds(python, env, library));
    assert_string_equal(library, "libmpi.so.12");
    make_wheel("packages");
    assert_true(mpi4py_finds(python, env, library));
}

static void what_it_is_linked_with_is_its_own(void **state)
{
    (void)state;
    static const char module[] =
        "base/lib/python3.11/site-packages/mpi4py/MPI.cpython-311-x86_64-linux-gnu.so";
    make_base();
    make_file(module, "no library");
    make_library("lib/libmpi.so", "libmpi.so.40");
    assert_false(finds("base/bin/python3", absolute("lib")));
    tiny_elf_write(module, TINY_ELF_NEEDED, "libmpich.so.12");
    assert_true(finds("base/bin/python3", absolute("lib")));
    assert_string_equal(library, "libmpich.so.12");
}

static void its_module_is_known(void **state)
{
    (void)state;
    assert_true(mpi4py_is_module("/x/mpi4py/MPI.cpython-311-x86_64-linux-gnu.so"));
    assert_true(mpi4py_is_module("7f00 r-xp 00 00:00 0 /x/mpi4py/MPI.abi3.so"));
    assert_false(mpi4py_is_module("/x/mpi4py/MPI.pxd"));
    assert_false(mpi4py_is_module("/x/mpi4py/dl.cpython-311-x86_64-linux-gnu.so"));
    assert_false(mpi4py_is_module("/x/mpi4py.so"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_mpi4py_there_is_nothing, enter, leave),
        cmocka_unit_test_setup_teardown(a_wheel_loads_what_the_loader_finds, enter, leave),
        cmocka_unit_test_setup_teardown(an_environment_has_packages_of_its_own, enter, leave),
        cmocka_unit_test_setup_teardown(folders_of_the_environment_count, enter, leave),
        cmocka_unit_test_setup_teardown(what_it_is_linked_with_is_its_own, enter, leave),
        cmocka_unit_test(its_module_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

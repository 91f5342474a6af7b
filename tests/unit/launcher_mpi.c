/* Names of MPI's libraries; programs and scripts as they lie about; this process's own memory; and
 * a watch, whose looks are child processes. */
#include "muster/launcher/mpi.h"

#include "muster/core/clock.h"
#include "muster/launcher/procs.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "soon.h"
#include "tiny_elf.h"

static char folder[] = "/tmp/muster-mpi-XXXXXX";

static int enter(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    (void)unlink("script");
    (void)unlink("fifo");
    (void)unlink("libmpi.so.40");
    (void)unlink("libmpich.so.12");
    (void)unlink("program");
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void knows_the_libraries_names(void **state)
{
    (void)state;
    static const char *const are[] = {"libmpi.so",        "libmpi.so.40",       "libmpich.so.12",
                                      "libmpi_cxx.so.40", "libmpi_mpifh.so.40", "libmpifort.so.12",
                                      "libmpicxx.so.12",  "libmpichcxx.so.12"};
    static const char *const are_not[] = {"libc.so.6",   "libmpir.so.1",
                                          "libmpi",      "libmpg123.so.0",
                                          "mylibmpi.so", "libmuster-mpi-openmpi.so"};
    for (size_t i = 0; i < sizeof are / sizeof are[0]; i++)
        assert_true(mpi_is_library(are[i]));
    for (size_t i = 0; i < sizeof are_not / sizeof are_not[0]; i++)
        assert_false(mpi_is_library(are_not[i]));
}

static void knows_the_families(void **state)
{
    (void)state;
    static const struct {
        const char *library;
        enum mpi_family family;
    } cases[] = {{"libmpich.so.12", MPI_FAMILY_MPICH},    {"libmpich.so.12.2.1", MPI_FAMILY_MPICH},
                 {"libmpi.so.12", MPI_FAMILY_MPICH},      {"libmpi.so.12.5.2", MPI_FAMILY_MPICH},
                 {"libmpifort.so.12", MPI_FAMILY_MPICH},  {"libmpichcxx.so.12", MPI_FAMILY_MPICH},
                 {"libmpi.so.40", MPI_FAMILY_OPEN},       {"libmpi.so.40.30.4", MPI_FAMILY_OPEN},
                 {"libmpi_mpifh.so.40", MPI_FAMILY_OPEN}, {"libmpi_cxx.so.40", MPI_FAMILY_OPEN},
                 {"libmpi.so", MPI_FAMILY_NONE},          {"libmpi.so.120", MPI_FAMILY_NONE},
                 {"libmpi.so.400", MPI_FAMILY_NONE},      {"libmpi_abi.so.1", MPI_FAMILY_NONE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(mpi_family_of(cases[i].library), cases[i].family);
}

static bool needs(const char *program, const char *argument, const char *path)
{
    char first[64], second[64], library[MPI_LIBRARY_BYTES];
    (void)snprintf(first, sizeof first, "%s", program);
    (void)snprintf(second, sizeof second, "%s", argument ? argument : "");
    char *argv[] = {first, argument ? second : NULL, NULL};
    return mpi_is_needed(argv, path, library);
}

static void what_needs_no_mpi_may_start(void **state)
{
    (void)state;
    FILE *script = fopen("script", "we");
    assert_non_null(script);
    assert_true(fputs("#!/bin/sh\n", script) >= 0);
    assert_int_equal(fclose(script), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    static const char *const programs[] = {"/bin/sh", "./script", "./fifo", "./absent", "/", "sh"};
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        assert_false(needs(programs[i], NULL, "/bin:/usr/bin"));
    assert_false(needs("sh", NULL, NULL));
    assert_false(needs("sh", NULL, ""));
}

static void write_program(const char *name)
{
    tiny_elf_write(name, TINY_ELF_NEEDED, "libmpich.so.12");
}

static void a_library_says_which_it_is(void **state)
{
    (void)state;
    char library[MPI_LIBRARY_BYTES] = "";
    tiny_elf_write("program", TINY_ELF_SONAME, "libmpi.so.40");
    assert_true(mpi_file_is("program", library));
    assert_string_equal(library, "libmpi.so.40");
    assert_false(mpi_file_needs("program", library));
    tiny_elf_write("program", TINY_ELF_SONAME, "libc.so.6");
    assert_false(mpi_file_is("program", library));
    write_program("program");
    assert_false(mpi_file_is("program", library));
    assert_true(mpi_file_needs("program", library));
    assert_false(mpi_file_is("absent", library));
    assert_false(mpi_file_is("fifo", library));
}

static void what_env_starts_is_looked_at(void **state)
{
    (void)state;
    write_program("program");
    assert_true(needs("./program", NULL, NULL));
    assert_true(needs("env", "./program", "/usr/bin"));
    const struct {
        const char *words[6];
        bool needs;
    } cases[] = {{{"/usr/bin/env", "A=1", "B=./x", "./program"}, true},
                 {{"env", "-i", "-u", "A", "--", "./program"}, true},
                 {{"env", "--unset", "A", "./program"}, true},
                 {{"env", "A=1", "/bin/true", "./program"}, false},
                 {{"nice", "-n", "5", "timeout", "60", "./program"}, true},
                 {{"sh", "-c", "./program"}, false},
                 {{"env", "-S", "./program"}, false},
                 {{"env", "-u"}, false},
                 {{"env"}, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[6][16], *argv[7] = {NULL}, library[MPI_LIBRARY_BYTES];
        for (size_t k = 0; k < 6 && cases[i].words[k]; k++) {
            (void)snprintf(words[k], sizeof words[k], "%s", cases[i].words[k]);
            argv[k] = words[k];
        }
        assert_int_equal(mpi_is_needed(argv, "/usr/bin:/bin", library), cases[i].needs);
    }
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(name, 0700), 0);
}

/* What runs a script is looked at. */
static void a_script_is_what_runs_it(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool needs;
    } cases[] = {{"#!./program\n", true},
                 {"#! ./program -u\nprint()\n", true},
                 {"#!/usr/bin/env ./program\n", true},
                 {"#!/usr/bin/env -S A=1 ./program -u\n", true},
                 {"#!./other", true},
                 {"#!/bin/sh ./program\n", false},
                 {"#!/usr/bin/env\n", false},
                 {"#!\n", false},
                 {"#", false},
                 {"#!./script\n", false}}; /* of itself */
    write_program("program");
    write_text("other", "#!./program\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("script", cases[i].line);
        assert_int_equal(needs("./script", NULL, "/usr/bin:/bin"), cases[i].needs);
    }
    assert_int_equal(unlink("other"), 0);
}

static void mpi4py_is_told_by_its_variables(void **state)
{
    (void)state;
    static const struct {
        const char *var, *library;
    } cases[] = {{"MPI4PY_LIBMPI=/opt/lib/libmpi.so.12", "libmpi.so.12"},
                 {"MPI4PY_LIBMPI=libmpi.so.40", "libmpi.so.40"},
                 {"MPI4PY_LIBMPI=/opt/other.so", NULL},
                 {"MPI4PY_MPIABI=openmpi", "libmpi.so.40"},
                 {"MPI4PY_MPIABI=mpich", "libmpi.so.12"},
                 {"MPI4PY_MPIABI=impi", "libmpi.so.12"},
                 {"MPI4PY_MPIABI=", NULL},
                 {"MPI4PY_MPIABIX=mpich", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char var[64], other[] = "PATH=/bin", library[MPI_LIBRARY_BYTES];
        (void)snprintf(var, sizeof var, "%s", cases[i].var);
        char *env[] = {other, var, NULL};
        assert_int_equal(mpi_is_named(env, library), cases[i].library != NULL);
        if (cases[i].library)
            assert_string_equal(library, cases[i].library);
    }
}

/* Any file of that name will do: it is the name that tells. */
static void *map_library(const char *name)
{
    FILE *file = fopen(name, "w+e");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 4096), 0);
    void *bytes = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    assert_true(bytes != MAP_FAILED);
    assert_int_equal(fclose(file), 0);
    return bytes;
}

static void a_library_is_seen_once_it_is_mapped(void **state)
{
    (void)state;
    struct mpi_finding finding = {0};
    assert_false(mpi_is_mapped(getpid(), MPI_FAMILY_NONE, &finding));
    assert_false(mpi_is_mapped(0, MPI_FAMILY_NONE, &finding));
    void *bytes = map_library("libmpi.so.40");
    for (enum mpi_family served = MPI_FAMILY_NONE; served <= MPI_FAMILY_MPICH; served++) {
        assert_true(mpi_is_mapped(getpid(), served, &finding));
        assert_string_equal(finding.library, "libmpi.so.40");
        assert_false(finding.by_mpi4py);
    }
    assert_false(mpi_is_mapped(getpid(), MPI_FAMILY_OPEN, &finding));
    assert_int_equal(munmap(bytes, 4096), 0);
}

static void a_library_that_is_served_is_not_looked_for(void **state)
{
    (void)state;
    struct mpi_finding finding;
    void *bytes = map_library("libmpich.so.12");
    assert_true(mpi_is_mapped(getpid(), MPI_FAMILY_NONE, &finding));
    assert_false(mpi_is_mapped(getpid(), MPI_FAMILY_MPICH, &finding));
    assert_true(mpi_is_mapped(getpid(), MPI_FAMILY_OPEN, &finding));
    assert_int_equal(munmap(bytes, 4096), 0);
}

static void who_uses_it_is_seen_too(void **state)
{
    (void)state;
    struct mpi_finding finding;
    assert_int_equal(mkdir("mpi4py", 0700), 0);
    void *bytes = map_library("libmpi.so.40"), *module = map_library("mpi4py/MPI.openmpi.so");
    assert_true(mpi_is_mapped(getpid(), MPI_FAMILY_NONE, &finding));
    assert_true(finding.by_mpi4py);
    assert_string_equal(finding.library, "libmpi.so.40");
    assert_int_equal(munmap(module, 4096), 0);
    assert_int_equal(munmap(bytes, 4096), 0);
    assert_int_equal(unlink("mpi4py/MPI.openmpi.so"), 0);
    assert_int_equal(rmdir("mpi4py"), 0);
}

/* The child ends, and what it found is there to be read. */
static bool look(struct mpi_watch *watch, const pid_t *pids, uint32_t count,
                 struct mpi_finding *ret_finding)
{
    uint32_t looks = watch->looks;
    mpi_watch_look(watch, pids, count, watch->wake_ns);
    assert_int_equal(watch->looks, looks + 1);
    struct pollfd ready = {.fd = watch->fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, mst_deadline_left_ms(soon())), 1);
    bool found = mpi_watch_take(watch, ret_finding);
    assert_int_equal(watch->fd, -1);
    assert_true(wait(NULL) > 0);
    return found;
}

static void a_watch_finds_once(void **state)
{
    (void)state;
    struct mpi_watch watch = {.fd = -1, .wake_ns = MST_NEVER};
    struct mpi_finding finding;
    const pid_t pids[] = {0, getpid()};
    mpi_watch_start(&watch, MPI_FAMILY_NONE, 1000);
    assert_true(watch.wake_ns > 1000 && watch.wake_ns != MST_NEVER);
    assert_false(mpi_watch_take(&watch, &finding));
    assert_false(look(&watch, pids, 2, &finding));
    assert_true(watch.wake_ns != MST_NEVER);
    void *bytes = map_library("libmpi.so.40");
    assert_true(look(&watch, pids, 2, &finding));
    assert_int_equal(finding.local_rank, 1);
    assert_string_equal(finding.library, "libmpi.so.40");
    assert_true(watch.wake_ns == MST_NEVER);
    mpi_watch_start(&watch, MPI_FAMILY_NONE, 2000); /* the next generation */
    assert_true(watch.wake_ns == MST_NEVER);
    assert_int_equal(munmap(bytes, 4096), 0);
    mpi_watch_fini(&watch);
}

/* A shell that waits has no MPI, and the program that it waits for has. */
static void what_a_rank_has_started_is_looked_at(void **state)
{
    (void)state;
    struct mpi_watch watch = {.fd = -1, .wake_ns = MST_NEVER};
    struct mpi_finding finding;
    int fds[2];
    char byte;
    assert_int_equal(pipe(fds), 0);
    pid_t leader = fork();
    if (leader == 0) {
        (void)setsid();
        pid_t child = fork();
        if (child == 0)
            (void)map_library("libmpi.so.40");
        if (child == 0 && write(fds[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    const pid_t pids[] = {0, leader};
    mpi_watch_start(&watch, MPI_FAMILY_NONE, 0);
    assert_true(look(&watch, pids, 2, &finding));
    assert_int_equal(finding.local_rank, 1);
    assert_string_equal(finding.library, "libmpi.so.40");
    assert_int_equal(procs_kill(&leader, 1), 2);
    while (wait(NULL) > 0)
        ;
    mpi_watch_fini(&watch);
}

static void a_watch_looks_a_few_times_only(void **state)
{
    (void)state;
    struct mpi_watch watch = {.fd = -1, .wake_ns = MST_NEVER};
    struct mpi_finding finding;
    mpi_watch_start(&watch, MPI_FAMILY_NONE, 0);
    uint64_t last_ns = 0;
    while (watch.wake_ns != MST_NEVER) {
        assert_true(watch.wake_ns > last_ns && watch.looks < 10);
        last_ns = watch.wake_ns;
        assert_false(look(&watch, NULL, 0, &finding));
    }
    assert_true(watch.looks > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_libraries_names),
        cmocka_unit_test(knows_the_families),
        cmocka_unit_test(what_needs_no_mpi_may_start),
        cmocka_unit_test(a_library_says_which_it_is),
        cmocka_unit_test(what_env_starts_is_looked_at),
        cmocka_unit_test(a_script_is_what_runs_it),
        cmocka_unit_test(mpi4py_is_told_by_its_variables),
        cmocka_unit_test(a_library_is_seen_once_it_is_mapped),
        cmocka_unit_test(a_library_that_is_served_is_not_looked_for),
        cmocka_unit_test(who_uses_it_is_seen_too),
        cmocka_unit_test(a_watch_finds_once),
        cmocka_unit_test(what_a_rank_has_started_is_looked_at),
        cmocka_unit_test(a_watch_looks_a_few_times_only),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}

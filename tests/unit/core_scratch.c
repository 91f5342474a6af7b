#include "muster/core/scratch.h"
#include "scratch.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* What open says where every file system is mounted read-only. */
static bool all_read_only;
int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    errno = EROFS;
    return all_read_only ? -1 : __real_open(path, flags, 0600);
}

static struct mst_scratch scratch;
static struct mst_err err;

static void use(void)
{
    char text[4];
    struct stat found;
    assert_int_equal(fstat(scratch.fd, &found), 0);
    assert_int_equal(found.st_nlink, 0); /* it has no name */
    assert_int_equal(fcntl(scratch.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(pwrite(scratch.fd, "here", 4, 0), 4);
    assert_int_equal(pread(scratch.fd, text, 4, 0), 4);
    assert_memory_equal(text, "here", 4);
    close(scratch.fd);
}

static void test_it_lies_where_the_program_or_tmpdir_says(void **state)
{
    (void)state;
    unsetenv("TMPDIR");
    assert_string_equal(mst_scratch_dir(), "/tmp");
    setenv("TMPDIR", "", 1);
    assert_string_equal(mst_scratch_dir(), "/tmp");
    setenv("TMPDIR", scratch_dir, 1);
    assert_int_equal(mst_scratch_open(NULL, &scratch, &err), 0);
    assert_string_equal(scratch.where, scratch_dir);
    assert_true(scratch.limit_bytes == UINT64_MAX);
    use();
    setenv("TMPDIR", "/nowhere", 1);
    assert_int_equal(mst_scratch_open(scratch_dir, &scratch, &err), 0);
    assert_string_equal(scratch.where, scratch_dir);
    use();
    assert_int_equal(mst_scratch_open(NULL, &scratch, &err), 0);
    assert_string_equal(scratch.where, "/tmp");
    use();
}

static void test_a_folder_that_the_program_names_is_the_only_one(void **state)
{
    (void)state;
    setenv("TMPDIR", scratch_dir, 1);
    assert_int_equal(mst_scratch_open("/nowhere", &scratch, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere"));
}

static void test_memory_takes_what_no_folder_does(void **state)
{
    (void)state;
    setenv("TMPDIR", scratch_dir, 1);
    all_read_only = true;
    assert_int_equal(mst_scratch_open(scratch_dir, &scratch, &err), -EROFS);
    assert_int_equal(mst_scratch_open(NULL, &scratch, &err), 0);
    all_read_only = false;
    assert_non_null(strstr(scratch.where, "memory, at most 64 MiB"));
    assert_true(scratch.limit_bytes == MST_SCRATCH_MEMORY_BYTES);
    use();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lies_where_the_program_or_tmpdir_says),
        cmocka_unit_test(test_a_folder_that_the_program_names_is_the_only_one),
        cmocka_unit_test(test_memory_takes_what_no_folder_does),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

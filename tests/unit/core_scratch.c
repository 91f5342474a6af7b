#include "muster/core/scratch.h"
#include "scratch.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct mst_scratch scratch;
static struct mst_err err;

static nlink_t links_of(int fd)
{
    struct stat found;
    assert_int_equal(fstat(fd, &found), 0);
    return found.st_nlink;
}

static void use(void)
{
    char text[4];
    assert_int_equal(links_of(scratch.fd), 0); /* it has no name */
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
    assert_int_equal(mst_scratch_take(&scratch, UINT64_MAX, &err), 0); /* the disk will tell */
    use();
    setenv("TMPDIR", "/nowhere", 1);
    assert_int_equal(mst_scratch_open(scratch_dir, &scratch, &err), 0);
    assert_string_equal(scratch.where, scratch_dir);
    use();
}

static void test_a_folder_that_the_program_names_is_the_only_one(void **state)
{
    (void)state;
    setenv("TMPDIR", scratch_dir, 1);
    assert_int_equal(mst_scratch_open("/nowhere", &scratch, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere"));
}

static void test_memory_takes_what_no_folder_does_up_to_its_budget(void **state)
{
    (void)state;
    setenv("TMPDIR", "/proc/self", 1); /* read-only to everybody, root too */
    assert_int_equal(mst_scratch_open(NULL, &scratch, &err), 0);
    assert_string_equal(scratch.where, "memory");
    assert_int_equal(mst_scratch_take(&scratch, 4, &err), 0);
    assert_int_equal(mst_scratch_take(&scratch, MST_SCRATCH_MEMORY_BYTES, &err), -ENOSPC);
    assert_non_null(strstr(err.text, "TMPDIR"));
    assert_non_null(strstr(err.text, "/proc/self"));
    assert_int_equal(mst_scratch_take(&scratch, UINT64_MAX, &err), -ENOSPC);
    assert_int_equal(mst_scratch_take(&scratch, MST_SCRATCH_MEMORY_BYTES - 4, &err), 0);
    assert_int_equal(mst_scratch_take(&scratch, 1, &err), -ENOSPC);
    use();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lies_where_the_program_or_tmpdir_says),
        cmocka_unit_test(test_a_folder_that_the_program_names_is_the_only_one),
        cmocka_unit_test(test_memory_takes_what_no_folder_does_up_to_its_budget),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

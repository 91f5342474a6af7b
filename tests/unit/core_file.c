#include "muster/core/file.h"

#include "muster/core/err.h"
#include "scratch.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

static void opens_files_and_links_to_them(void **state)
{
    (void)state;
    const char *path = scratch_write("text", "abc", 3), *link_path = scratch_path("link");
    assert_int_equal(symlink("text", link_path), 0);
    const char *const paths[] = {path, link_path};
    for (size_t i = 0; i < 2; i++) {
        char text[4];
        FILE *file = mst_file_read(paths[i]);
        assert_non_null(file);
        assert_int_equal(fcntl(fileno(file), F_GETFD), FD_CLOEXEC);
        assert_int_equal(fread(text, 1, sizeof text, file), 3);
        (void)fclose(file);
    }
}

static void refuse(const char *path, int error)
{
    errno = 0;
    assert_null(mst_file_read(path));
    assert_int_equal(errno, error);
}

static void waits_for_nobody(void **state)
{
    (void)state;
    const char *fifo = scratch_path("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refuse(fifo, ENOTSUP);
    refuse(scratch_dir, EISDIR);
    refuse("/dev/null", ENOTSUP);
    refuse(scratch_path("absent"), ENOENT);
    assert_string_equal(mst_file_meaning(-ENOTSUP), "is no regular file");
    assert_string_equal(mst_file_meaning(ENOENT), mst_err_meaning(ENOENT));
}

static void reads_one_line(void **state)
{
    (void)state;
    char line[8] = "";
    (void)scratch_write("two", "first\nsecond\n", 13);
    (void)scratch_write("none", "", 0);
    (void)scratch_write("long", "12345678", 8);
    assert_true(mst_file_line(line, sizeof line, "%s/%s", scratch_dir, "two"));
    assert_string_equal(line, "first");
    assert_true(mst_file_line(line, sizeof line, "%s/long", scratch_dir));
    assert_string_equal(line, "1234567");
    assert_false(mst_file_line(line, sizeof line, "%s/none", scratch_dir));
    assert_false(mst_file_line(line, sizeof line, "%s/absent", scratch_dir));
    assert_false(mst_file_line(line, sizeof line, "%05000d", 1)); /* no path is so long */
}

static int interrupts_left, fault;

/* A byte at a time, and now and then none. */
static bool is_allowed(void)
{
    errno = interrupts_left-- == 1 ? EINTR : fault;
    return errno == 0;
}

ssize_t __real_pread(int fd, void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size_bytes, off_t offset)
{
    return is_allowed() ? __real_pread(fd, data, size_bytes > 0, offset) : -1;
}

ssize_t __real_pwrite(int fd, const void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size_bytes, off_t offset)
{
    return is_allowed() ? __real_pwrite(fd, data, size_bytes > 0, offset) : -1;
}

static void goes_on_where_it_was_cut_short(void **state)
{
    (void)state;
    char text[8] = "";
    int fd = open(scratch_path("cut"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    interrupts_left = 3;
    assert_int_equal(mst_file_pwrite(fd, "abcdef", 6, 2), 0);
    assert_true(interrupts_left < 0);
    interrupts_left = 3;
    assert_int_equal(mst_file_pread(fd, text, 4, 2), 4);
    assert_string_equal(text, "abcd");
    assert_int_equal(mst_file_pread(fd, text, sizeof text, 5), 3);
    assert_int_equal(mst_file_pread(fd, text, sizeof text, 8), 0);
    fault = ENOSPC;
    assert_int_equal(mst_file_pwrite(fd, "x", 1, 0), -ENOSPC);
    fault = EIO;
    assert_int_equal(mst_file_pread(fd, text, 1, 0), -EIO);
    fault = 0;
    close(fd);
}

static void closes_once(void **state)
{
    (void)state;
    int fd = dup(STDERR_FILENO), copy = fd;
    mst_file_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(copy, F_GETFD), -1);
    mst_file_close(&fd);
    assert_int_equal(fd, -1);
}

static void names_a_file_for_later(void **state)
{
    (void)state;
    char before[PATH_MAX], folder[PATH_MAX], wanted[PATH_MAX + 8];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(scratch_dir), 0);
    char *here = mst_file_absolute("a/b"), *there = mst_file_absolute("/a/b");
    assert_non_null(getcwd(folder, sizeof folder));
    (void)snprintf(wanted, sizeof wanted, "%s/a/b", folder);
    assert_string_equal(here, wanted);
    assert_string_equal(there, "/a/b");
    free(here);
    free(there);
    assert_int_equal(chdir(before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_files_and_links_to_them),
        cmocka_unit_test(waits_for_nobody),
        cmocka_unit_test(reads_one_line),
        cmocka_unit_test(goes_on_where_it_was_cut_short),
        cmocka_unit_test(closes_once),
        cmocka_unit_test(names_a_file_for_later),
    };
    return cmocka_run_group_tests_name("core_file", tests, scratch_setup, scratch_teardown);
}

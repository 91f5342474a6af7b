#include "muster/core/err.h"
#include "muster/dataio/scratch.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>

/* The folder that the file was made in, as the kernel tells it. */
static void check_place(const struct scratch *scratch, const char *folder)
{
    char link[64], path[PATH_MAX + 1] = "";
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", scratch->file.fd); /* fits */
    assert_true(readlink(link, path, PATH_MAX) > 0);
    if (!strstr(path, folder))
        fail_msg("%s is not in %s", path, folder);
}

static void test_contents_lie_one_after_the_other(void **state)
{
    (void)state;
    struct scratch scratch = SCRATCH_INIT;
    static const uint64_t sizes[] = {1, SCRATCH_GRAIN, 0, SCRATCH_GRAIN + 1};
    static const uint64_t begins[] = {0, SCRATCH_GRAIN, 2 * SCRATCH_GRAIN, 2 * SCRATCH_GRAIN};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(scratch_begin(&scratch, scratch_dir, NULL), 0);
        assert_int_equal(scratch.end, begins[i]);
        scratch_end(&scratch, sizes[i]);
    }
    assert_int_equal(scratch_check(&scratch, UINT64_MAX), 0);
    int fd = scratch.file.fd;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(fcntl(fd, F_GETFD) & ~FD_CLOEXEC, 0);
        scratch_release(&scratch);
    }
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(scratch.file.fd, -1);
    assert_int_equal(scratch.end, 0);
}

static void test_where_it_is_made(void **state)
{
    (void)state;
    struct scratch scratch = SCRATCH_INIT;
    struct mst_err err = {0};
    assert_int_equal(scratch_begin(&scratch, scratch_path("nowhere"), &err), -ENOENT);
    assert_non_null(strstr(err.text, "nowhere"));
    assert_int_equal(scratch.users, 0);
    assert_int_equal(setenv("TMPDIR", scratch_dir, 1), 0);
    assert_int_equal(scratch_begin(&scratch, NULL, NULL), 0);
    check_place(&scratch, scratch_dir);
    scratch_release(&scratch);
    assert_int_equal(setenv("TMPDIR", "/nowhere", 1), 0);
    assert_int_equal(scratch_begin(&scratch, NULL, NULL), 0);
    check_place(&scratch, "/tmp");
    scratch_release(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contents_lie_one_after_the_other),
        cmocka_unit_test(test_where_it_is_made),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

#include "muster/launcher/logdir.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
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

static char root[64];
static struct mst_err err;

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/muster-logdir-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static const char *path_of(const char *name)
{
    static char path[256];
    assert_in_range(snprintf(path, sizeof path, "%s/%s", root, name), 1, sizeof path - 1);
    return path;
}

static int remove_root(void **state)
{
    (void)state;
    return rmdir(root);
}

/* Two starts, in the same millisecond or not, have two folders; parents are made. */
static void test_each_start_has_a_folder(void **state)
{
    (void)state;
    char *folders[2];
    char dir[256];
    snprintf(dir, sizeof dir, "%s", path_of("a/b/"));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(logdir_create(dir, "job/1 2", 7, &folders[i], &err), 0);
        assert_non_null(strstr(folders[i], "-node_7-job_1_2"));
        assert_int_equal(strncmp(folders[i], dir, strlen(dir)), 0);
    }
    assert_string_not_equal(folders[0], folders[1]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rmdir(folders[i]), 0);
        free(folders[i]);
    }
    assert_int_equal(rmdir(path_of("a/b")), 0);
    assert_int_equal(rmdir(path_of("a")), 0);
}

static void test_what_is_no_folder(void **state)
{
    (void)state;
    char *folder;
    char dir[256];
    snprintf(dir, sizeof dir, "%s", path_of("fifo"));
    assert_int_equal(mkfifo(dir, 0600), 0);
    assert_int_equal(logdir_create(dir, "", 0, &folder, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, dir));
    assert_int_equal(unlink(dir), 0);
    assert_int_equal(logdir_create("/dev/null/logs", "", 0, &folder, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, "/dev/null/logs"));
}

/* Nothing that stands in the way is written to, or waited for. */
static void test_files_are_new(void **state)
{
    (void)state;
    struct stat kind;
    char path[256];
    int fd = logdir_open(root, 3, 1, &err);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &kind), 0);
    assert_true(S_ISREG(kind.st_mode));
    close(fd);
    assert_int_equal(logdir_open(root, 3, 1, &err), -EEXIST);
    snprintf(path, sizeof path, "%s", path_of("rank_3.gen_1.log"));
    assert_non_null(strstr(err.text, path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(logdir_open(root, 3, 1, &err), -EEXIST);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(logdir_open(root, 3, 1, &err), -EEXIST);
    assert_int_equal(access(path_of("elsewhere"), F_OK), -1);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_start_has_a_folder, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_what_is_no_folder, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_files_are_new, make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

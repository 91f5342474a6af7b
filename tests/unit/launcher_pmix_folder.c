#include "muster/launcher/pmix/folder.h"

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

/* Places that take no folder, as one that is mounted read-only. */
static const char *refused[4];

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);

int __wrap_mkdir(const char *path, mode_t mode)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused && refused[i]; i++) {
        if (strncmp(path, refused[i], strlen(refused[i])) == 0) {
            errno = EROFS;
            return -1;
        }
    }
    return __real_mkdir(path, mode);
}

static char name[32];

static int enter(void **state)
{
    (void)state;
    (void)snprintf(name, sizeof name, "muster-folder-%d", (int)getpid());
    memset(refused, 0, sizeof refused);
    return setenv("TMPDIR", "/tmp", 1);
}

static void all_of_it_goes_and_nothing_else(void **state)
{
    (void)state;
    char other[] = "/tmp/muster-other-XXXXXX", path[FOLDER_BYTES], shared[FOLDER_BYTES],
         inside[FOLDER_BYTES + 16];
    assert_non_null(mkdtemp(other));
    assert_int_equal(folder_make(name, path, NULL), 0);
    assert_int_equal(strncmp(path, "/tmp/", 5), 0);
    folder_make_shared(name, path, shared);
    assert_int_equal(strncmp(shared, "/dev/shm/", 9), 0);
    (void)snprintf(inside, sizeof inside, "%s/job", path);
    assert_int_equal(mkdir(inside, 0700), 0);
    (void)snprintf(inside, sizeof inside, "%s/job/file", path);
    close(open(inside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    (void)snprintf(inside, sizeof inside, "%s/link", path);
    assert_int_equal(symlink(other, inside), 0);
    folder_remove(name);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(shared, F_OK), -1);
    assert_int_equal(rmdir(other), 0);
    folder_remove(name); /* allowed */
}

static void the_next_place_is_tried(void **state)
{
    (void)state;
    char path[FOLDER_BYTES], shared[FOLDER_BYTES];
    assert_int_equal(setenv("TMPDIR", "/nowhere", 1), 0);
    assert_int_equal(folder_make(name, path, NULL), 0);
    assert_int_equal(strncmp(path, "/tmp/", 5), 0);
    folder_remove(name);
    refused[0] = "/tmp/";
    refused[1] = "/var/tmp/";
    assert_int_equal(folder_make(name, path, NULL), 0);
    assert_int_equal(strncmp(path, "/dev/shm/", 9), 0);
    folder_make_shared(name, path, shared);
    assert_string_equal(shared, path);
    folder_remove(name);
    assert_int_equal(access(path, F_OK), -1);
}

static void what_somebody_else_has_is_not_taken(void **state)
{
    (void)state;
    char path[FOLDER_BYTES], again[FOLDER_BYTES] = "";
    refused[0] = "/var/tmp/";
    refused[1] = "/dev/shm/";
    assert_int_equal(folder_make(name, path, NULL), 0);
    assert_int_equal(folder_make(name, again, NULL), -EEXIST);
    assert_string_equal(again, "");
    folder_remove(name);
}

static void where_none_can_be_that_is_told(void **state)
{
    (void)state;
    char path[FOLDER_BYTES] = "", shared[FOLDER_BYTES], long_name[FOLDER_BYTES + 1];
    struct mst_err err = {0};
    refused[0] = "/tmp/";
    refused[1] = "/var/tmp/";
    refused[2] = "/dev/shm/";
    assert_int_equal(folder_make(name, path, &err), -EROFS);
    assert_string_equal(path, "");
    assert_non_null(strstr(err.text, "in /tmp (Read-only file system)"));
    assert_non_null(strstr(err.text, "set TMPDIR to one that may be written"));
    folder_make_shared(name, "/some/other", shared);
    assert_string_equal(shared, "/some/other");
    memset(long_name, 'x', FOLDER_BYTES);
    long_name[FOLDER_BYTES] = '\0';
    assert_int_equal(setenv("TMPDIR", long_name, 1), 0);
    assert_int_equal(folder_make(name, path, &err), -ENAMETOOLONG);
    assert_non_null(strstr(err.text, "set TMPDIR to one that may be written"));
    folder_remove(name); /* allowed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_of_it_goes_and_nothing_else, enter),
        cmocka_unit_test_setup(the_next_place_is_tried, enter),
        cmocka_unit_test_setup(what_somebody_else_has_is_not_taken, enter),
        cmocka_unit_test_setup(where_none_can_be_that_is_told, enter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

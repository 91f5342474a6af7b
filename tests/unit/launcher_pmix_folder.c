#include "muster/launcher/pmix/folder.h"

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

static void all_of_it_goes_and_nothing_else(void **state)
{
    (void)state;
    char other[] = "/tmp/muster-other-XXXXXX", path[FOLDER_BYTES], inside[FOLDER_BYTES + 16];
    assert_non_null(mkdtemp(other));
    assert_int_equal(setenv("TMPDIR", "/tmp", 1), 0);
    folder_make(path);
    assert_int_equal(strncmp(path, "/tmp/", 5), 0);
    (void)snprintf(inside, sizeof inside, "%s/job", path);
    assert_int_equal(mkdir(inside, 0700), 0);
    (void)snprintf(inside, sizeof inside, "%s/job/file", path);
    close(open(inside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    (void)snprintf(inside, sizeof inside, "%s/link", path);
    assert_int_equal(symlink(other, inside), 0);
    folder_remove(path);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rmdir(other), 0);
}

static void where_none_can_be_there_is_none(void **state)
{
    (void)state;
    char path[FOLDER_BYTES] = "x", long_name[FOLDER_BYTES + 1];
    assert_int_equal(setenv("TMPDIR", "/nowhere", 1), 0);
    folder_make(path);
    assert_string_equal(path, "");
    folder_remove(path);
    memset(long_name, 'x', FOLDER_BYTES);
    long_name[FOLDER_BYTES] = '\0';
    assert_int_equal(setenv("TMPDIR", long_name, 1), 0);
    folder_make(path);
    assert_string_equal(path, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_goes_and_nothing_else),
        cmocka_unit_test(where_none_can_be_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

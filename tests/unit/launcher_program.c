#include "muster/launcher/program.h"

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

static char folder[] = "/tmp/muster-program-XXXXXX";

static void make(const char *name, mode_t mode)
{
    char file[128];
    (void)snprintf(file, sizeof file, "%s/%s", folder, name); /* it fits */
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int enter(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder) || mkdir("a", 0700) || mkdir("b", 0700) ||
        mkdir("b/folder", 0700))
        return -1;
    make("a/plain", 0600);
    make("b/plain", 0700);
    make("a/only-plain", 0600);
    make("here", 0700);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    return unlink("a/plain") | unlink("b/plain") | unlink("a/only-plain") | unlink("here") |
           rmdir("b/folder") | rmdir("a") | rmdir("b") | rmdir(folder);
}

static void test_the_file_that_execvp_takes(void **state)
{
    (void)state;
    char file[PROGRAM_PATH_BYTES] = "";
    assert_int_equal(program_find("plain", "a:nowhere:b", file), 0);
    assert_string_equal(file, "b/plain");
    assert_int_equal(program_find("here", "a:", file), 0);
    assert_string_equal(file, "here");
    assert_int_equal(program_find("./here", "a", file), 0);
    assert_string_equal(file, "./here");
    assert_int_equal(program_find("sh", NULL, file), 0);
}

static void test_what_it_does_not_take(void **state)
{
    (void)state;
    char file[PROGRAM_PATH_BYTES] = "as it was", longest[2 * PROGRAM_PATH_BYTES];
    assert_int_equal(program_find("plain", "nowhere", file), -ENOENT);
    assert_int_equal(program_find("here", "a:b", file), -ENOENT);
    assert_int_equal(program_find("", "a:b", file), -ENOENT);
    assert_int_equal(program_find("only-plain", "b:a:b", file), -EACCES);
    assert_int_equal(program_find("folder", "b", file), -EACCES);
    assert_int_equal(program_find("a/", "b", file), -EACCES);
    assert_int_equal(program_find("./nowhere", "b", file), -ENOENT);
    assert_int_equal(program_find("here/below", "b", file), -ENOTDIR);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(program_find("here", longest, file), -ENOENT);
    longest[0] = '/';
    assert_int_equal(program_find(longest, "b", file), -ENAMETOOLONG);
    assert_string_equal(file, "as it was");
}

static void refuse(const char *name, int rc, const char *why)
{
    struct mst_err err = {0};
    assert_int_equal(program_refuse(name, rc, &err), rc);
    if (!strstr(err.text, name) || !strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
}

static void test_texts_say_what_to_do(void **state)
{
    (void)state;
    refuse("nothing", -ENOENT, "nowhere in PATH");
    refuse("here", -ENOENT, "the one in this folder is ./here");
    refuse("./here", -ENOENT, "what runs it is not");
    refuse("./nothing", -ENOENT, "does not exist");
    refuse("a", -EACCES, "ermi");
    refuse("a", -EAGAIN, "pids.max");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_file_that_execvp_takes),
        cmocka_unit_test(test_what_it_does_not_take),
        cmocka_unit_test(test_texts_say_what_to_do),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}

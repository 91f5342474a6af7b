/* What a program says and ends with: run as a child, since options_or_exit ends its caller. */
#include "muster/core/cli/options.h"

#include "muster/core/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"

static const struct options options = {.program = "hello", .about = "Says hello."};
static char said[1024];

/* The status of a child that parses one word, with its outputs, which are `path` or a pipe, in
 * `said`. */
static int status_of(char *word, const char *path)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char *argv[] = {"hello", word, NULL};
        dup2(fds[1], STDERR_FILENO);
        if (!freopen(path ? path : "/dev/stderr", "w", stdout))
            _exit(99);
        options_or_exit(&options, 2, argv, NULL);
        printf("hello\n");
        _exit(options_finish(&options, 7));
    }
    return child_ends(pid, fds, said, sizeof said);
}

static void test_goes_on(void **state)
{
    (void)state;
    assert_int_equal(status_of("--", NULL), 7);
    assert_string_equal(said, "hello\n");
}

static void test_help_and_version(void **state)
{
    (void)state;
    assert_int_equal(status_of("--help", NULL), 0);
    assert_memory_equal(said, "usage: hello\n", 13);
    assert_int_equal(status_of("--version", NULL), 0);
    assert_string_equal(said, "hello " MUSTER_VERSION "\n");
}

static void test_a_fault_is_64(void **state)
{
    (void)state;
    assert_int_equal(status_of("--frob", NULL), 64);
    assert_string_equal(said, "hello: unknown option --frob; see hello --help\n");
    assert_int_equal(status_of("word", NULL), 64);
    assert_string_equal(said, "hello: unexpected argument word; see hello --help\n");
}

static void test_an_answer_that_cannot_be_written(void **state)
{
    (void)state;
    static const char wanted[] = "hello: cannot write the answer: no room left\n";
    assert_int_equal(status_of("--help", "/dev/full"), 1);
    assert_string_equal(said, wanted);
    assert_int_equal(status_of("--", "/dev/full"), 1);
    assert_string_equal(said, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_a_fault_is_64),
        cmocka_unit_test(test_an_answer_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

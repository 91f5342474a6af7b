#include "muster/launcher/exitcode.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_deaths(void **state)
{
    (void)state;
    assert_int_equal(exitcode_of_death(false, 0), 0);
    assert_int_equal(exitcode_of_death(false, 7), 7);
    assert_int_equal(exitcode_of_death(true, SIGKILL), 137);
}

static void test_refused_programs(void **state)
{
    (void)state;
    assert_int_equal(exitcode_of_exec(ENOENT), 127);
    assert_int_equal(exitcode_of_exec(ENOTDIR), 127);
    assert_int_equal(exitcode_of_exec(ENAMETOOLONG), 127);
    assert_int_equal(exitcode_of_exec(EACCES), 126);
    assert_int_equal(exitcode_of_exec(ENOEXEC), 126);
    assert_int_equal(exitcode_of_exec(E2BIG), 126);
    assert_int_equal(exitcode_of_exec(EINVAL), 126);
    assert_int_equal(exitcode_of_exec(ENOMEM), EXITCODE_INTERNAL);
    assert_true(exitcode_is_final(126) && exitcode_is_final(127));
    assert_true(exitcode_is_final(64) && exitcode_is_final(78));
    assert_false(exitcode_is_final(1) || exitcode_is_final(137));
}

static void test_descriptions(void **state)
{
    (void)state;
    char text[64], tiny[4];
    assert_string_equal(exitcode_describe(137, text, sizeof text),
                        "killed by SIGKILL, or exit code 137");
    assert_string_equal(exitcode_describe(3, text, sizeof text), "exit code 3");
    assert_string_equal(exitcode_describe(70, text, sizeof text),
                        "the agent ran out of resources, or exit code 70");
    assert_string_equal(exitcode_describe(255, text, sizeof text), "exit code 255");
    assert_string_equal(exitcode_describe(143, text, sizeof text), "preempted, to be resumed");
    assert_string_equal(exitcode_describe(74, text, sizeof text),
                        "finished, but the last checkpoint is lost");
    assert_string_equal(exitcode_describe(0, tiny, sizeof tiny), "fin");
}

/* A job's own words are not a rank's. */
static void test_what_a_rank_ends_with_is_no_word_of_the_job(void **state)
{
    (void)state;
    char text[64];
    assert_string_equal(exitcode_describe_rank(143, text, sizeof text),
                        "killed by SIGTERM, or exit code 143");
    assert_string_equal(exitcode_describe_rank(138, text, sizeof text),
                        "killed by SIGUSR1, or exit code 138");
    assert_string_equal(exitcode_describe_death(true, 143, text, sizeof text), "killed by SIGTERM");
    assert_string_equal(exitcode_describe_death(false, 143, text, sizeof text), "exit code 143");
    assert_string_equal(exitcode_describe_death(false, 127, text, sizeof text),
                        "program not found");
    assert_string_equal(exitcode_describe_death(true, 128 + 40, text, sizeof text),
                        "killed by signal 40");
    assert_string_equal(exitcode_describe_rank(78, text, sizeof text), "exit code 78");
    assert_string_equal(exitcode_describe_rank(74, text, sizeof text),
                        "finished, but the last checkpoint is lost");
    assert_string_equal(exitcode_describe_rank(127, text, sizeof text), "program not found");
    assert_int_equal(exitcode_of_failure(143), 1);
    assert_int_equal(exitcode_of_failure(138), 1);
    for (int code = 0; code < 256; code++) {
        if (code != 143 && code != 138)
            assert_int_equal(exitcode_of_failure(code), code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_refused_programs),
        cmocka_unit_test(test_descriptions),
        cmocka_unit_test(test_what_a_rank_ends_with_is_no_word_of_the_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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

/* Each profile and end, of a code of 5 and of 137. */
static void test_every_pair(void **state)
{
    (void)state;
    static const struct {
        enum exitcode_end end;
        int of_5[EXITCODE_PROFILE_COUNT], of_137[EXITCODE_PROFILE_COUNT];
    } rows[] = {
        /* plain, kubeflow, jobset, flyte, slurm, volcano, paddle, batch */
        {EXITCODE_END_DONE, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}},
        {EXITCODE_END_DRAINED,
         {143, 143, 143, 137, 143, 143, 101, 143},
         {143, 143, 143, 137, 143, 143, 101, 143}},
        {EXITCODE_END_SAVE_LOST,
         {74, 74, 74, 74, 74, 74, 74, 74},
         {74, 74, 74, 74, 74, 74, 74, 74}},
        {EXITCODE_END_REFUSED, {5, 5, 5, 5, 5, 5, 5, 5}, {137, 137, 137, 137, 137, 137, 137, 137}},
        {EXITCODE_END_RETRYABLE,
         {5, 5, 5, 5, 5, 5, 101, 5},
         {137, 137, 137, 137, 137, 137, 101, 137}},
        {EXITCODE_END_FOR_GOOD, {5, 5, 5, 5, 5, 5, 5, 5}, {137, 1, 137, 1, 137, 137, 1, 137}},
        {EXITCODE_END_NO_MEMORY,
         {5, 71, 71, 71, 71, 71, 71, 71},
         {137, 71, 71, 71, 71, 71, 71, 71}},
        {EXITCODE_END_LOST_NODE,
         {138, 138, 138, 137, 138, 138, 101, 138},
         {138, 138, 138, 137, 138, 138, 101, 138}},
        {EXITCODE_END_DEADLINE,
         {124, 124, 124, 124, 124, 124, 124, 124},
         {124, 124, 124, 124, 124, 124, 124, 124}},
    };
    assert_int_equal(sizeof rows / sizeof rows[0], EXITCODE_END_COUNT);
    for (size_t end = 0; end < EXITCODE_END_COUNT; end++) {
        for (int profile = 0; profile < EXITCODE_PROFILE_COUNT; profile++) {
            enum exitcode_profile whose = (enum exitcode_profile)profile;
            assert_int_equal(exitcode_in(whose, rows[end].end, 5), rows[end].of_5[profile]);
            assert_int_equal(exitcode_in(whose, rows[end].end, 137), rows[end].of_137[profile]);
        }
    }
}

/* What each of them restarts is what is worth it, and nothing else; a drain is never a success. */
static void test_what_is_restarted(void **state)
{
    (void)state;
    static const enum exitcode_end worth_it[] = {EXITCODE_END_DRAINED, EXITCODE_END_RETRYABLE,
                                                 EXITCODE_END_LOST_NODE};
    static const enum exitcode_end hopeless[] = {EXITCODE_END_SAVE_LOST, EXITCODE_END_FOR_GOOD,
                                                 EXITCODE_END_NO_MEMORY, EXITCODE_END_DEADLINE};
    for (int code = 128; code < 256; code++) {
        for (size_t i = 0; i < 3; i++) {
            assert_true(exitcode_in(EXITCODE_KUBEFLOW, worth_it[i], code) >= 128);
            assert_int_equal(exitcode_in(EXITCODE_PADDLE, worth_it[i], code), 101);
        }
        for (size_t i = 0; i < 4; i++) {
            assert_in_range(exitcode_in(EXITCODE_KUBEFLOW, hopeless[i], code), 1, 127);
            assert_in_range(exitcode_in(EXITCODE_FLYTE, hopeless[i], code), 1, 127);
            assert_int_not_equal(exitcode_in(EXITCODE_PADDLE, hopeless[i], code), 101);
            assert_int_not_equal(exitcode_in(EXITCODE_BATCH, hopeless[i], code), 0);
        }
    }
}

/* Without a profile the codes are those that a job has by itself. */
static void test_plain_changes_nothing(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code++) {
        assert_int_equal(exitcode_in(EXITCODE_PLAIN, exitcode_end_of(code), code), code);
        assert_int_equal(
            exitcode_in(EXITCODE_PLAIN, exitcode_end_of_rank(code, false, false), code), code);
        assert_int_equal(exitcode_in(EXITCODE_PLAIN, exitcode_end_of_rank(code, false, true), code),
                         code);
        assert_int_equal(exitcode_in(EXITCODE_PLAIN, exitcode_end_of_rank(code, true, true), code),
                         code);
    }
}

static void test_ends(void **state)
{
    (void)state;
    assert_int_equal(exitcode_end_of(0), EXITCODE_END_DONE);
    assert_int_equal(exitcode_end_of(143), EXITCODE_END_DRAINED);
    assert_int_equal(exitcode_end_of(74), EXITCODE_END_SAVE_LOST);
    assert_int_equal(exitcode_end_of(138), EXITCODE_END_LOST_NODE);
    assert_int_equal(exitcode_end_of(124), EXITCODE_END_DEADLINE);
    assert_int_equal(exitcode_end_of(130), EXITCODE_END_RETRYABLE);
    static const int refused[] = {64, 70, 78, 126, 127};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_int_equal(exitcode_end_of(refused[i]), EXITCODE_END_REFUSED);
    assert_int_equal(exitcode_end_of_rank(127, false, false), EXITCODE_END_REFUSED);
    assert_int_equal(exitcode_end_of_rank(74, false, false), EXITCODE_END_FOR_GOOD);
    assert_int_equal(exitcode_end_of_rank(1, false, false), EXITCODE_END_FOR_GOOD);
    assert_int_equal(exitcode_end_of_rank(139, false, false), EXITCODE_END_RETRYABLE);
    assert_int_equal(exitcode_end_of_rank(139, false, true), EXITCODE_END_FOR_GOOD);
    assert_int_equal(exitcode_end_of_rank(137, true, false), EXITCODE_END_NO_MEMORY);
}

static void test_guesses(void **state)
{
    (void)state;
    static const struct {
        const char *scheduler;
        enum exitcode_profile profile;
    } cases[] = {
        {"PyTorchJob", EXITCODE_KUBEFLOW},
        {"PyTorchJob elastic", EXITCODE_KUBEFLOW},
        {"PyTorchJob (v1.3) or by hand", EXITCODE_PLAIN},
        {"TrainJob (torch)", EXITCODE_JOBSET},
        {"JobSet", EXITCODE_JOBSET},
        {"Flyte", EXITCODE_FLYTE},
        {"Slurm", EXITCODE_SLURM},
        {"Volcano (pytorch)", EXITCODE_VOLCANO},
        {"Indexed Job", EXITCODE_BATCH},
        {"MST_* variables", EXITCODE_PLAIN},
        {"none", EXITCODE_PLAIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(exitcode_guess(cases[i].scheduler), cases[i].profile);
    assert_string_equal(exitcode_profiles[EXITCODE_BATCH], "batch");
    assert_string_equal(exitcode_profiles[EXITCODE_PADDLE], "paddle");
    assert_null(exitcode_profiles[EXITCODE_PROFILE_COUNT]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_refused_programs),
        cmocka_unit_test(test_descriptions),
        cmocka_unit_test(test_what_a_rank_ends_with_is_no_word_of_the_job),
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_what_is_restarted),
        cmocka_unit_test(test_plain_changes_nothing),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_guesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

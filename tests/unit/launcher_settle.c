#include "muster/launcher/settle.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/launcher/opts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* The clocks stand still. */
uint64_t __wrap_mst_now_ns(void);
uint64_t __wrap_mst_now_ns(void)
{
    return 5;
}

time_t __wrap_time(time_t *seconds);
time_t __wrap_time(time_t *seconds)
{
    (void)seconds;
    return 1000000;
}

static struct mst_answer answer;

static void expect_profile(int flag, enum exitcode_profile profile, const char *by)
{
    struct opts opts = {.answer = &answer};
    settle_profile(&opts, flag);
    assert_int_equal(opts.profile, profile);
    assert_string_equal(opts.profile_by, by);
}

/* Who says the world need not be who looks at the exit code. */
static void the_first_that_restarts_jobs_counts(void **state)
{
    (void)state;
    answer.candidate_count = 0;
    expect_profile(-1, EXITCODE_PLAIN, "nobody known");
    answer.candidates[0].plan.scheduler = "MST_* variables";
    answer.candidates[1].plan.scheduler = "Indexed Job";
    answer.candidates[2].plan.scheduler = "Slurm";
    answer.candidate_count = 1;
    expect_profile(-1, EXITCODE_PLAIN, "nobody known");
    answer.candidate_count = 3;
    expect_profile(-1, EXITCODE_BATCH, "Indexed Job");
    expect_profile(EXITCODE_FLYTE, EXITCODE_FLYTE, "given");
    expect_profile(EXITCODE_PLAIN, EXITCODE_PLAIN, "given");
}

static uint64_t left_s(uint32_t deadline_s, const char *start)
{
    struct opts opts = {.deadline_ms = deadline_s * 1000};
    assert_int_equal(settle_end(&opts, start, NULL), 0);
    return (opts.end_ns - 5) / MST_NS_PER_S;
}

static void a_deadline_counts_from_the_jobs_start(void **state)
{
    (void)state;
    assert_int_equal(left_s(3600, NULL), 3600);
    assert_int_equal(left_s(3600, "999000"), 2600);
    assert_int_equal(left_s(3600, "996400"), 0);
    assert_int_equal(left_s(3600, "1"), 0);
    assert_int_equal(left_s(3600, "1000500"), 3600); /* another machine's clock */
    struct opts opts = {.deadline_ms = 0};
    assert_int_equal(settle_end(&opts, "nonsense", NULL), 0);
    assert_int_equal(opts.end_ns, 0);
}

static void a_start_is_a_number(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "yesterday", "-1", "1.5", "999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct opts opts = {.deadline_ms = 1000};
        struct mst_err err = {0};
        assert_int_equal(settle_end(&opts, wrong[i], &err), -EINVAL);
        assert_non_null(strstr(err.text, "MST_JOB_START="));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_restarts_jobs_counts),
        cmocka_unit_test(a_deadline_counts_from_the_jobs_start),
        cmocka_unit_test(a_start_is_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

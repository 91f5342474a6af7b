#include "muster/launcher/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct timespec fake;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    assert_int_equal(clock, CLOCK_REALTIME);
    *ret_time = fake;
    return 0;
}

static void test_times(void **state)
{
    (void)state;
    char text[STAMP_BYTES];
    fake = (struct timespec){.tv_sec = 1769903999, .tv_nsec = 123999999};
    assert_string_equal(stamp_now(text), "2026-01-31T23:59:59.123Z");
    fake = (struct timespec){.tv_sec = 0, .tv_nsec = 0};
    assert_string_equal(stamp_now(text), "1970-01-01T00:00:00.000Z");
    fake.tv_sec = INT64_MAX; /* no clock of ours, but nothing breaks */
    assert_true(strlen(stamp_now(text)) < STAMP_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_times)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "muster/core/blob/http/range.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void reads_what_servers_say(void **state)
{
    (void)state;
    struct http_range range;
    assert_int_equal(http_range_parse("bytes 0-9/100", &range), 0);
    assert_int_equal(range.first, 0);
    assert_int_equal(range.last, 9);
    assert_int_equal(range.total, 100);
    assert_int_equal(http_range_parse("bytes 5-5/*", &range), 0);
    assert_true(range.total == HTTP_TOTAL_UNKNOWN);
    assert_int_equal(http_range_parse("bytes */12 ", &range), 0);
    assert_true(range.first > range.last);
    assert_int_equal(range.total, 12);
    assert_int_equal(
        http_range_parse("bytes 18446744073709551613-18446744073709551613/18446744073709551614",
                         &range),
        0);
    assert_true(range.first == UINT64_MAX - 2);
}

static void refuses_the_rest(void **state)
{
    (void)state;
    const char *const bad[] = {"",
                               "bytes",
                               "bytes ",
                               "bits 0-9/10",
                               "bytes 9-0/10",
                               "bytes 0-10/10",
                               "bytes 0-9/",
                               "bytes 0-9/10x",
                               "bytes -9/10",
                               "bytes 0-/10",
                               "bytes +0-9/10",
                               "bytes 0 -9/10",
                               "bytes */*",
                               "bytes 0-18446744073709551616/*",
                               "bytes 0-18446744073709551615/*"};
    struct http_range range = {.total = 42};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(http_range_parse(bad[i], &range), -EBADMSG);
    assert_int_equal(range.total, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_servers_say),
        cmocka_unit_test(refuses_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

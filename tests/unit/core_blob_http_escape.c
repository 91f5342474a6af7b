/* Text within a URL: what passes, what is escaped, and what does not fit. */
#include "muster/core/blob/http/escape.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void escapes_all_but_unreserved(void **state)
{
    (void)state;
    char text[64];
    assert_int_equal(http_escape("a b/\xc3\xa4+&~-_.9Z%", false, text, sizeof text), 0);
    assert_string_equal(text, "a%20b%2F%C3%A4%2B%26~-_.9Z%25");
    assert_int_equal(http_escape("a/b", true, text, sizeof text), 0);
    assert_string_equal(text, "a/b");
    assert_int_equal(http_escape("", false, text, sizeof text), 0);
    assert_string_equal(text, "");
}

static void says_what_does_not_fit(void **state)
{
    (void)state;
    char text[8];
    assert_int_equal(http_escape("1234567", false, text, sizeof text), 0);
    assert_string_equal(text, "1234567");
    assert_int_equal(http_escape("12345678", false, text, sizeof text), -ENOSPC);
    assert_int_equal(http_escape("1234\xff", false, text, sizeof text), 0);
    assert_string_equal(text, "1234%FF");
    assert_int_equal(http_escape("12345\xff", false, text, sizeof text), -ENOSPC);
    assert_int_equal(http_escape("", false, text, 0), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_all_but_unreserved),
        cmocka_unit_test(says_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

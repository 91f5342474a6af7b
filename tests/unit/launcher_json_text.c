#include "muster/launcher/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(const char *text, const char *shown)
{
    json_t *value = json_text(text);
    assert_non_null(value);
    assert_string_equal(json_string_value(value), shown);
    json_decref(value);
}

static void test_unicode_stays(void **state)
{
    (void)state;
    expect("", "");
    expect("train \"it\"\n", "train \"it\"\n");
    expect("h\xc3\xb6her", "h\xc3\xb6her");
}

static void test_other_bytes_are_shown_as_such(void **state)
{
    (void)state;
    expect("a\xff"
           "b",
           "a?b");
    expect("h\xc3\xb6her\xfe", "h\xc3\xb6her?");
    expect("cut \xe2\x80", "cut ??");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unicode_stays),
        cmocka_unit_test(test_other_bytes_are_shown_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

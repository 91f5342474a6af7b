#include "muster/launcher/errfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *text, const char *message)
{
    char line[32] = "untouched";
    assert_int_equal(errfile_message(text, strlen(text), line, sizeof line), message != NULL);
    assert_string_equal(line, message ? message : "untouched");
}

static void test_messages(void **state)
{
    (void)state;
    expect("{\"message\": {\"message\": \"ValueError: no loss\", \"extraInfo\": {\"py_callstack\": "
           "\"Traceback …\", \"timestamp\": \"1760000000\"}}}",
           "ValueError: no loss");
    expect("{\"message\": \"SignalException: 15\"}", "SignalException: 15");
}

/* It goes into logs and messages of ours. */
static void test_a_message_becomes_one_line(void **state)
{
    (void)state;
    expect("{\"message\": \"  a\\n\\n  b\\u001b[31m \\u00e9\\u00e9\\n\"}", "a b [31m ? ");
    expect("{\"message\": \"0123456789012345678901234567890123456789\"}",
           "0123456789012345678901234567890");
    expect("{\"message\": \"before\\u0000behind\"}", "before");
}

static void test_what_is_no_message(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "{",
                                        "null",
                                        "[\"message\"]",
                                        "{\"message\": 5}",
                                        "{\"message\": {\"message\": null}}",
                                        "{\"message\": {\"text\": \"a\"}}",
                                        "{\"message\": \"\"}",
                                        "{\"message\": \" \\n\"}",
                                        "{\"message\": \"cut"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect(texts[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_a_message_becomes_one_line),
        cmocka_unit_test(test_what_is_no_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

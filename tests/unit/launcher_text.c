#include "muster/launcher/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* How the decoder sees a text: the length of its first character. */
static const struct {
    const char *text;
    size_t size, length;
} firsts[] = {
    {"a", 1, 1},
    {"\0", 1, 1},
    {"\x7f", 1, 1},
    {"\x80", 1, 0},         /* a tail */
    {"\xc1\xbf", 2, 0},     /* overlong */
    {"\xc2\x80", 2, 2},     /* U+0080 */
    {"\xc2\x80", 1, 0},     /* cut */
    {"\xc2\x41", 2, 0},     /* no tail */
    {"\xdf\xbf", 2, 2},     /* U+07FF */
    {"\xe0\x9f\xbf", 3, 0}, /* overlong */
    {"\xe0\xa0\x80", 3, 3}, /* U+0800 */
    {"\xed\x9f\xbf", 3, 3}, /* U+D7FF */
    {"\xed\xa0\x80", 3, 0}, /* a surrogate */
    {"\xef\xbf\xbf", 3, 3},
    {"\xef\xbf\xbf", 2, 0},
    {"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
    {"\xf0\x90\x80\x80", 4, 4}, /* U+10000 */
    {"\xf4\x8f\xbf\xbf", 4, 4}, /* U+10FFFF */
    {"\xf4\x90\x80\x80", 4, 0}, /* beyond */
    {"\xf5\x80\x80\x80", 4, 0},
    {"\xff", 1, 0},
};

static void test_characters(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++)
        assert_int_equal(text_utf8(firsts[i].text, firsts[i].size), firsts[i].length);
}

static void expect_escaped(const char *text, bool in_quotes, const char *want, size_t taken)
{
    struct text_piece piece = text_escape(text, strlen(text) ? strlen(text) : 1, in_quotes);
    assert_int_equal(piece.size, strlen(want));
    assert_memory_equal(piece.text, want, piece.size);
    assert_int_equal(piece.taken, taken);
}

static void test_escapes(void **state)
{
    (void)state;
    expect_escaped("a\n", false, "a", 1);
    expect_escaped("\n", false, "\\n", 1);
    expect_escaped("\t", true, "\\t", 1);
    expect_escaped("", false, "\\u0000", 1);
    expect_escaped("\x1b[31m", false, "\\u001b", 1);
    expect_escaped("\x7f", false, "\\u007f", 1);
    expect_escaped("\"", false, "\"", 1);
    expect_escaped("\"", true, "\\\"", 1);
    expect_escaped("\\", true, "\\\\", 1);
    expect_escaped("\xc2\x9b", true, "\\u009b", 2); /* CSI in one character */
    expect_escaped("\xc2\xa0", true, "\xc2\xa0", 2);
    expect_escaped("\xf0\x9f\x98\x80", true, "\xf0\x9f\x98\x80", 4);
    expect_escaped("\xe2\x80", true, "?", 1);
}

static void test_a_whole_text(void **state)
{
    (void)state;
    static const char text[] = "say \"h\xc3\xb6her\"\r\n\xff";
    char to[TEXT_ESCAPED_MAX(sizeof text)];
    size_t size = text_escape_all(to, text, sizeof text - 1);
    static const char want[] = "say \\\"h\xc3\xb6her\\\"\\u000d\\n?";
    assert_int_equal(size, sizeof want - 1);
    assert_memory_equal(to, want, size);
    assert_int_equal(text_escape_all(to, text, 0), 0);
    char worst[] = "\x01\x01\x01";
    assert_int_equal(text_escape_all(to, worst, 3), TEXT_ESCAPED_MAX(3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_a_whole_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

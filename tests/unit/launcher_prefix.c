#include "muster/launcher/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct prefix_facts facts = {.rank = 12, .local_rank = 4, .node = 1, .host = "n1"};

static void expect(const char *text, const char *want)
{
    char to[PREFIX_BYTES_MAX];
    assert_true(prefix_is_valid(text));
    assert_int_equal(prefix_expand(text, &facts, "NOW", to), strlen(want));
    assert_memory_equal(to, want, strlen(want));
}

static void test_letters(void **state)
{
    (void)state;
    expect(PREFIX_DEFAULT, "[12] ");
    expect("", "");
    expect("%t %h %r/%l@%n 100%%: ", "NOW n1 12/4@1 100%: ");
}

static void test_time(void **state)
{
    (void)state;
    assert_true(prefix_tells_time("%r%t"));
    assert_false(prefix_tells_time("%%t %r"));
    assert_false(prefix_tells_time(""));
}

static void test_what_is_none(void **state)
{
    (void)state;
    assert_false(prefix_is_valid("%"));
    assert_false(prefix_is_valid("%r %x"));
    assert_false(prefix_is_valid("%%%"));
    assert_true(prefix_is_valid("%%x"));
    assert_false(prefix_is_valid("[%r]\n"));
}

static void test_a_long_one_is_cut(void **state)
{
    (void)state;
    char text[2 * PREFIX_BYTES_MAX + 1], to[PREFIX_BYTES_MAX];
    for (size_t i = 0; i < PREFIX_BYTES_MAX; i++)
        memcpy(text + 2 * i, "%r", 3);
    assert_int_equal(prefix_expand(text, &facts, "", to), PREFIX_BYTES_MAX);
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(prefix_expand(text, &facts, "", to), PREFIX_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_a_long_one_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

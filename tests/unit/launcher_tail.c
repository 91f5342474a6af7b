#include "muster/launcher/tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct tail tail;
static char text[TAIL_BYTES + 2];

static int empty(void **state)
{
    (void)state;
    tail = (struct tail){.total = 0};
    return 0;
}

static void put(const char *bytes)
{
    tail_put(&tail, bytes, strlen(bytes));
}

static void expect(const char *want)
{
    assert_int_equal(tail_text(&tail, text), strlen(want));
    assert_string_equal(text, want);
}

static void test_few_lines(void **state)
{
    (void)state;
    expect("");
    put("one\ntwo");
    expect("one\ntwo\n");
    put(" more\n\n");
    expect("one\ntwo more\n\n");
}

/* What a pod's status takes: UTF-8, and nothing that a terminal obeys. */
static void test_what_is_no_text(void **state)
{
    (void)state;
    put("10%\r20%\rh\xc3\xb6her\r\n\x1b[31m\xff\ta\xc2\x9b\n");
    expect("h\xc3\xb6her\n?[31m? a?\n");
}

static void test_the_last_lines(void **state)
{
    (void)state;
    char line[32];
    for (int i = 0; i < 500; i++) {
        snprintf(line, sizeof line, "line %d\n", i);
        put(line);
    }
    (void)tail_text(&tail, text);
    snprintf(line, sizeof line, "line %d\n", 500 - TAIL_LINES);
    assert_memory_equal(text, line, strlen(line));
    assert_string_equal(text + strlen(text) - 9, "line 499\n");
}

/* However much comes at once and wherever the ring turns, the newest bytes are there. */
static void test_a_long_line(void **state)
{
    (void)state;
    static char bytes[2 * TAIL_BYTES];
    for (size_t size = 1; size < sizeof bytes; size += 97) {
        memset(bytes, 'x', size);
        bytes[size - 1] = 'y';
        tail_put(&tail, bytes, size);
        size_t length = tail_text(&tail, text);
        assert_true(length >= 2 && length <= TAIL_BYTES + 1);
        assert_string_equal(text + length - 2, "y\n");
    }
    put("\nwhole\n");
    expect("whole\n"); /* the line above lost its beginning */
}

/* Every byte a newline, or one that grows: it fits. */
static void test_the_largest_text(void **state)
{
    (void)state;
    static char bytes[TAIL_BYTES];
    memset(bytes, 0xC3, sizeof bytes);
    tail_put(&tail, bytes, sizeof bytes);
    assert_int_equal(tail_text(&tail, text), TAIL_BYTES + 1);
    memset(bytes, '\n', sizeof bytes);
    tail_put(&tail, bytes, sizeof bytes);
    assert_int_equal(tail_text(&tail, text), TAIL_LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_few_lines, empty),
        cmocka_unit_test_setup(test_what_is_no_text, empty),
        cmocka_unit_test_setup(test_the_last_lines, empty),
        cmocka_unit_test_setup(test_a_long_line, empty),
        cmocka_unit_test_setup(test_the_largest_text, empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a rank writes, and when, as lines: time is a number here. */
#include "muster/launcher/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

static char bytes[LINES_BYTES_MAX], said[1024];
static struct lines lines;
static uint64_t now_ns;

/* "text|", "+text|" for one that goes on, "text<" for a bar */
static void note(void *arg, const struct line *line)
{
    (void)arg;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s%.*s%s", line->goes_on ? "+" : "",
             (int)(line->size < 20 ? line->size : 20), line->text, line->is_bar ? "<" : "|");
}

static void write_at(uint64_t ms, const char *text, size_t size)
{
    size_t room;
    now_ns = ms * MS;
    char *to = lines_room(&lines, &room);
    assert_true(size <= room);
    memcpy(to, text, size);
    lines_take(&lines, size, now_ns, note, NULL);
}

static void at(uint64_t ms, const char *text)
{
    write_at(ms, text, strlen(text));
}

static void tick(uint64_t ms)
{
    lines_tick(&lines, ms * MS, note, NULL);
}

static void expect(const char *want)
{
    assert_string_equal(said, want);
    said[0] = '\0';
}

static int begin(void **state)
{
    (void)state;
    said[0] = '\0';
    lines_init(&lines, bytes, false);
    return 0;
}

static int begin_terminal(void **state)
{
    begin(state);
    lines_init(&lines, bytes, true);
    return 0;
}

static void test_whole_lines(void **state)
{
    (void)state;
    at(0, "one\ntw");
    expect("one|");
    at(1, "o\n\nthree\nfo");
    expect("two\n\nthree|");
    assert_int_equal(lines.due_ns, 101 * MS);
    lines_finish(&lines, note, NULL);
    expect("fo|");
    lines_finish(&lines, note, NULL);
    expect("");
}

static void test_a_part_goes_out_after_a_while(void **state)
{
    (void)state;
    at(0, "load");
    at(60, "ing");
    tick(99);
    expect("");
    tick(100);
    expect("loading|");
    assert_int_equal(lines.due_ns, UINT64_MAX);
    at(200, " done\nnext\n");
    expect("+ done|next|");
    at(300, "again");
    tick(400);
    at(500, "\n"); /* its newline is out */
    expect("again|");
    at(600, "plain\n");
    expect("plain|");
}

static void test_a_line_without_end_is_cut(void **state)
{
    (void)state;
    static char piece[LINES_BYTES_MAX];
    memset(piece, 'x', sizeof piece);
    write_at(0, piece, sizeof piece);
    expect("xxxxxxxxxxxxxxxxxxxx|");
    at(1, "y\n");
    expect("+y|");
}

static void test_carriage_returns_before_newlines(void **state)
{
    (void)state;
    at(0, "dos\r\nfile\r\n");
    expect("dos|file|");
    at(1, "apart\r");
    expect("apart<"); /* nothing before for a second */
    at(2, "\n");
    expect("");
    at(3, "again\r");
    at(4, "\r");
    at(5, "\n");
    expect("again|");
}

static void test_the_last_bar_each_second(void **state)
{
    (void)state;
    at(0, "1%\r2%\r3%\r");
    expect("3%<");
    at(300, "4%\r");
    at(900, "5%\r");
    tick(999);
    expect("");
    assert_int_equal(lines.due_ns, 1000 * MS);
    tick(1000);
    expect("5%<");
    at(1100, "6%\r7%\rdone\n"); /* what took its place stands for it */
    expect("done|");
    at(1200, "8%\r");
    lines_finish(&lines, note, NULL);
    expect("8%|");
}

/* A bar that begins with '\r', as tqdm's does: it has no end of its own. */
static void test_a_bar_behind_its_return(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms < 2000; ms += 50) { /* never still for 100 ms */
        char text[16];
        snprintf(text, sizeof text, "\r%u", (unsigned)ms);
        at(ms, text);
        tick(ms);
    }
    expect("100<1100<");
    at(2000, "\r100%");
    at(2001, "\nend\n");
    expect("100%|end|");
}

static void test_a_shown_bar_needs_no_newline(void **state)
{
    (void)state;
    at(0, "\r50%");
    tick(100);
    expect("50%<");
    at(200, "\n");
    expect("");
    at(300, "\r60%");
    tick(1100);
    at(1200, " and more\n");
    expect("60%<+ and more|");
}

static void test_a_terminal_has_all_bars(void **state)
{
    (void)state;
    at(0, "1%\r2%\r");
    expect("1%<2%<");
    at(1, "3%\r");
    at(2, "\nend\n");
    expect("3%<3%|end|");
    at(3, "\r7%");
    tick(103);
    expect("7%<");
    at(200, "\n"); /* the cursor still stands in it */
    expect("|");
    at(201, "dos\r\n");
    expect("dos|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_whole_lines, begin),
        cmocka_unit_test_setup(test_a_part_goes_out_after_a_while, begin),
        cmocka_unit_test_setup(test_a_line_without_end_is_cut, begin),
        cmocka_unit_test_setup(test_carriage_returns_before_newlines, begin),
        cmocka_unit_test_setup(test_the_last_bar_each_second, begin),
        cmocka_unit_test_setup(test_a_bar_behind_its_return, begin),
        cmocka_unit_test_setup(test_a_shown_bar_needs_no_newline, begin),
        cmocka_unit_test_setup(test_a_terminal_has_all_bars, begin_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

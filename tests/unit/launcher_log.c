#include "muster/launcher/log.h"

#include "muster/launcher/sink.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int pipe_fds[2], saved_stderr;
static char line[8192];

static int capture(void **state)
{
    (void)state;
    saved_stderr = dup(STDERR_FILENO);
    if (saved_stderr < 0 || pipe(pipe_fds) < 0 || dup2(pipe_fds[1], STDERR_FILENO) < 0)
        return -1;
    log_init(LOG_INFO, LOG_TEXT);
    log_who(NULL, 0, 0);
    return 0;
}

static int release(void **state)
{
    (void)state;
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    return 0;
}

/* What was written since the last call, without the time of a line of text; a mark keeps the read
 * from blocking. */
static const char *written(void)
{
    (void)!write(STDERR_FILENO, "\x01", 1);
    size_t length = 0;
    do {
        ssize_t got = read(pipe_fds[0], line + length, sizeof line - 1 - length);
        assert_true(got > 0);
        length += (size_t)got;
    } while (line[length - 1] != '\x01');
    line[length - 1] = '\0';
    if (strncmp(line, "time=", 5) != 0)
        return line;
    assert_int_equal(strspn(line, "time=0123456789-T:.Z"), 29);
    assert_int_equal(line[29], ' ');
    return line + 30;
}

static void writes_key_values(void **state)
{
    (void)state;
    log_line(LOG_INFO, "started", NULL);
    assert_string_equal(written(), "level=info msg=\"started\"\n");
    log_who("rank", 3, 2);
    log_line(LOG_WARN, "slow", " step=%d path=\"%s\"", 400, "a b");
    assert_string_equal(written(), "level=warn rank=3 gen=2 msg=\"slow\" step=400 path=\"a b\"\n");
}

static void keeps_quiet_below_its_level(void **state)
{
    (void)state;
    log_line(LOG_DEBUG, "hidden", NULL);
    assert_string_equal(written(), "");
    log_init(LOG_ERROR, LOG_TEXT);
    log_line(LOG_WARN, "hidden", NULL);
    log_line(LOG_ERROR, "shown", NULL);
    assert_string_equal(written(), "level=error msg=\"shown\"\n");
}

static void a_message_cannot_forge_a_line(void **state)
{
    (void)state;
    log_line(LOG_INFO, "x\"\nlevel=error \\ \x1b[31m", NULL);
    assert_string_equal(written(), "level=info msg=\"x\\\"\\nlevel=error \\\\ \\u001b[31m\"\n");
}

static json_t *written_json(void)
{
    json_error_t error;
    json_t *object = json_loads(written(), JSON_REJECT_DUPLICATES, &error);
    assert_non_null(object);
    return object;
}

static const char *member(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

static void writes_json(void **state)
{
    (void)state;
    log_init(LOG_INFO, LOG_JSON);
    log_who("agent", 1, 4);
    log_line(LOG_INFO, "say \"hi\"\n", " step=%d loss=%s id=%s path=\"%s\" empty= word=%s point=1.",
             7, "-0.25", "007", "a \\\"b\\\" c", "x");
    json_t *object = written_json();
    assert_string_equal(member(object, "level"), "info");
    assert_int_equal(strlen(member(object, "time")), strlen("2026-01-31T23:59:59.123Z"));
    assert_string_equal(member(object, "msg"), "say \"hi\"\n");
    assert_int_equal(json_integer_value(json_object_get(object, "agent")), 1);
    assert_int_equal(json_integer_value(json_object_get(object, "gen")), 4);
    assert_int_equal(json_integer_value(json_object_get(object, "step")), 7);
    assert_true(json_is_real(json_object_get(object, "loss")));
    assert_string_equal(member(object, "id"), "007");
    assert_string_equal(member(object, "path"), "a \"b\" c");
    assert_string_equal(member(object, "empty"), "");
    assert_string_equal(member(object, "word"), "x");
    assert_string_equal(member(object, "point"), "1.");
    json_decref(object);
}

static void fields_cannot_forge_a_line(void **state)
{
    (void)state;
    log_line(LOG_INFO, "m", " path=\"%s\"", "a\nlevel=error");
    assert_string_equal(written(), "level=info msg=\"m\" path=\"a\\nlevel=error\"\n");
}

static void a_quoted_text_cannot_forge_a_field(void **state)
{
    (void)state;
    const char *text = "no\" exit=\"0\\";
    log_line(LOG_INFO, "m", " because=%s last=1", log_quote(text).text);
    assert_string_equal(written(),
                        "level=info msg=\"m\" because=\"no\\\" exit=\\\"0\\\\\" last=1\n");
    log_init(LOG_INFO, LOG_JSON);
    log_line(LOG_INFO, "m", " because=%s last=1", log_quote(text).text);
    json_t *object = written_json();
    assert_int_equal(json_object_size(object), 5);
    assert_string_equal(member(object, "because"), text);
    assert_int_equal(json_integer_value(json_object_get(object, "last")), 1);
    json_decref(object);
}

/* A text of any length is cut within its quotes, and between two escapes. */
static void quotes_long_texts_whole(void **state)
{
    (void)state;
    char text[LOG_QUOTED_MAX + 8];
    log_init(LOG_INFO, LOG_JSON);
    for (size_t length = LOG_QUOTED_MAX / 2 - 8; length < sizeof text; length++) {
        memset(text, '"', length);
        text[0] = length % 2 ? 'a' : '"';
        text[length] = '\0';
        log_line(LOG_INFO, "m", " because=%s last=1", log_quote(text).text);
        json_t *object = written_json();
        assert_memory_equal(member(object, "because"), text, LOG_QUOTED_MAX / 2 - 8);
        assert_int_equal(json_integer_value(json_object_get(object, "last")), 1);
        json_decref(object);
    }
}

/* A byte that is no UTF-8 becomes '?', and a character is never cut, or a sign to the terminal. */
static void lines_are_utf8(void **state)
{
    (void)state;
    log_line(LOG_INFO, "h\xc3\xb6her \xff\xe2\x80", " path=%s",
             log_quote("\xc3\xa9\xfe\xc2\x9b").text);
    assert_string_equal(written(),
                        "level=info msg=\"h\xc3\xb6her ???\" path=\"\xc3\xa9?\\u009b\"\n");
    log_init(LOG_INFO, LOG_JSON);
    log_line(LOG_INFO, "h\xc3\xb6her \xff", " path=%s", log_quote("\xc3\xa9\xfe").text);
    json_t *object = written_json();
    assert_string_equal(member(object, "msg"), "h\xc3\xb6her ?");
    assert_string_equal(member(object, "path"), "\xc3\xa9?");
    json_decref(object);
    char text[LOG_QUOTED_MAX + 8];
    for (size_t first = 0; first < 4; first++) {
        memset(text, 'a', sizeof text);
        for (size_t i = first; i + 2 < sizeof text; i += 2)
            memcpy(text + i, "\xc3\xa9", 2);
        text[sizeof text - 1] = '\0';
        log_line(LOG_INFO, "m", " because=%s last=1", log_quote(text).text);
        object = written_json();
        assert_null(strchr(member(object, "because"), '?'));
        json_decref(object);
    }
}

/* With a sink lines wait there when nobody reads, and stand behind what was there. */
static void goes_into_a_sink(void **state)
{
    (void)state;
    struct sink sink;
    sink_init(&sink, pipe_fds[1]);
    log_to(&sink);
    sink_put(&sink, "of a rank\n", 10);
    for (int i = 0; i < 2000; i++)
        log_line(LOG_INFO, "nobody reads, and this goes on all the same", NULL);
    assert_true(sink_pending(&sink) > 0);
    assert_int_equal(read(pipe_fds[0], line, 10), 10);
    assert_memory_equal(line, "of a rank\n", 10);
    log_to(NULL);
    sink_fini(&sink);
}

/* Whatever the lengths, a cut line ends in a newline, stays under its limit, and is still JSON. */
static void cuts_long_lines_whole(void **state)
{
    (void)state;
    char text[3000];
    for (size_t length = 1900; length < 2100; length++) {
        memset(text, length % 2 ? '"' : 'm', length);
        text[length] = '\0';
        log_init(LOG_INFO, LOG_JSON);
        log_line(LOG_INFO, text, " step=12 name=abc");
        json_decref(written_json());
        assert_true(strlen(line) <= 2048);
        log_line(LOG_INFO, "m", " a=1 long=x%s b=2", text);
        json_decref(written_json());
        log_init(LOG_INFO, LOG_TEXT);
        log_line(LOG_INFO, text, " step=12");
        (void)written();
        assert_true(strlen(line) <= 2048);
        assert_int_equal(line[strlen(line) - 1], '\n');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_key_values, capture, release),
        cmocka_unit_test_setup_teardown(keeps_quiet_below_its_level, capture, release),
        cmocka_unit_test_setup_teardown(a_message_cannot_forge_a_line, capture, release),
        cmocka_unit_test_setup_teardown(fields_cannot_forge_a_line, capture, release),
        cmocka_unit_test_setup_teardown(a_quoted_text_cannot_forge_a_field, capture, release),
        cmocka_unit_test_setup_teardown(quotes_long_texts_whole, capture, release),
        cmocka_unit_test_setup_teardown(writes_json, capture, release),
        cmocka_unit_test_setup_teardown(cuts_long_lines_whole, capture, release),
        cmocka_unit_test_setup_teardown(lines_are_utf8, capture, release),
        cmocka_unit_test_setup_teardown(goes_into_a_sink, capture, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

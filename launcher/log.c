#include "muster/launcher/log.h"

#include "muster/core/clock.h"
#include "muster/launcher/sink.h"
#include "muster/launcher/stamp.h"
#include "muster/launcher/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 2048 /* under PIPE_BUF, so that a line to a pipe is written whole */
#define LINE_END 3      /* kept free for the quote, brace and newline that end a cut line */
#define STDERR_MS 2000

const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
const char *const log_formats[] = {"text", "json", NULL};

static enum log_level shown = LOG_INFO;
static enum log_format form = LOG_TEXT;
static const char *who_role;
static uint32_t who_index, who_generation;
static struct sink *place; /* NULL: stderr */

struct line {
    char text[LINE_BYTES];
    size_t length;
    bool full; /* something did not fit */
};

static void put(struct line *line, const char *text, size_t length)
{
    if (line->full || line->length + length > LINE_BYTES - LINE_END) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static void put_number(struct line *line, const char *key, uint32_t value)
{
    char text[64];
    int length = snprintf(text, sizeof text, form == LOG_JSON ? ",\"%s\":%u" : " %s=%u", key,
                          value);
    if (length > 0 && (size_t)length < sizeof text)
        put(line, text, (size_t)length);
}

static void put_escaped(struct line *line, const char *text, size_t size, bool in_quotes)
{
    for (size_t at = 0; at < size;) {
        struct text_piece piece = text_escape(text + at, size - at, in_quotes);
        put(line, piece.text, piece.size);
        at += piece.taken;
    }
}

/* A number as JSON knows it: no leading zero, no bare point, so that it may stand without quotes.
 */
static bool is_json_number(const char *text, size_t length)
{
    size_t at = length > 1 && text[0] == '-', digits = at;
    while (at < length && isdigit((unsigned char)text[at]))
        at++;
    if (at == digits || (text[digits] == '0' && at - digits > 1))
        return false;
    if (at < length && text[at] == '.') {
        size_t point = at++;
        while (at < length && isdigit((unsigned char)text[at]))
            at++;
        if (at == point + 1)
            return false;
    }
    return at == length;
}

/* Length of the value at `text`: to the next blank, or to the closing quote. */
static size_t value_length(const char *text)
{
    if (text[0] != '"')
        return strcspn(text, " ");
    size_t length = 1;
    while (text[length] && text[length] != '"')
        length += text[length] == '\\' && text[length + 1] ? 2 : 1;
    return length + (text[length] == '"');
}

/* How much of a quoted value is as it was: up to the next backslash that the quotes needed. */
static size_t unescaped(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size &&
           !(text[at] == '\\' && at + 1 < size && (text[at + 1] == '"' || text[at + 1] == '\\')))
        at++;
    return at;
}

/* The value without quotes of its own and their escapes. */
static void put_json_value(struct line *line, const char *text, size_t length)
{
    bool is_quoted = length >= 2 && text[0] == '"' && text[length - 1] == '"';
    if (!is_quoted && is_json_number(text, length)) {
        put(line, text, length);
        return;
    }
    put_text(line, "\"");
    for (size_t at = is_quoted, end = length - is_quoted; at < end;) {
        size_t size = is_quoted ? unescaped(text + at, end - at) : end - at;
        put_escaped(line, text + at, size, true);
        at += size;
        if (at < end) {
            put_escaped(line, text + at + 1, 1, true);
            at += 2;
        }
    }
    put_text(line, "\"");
}

/* Turns " key=value" pairs into JSON members; one that does not fit is left out whole. */
static void put_json_fields(struct line *line, const char *fields)
{
    for (fields += strspn(fields, " "); *fields; fields += strspn(fields, " ")) {
        size_t before = line->length, key_length = strcspn(fields, "= ");
        put_text(line, ",\"");
        put_escaped(line, fields, key_length, true);
        put_text(line, "\":");
        fields += key_length + (fields[key_length] == '=');
        size_t length = value_length(fields);
        put_json_value(line, fields, length);
        fields += length;
        if (line->full) {
            line->length = before;
            return;
        }
    }
}

static void put_head(struct line *line, enum log_level level)
{
    char time[STAMP_BYTES];
    put_text(line, form == LOG_JSON ? "{\"time\":\"" : "time=");
    put_text(line, stamp_now(time));
    put_text(line, form == LOG_JSON ? "\",\"level\":\"" : " level=");
    put_text(line, log_levels[level]);
    if (form == LOG_JSON)
        put_text(line, "\"");
    if (who_role) {
        put_number(line, who_role, who_index);
        put_number(line, "gen", who_generation);
    }
}

/* The room of LINE_END makes the closing quote of a cut message certain. */
static void put_message(struct line *line, const char *message)
{
    put_text(line, form == LOG_JSON ? ",\"msg\":\"" : " msg=\"");
    put_escaped(line, message, strlen(message), true);
    line->text[line->length++] = '"';
}

/* A line that finds the cursor behind a bar on a terminal leaves that alone. */
static void put_into(struct sink *sink, const struct line *line)
{
    if (sink->bar)
        sink_put(sink, "\n", 1);
    sink->bar = NULL;
    sink_put(sink, line->text, line->length);
    sink_flush(sink);
}

static void write_line(const struct line *line)
{
    struct sink own;
    if (place) {
        put_into(place, line);
        return;
    }
    sink_init(&own, STDERR_FILENO);
    sink_put(&own, line->text, line->length);
    sink_drain(&own, mst_deadline_ms(STDERR_MS));
    sink_fini(&own);
}

void log_init(enum log_level level, enum log_format format)
{
    shown = level;
    form = format;
}

void log_who(const char *role, uint32_t index, uint32_t generation)
{
    who_role = role;
    who_index = index;
    who_generation = generation;
}

void log_to(struct sink *sink)
{
    place = sink;
}

struct log_quoted log_quote(const char *text)
{
    struct log_quoted quoted = {.text = "\""};
    size_t length = 1, left = strlen(text);
    while (left > 0) {
        size_t size = text_utf8(text, left), taken = size ? size : 1;
        bool is_escaped = *text == '"' || *text == '\\';
        if (length + is_escaped + taken > LOG_QUOTED_MAX - 2) /* room for the quote and the end */
            break;
        if (is_escaped)
            quoted.text[length++] = '\\';
        memcpy(quoted.text + length, text, taken);
        length += taken;
        text += taken;
        left -= taken;
    }
    quoted.text[length] = '"';
    return quoted;
}

/* The caller's pairs as text; `pairs` has LINE_BYTES. */
static void format_pairs(char *pairs, const char *fields, va_list args)
{
    if (!fields || vsnprintf(pairs, LINE_BYTES, fields, args) < 0)
        pairs[0] = '\0';
}

void log_line(enum log_level level, const char *message, const char *fields, ...)
{
    if (level > shown)
        return;
    char pairs[LINE_BYTES];
    va_list args;
    va_start(args, fields);
    format_pairs(pairs, fields, args);
    va_end(args);
    struct line line = {.length = 0};
    put_head(&line, level);
    put_message(&line, message);
    if (form == LOG_JSON) {
        put_json_fields(&line, pairs);
        line.text[line.length++] = '}';
    } else {
        put_escaped(&line, pairs, strlen(pairs), false);
    }
    line.text[line.length++] = '\n';
    write_line(&line);
}

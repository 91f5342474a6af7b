#include "muster/launcher/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 2048 /* under PIPE_BUF, so that a line to a pipe is written whole */
#define LINE_END 3      /* kept free for the quote, brace and newline that end a cut line */

const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
const char *const log_formats[] = {"text", "json", NULL};

static enum log_level shown = LOG_INFO;
static enum log_format form = LOG_TEXT;
static const char *who_role;
static uint32_t who_index, who_generation;

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

/* Control characters become escapes, so that no text can end its line and forge the next. The
 * escapes are JSON's; key=value lines use the same. Inside quotes, a quote is escaped too. */
static size_t escape(char piece[8], unsigned char c, bool in_quotes)
{
    if ((c < 0x20 && c != '\n') || c == 0x7F)
        return (size_t)snprintf(piece, 8, "\\u%04x", c);
    if (c == '\n' || (in_quotes && (c == '"' || c == '\\'))) {
        piece[0] = '\\';
        piece[1] = c == '\n' ? 'n' : (char)c;
        return 2;
    }
    piece[0] = (char)c;
    return 1;
}

static void put_escaped(struct line *line, const char *text, size_t length, bool in_quotes)
{
    char piece[8];
    for (size_t i = 0; i < length; i++)
        put(line, piece, escape(piece, (unsigned char)text[i], in_quotes));
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

/* The value without quotes of its own and their escapes. */
static void put_json_value(struct line *line, const char *text, size_t length)
{
    bool is_quoted = length >= 2 && text[0] == '"' && text[length - 1] == '"';
    if (!is_quoted && is_json_number(text, length)) {
        put(line, text, length);
        return;
    }
    put_text(line, "\"");
    for (size_t i = is_quoted; i < length - is_quoted; i++) {
        if (is_quoted && text[i] == '\\' && (text[i + 1] == '"' || text[i + 1] == '\\'))
            i++;
        put_escaped(line, text + i, 1, true);
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
    put_text(line, form == LOG_JSON ? "{\"level\":\"" : "level=");
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

static void write_line(const struct line *line)
{
    while (write(STDERR_FILENO, line->text, line->length) < 0 && errno == EINTR)
        ;
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

struct log_quoted log_quote(const char *text)
{
    struct log_quoted quoted = {.text = "\""};
    size_t length = 1;
    for (; *text && length < LOG_QUOTED_MAX - 3; text++) { /* room for two, the quote and the end */
        if (*text == '"' || *text == '\\')
            quoted.text[length++] = '\\';
        quoted.text[length++] = *text;
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

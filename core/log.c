#include "core/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 2048 /* under PIPE_BUF, so that a line to a pipe is written whole */
#define LINE_END 3      /* kept free for the quote, brace and newline that end a cut line */

static enum mst_log_level shown = MST_LOG_INFO;
static enum mst_log_format form = MST_LOG_KV;
static const char *who_role;
static uint32_t who_index, who_generation;

struct line {
    char text[LINE_BYTES];
    size_t length;
    bool full; /* something did not fit */
};

static void put(struct line *line, const char *text, size_t length)
{
    if (line->full || length > LINE_BYTES - LINE_END - line->length) {
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
    int length = snprintf(text, sizeof text, form == MST_LOG_JSON ? ",\"%s\":%u" : " %s=%u", key,
                          value);
    if (length > 0 && (size_t)length < sizeof text)
        put(line, text, (size_t)length);
}

/* Control characters become escapes, so that no message can end its line and forge the next. The
 * escapes are JSON's; key=value lines use the same. */
static void put_escaped(struct line *line, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        char escape[8];
        if (c == '"' || c == '\\')
            put(line, (char[]){'\\', (char)c}, 2);
        else if (c == '\n')
            put(line, "\\n", 2);
        else if (c < 0x20 || c == 0x7F)
            put(line, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
        else
            put(line, (char[]){(char)c}, 1);
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

static void put_json_value(struct line *line, const char *text, size_t length)
{
    if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
        text++;
        length -= 2;
    } else if (is_json_number(text, length)) {
        put(line, text, length);
        return;
    }
    put_text(line, "\"");
    put_escaped(line, text, length);
    put_text(line, "\"");
}

/* Turns " key=value" pairs into JSON members; one that does not fit is left out whole. */
static void put_json_fields(struct line *line, const char *fields)
{
    for (fields += strspn(fields, " "); *fields; fields += strspn(fields, " ")) {
        size_t before = line->length, key_length = strcspn(fields, "= ");
        put_text(line, ",\"");
        put_escaped(line, fields, key_length);
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

static void put_head(struct line *line, enum mst_log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    put_text(line, form == MST_LOG_JSON ? "{\"level\":\"" : "level=");
    put_text(line, names[level]);
    if (form == MST_LOG_JSON)
        put_text(line, "\"");
    if (who_role) {
        put_number(line, who_role, who_index);
        put_number(line, "gen", who_generation);
    }
}

/* The room of LINE_END makes the closing quote of a cut message certain. */
static void put_message(struct line *line, const char *message)
{
    put_text(line, form == MST_LOG_JSON ? ",\"msg\":\"" : " msg=\"");
    put_escaped(line, message, strlen(message));
    line->text[line->length++] = '"';
}

static void write_line(const struct line *line)
{
    while (write(STDERR_FILENO, line->text, line->length) < 0 && errno == EINTR)
        ;
}

void mst_log_init(enum mst_log_level level, enum mst_log_format format)
{
    shown = level;
    form = format;
}

void mst_log_who(const char *role, uint32_t index, uint32_t generation)
{
    who_role = role;
    who_index = index;
    who_generation = generation;
}

void mst_log(enum mst_log_level level, const char *message, const char *fields, ...)
{
    if (level > shown)
        return;
    char pairs[LINE_BYTES];
    va_list args;
    va_start(args, fields);
    if (vsnprintf(pairs, sizeof pairs, fields, args) < 0)
        pairs[0] = '\0';
    va_end(args);

    struct line line = {.length = 0};
    put_head(&line, level);
    put_message(&line, message);
    if (form == MST_LOG_JSON) {
        put_json_fields(&line, pairs);
        line.text[line.length++] = '}';
    } else {
        put_text(&line, pairs);
    }
    line.text[line.length++] = '\n';
    write_line(&line);
}

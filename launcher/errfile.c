#include "muster/launcher/errfile.h"

#include <jansson.h>
#include <string.h>

/* Blanks, and what is no character of ASCII, are a blank and a '?', however many there are. */
static void put_line(const char *message, char *line, size_t cap)
{
    size_t used = 0;
    for (const char *at = message; *at && used + 1 < cap; at++) {
        bool is_plain = *at > ' ' && *at <= '~';
        char shown = is_plain ? *at : (unsigned char)*at <= ' ' ? ' ' : '?';
        if (!is_plain && (used == 0 || line[used - 1] == shown))
            continue;
        line[used++] = shown;
    }
    line[used] = '\0';
}

bool errfile_message(const char *text, size_t size, char *line, size_t cap)
{
    json_t *root = json_loadb(text, size, JSON_ALLOW_NUL, NULL);
    const json_t *message = json_object_get(root, "message");
    if (json_is_object(message))
        message = json_object_get(message, "message");
    const char *words = json_string_value(message);
    bool is_there = words && strspn(words, " \t\r\n") < strlen(words);
    if (is_there)
        put_line(words, line, cap);
    json_decref(root);
    return is_there;
}

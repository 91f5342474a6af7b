/* pure */
#include "muster/launcher/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool is_tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* How many bytes begin like this one, by its first bits; 0 if none do. */
static size_t length_of(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c < 0xE0)
        return 2;
    if (c >= 0xE0 && c < 0xF0)
        return 3;
    return c >= 0xF0 && c < 0xF5 ? 4 : 0;
}

/* The second byte tells what is overlong, a surrogate, or past U+10FFFF. */
static bool is_second(unsigned char first, unsigned char second)
{
    switch (first) {
    case 0xE0: return second >= 0xA0;
    case 0xED: return second < 0xA0;
    case 0xF0: return second >= 0x90;
    case 0xF4: return second < 0x90;
    default: return true;
    }
}

size_t text_utf8(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t length = length_of(bytes[0]);
    if (length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (!is_tail(bytes[i]))
            return 0;
    }
    return length < 2 || is_second(bytes[0], bytes[1]) ? length : 0;
}

static struct text_piece escaped(unsigned code, size_t taken)
{
    struct text_piece piece = {.taken = taken};
    if (code == '\n' || code == '\t' || code == '"' || code == '\\') {
        piece.text[0] = '\\';
        piece.text[1] = code == '\n' ? 'n' : code == '\t' ? 't' : (char)code;
        piece.size = 2;
    } else {
        piece.size = (size_t)snprintf(piece.text, sizeof piece.text, "\\u%04x", code & 0xFFFF);
    }
    return piece;
}

struct text_piece text_escape(const char *text, size_t size, bool in_quotes)
{
    struct text_piece piece = {.text = "?", .size = 1, .taken = 1};
    unsigned char first = (unsigned char)text[0];
    size_t length = text_utf8(text, size);
    if (length == 0)
        return piece;
    if (first < 0x20 || first == 0x7F || (in_quotes && (first == '"' || first == '\\')))
        return escaped(first, 1);
    if (first == 0xC2 && (unsigned char)text[1] < 0xA0)
        return escaped((unsigned char)text[1], 2); /* U+0080 … U+009F */
    memcpy(piece.text, text, length);
    piece.size = piece.taken = length;
    return piece;
}

/* How many bytes stand for themselves. */
static size_t plain(const char *text, size_t size)
{
    size_t length = 0;
    while (length < size && (unsigned char)text[length] >= 0x20 &&
           (unsigned char)text[length] < 0x7F && text[length] != '"' && text[length] != '\\')
        length++;
    return length;
}

size_t text_escape_all(char *to, const char *text, size_t size)
{
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        size_t length = plain(text + at, size - at);
        memcpy(to + used, text + at, length);
        used += length;
        at += length;
        if (at == size)
            break;
        struct text_piece piece = text_escape(text + at, size - at, true);
        memcpy(to + used, piece.text, piece.size);
        used += piece.size;
        at += piece.taken;
    }
    return used;
}

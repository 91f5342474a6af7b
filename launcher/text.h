/* Text: bytes that others wrote, made fit for a line, a terminal and JSON. */
/* pure */
#ifndef MUSTER_LAUNCHER_TEXT_H
#define MUSTER_LAUNCHER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes the first character of `size` ≥ 1 bytes has in UTF-8: 1 … 4, or 0 if no character
 * begins there: a stray or overlong byte, a surrogate, one that is cut. */
size_t text_utf8(const char *text, size_t size);

struct text_piece {
    char text[8];
    size_t size;
    size_t taken; /* bytes of the original that it stands for */
};

/* The first character of `size` ≥ 1 bytes. A control character, C1 among them, becomes JSON's
 * escape, so that no text ends its line or speaks to a terminal; between quotes a quote and a
 * backslash are escaped, too; a byte that is no UTF-8 becomes '?'. */
struct text_piece text_escape(const char *text, size_t size, bool in_quotes);

/* The whole, as between quotes. `to` has room for TEXT_ESCAPED_MAX(size). Returns its size. */
#define TEXT_ESCAPED_MAX(size) (6 * (size))
size_t text_escape_all(char *to, const char *text, size_t size);

#endif

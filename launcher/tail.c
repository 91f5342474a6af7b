/* pure */
#include "muster/launcher/tail.h"

#include "muster/launcher/text.h"

#include <string.h>

void tail_put(struct tail *tail, const char *bytes, size_t size)
{
    if (size > TAIL_BYTES) {
        tail->total += size - TAIL_BYTES;
        bytes += size - TAIL_BYTES;
        size = TAIL_BYTES;
    }
    size_t at = (size_t)(tail->total % TAIL_BYTES);
    size_t first = size < TAIL_BYTES - at ? size : TAIL_BYTES - at;
    memcpy(tail->ring + at, bytes, first);
    memcpy(tail->ring, bytes + first, size - first);
    tail->total += size;
}

/* Where the last TAIL_LINES lines begin; a first line that lost its beginning is none, unless it is
 * the only one. */
static size_t first_line(const char *bytes, size_t size, bool is_cut)
{
    size_t lines = 0, end = size > 0 && bytes[size - 1] == '\n' ? size - 1 : size;
    for (size_t at = end; at > 0; at--) {
        if (bytes[at - 1] == '\n' && ++lines == TAIL_LINES)
            return at;
    }
    const char *newline = is_cut ? memchr(bytes, '\n', end) : NULL;
    return newline ? (size_t)(newline - bytes) + 1 : 0;
}

/* One line, behind its last '\r', without what a terminal or JSON would trip over. */
static size_t put_line(char *text, const char *line, size_t size)
{
    if (size > 0 && line[size - 1] == '\r')
        size--;
    const char *cr = size > 0 ? memrchr(line, '\r', size) : NULL;
    size_t used = 0, length;
    for (size_t at = cr ? (size_t)(cr - line) + 1 : 0; at < size; at += length ? length : 1) {
        length = text_utf8(line + at, size - at);
        struct text_piece piece = text_escape(line + at, size - at, false);
        bool is_itself = length > 0 && piece.size == length && piece.taken == length;
        memcpy(text + used,
               is_itself          ? line + at
               : line[at] == '\t' ? " "
                                  : "?",
               is_itself ? length : 1);
        used += is_itself ? length : 1;
    }
    text[used] = '\n';
    return used + 1;
}

size_t tail_text(const struct tail *tail, char text[TAIL_BYTES + 2])
{
    char bytes[TAIL_BYTES];
    bool is_cut = tail->total > TAIL_BYTES;
    size_t size = is_cut ? TAIL_BYTES : (size_t)tail->total, used = 0;
    size_t oldest = is_cut ? (size_t)(tail->total % TAIL_BYTES) : 0;
    memcpy(bytes, tail->ring + oldest, size - oldest);
    memcpy(bytes + size - oldest, tail->ring, oldest);
    for (size_t at = first_line(bytes, size, is_cut); at < size;) {
        const char *newline = memchr(bytes + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - bytes) - at : size - at;
        used += put_line(text + used, bytes + at, length);
        at += length + 1;
    }
    text[used] = '\0';
    return used;
}

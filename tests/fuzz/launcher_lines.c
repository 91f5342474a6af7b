/* What a rank writes, in pieces and at times that the input says: a length, then so many bytes, and
 * again. Whatever they are, no byte is lost where no '\r' is, and what goes into JSON and into a
 * report is UTF-8 without control characters. */
#include "muster/launcher/lines.h"

#include "muster/launcher/tail.h"
#include "muster/launcher/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct count {
    uint64_t shown; /* bytes of lines */
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_text(const char *text, size_t size)
{
    for (size_t at = 0, length; at < size; at += length) {
        length = text_utf8(text + at, size - at);
        require(length > 0 && ((unsigned char)text[at] >= 0x20 || text[at] == '\n'));
    }
}

static void check(void *arg, const struct line *line)
{
    struct count *count = arg;
    static char escaped[TEXT_ESCAPED_MAX(LINES_BYTES_MAX)];
    require(line->size <= LINES_BYTES_MAX);
    for (size_t i = 0; i < line->size; i++)
        count->shown += line->text[i] != '\n' && line->text[i] != '\r';
    size_t size = text_escape_all(escaped, line->text, line->size);
    require(size <= TEXT_ESCAPED_MAX(line->size));
    require_text(escaped, size);
}

static void run(const uint8_t *data, size_t size, bool is_terminal)
{
    static char bytes[LINES_BYTES_MAX], report[TAIL_BYTES + 2];
    struct count count = {.shown = 0};
    struct tail tail = {.total = 0};
    struct lines lines;
    uint64_t now_ns = 0, given = 0;
    bool has_cr = memchr(data, '\r', size) != NULL;
    lines_init(&lines, bytes, is_terminal);
    while (size > 0) {
        size_t room, piece = data[0] % 64 * 33;
        now_ns += data[0] / 64 * 60 * NS_PER_MS;
        data++;
        size--;
        char *to = lines_room(&lines, &room);
        require(room > 0);
        piece = piece < size ? piece : size;
        piece = piece < room ? piece : room;
        memcpy(to, data, piece);
        tail_put(&tail, to, piece);
        for (size_t i = 0; i < piece; i++)
            given += data[i] != '\n' && data[i] != '\r';
        lines_take(&lines, piece, now_ns, check, &count);
        lines_tick(&lines, now_ns, check, &count);
        data += piece;
        size -= piece;
    }
    lines_finish(&lines, check, &count);
    require(has_cr || count.shown == given);
    require_text(report, tail_text(&tail, report));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 18)
        return 0;
    run(data, size, false);
    run(data, size, true);
    return 0;
}

/* Lines of text. A record ends at '\n', which is not part of it; a '\r' before it is. An empty line
 * is an empty record; after a final '\n' there is no further one: as wc -l and editors count. */
/* pure */
#include "muster/dataio/record.h"

#include <string.h>

static size_t scan_lines(struct record_scan *scan, struct mst_cspan bytes, uint64_t *ret_starts)
{
    const char *begin = bytes.data, *at = begin, *end = begin + bytes.size_bytes;
    size_t count = 0;
    while (at < end) {
        if (!scan->inside)
            ret_starts[count++] = scan->seen_bytes + (uint64_t)(at - begin);
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        scan->inside = !newline;
        at = newline ? newline + 1 : end;
    }
    scan->seen_bytes += bytes.size_bytes;
    return count;
}

static uint64_t finish(const struct record_scan *scan)
{
    return scan->seen_bytes + (scan->inside ? 1 : 0); /* as if the last line had its newline */
}

const struct record_reader rec_lines = {
    .name = "lines", .format = MST_FORMAT_LINES, .scan = scan_lines, .finish = finish};

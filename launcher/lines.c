/* pure */
#include "muster/launcher/lines.h"

#include "muster/core/clock.h"

#include <assert.h>
#include <string.h>

/* One call of lines_take: lines->bytes from `start` is the line that has not ended, those from `at`
 * to `end` have not been looked at. */
struct scan {
    struct lines *lines;
    size_t start, at, end;
    bool has_cr;
    lines_emit *emit;
    void *arg;
};

void lines_init(struct lines *lines, char *bytes, bool wants_bars)
{
    *lines = (struct lines){.bytes = bytes, .wants_bars = wants_bars, .due_ns = UINT64_MAX};
}

char *lines_room(const struct lines *lines, size_t *ret_size)
{
    assert(lines->used < LINES_BYTES_MAX);
    *ret_size = LINES_BYTES_MAX - lines->used;
    return lines->bytes + lines->used;
}

static void say(const struct scan *scan, size_t size, bool is_bar)
{
    const struct line line = {.text = scan->lines->bytes + scan->start,
                              .size = size,
                              .goes_on = scan->lines->goes_on && size > 0,
                              .is_bar = is_bar};
    scan->emit(scan->arg, &line);
}

/* What follows is a line of its own; `at` is its first byte. */
static void begin_line(struct scan *scan, bool after_cr)
{
    scan->start = scan->at;
    scan->lines->goes_on = scan->lines->held = scan->lines->shown = false;
    scan->lines->after_cr = after_cr;
    if (!after_cr) /* a bar that is never still is shown, too */
        scan->lines->due_ns = UINT64_MAX;
}

/* '\n' behind `size` bytes. A line whose beginning is out, with its newline, needs no empty rest;
 * where a bar left the cursor in its line, an empty one leads out of it. */
static void end_line(struct scan *scan, size_t size)
{
    struct lines *lines = scan->lines;
    bool is_out = lines->held ? lines->shown : lines->goes_on && size == 0;
    if (!is_out || (lines->wants_bars && lines->after_cr))
        say(scan, size, false);
    begin_line(scan, false);
}

/* '\r' behind `size` bytes, and no '\n' behind it yet. */
static void hold_line(struct scan *scan, size_t size)
{
    struct lines *lines = scan->lines;
    if (size == 0) {
        begin_line(scan, true);
        return;
    }
    lines->held = lines->after_cr = true;
    lines->shown = lines->wants_bars;
    lines->used = size;
    if (lines->wants_bars)
        say(scan, size, true);
}

/* The byte behind a held line: '\n' ends it, another '\r' changes nothing, and anything else takes
 * its place. */
static void settle_held(struct scan *scan)
{
    char c = scan->lines->bytes[scan->at];
    if (c == '\n') {
        scan->at++;
        end_line(scan, scan->lines->used);
    } else if (c == '\r') {
        scan->at++;
    } else {
        begin_line(scan, true);
    }
}

/* All whole lines at once, where nothing is special about them: a rank that prints a million short
 * ones costs a call for each read. */
static bool scan_block(struct scan *scan)
{
    const char *from = scan->lines->bytes + scan->at;
    bool is_plain = !scan->has_cr && !scan->lines->goes_on && !scan->lines->after_cr;
    const char *last = is_plain ? memrchr(from, '\n', scan->end - scan->at) : NULL;
    if (!last)
        return false;
    scan->at += (size_t)(last - from) + 1;
    say(scan, scan->at - 1 - scan->start, false);
    begin_line(scan, false);
    return true;
}

static void scan_line(struct scan *scan)
{
    char *from = scan->lines->bytes + scan->at;
    size_t size = scan->end - scan->at, before = scan->at - scan->start;
    char *newline = memchr(from, '\n', size);
    size_t length = newline ? (size_t)(newline - from) : size;
    char *cr = scan->has_cr ? memchr(from, '\r', length) : NULL;
    if (cr && cr + 1 != newline) {
        scan->at += (size_t)(cr - from) + 1;
        hold_line(scan, before + (size_t)(cr - from));
    } else if (newline) {
        scan->at += length + 1;
        end_line(scan, before + length - (cr != NULL));
    } else {
        scan->at = scan->end;
    }
}

static uint64_t later(uint64_t one_ns, uint64_t other_ns)
{
    return one_ns > other_ns ? one_ns : other_ns;
}

static void set_due(struct lines *lines, uint64_t now_ns)
{
    uint64_t part_ns = now_ns + LINES_PART_MS * MST_NS_PER_MS;
    if (lines->used == 0 || (lines->held && lines->shown))
        lines->due_ns = UINT64_MAX;
    else if (lines->held)
        lines->due_ns = later(now_ns, lines->next_ns);
    else if (lines->due_ns == UINT64_MAX) /* counted from its first byte */
        lines->due_ns = lines->after_cr ? later(part_ns, lines->next_ns) : part_ns;
}

/* Shows what is there, without its end. */
static void show(struct lines *lines, uint64_t now_ns, lines_emit *emit, void *arg)
{
    const struct scan scan = {.lines = lines, .emit = emit, .arg = arg};
    bool keeps = lines->held && lines->wants_bars; /* for the newline that may still come */
    say(&scan, lines->used, lines->after_cr);
    if (lines->after_cr)
        lines->next_ns = now_ns + LINES_BAR_MS * MST_NS_PER_MS;
    if (lines->held)
        lines->shown = true;
    else
        lines->goes_on = true;
    lines->used = keeps ? lines->used : 0;
    lines->due_ns = UINT64_MAX;
}

void lines_take(struct lines *lines, size_t size, uint64_t now_ns, lines_emit *emit, void *arg)
{
    struct scan scan = {
        .lines = lines, .at = lines->used, .end = lines->used + size, .emit = emit, .arg = arg};
    assert(scan.end <= LINES_BYTES_MAX);
    scan.has_cr = memchr(lines->bytes + scan.at, '\r', size) != NULL;
    while (scan.at < scan.end) {
        if (lines->held)
            settle_held(&scan);
        else if (!scan_block(&scan))
            scan_line(&scan);
    }
    if (!lines->held)
        lines->used = scan.end - scan.start;
    if (scan.start > 0)
        memmove(lines->bytes, lines->bytes + scan.start, lines->used);
    set_due(lines, now_ns);
    if (lines->used == LINES_BYTES_MAX && !(lines->held && lines->shown))
        show(lines, now_ns, emit, arg);
    if (lines->used == LINES_BYTES_MAX)
        lines->used = 0;
    lines_tick(lines, now_ns, emit, arg);
}

void lines_tick(struct lines *lines, uint64_t now_ns, lines_emit *emit, void *arg)
{
    if (now_ns >= lines->due_ns)
        show(lines, now_ns, emit, arg);
}

void lines_finish(struct lines *lines, lines_emit *emit, void *arg)
{
    const struct scan scan = {.lines = lines, .emit = emit, .arg = arg};
    bool is_out = lines->held ? lines->shown : lines->used == 0;
    if (!is_out)
        say(&scan, lines->used, false);
    lines_init(lines, lines->bytes, lines->wants_bars);
}

/* Lines: what a rank writes, cut into lines that can stand beside those of others.
 *
 *   init → (room → the caller reads into it → take, or tick when it is due)* → finish
 *
 * A line ends with '\n'. One that has no end after LINES_PART_MS goes out as it is, and its rest
 * later as a line that says so; likewise one of LINES_BYTES_MAX. '\r' begins a line anew, as on a
 * terminal: what stands there when a second is over is shown, and what stood there before is not;
 * with `wants_bars`, each. */
/* pure */
#ifndef MUSTER_LAUNCHER_LINES_H
#define MUSTER_LAUNCHER_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_BYTES_MAX (64u << 10)
#define LINES_PART_MS 100
#define LINES_BAR_MS 1000

struct lines {
    char *bytes; /* LINES_BYTES_MAX of them, the caller's */
    bool wants_bars;
    size_t used;      /* of the line that has not ended */
    bool goes_on;     /* its beginning is out */
    bool after_cr;    /* it stands where another one stood */
    bool held;        /* '\r' came behind it: the next byte says what it was */
    bool shown;       /* a held one is out */
    uint64_t due_ns;  /* when lines_tick has something to do, or UINT64_MAX */
    uint64_t next_ns; /* when the next bar may be shown */
};

struct line {
    const char *text; /* without its newline; where several whole ones came at once, all of them */
    size_t size;
    bool goes_on; /* from the line before */
    bool is_bar;  /* the next of this source stands in its place */
};

typedef void lines_emit(void *arg, const struct line *line);

/* `bytes` stays the caller's. */
void lines_init(struct lines *lines, char *bytes, bool wants_bars);

/* Where the next bytes go; there is always room for one. */
char *lines_room(const struct lines *lines, size_t *ret_size);

/* `size` bytes came at lines_room. Emits what is whole; the texts are borrowed for the call. */
void lines_take(struct lines *lines, size_t size, uint64_t now_ns, lines_emit *emit, void *arg);

/* Emits what is due. */
void lines_tick(struct lines *lines, uint64_t now_ns, lines_emit *emit, void *arg);

/* Nothing follows: emits the rest. */
void lines_finish(struct lines *lines, lines_emit *emit, void *arg);

#endif

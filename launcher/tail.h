/* Tail: the last that a rank said, for the report of its death. */
/* pure */
#ifndef MUSTER_LAUNCHER_TAIL_H
#define MUSTER_LAUNCHER_TAIL_H

#include <stddef.h>
#include <stdint.h>

#define TAIL_BYTES 3072 /* with what stands around it, less than the 4096 that a pod may leave */
#define TAIL_LINES 20

/* A zeroed one is empty. */
struct tail {
    uint64_t total; /* bytes ever put */
    char ring[TAIL_BYTES];
};

void tail_put(struct tail *tail, const char *bytes, size_t size);

/* Its last whole TAIL_LINES lines, or what of them is there, as lines of a text that is UTF-8 and
 * has no control characters; of what '\r' parts, the last. Ends with '\n' and NUL, or is empty.
 * Returns its length. */
size_t tail_text(const struct tail *tail, char text[TAIL_BYTES + 2]);

#endif

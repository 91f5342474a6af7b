/* Progress: a bar on stderr, where people look, while a program reads. Nothing else is on its line:
 * who prints clears it first. */
#ifndef MUSTER_CORE_CLI_PROGRESS_H
#define MUSTER_CORE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown;
    uint64_t next_ns; /* before then it stays as it is */
};

/* A bar, if it is `wanted` and stderr is a terminal; else the others do nothing. */
void progress_init(struct progress *progress, bool wanted);

/* Draws it, ten times a second at most. Nothing if total_bytes is 0. */
void progress_show(struct progress *progress, const char *name, uint64_t done_bytes,
                   uint64_t total_bytes);

/* Empties its line. */
void progress_clear(const struct progress *progress);

#endif

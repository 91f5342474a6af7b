/* row: what one check on the device came to, as a line of the standard output that first-light
 * reads: result, what, figure, unit, ratio, wanted, words, with tabs between them; a number that
 * there is none of is empty. */
#ifndef MUSTER_PERF_GPU_ROW_H
#define MUSTER_PERF_GPU_ROW_H

#include <stdbool.h>

enum row_result { ROW_RIGHT, ROW_WRONG, ROW_NOT_RUN };

struct row {
    enum row_result result;
    const char *what;
    double figure; /* 0: none */
    const char *unit;
    double ratio, wanted; /* to the limit of the same run, and at least; 0: none */
    const char *words;    /* NULL: none */
};

void row_print(const struct row *row);

/* A row of no figures: right, or wrong with these words. */
void row_check(const char *what, bool is_right, const char *words);

#endif

#include "muster/perf/gpu/row.h"

#include <stdio.h>

static const char *const results[] = {
    [ROW_RIGHT] = "right", [ROW_WRONG] = "wrong", [ROW_NOT_RUN] = "not run"};

static void print_number(double number)
{
    if (number > 0)
        printf("%.4g", number);
    printf("\t");
}

void row_print(const struct row *row)
{
    printf("%s\t%s\t", results[row->result], row->what);
    print_number(row->figure);
    printf("%s\t", row->unit ? row->unit : "");
    print_number(row->ratio);
    print_number(row->wanted);
    printf("%s\n", row->words ? row->words : "");
    (void)fflush(stdout); /* what is known is told before the device hangs */
}

void row_check(const char *what, bool is_right, const char *words)
{
    row_print(&(struct row){.result = is_right ? ROW_RIGHT : ROW_WRONG,
                            .what = what,
                            .words = is_right ? NULL : words});
}

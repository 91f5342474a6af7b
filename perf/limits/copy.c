/* copy: the least that a snapshot takes: MIB of memory copied to pages that are there already, by
 * two threads, each its half. Prints seconds, the slower one's.
 *
 *   copy MIB */
#include "muster/perf/drivers/stopwatch.h"
#include "muster/perf/limits/pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    char *from, *to;
    size_t bytes;
    double took_s;
} halves[2];

static void copy_half(int number)
{
    size_t bytes = halves[number].bytes;
    halves[number].from = pair_memory(bytes);
    halves[number].to = pair_memory(bytes);
    pair_meet(number);
    double began_s = stopwatch_s();
    memcpy(halves[number].to, halves[number].from, bytes);
    halves[number].took_s = stopwatch_s() - began_s;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: copy MIB\n", stderr);
        return 1;
    }
    halves[0].bytes = halves[1].bytes = (strtoull(argv[1], NULL, 10) << 20) / 2;
    pair_run(copy_half, NULL);
    int slower = halves[1].took_s > halves[0].took_s;
    printf("%.6f %d\n", halves[slower].took_s, halves[slower].to[0]);
    return 0;
}

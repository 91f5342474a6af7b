/* copy: the least that a snapshot takes: MIB of memory copied to pages that are there already, by
 * two threads, each its half: in one go, in pieces that caches hold, or by stores that pass the
 * caches by. Prints the seconds of the best way, of its slower thread.
 *
 *   copy MIB */
#include "muster/perf/drivers/stopwatch.h"
#include "muster/perf/limits/pair.h"
#include "muster/perf/limits/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)128 << 10)
#define TIMES 3

static void in_one_go(char *to, const char *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

static void in_pieces(char *to, const char *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += PIECE_BYTES)
        memcpy(to + at, from + at, bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES);
}

static void past_caches(char *to, const char *from, size_t bytes)
{
    stream_copy((float *)to, (const float *)from, bytes / sizeof(float));
    stream_fence();
}

static void (*const ways[])(char *to, const char *from, size_t bytes) = {in_one_go, in_pieces,
                                                                         past_caches};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static struct {
    char *from, *to;
    double took_s[WAYS * TIMES];
} halves[2];

static size_t half_bytes;

static void copy_half(int number)
{
    halves[number].from = pair_memory(half_bytes);
    halves[number].to = pair_memory(half_bytes);
    for (size_t i = 0; i < WAYS * TIMES; i++) {
        pair_meet(number);
        double began_s = stopwatch_s();
        ways[i % WAYS](halves[number].to, halves[number].from, half_bytes);
        halves[number].took_s[i] = stopwatch_s() - began_s;
    }
}

int main(int argc, char **argv)
{
    double best_s = 0;
    if (argc != 2) {
        fputs("usage: copy MIB\n", stderr);
        return 1;
    }
    half_bytes = (strtoull(argv[1], NULL, 10) << 20) / 2;
    pair_run(copy_half, NULL);
    for (size_t i = 0; i < WAYS * TIMES; i++) {
        double one_s = halves[0].took_s[i], other_s = halves[1].took_s[i];
        double slower_s = one_s > other_s ? one_s : other_s;
        best_s = i == 0 || slower_s < best_s ? slower_s : best_s;
    }
    printf("%.6f %d\n", best_s, halves[0].to[0]);
    return 0;
}

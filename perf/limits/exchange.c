/* exchange: the least that an allreduce of floats takes between two ranks that share nothing but a
 * ring of slots: two threads, each bound to a core. Each gives the other the half that the other
 * sums, and takes back the sums of its own; or each gives all, and sums all. What is best depends
 * on the size and on how far the cores are from each other, so a few rings are tried: of few large
 * slots or many small ones, by ordinary stores, or by stores that pass the caches by.
 *
 *   exchange CORE,CORE BYTES …
 *
 * Prints a line for each ring that fits, and sample: bytes, microseconds, and the nanoseconds of an
 * exchange between the cores before and after. The best of the rings is the limit. */
#include "muster/perf/drivers/cores.h"
#include "muster/perf/drivers/stopwatch.h"
#include "muster/perf/limits/pair.h"
#include "muster/perf/limits/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 5
#define BATCH_S 1e-3
#define CALLS_MAX 500
#define LINES_BYTES ((size_t)128) /* a line of the cache for each */

enum {
    STREAMS = 1, /* by stores that pass the caches by */
    WHOLE = 2,   /* each gives all */
};

struct ring {
    size_t slot_bytes, slots;
    int ways;
};

static const struct ring rings[] = {
    {128 << 10, 2, WHOLE}, {16 << 10, 32, WHOLE},  {16 << 10, 8, WHOLE | STREAMS},
    {128 << 10, 2, 0},     {64 << 10, 32, 0},      {128 << 10, 32, 0},
    {512 << 10, 8, 0},     {16 << 10, 8, STREAMS}, {256 << 10, 4, STREAMS},
    {1 << 20, 4, STREAMS},
};
#define RINGS (sizeof(rings) / sizeof(rings[0]))
#define RING_BYTES ((size_t)4 << 20) /* of the largest */

static struct {
    float *buffer;      /* summed in place */
    char *given, *sums; /* what the other reads: RING_BYTES each */
    size_t step;        /* slots used so far */
} sides[2];

static const struct ring *ring;
static size_t bytes, asked_bytes; /* the first is a multiple of two lines */
static double call_s[2];

static void store(float *to, const float *from, size_t count)
{
    if (ring->ways & STREAMS)
        stream_copy(to, from, count);
    else
        memcpy(to, from, count * sizeof(*to));
}

static void add(float *to, const float *other, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += other[i];
}

static void fence(void)
{
    if (ring->ways & STREAMS)
        stream_fence();
}

static float *slot(char *memory, size_t step)
{
    return (float *)(memory + step % ring->slots * ring->slot_bytes);
}

static size_t slot_floats(void)
{
    return ring->slot_bytes / sizeof(float);
}

/* Floats of piece i of `count`. */
static size_t piece(size_t i, size_t count)
{
    size_t most = slot_floats(), left = i * most < count ? count - i * most : 0;
    return left < most ? left : most;
}

/* Two stages, a piece apart: give, sum. */
static void allreduce_whole(int number)
{
    size_t most = slot_floats(), count = asked_bytes / sizeof(float);
    size_t pieces = (count + most - 1) / most, first = sides[number].step;
    float *own = sides[number].buffer;
    for (size_t i = 0; i < pieces; i++) {
        store(slot(sides[number].given, first + i), own + i * most, piece(i, count));
        fence();
        pair_meet(number);
        add(own + i * most, slot(sides[1 - number].given, first + i), piece(i, count));
    }
    sides[number].step = first + pieces;
}

/* Three stages, a piece apart: give, sum, take. */
static void allreduce_halves(int number)
{
    size_t most = slot_floats(), half = bytes / sizeof(float) / 2;
    size_t pieces = (half + most - 1) / most, first = sides[number].step;
    float *own = sides[number].buffer + (size_t)number * half;
    float *others = sides[number].buffer + (size_t)(1 - number) * half;
    for (size_t i = 0; i < pieces + 2; i++) {
        if (i >= 2)
            memcpy(others + (i - 2) * most, slot(sides[1 - number].sums, first + i - 2),
                   piece(i - 2, half) * sizeof(float));
        if (i >= 1 && i <= pieces) {
            float *sum = own + (i - 1) * most;
            add(sum, slot(sides[1 - number].given, first + i - 1), piece(i - 1, half));
            store(slot(sides[number].sums, first + i - 1), sum, piece(i - 1, half));
        }
        if (i < pieces)
            store(slot(sides[number].given, first + i), others + i * most, piece(i, half));
        fence();
        if (i <= pieces)
            pair_meet(number);
    }
    sides[number].step = first + pieces;
}

static void allreduce(int number)
{
    if (ring->ways & WHOLE)
        allreduce_whole(number);
    else
        allreduce_halves(number);
}

static double batch(int number, int calls)
{
    pair_meet(number);
    double began_s = stopwatch_s();
    for (int i = 0; i < calls; i++)
        allreduce(number);
    call_s[number] = (stopwatch_s() - began_s) / calls;
    pair_meet(number);
    double slower_s = call_s[call_s[1] > call_s[0]];
    pair_meet(number); /* both have read */
    return slower_s;
}

/* One allreduce of ones and twos; what is left are zeros, whose sums stay small. */
static void check(int number)
{
    float *buffer = sides[number].buffer;
    size_t count = asked_bytes / sizeof(float);
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        buffer[i] = (float)(number + 1);
    pair_meet(number);
    allreduce(number);
    for (size_t i = 0; i < count; i++)
        if (buffer[i] != 3) {
            fputs("exchange: a sum is wrong\n", stderr);
            exit(1);
        }
    memset(buffer, 0, bytes);
}

static void measure(int number)
{
    check(number);
    double once_s = batch(number, 2);
    int calls = once_s * CALLS_MAX < BATCH_S ? CALLS_MAX : (int)(BATCH_S / once_s) + 1;
    uint64_t before_ns = pair_exchange_ns(number);
    for (int i = 0; i < SAMPLES; i++) {
        double took_s = batch(number, calls);
        uint64_t after_ns = pair_exchange_ns(number);
        if (number == 0)
            printf("%zu %.4f %" PRIu64 " %" PRIu64 " %zux%zu%s%s\n", asked_bytes, took_s * 1e6,
                   before_ns, after_ns, ring->slots, ring->slot_bytes,
                   ring->ways & STREAMS ? " streamed" : "", ring->ways & WHOLE ? " whole" : "");
        before_ns = after_ns;
    }
}

static void measure_size(const int cores[2])
{
    for (int i = 0; i < 2; i++)
        sides[i].buffer = pair_memory(bytes);
    for (size_t i = 0; i < RINGS; i++) {
        ring = &rings[i];
        if (ring->slot_bytes < bytes || ring->slots == 2)
            pair_run(measure, cores);
    }
    for (int i = 0; i < 2; i++)
        free(sides[i].buffer);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: exchange CORE,CORE BYTES …\n", stderr);
        return 1;
    }
    int cores[2];
    cores_parse(argv[1], cores);
    for (int i = 0; i < 2; i++) {
        sides[i].given = pair_memory(RING_BYTES);
        sides[i].sums = pair_memory(RING_BYTES);
    }
    for (int i = 2; i < argc; i++) {
        asked_bytes = strtoull(argv[i], NULL, 10);
        bytes = (asked_bytes + LINES_BYTES - 1) / LINES_BYTES * LINES_BYTES;
        measure_size(cores);
    }
    return 0;
}

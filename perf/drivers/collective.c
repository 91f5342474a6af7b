/* collective: times a collective of floats between two ranks, each bound to a core of its own.
 *
 *   collective FILE CORE,CORE allreduce|broadcast|reduce_scatter BYTES …
 *
 * BYTES is the larger buffer; FILE is that of place.h. A sample is a batch of back-to-back calls
 * of two milliseconds at least, on warm buffers, after a barrier: the slowest rank's mean. Rank 0
 * prints a line for each: bytes, microseconds, and the nanoseconds of an exchange between the cores
 * before and after it. The result of the first call is checked, element by element. */
#include "muster/perf/drivers/collective.h"

#include "muster/perf/drivers/cores.h"
#include "muster/perf/drivers/place.h"
#include "muster/perf/drivers/stopwatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN_BYTES 4096
#define BATCH_S 2e-3
#define SAMPLES 15
#define LARGE_BYTES ((size_t)16 << 20) /* from here on fewer samples do */
#define LARGE_SAMPLES 3
#define CALLS_MAX 1000

static struct collective_world world;
static enum collective_kind kind;
static float *in, *out; /* the same where it is in place */

static void die(const char *what)
{
    fprintf(stderr, "collective: %s\n", what);
    exit(1);
}

static enum collective_kind kind_of(const char *name)
{
    static const char *const names[] = {"allreduce", "broadcast", "reduce_scatter"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum collective_kind)i;
    die("no such collective");
    return ALLREDUCE;
}

static float *make_buffer(size_t bytes)
{
    float *buffer = aligned_alloc(ALIGN_BYTES,
                                  (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES);
    if (!buffer)
        die("no memory");
    memset(buffer, 0, bytes);
    return buffer;
}

/* Whole numbers small enough for every sum to be exact. */
static float element(int rank, size_t i)
{
    return (float)((rank + 1) * (int)(i % 1021 + 1));
}

static float expected(size_t i)
{
    int ranks = world.size * (world.size + 1) / 2;
    return kind == BROADCAST ? element(0, i) : element(ranks - 1, i);
}

static void check(size_t count)
{
    size_t part = kind == REDUCE_SCATTER ? count / (size_t)world.size : count;
    size_t first = kind == REDUCE_SCATTER ? (size_t)world.rank * part : 0;
    int wrong = 0;
    for (size_t i = 0; i < count; i++)
        in[i] = element(world.rank, i);
    collective_run(kind, in, out, count);
    for (size_t i = 0; i < part; i++)
        wrong |= out[i] != expected(first + i);
    if (collective_greatest(wrong) > 0)
        die("a result is wrong");
    memset(in, 0, count * sizeof(*in)); /* sums of zeros stay small */
}

/* Seconds of a call. */
static double batch(size_t count, int calls)
{
    collective_barrier();
    double began_s = stopwatch_s();
    for (int i = 0; i < calls; i++)
        collective_run(kind, in, out, count);
    return collective_greatest((stopwatch_s() - began_s) / calls);
}

static int calls_for(double call_s)
{
    if (call_s * CALLS_MAX < BATCH_S)
        return CALLS_MAX;
    return (int)(BATCH_S / call_s) + 1;
}

static void measure(size_t bytes)
{
    size_t count = bytes / sizeof(float);
    in = make_buffer(bytes);
    out = kind == REDUCE_SCATTER ? make_buffer(bytes) : in;
    check(count);
    int calls = calls_for(batch(count, 3)), samples = bytes < LARGE_BYTES ? SAMPLES : LARGE_SAMPLES;
    calls = calls_for(batch(count, calls)); /* the first ones brought in what the many need */
    uint64_t before_ns = place_exchange_ns();
    for (int i = 0; i < samples; i++) {
        double call_s = batch(count, calls);
        uint64_t after_ns = place_exchange_ns();
        if (world.rank == 0)
            printf("%zu %.4f %" PRIu64 " %" PRIu64 "\n", bytes, call_s * 1e6, before_ns, after_ns);
        before_ns = after_ns;
    }
    if (out != in)
        free(out);
    free(in);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        die("usage: collective FILE CORE,CORE allreduce|broadcast|reduce_scatter BYTES …");
    world = collective_open();
    kind = kind_of(argv[3]);
    int cores[2];
    cores_parse(argv[2], cores);
    place_open(cores[0] == cores[1] ? NULL : argv[1], world.rank, cores[world.rank % 2]);
    for (int i = 4; i < argc; i++)
        measure(strtoull(argv[i], NULL, 10));
    collective_close();
    return 0;
}

/* The measurement behind the choice of a deposit. */
#include "muster/comm/probe.h"

#include "muster/core/clock.h"
#include "muster/core/least.h"
#include "muster/core/stream.h"

#include <string.h>

#define ROUNDS 8
#define PROBE_NS 300000 /* no round is begun after it, and one takes some 10 us */
#define PROBE_BYTES ((size_t)16 << 10)
#define CACHE_LINE 64
#define WORDS_PER_LINE (CACHE_LINE / sizeof(uint64_t))

enum way { STORING, STREAMING, WAYS };

/* What a deposit of rank 0 begins with. */
enum choice { MEASURE_ON, STORE, STREAM, STORE_FOR_SHARED_CORES, STORE_FOR_ONE_CORE };

/* Measured: between cores of one L3 streaming takes 0.9 to 2.9 times as long as ordinary stores do,
 * between others 0.3 to 0.5 times, between the threads of one core 4.4 times and more. */
static bool is_clearly_less(uint64_t a, uint64_t b)
{
    return a < b - b / 3;
}

static bool is_far_more(uint64_t a, uint64_t b)
{
    return a > b * 7 / 2;
}

static enum choice choose(const struct segment *segment, const uint64_t least_ns[WAYS], bool enough)
{
    if (!segment_has_core(segment))
        return STORE_FOR_SHARED_CORES;
    if (!enough)
        return MEASURE_ON;
    if (is_far_more(least_ns[STREAMING], least_ns[STORING]))
        return STORE_FOR_ONE_CORE;
    return is_clearly_less(least_ns[STREAMING], least_ns[STORING]) ? STREAM : STORE;
}

/* The first line says what is chosen. */
static void deposit(const struct segment *segment, enum way way, uint64_t choice)
{
    static const unsigned char zeros[PROBE_BYTES - CACHE_LINE];
    unsigned char *to = segment_next(segment, segment->local_rank);
    memcpy(to, &choice, sizeof choice);
    if (way == STREAMING)
        mst_stream_lines(to + CACHE_LINE, zeros, sizeof zeros);
    else
        memcpy(to + CACHE_LINE, zeros, sizeof zeros);
    mst_stream_finish();
}

/* Touches every line of the deposit of the rank half-way round: where ranks are bound in order, one
 * of the farthest. */
static uint64_t read_far(const struct segment *segment)
{
    uint32_t other = (segment->local_rank + segment->local_size / 2) % segment->local_size;
    const uint64_t *words = segment_last(segment, other);
    uint64_t sum = 0;
    for (size_t w = 0; w < PROBE_BYTES / sizeof *words; w += WORDS_PER_LINE)
        sum += words[w];
    return sum;
}

/* One deposit and one reading, in ns, the wait between them left out. Then *choice is rank 0's. */
static int probe_once(struct segment *segment, enum way way, uint64_t *choice, uint64_t deadline_ns,
                      uint64_t *ret_ns, struct mst_err *err)
{
    int rc = segment_reserve(segment, PROBE_BYTES, deadline_ns, err);
    if (rc < 0)
        return rc;
    uint64_t began_ns = mst_now_ns();
    deposit(segment, way, *choice);
    uint64_t deposited_ns = mst_now_ns();
    rc = segment_step(segment, deadline_ns, err);
    if (rc < 0)
        return rc;
    uint64_t came_ns = mst_now_ns();
    volatile uint64_t sum = read_far(segment);
    (void)sum; /* read, which is all */
    *ret_ns = deposited_ns - began_ns + mst_now_ns() - came_ns;
    memcpy(choice, segment_last(segment, 0), sizeof *choice);
    return 0;
}

/* As long as nothing is chosen, both ways by turns: each has its half of the areas, and so the same
 * lines each time. */
static int measure(struct segment *segment, uint64_t deadline_ns, uint64_t *ret_choice,
                   struct mst_err *err)
{
    uint64_t least_ns[WAYS] = {UINT64_MAX, UINT64_MAX}, ends_ns = mst_now_ns() + PROBE_NS;
    int rc = 0;
    *ret_choice = MEASURE_ON;
    for (unsigned i = 0; rc == 0 && *ret_choice == MEASURE_ON; i++) {
        enum way way = i % WAYS;
        uint64_t ns = UINT64_MAX;
        bool enough = i == ROUNDS * WAYS || (i > 0 && way == STORING && mst_now_ns() > ends_ns);
        if (segment->local_rank == 0)
            *ret_choice = choose(segment, least_ns, enough);
        rc = probe_once(segment, way, ret_choice, deadline_ns, &ns, err);
        least_ns[way] = mst_least(least_ns[way], ns);
    }
    return rc;
}

static enum segment_rooms rooms_for(uint64_t choice)
{
    if (choice == STORE_FOR_ONE_CORE)
        return SEGMENT_SMALL;
    return choice == STORE_FOR_SHARED_CORES ? SEGMENT_ALTERNATING : SEGMENT_ROAMING;
}

int probe_deposits(struct segment *segment, uint64_t deadline_ns, bool *ret_streams,
                   struct mst_err *err)
{
    uint64_t choice = STORE;
    segment_set_rooms(segment, SEGMENT_ALTERNATING);
    int rc = segment->local_size > 1 ? measure(segment, deadline_ns, &choice, err) : 0;
    if (rc < 0)
        return rc;
    segment_set_rooms(segment, rooms_for(choice));
    *ret_streams = choice == STREAM;
    return 0;
}

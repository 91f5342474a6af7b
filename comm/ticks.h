/* The time for whoever asks before and after every small collective: CLOCK_MONOTONIC carried on by
 * the processor's counter, which is read in a quarter of the time. The clock itself is looked at
 * every few milliseconds; elsewhere, or where the kernel does not trust the counter, each time. */
#ifndef MUSTER_COMM_TICKS_H
#define MUSTER_COMM_TICKS_H

#include <stdbool.h>
#include <stdint.h>

struct ticks {
    bool trusted;                 /* the counters of all cores run alike and never stop */
    uint64_t base_ns, base_ticks; /* the last look at the clock */
    double ns_per_tick;           /* 0: not known yet */
    uint64_t scale;               /* the same, in units of 2^-32 */
    uint64_t good_ticks;          /* from base_ticks on it may be used; 0: not at all */
    uint64_t last_ns;             /* what was answered last */
};

#define TICKS_CLOCK_SOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"

/* source_path: TICKS_CLOCK_SOURCE, but in tests. Never fails: without it nothing is trusted. */
void ticks_init(struct ticks *ticks, const char *source_path);

/* As mst_now_ns, off by a microsecond at most and never before what it answered last. One thread
 * at a time. */
uint64_t ticks_now_ns(struct ticks *ticks);

#endif

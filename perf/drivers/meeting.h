/* meeting: two sides, each on a core of its own, that tell each other a number through memory that
 * both have. How long that takes says how far the cores are from each other. */
#ifndef MUSTER_PERF_DRIVERS_MEETING_H
#define MUSTER_PERF_DRIVERS_MEETING_H

#include "muster/perf/drivers/stopwatch.h"

#include <stdatomic.h>
#include <stdint.h>

#define MEETING_BATCHES 5
#define MEETING_EXCHANGES 200

/* How often a side has come; zero at first. */
struct meeting_side {
    _Alignas(128) atomic_uint times; /* 128: neighbouring lines are fetched in pairs */
};

static inline void meeting_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* Waits, spinning, for the other side to come as often. */
static inline void meeting_meet(struct meeting_side *own, struct meeting_side *other)
{
    /* relaxed: nobody else stores here */
    unsigned times = atomic_load_explicit(&own->times, memory_order_relaxed) + 1;
    atomic_store_explicit(&own->times, times, memory_order_release);
    /* acquire: pairs with the other side's store above */
    while ((int)(atomic_load_explicit(&other->times, memory_order_acquire) - times) < 0)
        meeting_relax();
}

/* Nanoseconds of a meeting, which both call: of several short batches the best, since a batch in
 * which one of them had to give up its core says nothing. */
static inline uint64_t meeting_exchange_ns(struct meeting_side *own, struct meeting_side *other)
{
    double best_s = 1;
    for (int batch = 0; batch < MEETING_BATCHES; batch++) {
        double began_s = stopwatch_s();
        for (int i = 0; i < MEETING_EXCHANGES; i++)
            meeting_meet(own, other);
        double took_s = (stopwatch_s() - began_s) / MEETING_EXCHANGES;
        best_s = took_s < best_s ? took_s : best_s;
    }
    return (uint64_t)(best_s * 1e9);
}

#endif

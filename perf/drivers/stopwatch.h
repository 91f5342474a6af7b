/* stopwatch: seconds on the wall and of the processor, for programs that have no other clock. */
#ifndef MUSTER_PERF_DRIVERS_STOPWATCH_H
#define MUSTER_PERF_DRIVERS_STOPWATCH_H

#include <time.h>

/* Seconds of a clock. */
static inline double stopwatch_of(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* these clocks exist */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline double stopwatch_s(void)
{
    return stopwatch_of(CLOCK_MONOTONIC);
}

/* Of all threads of this process. */
static inline double stopwatch_cpu_s(void)
{
    return stopwatch_of(CLOCK_PROCESS_CPUTIME_ID);
}

#endif

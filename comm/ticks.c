/* A clock made of the counter and looks at the real one. */
#include "muster/comm/ticks.h"

#include "muster/core/clock.h"

#include <stdio.h>
#include <string.h>

#define LEARN_NS UINT64_C(2000000) /* a rate is learnt over so much at least */
#define LOOK_TICKS 2000            /* an undisturbed look takes a twentieth */
#define TRUST_NS 10000000.0        /* and used for so much: errors of 1 in 10^5 are 100 ns then */
#define SCALE_BITS 32              /* 10 ms in these units are less than 2^56 */
#define RATE_DRIFT 0.001           /* more is a counter that was set, or of another machine */

#if defined(__x86_64__)
static uint64_t read_counter(void)
{
    return __builtin_ia32_rdtsc();
}
#else
static uint64_t read_counter(void)
{
    return 0;
}
#endif

/* The kernel takes the counter as its clock only after having compared that of all cores. */
static bool kernel_trusts_it(const char *path)
{
    char name[8] = "";
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool trusted = fgets(name, sizeof name, file) && strcmp(name, "tsc\n") == 0;
    (void)fclose(file); /* read only */
    return trusted;
}

void ticks_init(struct ticks *ticks, const char *source_path)
{
    *ticks = (struct ticks){.trusted = kernel_trusts_it(source_path)};
}

/* Looks at the clock, and learns from what has passed since the last look. */
static uint64_t look(struct ticks *ticks)
{
    uint64_t counter = read_counter(), now_ns = mst_now_ns();
    uint64_t passed_ns = now_ns - ticks->base_ns;
    double before = ticks->ns_per_tick, rate = 0;
    bool first = ticks->base_ns == 0;
    bool interrupted = read_counter() - counter > LOOK_TICKS; /* they are not of one moment */
    if (interrupted || (!first && passed_ns < LEARN_NS))
        return now_ns;
    if (!first && counter > ticks->base_ticks)
        rate = (double)passed_ns / (double)(counter - ticks->base_ticks);
    bool is_steady = rate > before * (1 - RATE_DRIFT) && rate < before * (1 + RATE_DRIFT);
    ticks->ns_per_tick = before == 0 || is_steady ? rate : 0;
    ticks->scale = (uint64_t)(ticks->ns_per_tick * (1ULL << SCALE_BITS));
    ticks->good_ticks = ticks->ns_per_tick > 0 ? (uint64_t)(TRUST_NS / ticks->ns_per_tick) : 0;
    ticks->base_ns = now_ns;
    ticks->base_ticks = counter;
    return now_ns;
}

uint64_t ticks_now_ns(struct ticks *ticks)
{
    if (!ticks->trusted)
        return ticks->last_ns = mst_now_ns();
    uint64_t passed = read_counter() - ticks->base_ticks;
    uint64_t now_ns = passed < ticks->good_ticks
                          ? ticks->base_ns + (passed * ticks->scale >> SCALE_BITS)
                          : look(ticks);
    if (now_ns > ticks->last_ns)
        ticks->last_ns = now_ns;
    return ticks->last_ns;
}

#include "muster/core/clock.h"

#include <limits.h>
#include <time.h>

uint64_t mst_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail: every Linux has this clock */
    return (uint64_t)now.tv_sec * MST_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t mst_deadline_ms(uint64_t timeout_ms)
{
    uint64_t now_ns = mst_now_ns();
    if (timeout_ms >= (MST_NEVER - now_ns) / MST_NS_PER_MS)
        return MST_NEVER;
    return now_ns + timeout_ms * MST_NS_PER_MS;
}

bool mst_deadline_passed(uint64_t deadline_ns)
{
    return deadline_ns != MST_NEVER && mst_now_ns() >= deadline_ns;
}

int mst_deadline_left_ms(uint64_t deadline_ns)
{
    if (deadline_ns == MST_NEVER)
        return -1;
    uint64_t now_ns = mst_now_ns();
    if (now_ns >= deadline_ns)
        return 0;
    uint64_t left_ms = (deadline_ns - now_ns - 1) / MST_NS_PER_MS + 1;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

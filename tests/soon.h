/* When a wait that is to end at once has failed: late enough for a loaded machine under a
 * sanitizer, early enough that a lost wake-up is a failure and no hang. */
#ifndef MUSTER_TESTS_SOON_H
#define MUSTER_TESTS_SOON_H

#include "muster/core/clock.h"

#define SOON_MS 5000u

static inline uint64_t soon(void)
{
    return mst_deadline_ms(SOON_MS);
}

#endif

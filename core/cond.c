#include "muster/core/cond.h"

#include "muster/core/clock.h"

#include <errno.h>
#include <time.h>

void mst_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes); /* none of these four fails on Linux */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

int mst_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / MST_NS_PER_S),
                             .tv_nsec = (long)(deadline_ns % MST_NS_PER_S)};
    if (deadline_ns == MST_NEVER)
        return -pthread_cond_wait(cond, lock);
    return -pthread_cond_timedwait(cond, lock, &until);
}

bool mst_lock_is_held(pthread_mutex_t *lock)
{
    if (pthread_mutex_trylock(lock) == EBUSY)
        return true;
    pthread_mutex_unlock(lock);
    return false;
}

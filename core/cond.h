/* Conditions: waiting under a lock until a deadline of core/clock.h. */
#ifndef MUSTER_CORE_COND_H
#define MUSTER_CORE_COND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A condition whose waits read the clock of deadlines. It is ended by pthread_cond_destroy. */
void mst_cond_init(pthread_cond_t *cond);

/* Gives `lock` back, sleeps until `cond` is signalled, or for no reason, and takes it again. 0;
 * -ETIMEDOUT the deadline passed (MST_NEVER does not). */
int mst_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);

/* Whether somebody holds `lock`: what a function asserts whose name ends in _locked. */
bool mst_lock_is_held(pthread_mutex_t *lock);

#endif

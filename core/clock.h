/* Time: monotonic nanoseconds, and deadlines as points in it. Every wait in Muster takes a
 * deadline, not a duration, so that a call made of several waits keeps one promise. No function
 * blocks or fails. Safe from any thread. */
#ifndef MUSTER_CORE_CLOCK_H
#define MUSTER_CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MST_NEVER UINT64_MAX /* a deadline that does not pass */
#define MST_NS_PER_MS UINT64_C(1000000)
#define MST_NS_PER_S UINT64_C(1000000000)

/* Nanoseconds of CLOCK_MONOTONIC: the same clock in every process of this node. */
uint64_t mst_now_ns(void);

/* The deadline `timeout_ms` from now; MST_NEVER if that is more than 64 bits hold. */
uint64_t mst_deadline_ms(uint64_t timeout_ms);

/* Whether it is not before `deadline_ns`. Never for MST_NEVER. */
bool mst_deadline_passed(uint64_t deadline_ns);

/* What is left, rounded up to whole milliseconds, as poll() takes it: -1 for MST_NEVER, 0 once
 * passed, INT_MAX at most. */
int mst_deadline_left_ms(uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif

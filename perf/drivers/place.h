/* place: how far the cores of two processes are from each other. Virtual cores wander between the
 * caches of their host, whatever /sys says: a measurement is worth what is known of its place.
 *
 *   place_open(file, rank, core)      both; a file of 4 KiB of zeros
 *   place_exchange_ns()               both, at the same point of their program
 *
 * Each ends the process, with a message, where it cannot. */
#ifndef MUSTER_PERF_DRIVERS_PLACE_H
#define MUSTER_PERF_DRIVERS_PLACE_H

#include <stdint.h>

/* Binds this process to `core`. In `file` it is `rank` 0 or 1; another rank only looks on, as both
 * do where `file` is NULL, because they share a core. */
void place_open(const char *file, int rank, int core);

/* Nanoseconds in which the two tell each other a number; 0 for who looks on. */
uint64_t place_exchange_ns(void);

#endif

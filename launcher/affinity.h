/* Affinity: which cores a rank may use. Two ranks that spin for one another on one core wait a time
 * slice where they would wait a microsecond, and the scheduler does put them there for a while. */
#ifndef MUSTER_LAUNCHER_AFFINITY_H
#define MUSTER_LAUNCHER_AFFINITY_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

/* The cores of rank `local_rank` (< local_size) of a node: a consecutive share of `allowed`, the
 * shares differing by one core at most. False, and *ret_share untouched, if there are fewer cores
 * than ranks: then they are better off unbound. */
bool affinity_share(const cpu_set_t *allowed, uint32_t local_rank, uint32_t local_size,
                    cpu_set_t *ret_share);

#endif

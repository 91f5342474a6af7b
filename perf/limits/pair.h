/* pair: two threads, for limits of what two ranks on a core each can do. */
#ifndef MUSTER_PERF_LIMITS_PAIR_H
#define MUSTER_PERF_LIMITS_PAIR_H

#include <stddef.h>
#include <stdint.h>

/* Runs `work` with 0 and 1 on a thread each, bound to `cores` (NULL: where the system puts them),
 * and waits for both. Ends the process, with a message, where it cannot. */
void pair_run(void (*work)(int number), const int cores[2]);

/* Waits, spinning, for the other thread to come here as often. */
void pair_meet(int number);

/* Nanoseconds in which the two tell each other a number; both call it. */
uint64_t pair_exchange_ns(int number);

/* Memory in huge pages where there are any, written to once; never freed. Ends the process, with a
 * message, where there is none. */
void *pair_memory(size_t bytes);

#endif

/* cores: the two that a measurement is bound to. */
#ifndef MUSTER_PERF_DRIVERS_CORES_H
#define MUSTER_PERF_DRIVERS_CORES_H

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* "CORE,CORE", or one for both. */
static inline void cores_parse(const char *text, int cores[2])
{
    char *rest;
    cores[0] = cores[1] = (int)strtol(text, &rest, 10);
    if (*rest == ',')
        cores[1] = (int)strtol(rest + 1, NULL, 10);
}

/* Binds the calling thread. Ends the process, with a message, where it cannot. */
static inline void cores_bind(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0) {
        perror("binding to a core");
        exit(1);
    }
}

#endif

#include "muster/perf/limits/pair.h"

#include "muster/perf/drivers/cores.h"
#include "muster/perf/drivers/meeting.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)

static struct side {
    void (*work)(int number);
    int core; /* or -1 */
} sides[2];

static struct meeting_side meeting[2];

static void die(const char *what, int code)
{
    errno = code;
    perror(what);
    exit(1);
}

void pair_meet(int number)
{
    meeting_meet(&meeting[number], &meeting[1 - number]);
}

uint64_t pair_exchange_ns(int number)
{
    return meeting_exchange_ns(&meeting[number], &meeting[1 - number]);
}

static void *run_side(void *argument)
{
    struct side *side = argument;
    if (side->core >= 0)
        cores_bind(side->core);
    side->work((int)(side - sides));
    return NULL;
}

void pair_run(void (*work)(int number), const int cores[2])
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        sides[i].work = work;
        sides[i].core = cores ? cores[i] : -1;
        int rc = pthread_create(&threads[i], NULL, run_side, &sides[i]);
        if (rc)
            die("a thread", rc);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

void *pair_memory(size_t bytes)
{
    size_t room = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    void *memory = aligned_alloc(HUGE_BYTES, room);
    if (!memory)
        die("memory", ENOMEM);
    (void)madvise(memory, room, MADV_HUGEPAGE); /* without them it is what it is */
    memset(memory, 1, room);
    return memory;
}

#include "muster/perf/limits/pair.h"

#include "muster/perf/drivers/stopwatch.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)
#define BATCHES 5
#define EXCHANGES 200

static struct side {
    _Alignas(128) atomic_uint told; /* 128: neighbouring lines are fetched in pairs */
    unsigned number;
    void (*work)(int number);
    int core; /* or -1 */
} sides[2];

static void die(const char *what, int code)
{
    errno = code;
    perror(what);
    exit(1);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

void pair_meet(int number)
{
    struct side *own = &sides[number], *other = &sides[1 - number];
    atomic_store_explicit(&own->told, ++own->number, memory_order_release);
    /* acquire: pairs with the other side's store above */
    while (atomic_load_explicit(&other->told, memory_order_acquire) < own->number)
        relax();
}

uint64_t pair_exchange_ns(int number)
{
    double best_s = 1;
    for (int batch = 0; batch < BATCHES; batch++) {
        double began_s = stopwatch_s();
        for (int i = 0; i < EXCHANGES; i++)
            pair_meet(number);
        double took_s = (stopwatch_s() - began_s) / EXCHANGES;
        best_s = took_s < best_s ? took_s : best_s;
    }
    return (uint64_t)(best_s * 1e9);
}

static void *run_side(void *argument)
{
    struct side *side = argument;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (side->core >= 0)
        CPU_SET((size_t)side->core, &set);
    if (side->core >= 0 && sched_setaffinity(0, sizeof(set), &set) < 0)
        die("binding to a core", errno);
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

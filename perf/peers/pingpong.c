/* pingpong: how far two cores are from each other. Two threads, each bound to one of them, tell
 * each other a number in turn, by a cache line apiece.
 *
 *   pingpong CORE CORE
 *
 * Prints the nanoseconds of one exchange: of many short batches the best, since a batch in which
 * one of the threads had to give up its core says nothing about the way between them. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCHES 100
#define EXCHANGES 200

struct side {
    _Alignas(128) atomic_uint told; /* 128: neighbouring lines are fetched in pairs */
    cpu_set_t core;
    struct side *other;
    uint64_t best_ns;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static void exchange(struct side *side, unsigned number)
{
    atomic_store_explicit(&side->told, number, memory_order_release);
    /* acquire: pairs with the other side's store above */
    while (atomic_load_explicit(&side->other->told, memory_order_acquire) < number)
        relax();
}

static void *talk(void *argument)
{
    struct side *side = argument;
    side->best_ns = UINT64_MAX;
    unsigned number = 0;
    for (int batch = 0; batch < BATCHES; batch++) {
        uint64_t began_ns = now_ns();
        for (int i = 0; i < EXCHANGES; i++)
            exchange(side, ++number);
        uint64_t took_ns = now_ns() - began_ns;
        if (took_ns < side->best_ns)
            side->best_ns = took_ns;
    }
    return NULL;
}

/* 0, or -1 if there is no such core for this process. */
static int start(struct side *side, const char *core, pthread_t *ret_thread)
{
    char *end;
    unsigned long number = strtoul(core, &end, 10);
    if (end == core || *end || number >= CPU_SETSIZE)
        return -1;
    CPU_ZERO(&side->core);
    CPU_SET(number, &side->core);
    pthread_attr_t attr;
    if (pthread_attr_init(&attr))
        return -1;
    int rc = pthread_attr_setaffinity_np(&attr, sizeof(side->core), &side->core);
    if (!rc)
        rc = pthread_create(ret_thread, &attr, talk, side);
    pthread_attr_destroy(&attr);
    return rc ? -1 : 0;
}

int main(int argc, char **argv)
{
    static struct side sides[2];
    pthread_t threads[2];
    if (argc != 3) {
        fprintf(stderr, "usage: pingpong CORE CORE\n");
        return 64;
    }
    for (int i = 0; i < 2; i++) {
        sides[i].other = &sides[1 - i];
        if (start(&sides[i], argv[i + 1], &threads[i])) {
            fprintf(stderr, "pingpong: no thread on core %s\n", argv[i + 1]);
            return 1;
        }
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("%.0f\n", (double)sides[0].best_ns / EXCHANGES);
    return 0;
}

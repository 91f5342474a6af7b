/* Runs out of memory on demand: includes the wrappers that tests/CMakeLists.txt puts between the
 * test's objects and libc. One test program includes it once; from one thread. */
#ifndef MUSTER_TESTS_FAILING_MEMORY_H
#define MUSTER_TESTS_FAILING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

static size_t allocations_left; /* until one fails, while allocations_fail */
static bool allocations_fail;

static bool take_allocation(void)
{
    if (!allocations_fail)
        return true;
    if (allocations_left == 0)
        return false;
    allocations_left--;
    return true;
}

/* The (n + 1)-th allocation from now on fails, and those after it. */
static void fail_allocations_after(size_t n)
{
    allocations_left = n;
    allocations_fail = true;
}

static void allow_allocations(void)
{
    allocations_fail = false;
}

void *__real_malloc(size_t size_bytes);
void *__real_calloc(size_t count, size_t size_bytes);
void *__real_realloc(void *old, size_t size_bytes);
void *__wrap_malloc(size_t size_bytes);
void *__wrap_calloc(size_t count, size_t size_bytes);
void *__wrap_realloc(void *old, size_t size_bytes);

void *__wrap_malloc(size_t size_bytes)
{
    return take_allocation() ? __real_malloc(size_bytes) : NULL;
}

void *__wrap_calloc(size_t count, size_t size_bytes)
{
    return take_allocation() ? __real_calloc(count, size_bytes) : NULL;
}

void *__wrap_realloc(void *old, size_t size_bytes)
{
    return take_allocation() ? __real_realloc(old, size_bytes) : NULL;
}

#endif

#include "muster/core/huge.h"

#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/least.h"
#include "muster/core/process.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE /* of Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE_BYTES_MIN 4096u
#define SWITCHES "/sys/kernel/mm/transparent_hugepage"

/* Reserves address space with slack, then gives back what lies outside of the aligned middle. */
static uint8_t *map_aligned(size_t size_bytes)
{
    uint8_t *base = mmap(NULL, size_bytes + MST_HUGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    size_t head = (MST_HUGE_BYTES - (uintptr_t)base % MST_HUGE_BYTES) % MST_HUGE_BYTES;
    if (head > 0)
        (void)munmap(base, head); /* a hole in our own mapping: cannot fail but for map limits */
    if (head < MST_HUGE_BYTES)
        (void)munmap(base + head + size_bytes, MST_HUGE_BYTES - head); /* as above */
    return base + head;
}

void *mst_huge_map(size_t size_bytes)
{
    assert(size_bytes > 0);
    if (size_bytes > SIZE_MAX - 2 * MST_HUGE_BYTES)
        return NULL;
    size_t whole = mst_round_up(size_bytes, MST_HUGE_BYTES);
    uint8_t *base = map_aligned(whole);
    if (!base)
        return NULL;
    mst_process_keep(base, whole);
    (void)madvise(base, whole, MADV_HUGEPAGE); /* a wish: mst_huge_check tells of a refusal */
    return base;
}

void mst_huge_unmap(void *base, size_t size_bytes)
{
    if (base)
        (void)munmap(base, mst_round_up(size_bytes, MST_HUGE_BYTES)); /* of our own mapping */
}

void mst_huge_ask(void *data, size_t size_bytes)
{
    size_t head = (MST_HUGE_BYTES - (uintptr_t)data % MST_HUGE_BYTES) % MST_HUGE_BYTES;
    if (size_bytes >= head + MST_HUGE_BYTES)
        (void)madvise((uint8_t *)data + head, (size_bytes - head) / MST_HUGE_BYTES * MST_HUGE_BYTES,
                      MADV_HUGEPAGE); /* a wish */
}

/* For kernels without a call for it. Nothing is changed, whoever looks meanwhile. */
static void touch(uint8_t *data, size_t size_bytes, size_t page_bytes)
{
    size_t step = page_bytes - (uintptr_t)data % page_bytes;
    for (size_t at = 0; at < size_bytes; at += step, step = page_bytes)
        atomic_fetch_or_explicit((_Atomic uint8_t *)data + at, 0,
                                 memory_order_relaxed); /* it orders nothing */
}

static bool is_resident(void *pages, size_t size_bytes)
{
    unsigned char there[MST_HUGE_BYTES / PAGE_BYTES_MIN];
    size_t count = mst_round_up(size_bytes, PAGE_BYTES_MIN) / PAGE_BYTES_MIN;
    assert(count <= sizeof there);
    memset(there, 1, count); /* where pages are larger the kernel fills in fewer */
    return mincore(pages, size_bytes, there) == 0 && !memchr(there, 0, count);
}

/* Of one huge page at most. */
static void populate(uint8_t *data, size_t size_bytes, size_t page_bytes)
{
    uint8_t *pages = data - (uintptr_t)data % page_bytes;
    size_t reach_bytes = (size_t)(data - pages) + size_bytes;
    if (is_resident(pages, reach_bytes))
        return;
    if (size_bytes == MST_HUGE_BYTES)
        (void)madvise(data, size_bytes, MADV_HUGEPAGE); /* a wish */
    if (madvise(pages, reach_bytes, MADV_POPULATE_WRITE) < 0)
        touch(data, size_bytes, page_bytes);
}

void mst_huge_populate(void *data, size_t size_bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), piece_bytes;
    for (uint8_t *at = data; size_bytes > 0; at += piece_bytes, size_bytes -= piece_bytes) {
        piece_bytes = mst_least(size_bytes, MST_HUGE_BYTES - (uintptr_t)at % MST_HUGE_BYTES);
        populate(at, piece_bytes, page_bytes);
    }
}

static int ask_kernel(struct mst_err *err)
{
    if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1)
        return mst_err_set(err, -ENOTSUP, "no huge pages: this process was started without them");
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int rc = 0;
    if (page != MAP_FAILED && madvise(page, page_bytes, MADV_HUGEPAGE) < 0)
        rc = mst_err_set(err, -ENOTSUP, "no huge pages: madvise: %s", mst_err_meaning(errno));
    if (page != MAP_FAILED)
        (void)munmap(page, page_bytes); /* our own */
    return rc;
}

/* Where pages of 2 MiB have a switch of their own it may point to that of all sizes. */
static bool is_never(const char *root)
{
    char line[128];
    bool found = mst_file_line(line, sizeof line, "%s" SWITCHES "/hugepages-2048kB/enabled", root);
    if (!found || strstr(line, "[inherit]"))
        found = mst_file_line(line, sizeof line, "%s" SWITCHES "/enabled", root);
    return found && strstr(line, "[never]");
}

int mst_huge_check(const char *root, struct mst_err *err)
{
    int rc = ask_kernel(err);
    if (rc == 0 && is_never(root))
        rc = mst_err_set(err, -ENOTSUP, "no huge pages: " SWITCHES "/enabled is never");
    return rc;
}

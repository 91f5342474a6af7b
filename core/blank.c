#include "muster/core/blank.h"

#include "muster/core/file.h"
#include "muster/core/least.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define USED (UINT64_C(3) << 62) /* there, or swapped out: the two highest bits of a page's word */
#define NO_FILE " 00000000 00:00 0" /* offset, device, inode */
#define WORDS 4096                  /* pages looked at in one read */

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* A line of /proc/self/maps, "<start>-<end> rw-p 00000000 00:00 0": whether it is of writable
 * memory that is no file's, nor shared. */
static bool decode(const char *line, struct mst_blank_range *ret_range)
{
    char *rest;
    ret_range->start = strtoull(line, &rest, 16);
    if (*rest != '-')
        return false;
    ret_range->end = strtoull(rest + 1, &rest, 16);
    size_t rights = strlen(" rw-p");
    return strlen(rest) > rights && rest[2] == 'w' && rest[4] == 'p' &&
           strncmp(rest + rights, NO_FILE, strlen(NO_FILE)) == 0 &&
           strchr(" \n", rest[rights + strlen(NO_FILE)]);
}

/* Neighbours are one. False: no memory. */
static bool add(struct mst_blank *blank, const struct mst_blank_range *range)
{
    size_t count = blank->range_count;
    if (count > 0 && blank->ranges[count - 1].end == range->start) {
        blank->ranges[count - 1].end = range->end;
        return true;
    }
    if ((count & (count - 1)) == 0) { /* room for a power of two is full */
        void *grown = realloc(blank->ranges, (count ? 2 * count : 1) * sizeof *blank->ranges);
        if (!grown)
            return false;
        blank->ranges = grown;
    }
    blank->ranges[blank->range_count++] = *range;
    return true;
}

void mst_blank_look(struct mst_blank *ret_blank)
{
    *ret_blank = (struct mst_blank){0};
    ret_blank->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    FILE *maps = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t cap = 0;
    bool has_room = true;
    while (maps && has_room && getline(&line, &cap, maps) > 0) {
        struct mst_blank_range range;
        if (decode(line, &range))
            has_room = add(ret_blank, &range); /* what is not known of is not blank */
    }
    free(line);
    if (maps)
        (void)fclose(maps); /* only read */
}

void mst_blank_forget(struct mst_blank *blank)
{
    mst_file_close(&blank->pagemap_fd);
    free(blank->ranges);
}

/* Memory as the kernel has it: whole pages, and what is before and behind them. */
struct pieces {
    uint8_t *head, *pages, *tail;
    size_t head_bytes, pages_bytes, tail_bytes;
};

static struct pieces cut(const void *data, size_t size_bytes)
{
    uint8_t *at = (uint8_t *)(uintptr_t)data;
    size_t unit = page_bytes();
    size_t head = mst_least((unit - (uintptr_t)at % unit) % unit, size_bytes);
    size_t whole = (size_bytes - head) / unit * unit;
    return (struct pieces){.head = at,
                           .head_bytes = head,
                           .pages = at + head,
                           .pages_bytes = whole,
                           .tail = at + head + whole,
                           .tail_bytes = size_bytes - head - whole};
}

/* Whether one range holds all of it. */
static bool is_known(const struct mst_blank *blank, uintptr_t start, uintptr_t end)
{
    size_t low = 0, high = blank->range_count; /* the last that starts at `start` or before */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (blank->ranges[middle].start <= start)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && end <= blank->ranges[low - 1].end;
}

/* Whether none of at most WORDS pages is used. */
static bool are_unused(const struct mst_blank *blank, size_t page, size_t count)
{
    uint64_t words[WORDS];
    size_t size_bytes = count * sizeof *words;
    if (mst_file_pread(blank->pagemap_fd, words, size_bytes, page * sizeof *words) !=
        (int64_t)size_bytes)
        return false;
    uint64_t all = 0;
    for (size_t i = 0; i < count; i++)
        all |= words[i];
    return (all & USED) == 0;
}

static bool is_unused(const struct mst_blank *blank, const struct pieces *pieces)
{
    size_t first = (uintptr_t)pieces->pages / page_bytes();
    size_t count = pieces->pages_bytes / page_bytes();
    for (size_t at = 0; at < count; at += WORDS)
        if (!are_unused(blank, first + at, mst_least(count - at, WORDS)))
            return false;
    return true;
}

static bool is_zero(const uint8_t *data, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++)
        if (data[i] != 0)
            return false;
    return true;
}

bool mst_blank_is(const struct mst_blank *blank, const void *data, size_t size_bytes)
{
    uintptr_t start = (uintptr_t)data;
    struct pieces pieces = cut(data, size_bytes);
    return is_known(blank, start, start + size_bytes) && is_unused(blank, &pieces) &&
           is_zero(pieces.head, pieces.head_bytes) && is_zero(pieces.tail, pieces.tail_bytes);
}

void mst_blank_again(void *data, size_t size_bytes)
{
    struct pieces pieces = cut(data, size_bytes);
    memset(pieces.head, 0, pieces.head_bytes);
    if (pieces.pages_bytes > 0 && madvise(pieces.pages, pieces.pages_bytes, MADV_DONTNEED) < 0)
        memset(pieces.pages, 0, pieces.pages_bytes); /* it is locked in memory */
    memset(pieces.tail, 0, pieces.tail_bytes);
}

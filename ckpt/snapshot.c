#include "muster/ckpt/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)

/* Reserves address space with slack, then gives back what lies outside of the aligned middle. */
static uint8_t *map_aligned(size_t size_bytes)
{
    size_t head;
    uint8_t *base = mmap(NULL, size_bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    head = (HUGE_BYTES - (uintptr_t)base % HUGE_BYTES) % HUGE_BYTES;
    if (head > 0)
        (void)munmap(base, head); /* a hole in our own mapping: cannot fail but for map limits */
    if (head < HUGE_BYTES)
        (void)munmap(base + head + size_bytes, HUGE_BYTES - head);
    return base + head;
}

static size_t round_up(size_t size_bytes)
{
    return (size_bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
}

int snapshot_reserve(struct snapshot *snapshot, size_t size_bytes)
{
    size_t cap = round_up(size_bytes);
    uint8_t *base;
    if (snapshot->base && size_bytes <= snapshot->cap_bytes)
        return 0;
    if (cap < size_bytes)
        return -ENOMEM;
    snapshot_fini(snapshot); /* before the new one: both may not fit in memory */
    base = map_aligned(cap);
    if (!base)
        return -ENOMEM;
    (void)madvise(base, cap, MADV_HUGEPAGE); /* only a wish: THP may be off */
    *snapshot = (struct snapshot){base, cap};
    return 0;
}

void snapshot_trim(struct snapshot *snapshot, size_t size_bytes)
{
    size_t cap = round_up(size_bytes);
    if (cap == 0 || cap >= snapshot->cap_bytes)
        return;
    (void)munmap(snapshot->base + cap, snapshot->cap_bytes - cap); /* the tail of our own mapping */
    snapshot->cap_bytes = cap;
}

void snapshot_copy(struct snapshot *snapshot, const struct layout_part *parts, size_t part_count,
                   const struct layout_tensor *described, const struct mst_tensor *tensors)
{
    for (size_t i = 0; i < part_count; i++) {
        const struct layout_part *part = &parts[i];
        const struct mst_tensor *tensor = &tensors[part->tensor];
        uint64_t held_from = tensor->sharded ? tensor->row_start : 0;
        uint64_t skip = (part->row_start - held_from) * described[part->tensor].row_bytes;
        assert(part->offset + part->size_bytes <= snapshot->cap_bytes);
        memcpy(snapshot->base + part->offset, (const uint8_t *)tensor->data.data + skip,
               part->size_bytes);
    }
}

void snapshot_fini(struct snapshot *snapshot)
{
    if (snapshot->base)
        (void)munmap(snapshot->base, snapshot->cap_bytes);
    *snapshot = (struct snapshot){0};
}

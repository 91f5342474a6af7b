#include "muster/ckpt/snapshot.h"

#include "muster/core/least.h"
#include "muster/core/process.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)

/* Reserves address space with slack, then gives back what lies outside of the aligned middle. */
static uint8_t *map_aligned(size_t size_bytes)
{
    uint8_t *base = mmap(NULL, size_bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    size_t head = (HUGE_BYTES - (uintptr_t)base % HUGE_BYTES) % HUGE_BYTES;
    if (head > 0)
        (void)munmap(base, head); /* a hole in our own mapping: cannot fail but for map limits */
    if (head < HUGE_BYTES)
        (void)munmap(base + head + size_bytes, HUGE_BYTES - head);
    mst_process_keep(base + head, size_bytes);
    return base + head;
}

static bool is_whole(const struct snapshot *snapshot)
{
    return (uintptr_t)snapshot->base % HUGE_BYTES == 0 && snapshot->cap_bytes % HUGE_BYTES == 0;
}

int snapshot_reserve(struct snapshot *snapshot, size_t size_bytes)
{
    if (snapshot->base && size_bytes <= snapshot->cap_bytes)
        return 0;
    if (size_bytes > SIZE_MAX - 2 * HUGE_BYTES)
        return -ENOMEM;
    snapshot_fini(snapshot); /* before the new one: both may not fit in memory */
    size_t cap = mst_round_up(size_bytes, HUGE_BYTES);
    uint8_t *base = map_aligned(cap);
    if (!base)
        return -ENOMEM;
    (void)madvise(base, cap, MADV_HUGEPAGE); /* only a wish: THP may be off */
    *snapshot = (struct snapshot){base, cap};
    assert(is_whole(snapshot));
    return 0;
}

void snapshot_trim(struct snapshot *snapshot, size_t size_bytes)
{
    if (size_bytes == 0 || size_bytes >= snapshot->cap_bytes)
        return;
    size_t cap = mst_round_up(size_bytes, HUGE_BYTES);
    if (cap == snapshot->cap_bytes)
        return;
    (void)munmap(snapshot->base + cap, snapshot->cap_bytes - cap); /* the tail of our own mapping */
    snapshot->cap_bytes = cap;
    assert(is_whole(snapshot));
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
        (void)munmap(snapshot->base, snapshot->cap_bytes); /* our own mapping: as above */
    *snapshot = (struct snapshot){0};
}

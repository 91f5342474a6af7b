#include "muster/ckpt/snapshot.h"

#include "muster/core/huge.h"
#include "muster/core/least.h"
#include "muster/core/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

static bool is_whole(const struct snapshot *snapshot)
{
    return (uintptr_t)snapshot->base % MST_HUGE_BYTES == 0 &&
           snapshot->cap_bytes % MST_HUGE_BYTES == 0;
}

int snapshot_reserve(struct snapshot *snapshot, size_t size_bytes)
{
    if (snapshot->base && size_bytes <= snapshot->cap_bytes)
        return 0;
    snapshot_fini(snapshot); /* before the new one: both may not fit in memory */
    uint8_t *base = mst_huge_map(size_bytes);
    if (!base)
        return -ENOMEM;
    *snapshot = (struct snapshot){base, mst_round_up(size_bytes, MST_HUGE_BYTES)};
    assert(is_whole(snapshot));
    return 1;
}

void snapshot_trim(struct snapshot *snapshot, size_t size_bytes)
{
    if (size_bytes == 0 || size_bytes >= snapshot->cap_bytes)
        return;
    size_t cap = mst_round_up(size_bytes, MST_HUGE_BYTES);
    if (cap == snapshot->cap_bytes)
        return;
    mst_huge_unmap(snapshot->base + cap, snapshot->cap_bytes - cap);
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
        mst_stream_copy(snapshot->base + part->offset, (const uint8_t *)tensor->data.data + skip,
                        part->size_bytes);
    }
}

void snapshot_fini(struct snapshot *snapshot)
{
    mst_huge_unmap(snapshot->base, snapshot->cap_bytes);
    *snapshot = (struct snapshot){0};
}

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
    *snapshot = (struct snapshot){.base = base,
                                  .cap_bytes = mst_round_up(size_bytes, MST_HUGE_BYTES)};
    assert(is_whole(snapshot));
    return 1;
}

static void unregister(struct snapshot *snapshot)
{
    if (snapshot->gpu)
        mst_gpu_unregister(snapshot->gpu, snapshot->base);
    snapshot->gpu = NULL;
}

void snapshot_trim(struct snapshot *snapshot, size_t size_bytes)
{
    if (size_bytes == 0 || size_bytes >= snapshot->cap_bytes)
        return;
    size_t cap = mst_round_up(size_bytes, MST_HUGE_BYTES);
    if (cap == snapshot->cap_bytes)
        return;
    unregister(snapshot);
    mst_huge_unmap(snapshot->base + cap, snapshot->cap_bytes - cap);
    snapshot->cap_bytes = cap;
    assert(is_whole(snapshot));
}

int snapshot_register(struct snapshot *snapshot, const struct device *device, struct mst_err *err)
{
    if (snapshot->gpu)
        return 0;
    int rc = mst_gpu_register(device->gpu, snapshot->base, snapshot->cap_bytes);
    if (rc < 0)
        return device_explain(device, rc, "the snapshot pool is not registered", err);
    snapshot->gpu = device->gpu;
    return 0;
}

static const uint8_t *find_rows(const struct snapshot_source *source,
                                const struct layout_part *part)
{
    const struct mst_tensor *tensor = &source->tensors[part->tensor];
    uint64_t held_from = tensor->sharded ? tensor->row_start : 0;
    uint64_t skip = (part->row_start - held_from) * source->described[part->tensor].row_bytes;
    return (const uint8_t *)tensor->data.data + skip;
}

static int copy_part(struct snapshot *snapshot, const struct snapshot_source *source,
                     const struct layout_part *part, struct mst_err *err)
{
    const uint8_t *rows = find_rows(source, part);
    assert(part->offset + part->size_bytes <= snapshot->cap_bytes);
    if (source->tensors[part->tensor].data.mem == MST_MEM_DEVICE)
        return device_copy(source->device, snapshot->base + part->offset, rows, part->size_bytes,
                           err);
    mst_stream_copy(snapshot->base + part->offset, rows, part->size_bytes);
    return 0;
}

/* Those on the device, or the others. */
static int copy_side(struct snapshot *snapshot, const struct snapshot_source *source,
                     bool on_device, struct mst_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < source->part_count && rc == 0; i++) {
        const struct layout_part *part = &source->parts[i];
        if ((source->tensors[part->tensor].data.mem == MST_MEM_DEVICE) == on_device)
            rc = copy_part(snapshot, source, part, err);
    }
    return rc;
}

/* The device copies beside the host. */
int snapshot_copy(struct snapshot *snapshot, const struct snapshot_source *source,
                  struct mst_err *err)
{
    int rc = copy_side(snapshot, source, true, err);
    if (rc == 0)
        rc = copy_side(snapshot, source, false, err);
    int ended = device_finish(source->device, rc == 0 ? err : NULL);
    return rc < 0 ? rc : ended;
}

void snapshot_fini(struct snapshot *snapshot)
{
    unregister(snapshot);
    mst_huge_unmap(snapshot->base, snapshot->cap_bytes);
    *snapshot = (struct snapshot){0};
}

#include "muster/ckpt/shard.h"

#include "muster/core/err.h"
#include "muster/core/huge.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Frees all but the pool. */
static void forget(struct shard *shard)
{
    skeleton_fini(&shard->skeleton);
    free(shard->parts);
    free(shard->rows);
    free(shard->tensors);
    shard->parts = NULL;
    shard->rows = NULL;
    shard->tensors = NULL;
    shard->tensor_count = shard->part_count = 0;
    shard->pool_fits = false;
}

static bool same_rows(const struct shard_rows *rows, const struct mst_tensor *tensor)
{
    if (tensor->sharded != rows->sharded)
        return false;
    return !tensor->sharded ||
           (tensor->row_start == rows->row_start && tensor->row_count == rows->row_count);
}

/* Checks all tensors, whether they match or not. */
static int matches(const struct shard *shard, const struct state *state, bool *ret_match,
                   struct mst_err *err)
{
    bool match = shard->tensors && state->tensor_count == shard->tensor_count;
    for (size_t i = 0; i < state->tensor_count; i++) {
        struct layout_tensor described;
        int rc = layout_describe(&state->tensors[i], &described, err);
        if (rc < 0)
            return rc;
        match = match && layout_tensor_equal(&described, &shard->tensors[i]) &&
                same_rows(&shard->rows[i], &state->tensors[i]);
    }
    *ret_match = match;
    return 0;
}

static int allocate(struct shard *shard, size_t count, struct mst_err *err)
{
    size_t room = count ? count : 1;
    shard->tensors = calloc(room, sizeof *shard->tensors);
    shard->rows = calloc(room, sizeof *shard->rows);
    shard->parts = calloc(room, sizeof *shard->parts);
    if (!shard->tensors || !shard->rows || !shard->parts)
        return mst_err_set(err, -ENOMEM, "no memory for the layout of %zu tensors", count);
    shard->tensor_count = count;
    return 0;
}

static int describe_all(struct shard *shard, const struct mst_tensor *tensors, struct mst_err *err)
{
    const struct layout_tensor **scratch = calloc(shard->tensor_count + 1, sizeof(void *));
    int rc = scratch ? 0 : mst_err_set(err, -ENOMEM, "no memory for the list of names");
    for (size_t i = 0; i < shard->tensor_count && rc == 0; i++) {
        shard->rows[i] = (struct shard_rows){tensors[i].sharded, tensors[i].row_start,
                                             tensors[i].row_count};
        rc = layout_describe(&tensors[i], &shard->tensors[i], err);
    }
    if (rc == 0)
        rc = layout_check_names(shard->tensors, shard->tensor_count, scratch, err);
    free(scratch);
    return rc;
}

static int build(struct shard *shard, const struct state *state, struct mst_err *err)
{
    int rc = allocate(shard, state->tensor_count, err);
    if (rc == 0)
        rc = describe_all(shard, state->tensors, err);
    if (rc < 0)
        return rc;
    shard->fingerprint = layout_fingerprint(shard->tensors, shard->tensor_count);
    shard->part_count = layout_plan(state->tensors, shard->tensors, shard->tensor_count,
                                    shard->rank, shard->world_size, shard->parts);
    assert(shard->part_count <= shard->tensor_count);
    const struct skeleton_plan plan = {.tensors = shard->tensors,
                                       .parts = shard->parts,
                                       .part_count = shard->part_count,
                                       .rank = shard->rank,
                                       .world_size = shard->world_size};
    return skeleton_create(&plan, &shard->skeleton, err);
}

int shard_describe(struct shard *shard, const struct state *state, struct mst_err *err)
{
    bool match = false;
    shard->uses_device = state_on_device(state);
    int rc = matches(shard, state, &match, err);
    if (rc == 0 && match)
        return 0;
    forget(shard);
    if (rc == 0)
        rc = build(shard, state, err);
    if (rc < 0)
        forget(shard);
    return rc;
}

/* What lies in no part is zero, or the skeleton's, which comes with each snapshot. */
static void clear_gaps(struct shard *shard)
{
    uint64_t at = 0;
    for (size_t i = 0; i < shard->part_count; i++) {
        const struct layout_part *part = &shard->parts[i];
        memset(shard->pool.base + at, 0, part->offset - at);
        at = part->offset + part->size_bytes;
    }
    memset(shard->pool.base + at, 0, shard->skeleton.size_bytes - at);
}

int shard_reserve(struct shard *shard, struct mst_err *err)
{
    if (shard->pool_fits)
        return 0;
    int rc = snapshot_reserve(&shard->pool, shard->skeleton.size_bytes);
    if (rc < 0)
        return mst_err_set(err, rc, "no memory for a snapshot of %" PRIu64 " bytes",
                           shard->skeleton.size_bytes);
    snapshot_trim(&shard->pool, shard->skeleton.size_bytes); /* a load staged more here */
    if (rc == 0)
        clear_gaps(shard);
    shard->populated_bytes = 0;
    shard->pool_fits = true;
    return 0;
}

bool shard_populate(struct shard *shard, size_t size_bytes)
{
    assert(shard->pool_fits);
    size_t left_bytes = shard->skeleton.size_bytes - shard->populated_bytes;
    size_t piece_bytes = mst_least(left_bytes, size_bytes);
    mst_huge_populate(shard->pool.base + shard->populated_bytes, piece_bytes);
    shard->populated_bytes += piece_bytes;
    return piece_bytes < left_bytes;
}

int shard_register(struct shard *shard, struct mst_err *err)
{
    assert(shard->pool_fits);
    return shard->uses_device ? snapshot_register(&shard->pool, &shard->device, err) : 0;
}

struct snapshot *shard_lend_pool(struct shard *shard)
{
    shard->pool_fits = false;
    return &shard->pool;
}

int shard_snapshot(struct shard *shard, uint64_t step, const struct state *state,
                   struct mst_err *err)
{
    assert(shard->pool_fits && shard->pool.cap_bytes >= shard->skeleton.size_bytes);
    assert(state->tensor_count == shard->tensor_count);
    (void)shard_populate(shard, SIZE_MAX); /* all that is left */
    int rc = shard_register(shard, err);
    if (rc < 0)
        return rc;
    skeleton_install(&shard->skeleton, shard->pool.base, step, state->cursor);
    const struct snapshot_source source = {.parts = shard->parts,
                                           .part_count = shard->part_count,
                                           .described = shard->tensors,
                                           .tensors = state->tensors,
                                           .device = &shard->device};
    return snapshot_copy(&shard->pool, &source, err);
}

void shard_fini(struct shard *shard)
{
    forget(shard);
    snapshot_fini(&shard->pool);
    device_close(&shard->device);
}

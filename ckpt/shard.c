#include "muster/ckpt/shard.h"

#include "muster/core/err.h"

#include <errno.h>
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

/* Checks all tensors, whether they match or not. */
static int matches(const struct shard *shard, const struct mst_tensor *tensors, size_t tensor_count,
                   bool *ret_match, struct mst_err *err)
{
    bool match = shard->tensors && tensor_count == shard->tensor_count;
    for (size_t i = 0; i < tensor_count; i++) {
        struct layout_tensor described;
        int r = layout_describe(&tensors[i], &described, err);
        if (r < 0)
            return r;
        match = match && layout_tensor_equal(&described, &shard->tensors[i]) &&
                tensors[i].sharded == shard->rows[i].sharded &&
                (!tensors[i].sharded || (tensors[i].row_start == shard->rows[i].row_start &&
                                         tensors[i].row_count == shard->rows[i].row_count));
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
    int r = scratch ? 0 : mst_err_set(err, -ENOMEM, "no memory for the list of names");
    for (size_t i = 0; i < shard->tensor_count && r == 0; i++) {
        shard->rows[i] = (struct shard_rows){tensors[i].sharded, tensors[i].row_start,
                                             tensors[i].row_count};
        r = layout_describe(&tensors[i], &shard->tensors[i], err);
    }
    if (r == 0)
        r = layout_check_names(shard->tensors, shard->tensor_count, scratch, err);
    free(scratch);
    return r;
}

static int build(struct shard *shard, const struct mst_tensor *tensors, size_t tensor_count,
                 struct mst_err *err)
{
    int r = allocate(shard, tensor_count, err);
    if (r == 0)
        r = describe_all(shard, tensors, err);
    if (r < 0)
        return r;
    shard->fingerprint = layout_fingerprint(shard->tensors, tensor_count);
    shard->part_count = layout_plan(tensors, shard->tensors, tensor_count, shard->rank,
                                    shard->world_size, shard->parts);
    return skeleton_create(shard->tensors, shard->parts, shard->part_count, shard->rank,
                           shard->world_size, &shard->skeleton, err);
}

int shard_describe(struct shard *shard, const struct mst_tensor *tensors, size_t tensor_count,
                   struct mst_err *err)
{
    bool match = false;
    int r = matches(shard, tensors, tensor_count, &match, err);
    if (r == 0 && match)
        return 0;
    forget(shard);
    if (r == 0)
        r = build(shard, tensors, tensor_count, err);
    if (r < 0)
        forget(shard);
    return r;
}

int shard_reserve(struct shard *shard, struct mst_err *err)
{
    if (shard->pool_fits)
        return 0;
    if (snapshot_reserve(&shard->pool, shard->skeleton.size_bytes) < 0)
        return mst_err_set(err, -ENOMEM, "no memory for a snapshot of %llu bytes",
                           (unsigned long long)shard->skeleton.size_bytes);
    snapshot_trim(&shard->pool, shard->skeleton.size_bytes); /* a load staged more here */
    /* Touches fresh memory, and clears the gaps of another layout. */
    memset(shard->pool.base, 0, shard->skeleton.size_bytes);
    shard->pool_fits = true;
    return 0;
}

struct snapshot *shard_lend_pool(struct shard *shard)
{
    shard->pool_fits = false;
    return &shard->pool;
}

void shard_snapshot(struct shard *shard, const struct mst_tensor *tensors, uint64_t step,
                    struct mst_cspan cursor)
{
    skeleton_install(&shard->skeleton, shard->pool.base, step, cursor);
    snapshot_copy(&shard->pool, shard->parts, shard->part_count, shard->tensors, tensors);
}

void shard_fini(struct shard *shard)
{
    forget(shard);
    snapshot_fini(&shard->pool);
}

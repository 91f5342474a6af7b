/* pure */
#include "muster/ckpt/layout.h"

#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* HDF5 walks '/'-separated links and gives "." a meaning; "muster/" holds our own tables. */
static bool name_is_valid(const char *name)
{
    size_t length = strnlen(name, MST_TENSOR_NAME_MAX + 1);
    if (length == 0 || length > MST_TENSOR_NAME_MAX)
        return false;
    if (strcmp(name, "muster") == 0 || strncmp(name, "muster/", 7) == 0)
        return false;
    size_t start = 0;
    for (size_t i = 0; i <= length; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c == '/' || c == '\0') {
            if (i == start || (i == start + 1 && name[start] == '.'))
                return false;
            start = i + 1;
        } else if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
            return false;
        }
    }
    return true;
}

/* Multiplies within int64_t, which is what HDF5, JSON and lseek count in. */
static bool multiply(uint64_t *product, uint64_t factor)
{
    return !__builtin_mul_overflow(*product, factor, product) && *product <= INT64_MAX;
}

static bool measure(struct layout_tensor *tensor)
{
    tensor->row_count = tensor->dim_count == 0 ? 1 : tensor->shape[0];
    tensor->row_bytes = mst_dtype_size(tensor->dtype);
    for (uint32_t i = 1; i < tensor->dim_count; i++)
        if (!multiply(&tensor->row_bytes, tensor->shape[i]))
            return false;
    uint64_t total = tensor->row_bytes;
    return tensor->row_count <= INT64_MAX && multiply(&total, tensor->row_count);
}

int layout_tensor_init(struct layout_tensor *ret_tensor, const char *name, enum mst_dtype dtype,
                       uint32_t dim_count, const uint64_t *shape, struct mst_err *err)
{
    if (!name || !name_is_valid(name))
        return mst_err_set(err, -EINVAL,
                           "tensor \"%.60s\": a name is 1 to %d printable characters, parts "
                           "separated by '/', not starting with it or \"muster/\"",
                           name ? name : "", MST_TENSOR_NAME_MAX);
    if (mst_dtype_size(dtype) == 0)
        return mst_err_set(err, -EINVAL, "tensor %.100s: unknown element type %d", name,
                           (int)dtype);
    if (dim_count > MST_TENSOR_DIMS_MAX)
        return mst_err_set(err, -EINVAL, "tensor %.100s: %" PRIu32 " dimensions, at most %d", name,
                           dim_count, MST_TENSOR_DIMS_MAX);
    struct layout_tensor tensor = {.dtype = dtype, .dim_count = dim_count};
    memcpy(tensor.name, name, strlen(name));
    for (uint32_t i = 0; i < dim_count; i++)
        tensor.shape[i] = shape[i];
    if (!measure(&tensor))
        return mst_err_set(err, -EINVAL, "tensor %.100s: its shape is over 2^63 bytes", name);
    *ret_tensor = tensor;
    return 0;
}

static int check_rows(const struct mst_tensor *tensor, const struct layout_tensor *described,
                      struct mst_err *err)
{
    uint64_t rows = tensor->sharded ? tensor->row_count : described->row_count;
    if (tensor->sharded && (tensor->dim_count == 0 || tensor->row_start > described->row_count ||
                            rows > described->row_count - tensor->row_start))
        return mst_err_set(err, -EINVAL,
                           "tensor %.100s: %" PRIu64 " rows from %" PRIu64
                           " on are outside of its %" PRIu64 " rows",
                           described->name, rows, tensor->row_start, described->row_count);
    if (tensor->data.size_bytes != rows * described->row_bytes)
        return mst_err_set(err, -EINVAL, "tensor %.100s: data has %zu bytes, its rows %" PRIu64,
                           described->name, tensor->data.size_bytes, rows * described->row_bytes);
    if (!tensor->data.data && tensor->data.size_bytes > 0)
        return mst_err_set(err, -EINVAL, "tensor %.100s: data is NULL", described->name);
    return 0;
}

int layout_describe(const struct mst_tensor *tensor, struct layout_tensor *ret_tensor,
                    struct mst_err *err)
{
    struct layout_tensor described;
    int rc = layout_tensor_init(&described, tensor->name, tensor->dtype, tensor->dim_count,
                                tensor->shape, err);
    if (rc == 0 && tensor->data.mem > MST_MEM_DEVICE)
        rc = mst_err_set(err, -ENOTSUP, "tensor %.100s is in memory of an unknown kind, %d",
                         described.name, (int)tensor->data.mem);
    if (rc == 0)
        rc = check_rows(tensor, &described, err);
    if (rc == 0)
        *ret_tensor = described;
    return rc;
}

bool layout_tensor_equal(const struct layout_tensor *a, const struct layout_tensor *b)
{
    return a->dtype == b->dtype && a->dim_count == b->dim_count &&
           memcmp(a->shape, b->shape, sizeof a->shape) == 0 && strcmp(a->name, b->name) == 0;
}

/* '/' sorts before every other character, so that a group comes right before what is below it. */
static int rank_of(char c)
{
    return c == '/' ? 1 : (unsigned char)c;
}

static int compare_names(const void *a, const void *b)
{
    const char *x = (*(const struct layout_tensor *const *)a)->name;
    const char *y = (*(const struct layout_tensor *const *)b)->name;
    while (*x && *x == *y) {
        x++;
        y++;
    }
    return rank_of(*x) - rank_of(*y);
}

int layout_check_names(const struct layout_tensor *tensors, size_t count,
                       const struct layout_tensor **scratch, struct mst_err *err)
{
    for (size_t i = 0; i < count; i++)
        scratch[i] = &tensors[i];
    if (count > 0)
        qsort(scratch, count, sizeof *scratch, compare_names);
    for (size_t i = 1; i < count; i++) {
        const char *name = scratch[i - 1]->name, *next = scratch[i]->name;
        size_t length = strlen(name);
        if (strncmp(name, next, length) != 0 || (next[length] && next[length] != '/'))
            continue;
        return mst_err_set(err, -EINVAL,
                           "tensor %.100s: the name is used twice, or as a group too (%.100s)",
                           name, next);
    }
    return 0;
}

/* floor(rows * share / world), which does not fit 64 bits half-way. */
static uint64_t fraction(uint64_t rows, uint32_t share, uint32_t world_size)
{
    return rows / world_size * share + rows % world_size * share / world_size;
}

void layout_share(const struct layout_tensor *tensor, size_t tensor_index, uint32_t rank,
                  uint32_t world_size, uint64_t *ret_row_start, uint64_t *ret_row_count)
{
    assert(rank < world_size);
    uint32_t share = (uint32_t)((rank + tensor_index) % world_size);
    uint64_t start = fraction(tensor->row_count, share, world_size);
    uint64_t end = fraction(tensor->row_count, share + 1, world_size);
    if (tensor->row_bytes * tensor->row_count < LAYOUT_SPLIT_BYTES) {
        start = 0;
        end = share == 0 ? tensor->row_count : 0;
    }
    assert(start <= end && end <= tensor->row_count);
    *ret_row_start = start;
    *ret_row_count = end - start;
}

size_t layout_plan(const struct mst_tensor *tensors, const struct layout_tensor *described,
                   size_t count, uint32_t rank, uint32_t world_size, struct layout_part *parts)
{
    size_t part_count = 0;
    uint64_t block_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct layout_part part = {.tensor = (uint32_t)i,
                                   .row_start = tensors[i].row_start,
                                   .row_count = tensors[i].row_count};
        if (!tensors[i].sharded)
            layout_share(&described[i], i, rank, world_size, &part.row_start, &part.row_count);
        assert(part.row_count <= described[i].row_count &&
               part.row_start <= described[i].row_count - part.row_count);
        part.size_bytes = part.row_count * described[i].row_bytes;
        part.block_first = block_count;
        part.block_count = layout_block_count(part.size_bytes);
        block_count += part.block_count;
        if (part.size_bytes > 0)
            parts[part_count++] = part;
    }
    return part_count;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct layout_part *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

void layout_sort_by_offset(struct layout_part *parts, size_t part_count)
{
    if (part_count > 0)
        qsort(parts, part_count, sizeof *parts, compare_offsets);
}

uint64_t layout_block_start(uint64_t block)
{
    return block * LAYOUT_BLOCK_BYTES;
}

uint64_t layout_block_bytes(const struct layout_part *part, uint64_t block)
{
    assert(block < part->block_count);
    return mst_least(part->size_bytes - layout_block_start(block), LAYOUT_BLOCK_BYTES);
}

uint64_t layout_block_count(uint64_t size_bytes)
{
    return size_bytes / LAYOUT_BLOCK_BYTES + (size_bytes % LAYOUT_BLOCK_BYTES != 0);
}

uint32_t layout_fingerprint(const struct layout_tensor *tensors, size_t count)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t head[2] = {(uint32_t)tensors[i].dtype, tensors[i].dim_count};
        crc = mst_crc32c(crc, tensors[i].name, sizeof tensors[i].name);
        crc = mst_crc32c(crc, head, sizeof head);
        crc = mst_crc32c(crc, tensors[i].shape, sizeof tensors[i].shape);
    }
    return crc;
}

#include "muster/ckpt/echo.h"

#include "muster/core/crc32c.h"
#include "muster/core/least.h"
#include "muster/gpu/gpu.h"

#include <assert.h>

static_assert(LAYOUT_BLOCK_BYTES % MST_GPU_CRC_BYTES == 0, "the kernel takes whole segments");

static uint64_t end_of(const struct echo_piece *piece)
{
    return piece->start + piece->size_bytes;
}

size_t echo_count(const struct echo_piece *piece)
{
    return layout_block_count(end_of(piece)) - piece->start / LAYOUT_BLOCK_BYTES;
}

/* What comes before the first whole block is a block by itself. */
int echo_ask(struct mst_gpu_queue *queue, const struct echo_piece *piece, uint32_t *sums)
{
    uint64_t skipped = piece->start % LAYOUT_BLOCK_BYTES;
    uint64_t head = skipped ? mst_least(LAYOUT_BLOCK_BYTES - skipped, piece->size_bytes) : 0;
    int rc = mst_gpu_crc32c(queue, sums, piece->there, head, LAYOUT_BLOCK_BYTES);
    return rc < 0 ? rc
                  : mst_gpu_crc32c(queue, sums + (head > 0), piece->there + head,
                                   piece->size_bytes - head, LAYOUT_BLOCK_BYTES);
}

/* The manifest says it of a whole block only. */
static uint32_t expect(const struct echo_piece *piece, uint64_t block)
{
    uint64_t block_start = layout_block_start(block);
    uint64_t size = layout_block_bytes(piece->part, block);
    uint64_t start = block_start > piece->start ? block_start : piece->start;
    uint64_t end = mst_least(block_start + size, end_of(piece));
    if (end - start == size)
        return piece->crcs[piece->part->block_first + block];
    return mst_crc32c(0, piece->here + (start - piece->start), end - start);
}

size_t echo_compare(const struct echo_piece *piece, const uint32_t *heard)
{
    size_t count = echo_count(piece), i = 0;
    while (i < count && heard[i] == expect(piece, piece->start / LAYOUT_BLOCK_BYTES + i))
        i++;
    return i;
}

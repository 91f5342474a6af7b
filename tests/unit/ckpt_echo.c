/* What a device is asked of the bytes that it was given, and which answers will do. */
#include "muster/ckpt/echo.h"

#include "muster/core/clock.h"
#include "muster/core/crc32c.h"
#include "muster/gpu/gpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK LAYOUT_BLOCK_BYTES
#define PART_BYTES (2 * BLOCK + 4099)
#define SUMS 3

static const struct layout_part part = {
    .size_bytes = PART_BYTES, .block_first = 1, .block_count = SUMS};
static uint32_t crcs[1 + SUMS]; /* the first is another part's */
static uint8_t *bytes, *copy;   /* of the whole part, and what the device has of a piece */
static struct mst_gpu *gpu;
static struct mst_gpu_queue *queue;

static int setup(void **state)
{
    (void)state;
    bytes = malloc(PART_BYTES);
    copy = malloc(PART_BYTES);
    if (!bytes || !copy || mst_gpu_open(&(struct mst_gpu_opts){.backend = "host"}, &gpu, NULL) ||
        mst_gpu_queue_create(gpu, &queue))
        return -1;
    for (size_t i = 0; i < PART_BYTES; i++)
        bytes[i] = (uint8_t)(i * 2654435761U >> 13);
    for (uint64_t b = 0; b < part.block_count; b++)
        crcs[1 + b] = mst_crc32c(0, bytes + layout_block_start(b), layout_block_bytes(&part, b));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mst_gpu_queue_destroy(queue);
    mst_gpu_close(gpu);
    free(copy);
    free(bytes);
    return 0;
}

static size_t ask(const struct echo_piece *piece)
{
    uint32_t sums[SUMS + 1] = {0};
    sums[echo_count(piece)] = 4711;
    assert_int_equal(echo_ask(queue, piece, sums), 0);
    assert_int_equal(mst_gpu_queue_wait(queue, MST_NEVER), 0);
    assert_int_equal(sums[echo_count(piece)], 4711);
    return echo_compare(piece, sums);
}

/* The first, the last and a middle byte of each block count, and nothing beside the piece. */
static void every_block_is_looked_at(void **state)
{
    static const struct {
        uint64_t start, size_bytes;
        size_t count;
    } cases[] = {
        {0, PART_BYTES, 3},     {0, 1, 1},         {0, BLOCK, 1},
        {5, PART_BYTES - 5, 3}, {5, 7, 1},         {BLOCK - 1, 2, 2},
        {BLOCK, BLOCK + 1, 2},  {BLOCK - 4, 4, 1}, {2 * BLOCK + 1, 4098, 1},
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        uint64_t start = cases[c].start, end = start + cases[c].size_bytes;
        const struct echo_piece piece = {.there = copy,
                                         .here = bytes + start,
                                         .start = start,
                                         .size_bytes = end - start,
                                         .part = &part,
                                         .crcs = crcs};
        memcpy(copy, bytes + start, end - start);
        assert_int_equal(echo_count(&piece), cases[c].count);
        assert_int_equal(ask(&piece), cases[c].count);
        uint64_t at[] = {start, start + (end - start) / 2, end - 1};
        for (size_t i = 0; i < 3; i++) {
            copy[at[i] - start] ^= 1;
            assert_int_equal(ask(&piece), at[i] / BLOCK - start / BLOCK);
            copy[at[i] - start] ^= 1;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_is_looked_at),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

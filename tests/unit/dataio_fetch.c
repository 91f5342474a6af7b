/* The read-ahead engine alone, stepped by hand. */
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/dataio/fetch.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sources.h"

#include <errno.h>

#define LINES 3000u

static struct feed *feed;
static char *text; /* LINES lines */
static size_t text_bytes;

static struct index *open_lines(const char *name, const char *lines, size_t size_bytes)
{
    struct index_opts opts = {.shape = {.format = MST_FORMAT_LINES}, .scratch_dir = scratch_dir};
    struct index *index = NULL;
    assert_int_equal(
        sources_index(scratch_write(name, lines, size_bytes), opts, feed, &index, NULL), 0);
    return index;
}

static struct fetch *create(struct index *index, uint32_t batch, uint64_t budget, bool sequential)
{
    struct fetch_opts opts = {.index = index,
                              .feed = feed,
                              .budget_bytes = budget,
                              .global_batch = batch,
                              .world_size = 1};
    order_init(&opts.order, 3, index->sample_count, sequential);
    struct fetch *fetch = NULL;
    struct mst_err err = {0};
    if (fetch_create(&opts, &fetch, &err))
        fail_msg("%s", err.text);
    return fetch;
}

static void check_batch(const struct index *index, const struct fetch *fetch, uint64_t number,
                        uint32_t batch, struct order *order, uint64_t position)
{
    const struct mst_sample *samples = fetch_samples(fetch, number);
    for (uint32_t i = 0; i < batch; i++) {
        struct place place = index_locate(index, samples[i].index);
        assert_int_equal(samples[i].index, order_sample(order, position + i));
        assert_int_equal(samples[i].data.size_bytes, place.size_bytes);
        assert_memory_equal(samples[i].data.data, text + place.offset, place.size_bytes);
    }
}

/* A consumer that holds a random number of batches, at budgets from the smallest on. */
static void run(struct index *index, uint32_t batch, uint64_t budget, uint64_t batches)
{
    struct fetch *fetch = create(index, batch, budget, false);
    uint64_t released = 0, checked = 0;
    struct mst_rng rng;
    mst_rng_init(&rng, budget, batch);
    struct order order;
    order_init(&order, 3, index->sample_count, false);
    struct fetch_progress progress = {0};
    while (checked < batches) {
        uint64_t before = progress.ready_count;
        assert_int_equal(fetch_step(fetch, released, &progress, NULL), 0);
        /* Whatever is held back, everything released means progress. */
        assert_true(released < checked || progress.busy || progress.ready_count > before);
        while (checked < progress.ready_count) {
            check_batch(index, fetch, checked, batch, &order, checked * batch);
            checked++;
        }
        released += mst_rng_below(&rng, (uint32_t)(checked - released) + 1);
        if (!progress.busy)
            released = checked;
    }
    fetch_destroy(fetch);
}

static void test_batches_in_order_at_any_budget(void **state)
{
    (void)state;
    struct index *index = open_lines("lines", text, text_bytes);
    for (uint64_t budget = 160 << 10; budget <= 4 << 20; budget = budget * 3 / 2 + 4096)
        for (uint32_t batch = 1; batch <= 7; batch += 3)
            run(index, batch, budget, 300);
    index_close(index);
}

/* As many reads as the queue is deep, or more: all in flight may end before others have begun. */
static void test_batches_larger_than_the_queue(void **state)
{
    (void)state;
    struct index *index = open_lines("lines", text, text_bytes);
    run(index, FEED_DEPTH, 8 << 20, 200);
    run(index, 3 * FEED_DEPTH + 1, 8 << 20, 200);
    index_close(index);
}

static void test_seek_forgets_and_goes_on(void **state)
{
    (void)state;
    struct index *index = open_lines("lines", text, text_bytes);
    struct fetch *fetch = create(index, 5, 1 << 20, false);
    struct order order;
    order_init(&order, 3, index->sample_count, false);
    struct fetch_progress progress = {0};
    for (uint64_t position = 0; position < 4 * LINES; position += 1777) {
        fetch_seek(fetch, position);
        do
            assert_int_equal(fetch_step(fetch, 0, &progress, NULL), 0);
        while (progress.ready_count < 2);
        check_batch(index, fetch, 0, 5, &order, position);
        check_batch(index, fetch, 1, 5, &order, position + 5);
    }
    fetch_destroy(fetch);
    index_close(index);
}

static void test_budget_must_hold_two_batches(void **state)
{
    (void)state;
    struct index *index = open_lines("lines", text, text_bytes);
    struct fetch_opts opts = {
        .index = index, .feed = feed, .budget_bytes = 8192, .global_batch = 64, .world_size = 1};
    order_init(&opts.order, 3, index->sample_count, false);
    struct fetch *fetch = NULL;
    struct mst_err err = {0};
    assert_int_equal(fetch_create(&opts, &fetch, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "budget_bytes of 8192 is too small: two batches of 64"));
    assert_null(fetch);
    index_close(index);
}

/* 2^29 samples of 32 GiB: their size does not wrap around to one that fits. */
static void test_a_budget_beyond_all_memory(void **state)
{
    (void)state;
    struct index_opts raw = {.shape = {.format = MST_FORMAT_RAW, .dtype = MST_I64, .elems = -1u},
                             .scratch_dir = scratch_dir};
    const char *path = scratch_write("vast", "", 0);
    assert_int_equal(truncate(path, INT64_C(40) << 30), 0); /* a hole */
    struct index *index = NULL;
    assert_int_equal(sources_index(path, raw, feed, &index, NULL), 0);
    struct fetch_opts opts = {.index = index,
                              .feed = feed,
                              .budget_bytes = 1 << 20,
                              .global_batch = 1u << 29,
                              .world_size = 1};
    order_init(&opts.order, 3, 1, false); /* the hole is one record of 32 GiB */
    struct fetch *fetch = NULL;
    struct mst_err err = {0};
    assert_int_equal(fetch_create(&opts, &fetch, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "is too small: two batches of 536870912 samples"));
    index_close(index);
}

/* Samples that lie side by side, and overlap, come in few reads; each is still the right bytes. */
static void test_neighbours_share_a_read(void **state)
{
    (void)state;
    struct index *index = open_lines("lines", text, text_bytes);
    struct fetch *fetch = create(index, 16, 4 << 20, true);
    uint64_t blocks = text_bytes / 4096;
    struct order order;
    order_init(&order, 3, index->sample_count, true);
    struct fetch_progress progress = {0};
    for (uint64_t step = 0; step < LINES / 16; step++) {
        while (progress.ready_count <= step)
            assert_int_equal(fetch_step(fetch, step, &progress, NULL), 0);
        check_batch(index, fetch, step, 16, &order, step * 16);
    }
    /* Batches ahead belong to the next epoch; the block at a batch's end is read again. */
    assert_true(progress.bytes_read / 4096 < 2 * blocks + 64);
    fetch_destroy(fetch);
    index_close(index);
}

/* Short lines on average, but eight long ones side by side. */
static void test_a_batch_of_long_lines_fails_alone(void **state)
{
    (void)state;
    enum { LONG = 30000, SIZE = 8 * LONG + 100000 };
    char *lines = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        lines[i] = i < 100000                        ? (i % 10 == 9 ? '\n' : 'a')
                   : (i - 100000) % LONG == LONG - 1 ? '\n'
                                                     : 'b';
    struct index *index = open_lines("long", lines, SIZE);
    struct fetch *fetch = create(index, 8, 200000, true);
    fetch_seek(fetch, index->sample_count - 8 - 16);
    struct fetch_progress progress = {0};
    struct mst_err err = {0};
    int rc;
    do
        rc = fetch_step(fetch, 0, &progress, &err);
    while (rc == 0);
    assert_int_equal(rc, -ENOMEM);
    assert_int_equal(progress.ready_count, 2);
    assert_non_null(strstr(err.text, "position 10000: budget_bytes must be twice"));
    assert_int_equal(fetch_step(fetch, 2, &progress, NULL), -ENOMEM); /* stays failed */
    fetch_seek(fetch, 0);
    assert_int_equal(fetch_step(fetch, 0, &progress, NULL), 0);
    fetch_destroy(fetch);
    index_close(index);
    free(lines);
}

static void test_empty_lines_need_no_read(void **state)
{
    (void)state;
    char lines[400];
    memset(lines, '\n', sizeof lines);
    struct index *index = open_lines("empty", lines, sizeof lines);
    struct fetch *fetch = create(index, 10, 1 << 20, false);
    struct fetch_progress progress = {0};
    assert_int_equal(fetch_step(fetch, 0, &progress, NULL), 0);
    assert_int_equal(progress.ready_count, 64);
    assert_false(progress.busy);
    assert_int_equal(progress.bytes_read, 0);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(fetch_samples(fetch, 0)[i].data.size_bytes, 0);
    fetch_destroy(fetch);
    index_close(index);
}

static void test_parts_tile_the_batch(void **state)
{
    (void)state;
    for (uint32_t batch = 1; batch <= 50; batch++)
        for (uint32_t size = 1; size <= 17; size++) {
            uint32_t next = 0;
            for (uint32_t rank = 0; rank < size; rank++) {
                uint32_t first, count = fetch_part(batch, rank, size, &first);
                assert_int_equal(first, next);
                assert_in_range(count, batch / size, batch / size + 1);
                next += count;
            }
            assert_int_equal(next, batch);
        }
}

static int setup(void **state)
{
    size_t cap = LINES * 9100;
    struct mst_rng rng;
    mst_rng_init(&rng, 8, 0);
    text = malloc(cap);
    for (uint32_t i = 0; text && i < LINES; i++) {
        /* Mostly short, some over two blocks long. */
        size_t length = mst_rng_below(&rng, i % 16 ? 300 : 9000);
        for (size_t k = 0; k < length; k++)
            text[text_bytes++] = (char)('a' + mst_mix64(i + k) % 26);
        text[text_bytes++] = '\n';
    }
    if (!text)
        return -1;
    feed = sources_feed("auto");
    return scratch_setup(state);
}

static int teardown(void **state)
{
    feed_destroy(feed);
    free(text);
    return scratch_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_in_order_at_any_budget),
        cmocka_unit_test(test_batches_larger_than_the_queue),
        cmocka_unit_test(test_seek_forgets_and_goes_on),
        cmocka_unit_test(test_budget_must_hold_two_batches),
        cmocka_unit_test(test_a_budget_beyond_all_memory),
        cmocka_unit_test(test_neighbours_share_a_read),
        cmocka_unit_test(test_a_batch_of_long_lines_fails_alone),
        cmocka_unit_test(test_empty_lines_need_no_read),
        cmocka_unit_test(test_parts_tile_the_batch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

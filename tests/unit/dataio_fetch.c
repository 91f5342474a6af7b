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
#include "unit/http_files.h"

#include <errno.h>

#define LINES 3000u
#define SAMPLE 4096u
#define BULK ((size_t)24 << 20)

static struct feed *feed;
static char *text; /* LINES lines */
static size_t text_bytes;
static char *bulk; /* BULK bytes, which two servers have */
static struct http_files one, two;

static struct index *open_lines_at(const char *uri)
{
    struct index_opts opts = {.shape = {.format = MST_FORMAT_LINES}, .scratch_dir = scratch_dir};
    struct index *index = NULL;
    struct mst_err err = {0};
    if (sources_index(uri, opts, feed, &index, &err))
        fail_msg("%s", err.text);
    return index;
}

static struct index *open_lines(const char *name, const char *lines, size_t size_bytes)
{
    return open_lines_at(scratch_write(name, lines, size_bytes));
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

static void check_bytes(const struct index *index, const struct fetch *fetch, uint64_t number,
                        uint32_t batch, struct order *order, uint64_t position,
                        const char *contents)
{
    const struct mst_sample *samples = fetch_samples(fetch, number);
    for (uint32_t i = 0; i < batch; i++) {
        struct place place = index_locate(index, samples[i].index);
        assert_int_equal(samples[i].index, order_sample(order, position + i));
        assert_int_equal(samples[i].data.size_bytes, place.size_bytes);
        assert_memory_equal(samples[i].data.data, contents + place.offset, place.size_bytes);
    }
}

static void check_batch(const struct index *index, const struct fetch *fetch, uint64_t number,
                        uint32_t batch, struct order *order, uint64_t position)
{
    check_bytes(index, fetch, number, batch, order, position, text);
}

/* A consumer that holds a random number of batches, at budgets from the smallest on. */
static void run_through(struct index *index, struct fetch *fetch, uint32_t batch, bool sequential,
                        const char *contents, uint64_t batches)
{
    uint64_t released = 0, checked = 0;
    struct mst_rng rng;
    mst_rng_init(&rng, batches, batch);
    struct order order;
    order_init(&order, 3, index->sample_count, sequential);
    struct fetch_progress progress = {0};
    struct mst_err err = {0};
    while (checked < batches) {
        uint64_t before = progress.ready_count;
        if (fetch_step(fetch, released, &progress, &err))
            fail_msg("%s", err.text);
        /* Whatever is held back, everything released means progress, and so does a batch of which
         * the consumer holds no more than it must. */
        assert_true(released + 1 < checked || progress.busy || progress.ready_count > before ||
                    progress.ready_count > checked);
        while (checked < progress.ready_count) {
            check_bytes(index, fetch, checked, batch, &order, checked * batch, contents);
            checked++;
        }
        uint64_t held = released;
        released += mst_rng_below(&rng, (uint32_t)(checked - released) + 1);
        if (!progress.busy)
            released = checked ? checked - 1 : 0;
        for (; held < released; held++) /* as it was until now */
            check_bytes(index, fetch, held, batch, &order, held * batch, contents);
    }
}

static void run(struct index *index, uint32_t batch, uint64_t budget, uint64_t batches)
{
    struct fetch *fetch = create(index, batch, budget, false);
    run_through(index, fetch, batch, false, text, batches);
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
    struct order order;
    order_init(&order, 3, index->sample_count, true);
    struct fetch_progress progress = {0};
    for (uint64_t step = 0; step < LINES / 16; step++) {
        while (progress.ready_count <= step)
            assert_int_equal(fetch_step(fetch, step, &progress, NULL), 0);
        check_batch(index, fetch, step, 16, &order, step * 16);
    }
    /* What is read ahead belongs to the next epochs; the block at a read's end is read again. */
    assert_true(progress.bytes_read < 2 * text_bytes + (4 << 20));
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
    assert_int_equal(progress.ready_count, 1024);
    assert_false(progress.busy);
    assert_int_equal(progress.bytes_read, 0);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(fetch_samples(fetch, 0)[i].data.size_bytes, 0);
    fetch_destroy(fetch);
    index_close(index);
}

/* Batches without a byte among others that share a block. */
static void test_empty_lines_among_others(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 0, 0, 0, 1, 9, 200, 3000};
    enum { COUNT = 1500 };
    char *lines = malloc(COUNT * 3001);
    size_t size_bytes = 0;
    struct mst_rng rng;
    mst_rng_init(&rng, 5, 5);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t length = sizes[mst_rng_below(&rng, 8)];
        memset(lines + size_bytes, 'a' + (int)(i % 26), length);
        size_bytes += length;
        lines[size_bytes++] = '\n';
    }
    struct index *index = open_lines("mixed", lines, size_bytes);
    for (uint32_t batch = 1; batch <= 5; batch++)
        for (uint64_t budget = 80 << 10; budget <= 1 << 20; budget *= 2) {
            struct fetch *fetch = create(index, batch, budget, true);
            run_through(index, fetch, batch, true, lines, 2 * COUNT / batch);
            fetch_destroy(fetch);
        }
    index_close(index);
    free(lines);
}

/* ---- remote objects -------------------------------------------------------------------------- */

static struct index *open_remote(const char *uris, uint32_t sample_bytes)
{
    struct index_opts opts = {
        .shape = {.format = MST_FORMAT_RAW, .dtype = MST_U8, .elems = sample_bytes},
        .scratch_dir = scratch_dir};
    struct index *index = NULL;
    struct mst_err err = {0};
    if (sources_index(uris, opts, feed, &index, &err))
        fail_msg("%s", err.text);
    return index;
}

static void mend(void)
{
    atomic_store(&one.mode, FILES_GOOD);
    atomic_store(&two.mode, FILES_GOOD);
    atomic_store(&one.requests, 0);
}

/* Once through the object, and into the next epoch. */
static void test_small_batches_share_requests(void **state)
{
    (void)state;
    enum { BATCH = 16, BATCHES = BULK / SAMPLE / BATCH };
    struct index *index = open_remote(one.uri, SAMPLE);
    mend();
    struct fetch *fetch = create(index, BATCH, 32 << 20, true);
    run_through(index, fetch, BATCH, true, bulk, BATCHES + 20);
    assert_in_range(atomic_load(&one.requests), 3, BATCHES / 4);
    fetch_destroy(fetch);
    index_close(index);
}

/* The consumer never waits for a read that is held back, however little it lets go of. */
static void test_remote_batches_at_any_budget(void **state)
{
    (void)state;
    struct index *index = open_remote(one.uri, SAMPLE);
    for (uint64_t budget = 128 << 10; budget <= 64 << 20; budget = budget * 5 + 4096)
        for (uint32_t batch = 1; batch <= 14; batch += 6)
            for (int sequential = 0; sequential < 2; sequential++) {
                mend();
                struct fetch *fetch = create(index, batch, budget, sequential);
                run_through(index, fetch, batch, sequential, bulk, 250);
                fetch_destroy(fetch);
            }
    index_close(index);
}

static void run_in_order(struct index *index)
{
    struct mst_rng rng;
    mst_rng_init(&rng, 9, 0);
    for (uint32_t i = 0; i < 30; i++) {
        uint32_t batch = 1 + mst_rng_below(&rng, 50);
        uint64_t budget = (2 << 20) + mst_rng_below(&rng, 30 << 20);
        struct fetch *fetch = create(index, batch, budget, true);
        run_through(index, fetch, batch, true, text, 2 * index->sample_count / batch);
        fetch_destroy(fetch);
    }
    index_close(index);
}

/* Reads that are joined have any length, and so has what lies between their samples. */
static void test_lines_in_order_at_any_budget(void **state)
{
    (void)state;
    struct http_files lines;
    files_start(&lines, "lines.txt", text, text_bytes);
    run_in_order(open_lines("ordered", text, text_bytes));
    run_in_order(open_lines_at(lines.uri));
    files_stop(&lines);
}

static void test_batches_larger_than_a_request(void **state)
{
    (void)state;
    struct index *index = open_remote(one.uri, 3 << 19);
    mend();
    struct fetch *fetch = create(index, 7, 30 << 20, true); /* of 10.5 MiB */
    run_through(index, fetch, 7, true, bulk, 12);
    fetch_destroy(fetch);
    index_close(index);
}

static void test_an_object_smaller_than_a_request(void **state)
{
    (void)state;
    struct http_files small;
    files_start(&small, "small", bulk, 3 * SAMPLE);
    struct index *index = open_remote(small.uri, SAMPLE);
    struct fetch *fetch = create(index, 2, 1 << 20, true);
    run_through(index, fetch, 2, true, bulk, 300);
    fetch_destroy(fetch);
    index_close(index);
    files_stop(&small);
}

/* A shared request that fails half-way goes to the mirror whole: each sample once, in order. */
static void test_a_mirror_that_breaks_under_shared_requests(void **state)
{
    (void)state;
    static const enum files_mode modes[] = {FILES_DEAD, FILES_TRUNCATED, FILES_MISSING,
                                            FILES_CHANGED, FILES_SILENT};
    enum { BATCH = 16, BATCHES = BULK / SAMPLE / BATCH };
    char uris[160];
    snprintf(uris, sizeof uris, "%s,%s", one.uri, two.uri);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        mend();
        struct index *index = open_remote(uris, SAMPLE);
        struct fetch *fetch = create(index, BATCH, 32 << 20, true);
        struct order order;
        order_init(&order, 3, index->sample_count, true);
        struct fetch_progress progress = {0};
        struct mst_err err = {0};
        for (uint64_t step = 0; step < BATCHES; step++) {
            while (progress.ready_count <= step)
                if (fetch_step(fetch, step, &progress, &err))
                    fail_msg("%s", err.text);
            check_bytes(index, fetch, step, BATCH, &order, step * BATCH, bulk);
            if (step == BATCHES / 3)
                atomic_store(&one.mode, (int)modes[i]);
        }
        fetch_destroy(fetch);
        index_close(index);
    }
}

/* What came before a request that failed is handed out; then the failure, until a seek. */
static void test_a_shared_request_that_fails(void **state)
{
    (void)state;
    enum { BATCH = 16 };
    mend();
    struct index *index = open_remote(one.uri, SAMPLE);
    struct fetch *fetch = create(index, BATCH, 4 << 20, true);
    struct order order;
    order_init(&order, 3, index->sample_count, true);
    struct fetch_progress progress = {0};
    struct mst_err err = {0};
    uint64_t step = 0;
    int rc;
    while ((rc = fetch_step(fetch, step, &progress, &err)) == 0) {
        if (step < progress.ready_count)
            check_bytes(index, fetch, step, BATCH, &order, step * BATCH, bulk);
        step += step < progress.ready_count;
        if (step > 20)
            atomic_store(&one.mode, FILES_CHANGED);
    }
    assert_int_equal(rc, -ESTALE);
    assert_true(step > 20);
    for (; step < progress.ready_count; step++)
        check_bytes(index, fetch, step, BATCH, &order, step * BATCH, bulk);
    assert_int_equal(fetch_step(fetch, step, &progress, NULL), -ESTALE);
    mend();
    fetch_seek(fetch, step * BATCH);
    progress.ready_count = 0;
    while (progress.ready_count == 0)
        assert_int_equal(fetch_step(fetch, 0, &progress, NULL), 0);
    check_bytes(index, fetch, 0, BATCH, &order, step * BATCH, bulk);
    fetch_destroy(fetch); /* with requests under way */
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
    bulk = malloc(BULK);
    if (!text || !bulk)
        return -1;
    for (size_t i = 0; i < BULK; i += 8)
        memcpy(bulk + i, &(uint64_t){mst_mix64(i)}, 8);
    files_start(&one, "one", bulk, BULK);
    files_start(&two, "two", bulk, BULK);
    feed = sources_feed("auto");
    return scratch_setup(state);
}

static int teardown(void **state)
{
    feed_destroy(feed);
    files_stop(&one);
    files_stop(&two);
    free(bulk);
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
        cmocka_unit_test(test_empty_lines_among_others),
        cmocka_unit_test(test_small_batches_share_requests),
        cmocka_unit_test(test_remote_batches_at_any_budget),
        cmocka_unit_test(test_lines_in_order_at_any_budget),
        cmocka_unit_test(test_batches_larger_than_a_request),
        cmocka_unit_test(test_an_object_smaller_than_a_request),
        cmocka_unit_test(test_a_mirror_that_breaks_under_shared_requests),
        cmocka_unit_test(test_a_shared_request_that_fails),
        cmocka_unit_test(test_parts_tile_the_batch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

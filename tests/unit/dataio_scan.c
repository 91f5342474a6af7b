/* Files from end to end, at sizes around those of a piece and in windows of any size. */
#include "muster/core/aio/aio.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/dataio/scan.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sources.h"

#include <errno.h>
#include <fcntl.h>

#define SIZE 300000u

static uint8_t data[SIZE];
static unsigned fail_at, op_count; /* the read that fails; 0: none */

static struct feed *create_feed(uint64_t window_bytes)
{
    struct feed *feed = NULL;
    struct mst_err err = {0};
    if (feed_create(&(struct feed_opts){.window_bytes = window_bytes}, &feed, &err))
        fail_msg("%s", err.text);
    return feed;
}

static struct feed_file *open_file(struct feed *feed, size_t size_bytes)
{
    char *uri = (char *)(uintptr_t)scratch_write("file", data, size_bytes); /* only read from */
    struct feed_file *file = NULL;
    struct mst_err err = {0};
    if (feed_open(feed, &uri, 1, &file, &err))
        fail_msg("%s", err.text);
    return file;
}

/* Bytes handed out until the scan ended; *ret_rc is what ended it. */
static uint64_t run(struct scan *scan, const uint8_t *into, int *ret_rc, struct mst_err *err)
{
    struct mst_cspan piece;
    uint64_t seen = 0;
    while ((*ret_rc = scan_next(scan, &piece, err)) > 0) {
        assert_true(piece.size_bytes > 0);
        assert_true(scan->submitted - scan->taken <= SCAN_WINDOW_MAX);
        assert_memory_equal(piece.data, data + seen, piece.size_bytes);
        if (into)
            assert_ptr_equal(piece.data, into + seen);
        seen += piece.size_bytes;
    }
    return seen;
}

static void check_scan(uint64_t window_bytes, size_t size_bytes, uint8_t *into)
{
    struct feed *feed = create_feed(window_bytes);
    struct feed_file *file = open_file(feed, size_bytes);
    struct scan scan;
    assert_int_equal(scan_init(&scan, file, into, NULL), 0);
    int rc;
    assert_int_equal(run(&scan, into, &rc, NULL), size_bytes);
    assert_int_equal(rc, 0);
    assert_int_equal(run(&scan, into, &rc, NULL), 0); /* the end stays the end */
    assert_int_equal(rc, 0);
    scan_fini(&scan);
    assert_int_equal(feed_in_flight(feed), 0);
    feed_close(file);
    feed_destroy(feed);
}

static void test_all_sizes_and_windows(void **state)
{
    (void)state;
    static const uint64_t windows[] = {1, 4096, 8192, 12289, 65536, 1 << 20, 0};
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8192, 40961, SIZE};
    uint8_t *into = malloc(SIZE);
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            check_scan(windows[i], sizes[k], NULL);
            check_scan(windows[i], sizes[k], into);
        }
    free(into);
}

/* The buffers are within what the feed allows. */
static void test_the_window_is_kept(void **state)
{
    (void)state;
    struct feed *feed = create_feed(100000);
    struct feed_file *file = open_file(feed, SIZE);
    struct scan scan;
    assert_int_equal(scan_init(&scan, file, NULL, NULL), 0);
    assert_in_range(scan.window, 2, SCAN_WINDOW_MAX); /* the next is read while one is used */
    assert_true(scan.window * scan.piece_bytes <= 100000);
    scan_fini(&scan);
    feed_close(file);
    feed_destroy(feed);
}

static void test_given_up_in_the_middle(void **state)
{
    (void)state;
    struct feed *feed = create_feed(65536);
    struct feed_file *file = open_file(feed, SIZE);
    uint8_t byte;
    struct feed_read read = {.file = file, .offset = 7, .data = &byte, .size_bytes = 1};
    struct scan scan;
    assert_int_equal(scan_init(&scan, file, NULL, NULL), 0);
    struct mst_cspan piece;
    assert_int_equal(scan_next(&scan, &piece, NULL), 1);
    scan_fini(&scan);
    assert_int_equal(feed_in_flight(feed), 0);
    assert_int_equal(sources_read(feed, &read, NULL), 0); /* the feed is free for others */
    assert_int_equal(byte, data[7]);
    feed_close(file);
    feed_destroy(feed);
}

static int fail_one(void *arg, const struct mst_aio_op *op)
{
    (void)arg;
    (void)op;
    return ++op_count == fail_at ? -EIO : 1;
}

static int count_direct(void *arg, const struct mst_aio_op *op)
{
    unsigned *direct = arg;
    *direct += (fcntl(op->fd, F_GETFL) & O_DIRECT) != 0;
    return 1;
}

static unsigned direct_reads(struct feed *feed, struct feed_file *file, void *into)
{
    unsigned direct = 0;
    mst_aio_set_tap(count_direct, &direct);
    struct scan scan;
    assert_int_equal(scan_init(&scan, file, into, NULL), 0);
    int rc;
    assert_int_equal(run(&scan, into, &rc, NULL), feed_size(file));
    assert_int_equal(rc, 0);
    scan_fini(&scan);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(feed_in_flight(feed), 0);
    return direct;
}

static struct feed_file *begin_file(struct feed *feed, size_t size_bytes)
{
    struct feed_file *file = NULL;
    struct feed_room room;
    assert_int_equal(feed_begin(feed, "inflated", scratch_dir, &file, &room, NULL), 0);
    assert_int_equal(pwrite(room.fd, data, size_bytes, (off_t)room.offset), size_bytes);
    feed_end(file, size_bytes);
    return file;
}

/* Pieces of 32 KiB: nine of them and a rest, which is no whole block. */
static void test_only_long_stored_files_go_past_the_page_cache(void **state)
{
    (void)state;
    struct feed *feed = create_feed(65536);
    struct feed_file *file = open_file(feed, SIZE);
    int fd = open(scratch_path("file"), O_RDONLY | O_DIRECT);
    unsigned whole = fd < 0 ? 0 : 9; /* in memory there is nothing to go past */
    if (fd >= 0)
        close(fd);
    assert_int_equal(direct_reads(feed, file, NULL), whole);
    static uint8_t into[SIZE + 1];
    assert_int_equal(direct_reads(feed, file, into + 1), 0);
    feed_close(file);
    file = open_file(feed, 8 * 32768);
    assert_int_equal(direct_reads(feed, file, NULL), 0);
    feed_close(file);
    file = begin_file(feed, SIZE);
    assert_int_equal(direct_reads(feed, file, NULL), 0);
    feed_close(file);
    feed_destroy(feed);
}

/* What comes before the failed piece may be handed out; nothing after it. */
static void test_a_failed_read_is_told(void **state)
{
    (void)state;
    for (fail_at = 1; fail_at <= 10; fail_at += 3) {
        struct feed *feed = create_feed(65536); /* pieces of 32 KiB, ten of them */
        struct feed_file *file = open_file(feed, SIZE);
        op_count = 0;
        mst_aio_set_tap(fail_one, NULL);
        struct scan scan;
        assert_int_equal(scan_init(&scan, file, NULL, NULL), 0);
        struct mst_err err = {0};
        int rc;
        uint64_t seen = run(&scan, NULL, &rc, &err);
        assert_int_equal(rc, -EIO);
        assert_true(seen <= (fail_at - 1) * 32768);
        assert_non_null(strstr(err.text, "/file"));
        scan_fini(&scan);
        mst_aio_set_tap(NULL, NULL);
        feed_close(file);
        feed_destroy(feed);
    }
}

static void test_a_file_that_becomes_shorter(void **state)
{
    (void)state;
    struct feed *feed = create_feed(65536);
    struct feed_file *file = open_file(feed, SIZE);
    assert_int_equal(truncate(scratch_path("file"), 100000), 0);
    struct scan scan;
    assert_int_equal(scan_init(&scan, file, NULL, NULL), 0);
    struct mst_err err = {0};
    int rc;
    assert_true(run(&scan, NULL, &rc, &err) < 100000);
    assert_int_equal(rc, -EBADMSG);
    /* Of the reads that miss something, any may come back first. */
    assert_non_null(strstr(err.text, "became shorter while in use: ends at byte 1"));
    assert_non_null(strstr(err.text, ", not 300000"));
    scan_fini(&scan);
    feed_close(file);
    feed_destroy(feed);
}

static int setup(void **state)
{
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)mst_mix64(i);
    return scratch_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_sizes_and_windows),
        cmocka_unit_test(test_the_window_is_kept),
        cmocka_unit_test(test_given_up_in_the_middle),
        cmocka_unit_test(test_only_long_stored_files_go_past_the_page_cache),
        cmocka_unit_test(test_a_failed_read_is_told),
        cmocka_unit_test(test_a_file_that_becomes_shorter),
    };
    return cmocka_run_group_tests(tests, setup, scratch_teardown);
}

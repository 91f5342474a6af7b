#include "muster/core/aio/aio.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/dataio/source.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sources.h"

#include <errno.h>
#include <sys/stat.h>
#include <zlib.h>

#define SIZE ((size_t)5 << 20 | 12345)

static uint8_t *data; /* SIZE bytes */

static const char *write_gzip(const char *name, const void *bytes, size_t size_bytes)
{
    const char *path = scratch_path(name);
    gzFile file = gzopen(path, "wb1");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size_bytes), size_bytes);
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

struct visit {
    uint64_t seen;
    int calls, stop_at, result;
};

static int compare_piece(void *arg, struct mst_cspan piece)
{
    struct visit *visit = arg;
    assert_memory_equal(piece.data, data + visit->seen, piece.size_bytes);
    visit->seen += piece.size_bytes;
    return ++visit->calls == visit->stop_at ? visit->result : 0;
}

static void check_contents(const char *path, struct feed *feed, bool compressed)
{
    uint8_t *all = malloc(SIZE);
    struct source source = {0};
    struct mst_err err = {0};
    if (sources_open(path, scratch_dir, feed, &source, &err))
        fail_msg("%s", err.text);
    assert_int_equal(source.size_bytes, SIZE);
    assert_true(source.compressed == compressed);
    struct visit visit = {0};
    assert_int_equal(source_scan(&source, NULL, compare_piece, &visit, NULL), 0);
    assert_int_equal(visit.seen, SIZE);
    visit = (struct visit){0};
    assert_int_equal(source_scan(&source, all, compare_piece, &visit, NULL), 0);
    assert_memory_equal(all, data, SIZE);
    visit = (struct visit){.stop_at = 2, .result = -ECANCELED};
    assert_int_equal(source_scan(&source, NULL, compare_piece, &visit, NULL), -ECANCELED);
    assert_int_equal(visit.calls, 2);
    assert_int_equal(feed_in_flight(feed), 0);
    free(all);
    source_close(&source);
}

static void test_contents(void **state)
{
    (void)state;
    static const char *const backends[] = {"auto", "threads"};
    const char *plain = scratch_write("plain", data, SIZE);
    const char *gz = write_gzip("packed.gz", data, SIZE);
    for (size_t i = 0; i < 2; i++) {
        struct feed *feed = sources_feed(backends[i]);
        check_contents(plain, feed, false);
        check_contents(gz, feed, true);
        feed_destroy(feed);
    }
}

static void test_direct_reads_the_same(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {1 << 20, SIZE / 4096 * 4096, 12345};
    struct feed *feed = sources_feed("auto");
    uint8_t *block = aligned_alloc(4096, 8192);
    struct source source;
    assert_int_equal(
        sources_open(scratch_write("direct", data, SIZE), scratch_dir, feed, &source, NULL), 0);
    struct feed_done done;
    for (size_t i = 0; i < 3; i++) {
        struct feed_read read = {.file = source.file,
                                 .offset = offsets[i],
                                 .data = block,
                                 .size_bytes = 8192,
                                 .direct = true};
        uint64_t left = SIZE - offsets[i];
        assert_int_equal(feed_submit(feed, &read, 1), 1);
        assert_int_equal(feed_reap(feed, &done, 1, 1, UINT64_MAX), 1);
        assert_int_equal(done.result, left < 8192 ? left : 8192);
        assert_memory_equal(block, data + offsets[i], (size_t)done.result);
    }
    source_close(&source);
    free(block);
    feed_destroy(feed);
}

static void refuse(const char *uri, struct feed *feed, int rc, const char *why)
{
    struct source source = {0};
    struct mst_err err = {0};
    assert_int_equal(sources_open(uri, scratch_dir, feed, &source, &err), rc);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
    assert_null(source.file);
}

static void test_bad_names_are_refused(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    const char *fifo = scratch_path("fifo");
    refuse(scratch_path("missing"), feed, -ENOENT, "missing: does not exist");
    refuse("gopher://host/x", feed, -ENOTSUP, "gopher");
    refuse("", feed, -EINVAL, "");
    refuse(scratch_dir, feed, -EINVAL, "not a regular file");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refuse(fifo, feed, -EINVAL, "not a regular file"); /* and does not wait for a writer */
    feed_destroy(feed);
}

static void test_damaged_gzip_is_refused(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    const char *path = write_gzip("damaged.gz", data, 100000);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    refuse(path, feed, -EBADMSG, "damaged.gz");
    refuse(scratch_write("text.gz", "hello, world", 12), feed, -EBADMSG, "text.gz");
    refuse(scratch_write("empty.gz", "", 0), feed, -EBADMSG, "empty.gz");
    path = write_gzip("fine.gz", data, 100);
    struct source source;
    struct mst_err err = {0};
    assert_int_equal(sources_open(path, scratch_path("nowhere"), feed, &source, &err), -ENOENT);
    assert_non_null(strstr(err.text, "nowhere"));
    feed_destroy(feed);
}

static void test_a_file_that_shrinks_is_noticed(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    const char *path = scratch_write("shrinks", data, SIZE);
    struct source source;
    assert_int_equal(sources_open(path, scratch_dir, feed, &source, NULL), 0);
    assert_int_equal(truncate(path, 3000000), 0);
    struct mst_err err = {0};
    assert_int_equal(source_scan(&source, NULL, NULL, NULL, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "3000000"));
    assert_int_equal(feed_in_flight(feed), 0);
    source_close(&source);
    feed_destroy(feed);
}

static int fail_third(void *arg, const struct mst_aio_op *op)
{
    int *count = arg;
    (void)op;
    return ++*count == 3 ? -EIO : 1;
}

static void test_read_errors_name_the_place(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    const char *path = scratch_write("broken", data, SIZE);
    struct source source;
    assert_int_equal(sources_open(path, scratch_dir, feed, &source, NULL), 0);
    int count = 0;
    mst_aio_set_tap(fail_third, &count);
    struct mst_err err = {0};
    assert_int_equal(source_scan(&source, NULL, NULL, NULL, &err), -EIO);
    mst_aio_set_tap(NULL, NULL);
    assert_non_null(strstr(err.text, "broken: reading at byte 2097152"));
    source_close(&source);
    feed_destroy(feed);
}

static int slurp(const char *path, struct feed *feed, uint64_t max, uint8_t **ret_data,
                 uint64_t *ret_size)
{
    char *mirrors[] = {(char *)(uintptr_t)path};
    struct dataset_source where = {.mirrors = mirrors, .mirror_count = 1};
    return source_slurp(&where, feed, max, ret_data, ret_size, NULL);
}

static void test_slurp(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(slurp(scratch_write("small", data, 777), feed, 777, &bytes, &size), 0);
    assert_int_equal(size, 777);
    assert_memory_equal(bytes, data, 777);
    free(bytes);
    assert_int_equal(slurp(scratch_write("none", data, 0), feed, 777, &bytes, &size), 0);
    assert_int_equal(size, 0);
    free(bytes);
    assert_int_equal(slurp(scratch_path("small"), feed, 776, &bytes, &size), -EBADMSG);
    assert_int_equal(slurp(scratch_path("missing"), feed, 777, &bytes, &size), -ENOENT);
    feed_destroy(feed);
}

static int setup(void **state)
{
    data = malloc(SIZE);
    for (size_t i = 0; data && i < SIZE; i++)
        data[i] = (uint8_t)mst_mix64(i);
    return data ? scratch_setup(state) : -1;
}

static int teardown(void **state)
{
    free(data);
    return scratch_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_direct_reads_the_same),
        cmocka_unit_test(test_bad_names_are_refused),
        cmocka_unit_test(test_damaged_gzip_is_refused),
        cmocka_unit_test(test_a_file_that_shrinks_is_noticed),
        cmocka_unit_test(test_read_errors_name_the_place),
        cmocka_unit_test(test_slurp),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

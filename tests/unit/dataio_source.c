#include "core/aio.h"
#include "core/err.h"
#include "core/rng.h"
#include "dataio/source.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <zlib.h>

#define SIZE ((size_t)5 << 20 | 12345)

static uint8_t *data; /* SIZE bytes */

static struct mst_aio *create(const char *backend, uint32_t depth)
{
    struct mst_aio_opts opts = {.backend = backend, .depth = depth};
    struct mst_aio *aio = NULL;

    assert_int_equal(mst_aio_create(&opts, &aio, NULL), 0);
    return aio;
}

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

static void check_contents(const char *path, struct mst_aio *aio, bool compressed)
{
    struct source source;
    struct visit visit = {0};
    uint8_t *all = malloc(SIZE);
    struct mst_err err = {0};

    if (source_open(path, scratch_dir, aio, &source, &err))
        fail_msg("%s", err.text);
    assert_int_equal(source.size_bytes, SIZE);
    assert_true(source.compressed == compressed);
    assert_int_equal(source_scan(&source, aio, NULL, compare_piece, &visit, NULL), 0);
    assert_int_equal(visit.seen, SIZE);
    visit = (struct visit){0};
    assert_int_equal(source_scan(&source, aio, all, compare_piece, &visit, NULL), 0);
    assert_memory_equal(all, data, SIZE);
    visit = (struct visit){.stop_at = 2, .result = -ECANCELED};
    assert_int_equal(source_scan(&source, aio, NULL, compare_piece, &visit, NULL), -ECANCELED);
    assert_int_equal(visit.calls, 2);
    assert_int_equal(mst_aio_in_flight(aio), 0);
    free(all);
    source_close(&source);
}

static void test_contents(void **state)
{
    static const char *const backends[] = {"auto", "threads"};
    const char *plain = scratch_write("plain", data, SIZE);
    const char *gz = write_gzip("packed.gz", data, SIZE);

    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (uint32_t depth = 1; depth <= 64; depth *= 8) {
            struct mst_aio *aio = create(backends[i], depth);
            check_contents(plain, aio, false);
            check_contents(gz, aio, true);
            mst_aio_destroy(aio);
        }
}

static void test_direct_reads_the_same(void **state)
{
    struct mst_aio *aio = create("auto", 0);
    uint8_t *block = aligned_alloc(4096, 8192);
    struct source source;
    struct mst_aio_op op = {.kind = MST_AIO_READ, .data = block, .size_bytes = 8192};

    (void)state;
    assert_int_equal(
        source_open(scratch_write("direct", data, SIZE), scratch_dir, aio, &source, NULL), 0);
    op.fd = source_direct(&source);
    assert_int_equal(source_direct(&source), op.fd);
    op.offset = 1 << 20;
    assert_int_equal(mst_aio_do(aio, &op, UINT64_MAX), 8192);
    assert_memory_equal(block, data + op.offset, 8192);
    op.offset = SIZE / 4096 * 4096;
    assert_int_equal(mst_aio_do(aio, &op, UINT64_MAX), SIZE % 4096);
    source_close(&source);
    free(block);
    mst_aio_destroy(aio);
}

static void refuse(const char *uri, struct mst_aio *aio, int code, const char *why)
{
    struct source source = SOURCE_CLOSED;
    struct mst_err err = {0};

    assert_int_equal(source_open(uri, scratch_dir, aio, &source, &err), code);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
    assert_null(source.path);
}

static void test_bad_names_are_refused(void **state)
{
    struct mst_aio *aio = create("auto", 0);
    const char *fifo = scratch_path("fifo");

    (void)state;
    refuse(scratch_path("missing"), aio, -ENOENT, "missing: No such file");
    refuse("s3://bucket/x", aio, -ENOTSUP, "s3");
    refuse("", aio, -EINVAL, "");
    refuse(scratch_dir, aio, -EINVAL, "not a regular file");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refuse(fifo, aio, -EINVAL, "not a regular file"); /* and does not wait for a writer */
    mst_aio_destroy(aio);
}

static void test_damaged_gzip_is_refused(void **state)
{
    struct mst_aio *aio = create("auto", 0);
    const char *path = write_gzip("damaged.gz", data, 100000);
    struct source source;
    struct stat st;
    struct mst_err err = {0};

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    refuse(path, aio, -EBADMSG, "damaged.gz");
    refuse(scratch_write("text.gz", "hello, world", 12), aio, -EBADMSG, "text.gz");
    refuse(scratch_write("empty.gz", "", 0), aio, -EBADMSG, "empty.gz");
    path = write_gzip("fine.gz", data, 100);
    assert_int_equal(source_open(path, scratch_path("nowhere"), aio, &source, &err), -ENOENT);
    assert_non_null(strstr(err.text, "nowhere"));
    mst_aio_destroy(aio);
}

static void test_a_file_that_shrinks_is_noticed(void **state)
{
    struct mst_aio *aio = create("auto", 0);
    const char *path = scratch_write("shrinks", data, SIZE);
    struct source source;
    struct mst_err err = {0};

    (void)state;
    assert_int_equal(source_open(path, scratch_dir, aio, &source, NULL), 0);
    assert_int_equal(truncate(path, 3000000), 0);
    assert_int_equal(source_scan(&source, aio, NULL, NULL, NULL, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "3000000"));
    assert_int_equal(mst_aio_in_flight(aio), 0);
    source_close(&source);
    mst_aio_destroy(aio);
}

static int fail_third(void *arg, const struct mst_aio_op *op)
{
    int *count = arg;

    (void)op;
    return ++*count == 3 ? -EIO : 1;
}

static void test_read_errors_name_the_place(void **state)
{
    struct mst_aio *aio = create("auto", 0);
    const char *path = scratch_write("broken", data, SIZE);
    struct source source;
    struct mst_err err = {0};
    int count = 0;

    (void)state;
    assert_int_equal(source_open(path, scratch_dir, aio, &source, NULL), 0);
    mst_aio_set_tap(fail_third, &count);
    assert_int_equal(source_scan(&source, aio, NULL, NULL, NULL, &err), -EIO);
    mst_aio_set_tap(NULL, NULL);
    assert_non_null(strstr(err.text, "broken: reading at byte 2097152"));
    source_close(&source);
    mst_aio_destroy(aio);
}

static void test_slurp(void **state)
{
    struct mst_aio *aio = create("auto", 0);
    uint8_t *bytes = NULL;
    uint64_t size = 0;

    (void)state;
    assert_int_equal(source_slurp(scratch_write("small", data, 777), aio, &bytes, &size, NULL), 0);
    assert_int_equal(size, 777);
    assert_memory_equal(bytes, data, 777);
    free(bytes);
    assert_int_equal(source_slurp(scratch_write("none", data, 0), aio, &bytes, &size, NULL), 0);
    assert_int_equal(size, 0);
    free(bytes);
    assert_int_equal(source_slurp(scratch_path("missing"), aio, &bytes, &size, NULL), -ENOENT);
    mst_aio_destroy(aio);
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

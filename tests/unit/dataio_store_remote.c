/* A loader whose data lies on web servers, that go silent or away in mid-epoch. */
#include "muster/core/blob/blob.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/core/world/state.h"
#include "muster/dataio/dataio.h"
#include "muster/dataio/store.h"
#include "scratch.h"
#include "soon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/http_files.h"

#include <errno.h>
#include <zlib.h>

#define SIZE ((size_t)300000)
#define BATCH 6u
#define SMALL_BUDGET (200u << 10) /* less than twice the data: it is read ahead */

static char *text; /* SIZE bytes of lines */
static struct http_files one, two;

static struct mst_dataset_info info_of(const struct mst_loader *loader)
{
    struct mst_dataset_info info = MST_DATASET_INFO_INIT;
    assert_int_equal(mst_loader_info(loader, &info), 0);
    return info;
}

static struct mst_loader *open_loader(const char *uri, uint64_t budget_bytes)
{
    struct mst_loader_opts opts = {.struct_bytes = sizeof opts,
                                   .uri = uri,
                                   .global_batch = BATCH,
                                   .seed = 3,
                                   .budget_bytes = budget_bytes,
                                   .scratch_dir = scratch_dir};
    struct mst_world world;
    world_init_single(&world);
    struct mst_loader *loader = NULL;
    struct mst_err err = {0};
    if (mst_loader_open(&opts, &world, &loader, &err))
        fail_msg("%s", err.text);
    assert_int_equal(info_of(loader).format, MST_FORMAT_LINES);
    return loader;
}

static void compare_steps(struct mst_loader *a, struct mst_loader *b, int step_count)
{
    for (int step = 0; step < step_count; step++) {
        struct mst_batch x = MST_BATCH_INIT, y = MST_BATCH_INIT;
        assert_int_equal(mst_loader_next(a, &x, soon()), 0);
        if (mst_loader_next(b, &y, soon()))
            fail_msg("%s", mst_loader_error(b));
        for (uint32_t i = 0; i < BATCH; i++) {
            assert_int_equal(x.samples[i].index, y.samples[i].index);
            assert_int_equal(x.samples[i].data.size_bytes, y.samples[i].data.size_bytes);
            assert_memory_equal(x.samples[i].data.data, y.samples[i].data.data,
                                x.samples[i].data.size_bytes);
        }
    }
}

static void test_the_same_batches_and_cursors_as_from_a_file(void **state)
{
    (void)state;
    const char *path = scratch_write("text.txt", text, SIZE);
    for (size_t i = 0; i < 2; i++) {
        uint64_t budget = i ? 4 * SIZE : SMALL_BUDGET; /* in memory, or not */
        struct mst_loader *file = open_loader(path, budget), *web = open_loader(one.uri, budget);
        assert_int_equal(info_of(file).fingerprint, info_of(web).fingerprint);
        compare_steps(file, web, 200);
        uint8_t cursor[MST_CURSOR_BYTES];
        mst_loader_cursor(file, cursor);
        compare_steps(file, web, 50);
        assert_int_equal(mst_loader_seek(web, cursor, sizeof cursor, NULL), 0);
        assert_int_equal(mst_loader_seek(file, cursor, sizeof cursor, NULL), 0);
        compare_steps(file, web, 50);
        mst_loader_close(web);
        mst_loader_close(file);
    }
}

/* One request brings the lines of a batch that lie side by side. */
static void test_neighbours_share_a_request(void **state)
{
    (void)state;
    struct mst_loader_opts opts = {.struct_bytes = sizeof opts,
                                   .uri = one.uri,
                                   .global_batch = BATCH,
                                   .sequential = 1,
                                   .budget_bytes = SMALL_BUDGET};
    struct mst_world world;
    world_init_single(&world);
    struct mst_loader *loader = NULL;
    assert_int_equal(mst_loader_open(&opts, &world, &loader, NULL), 0);
    atomic_store(&one.requests, 0);
    size_t at = 0;
    for (int step = 0; step < 300; step++) {
        struct mst_batch batch = MST_BATCH_INIT;
        assert_int_equal(mst_loader_next(loader, &batch, soon()), 0);
        for (uint32_t i = 0; i < BATCH; i++) {
            struct mst_cspan line = batch.samples[i].data;
            assert_memory_equal(line.data, text + at, line.size_bytes);
            assert_int_equal(text[at + line.size_bytes], '\n');
            at += line.size_bytes + 1;
        }
    }
    assert_true(atomic_load(&one.requests) < 300 + 2 * 64);
    mst_loader_close(loader);
}

/* The least budget that is accepted serves every batch. */
static void test_the_least_budget_is_enough(void **state)
{
    (void)state;
    struct mst_loader_opts opts = {.struct_bytes = sizeof opts,
                                   .uri = one.uri,
                                   .format = MST_FORMAT_RAW,
                                   .dtype = MST_U8,
                                   .record_elems = 100,
                                   .record_stride = 1000,
                                   .global_batch = 29,
                                   .budget_bytes = 2 * 29 * 192};
    struct mst_world world;
    world_init_single(&world);
    opts.budget_bytes--;
    struct mst_loader *loader = NULL;
    assert_int_equal(mst_loader_open(&opts, &world, &loader, NULL), -ENOMEM);
    opts.budget_bytes++;
    assert_int_equal(mst_loader_open(&opts, &world, &loader, NULL), 0);
    struct mst_batch batch = MST_BATCH_INIT;
    for (int step = 0; step < 40; step++)
        if (mst_loader_next(loader, &batch, soon()))
            fail_msg("%s", mst_loader_error(loader));
    mst_loader_close(loader);
}

static void test_gzip_is_inflated_as_it_comes(void **state)
{
    (void)state;
    static uint8_t packed[2 * SIZE];
    const char *path = scratch_path("packed");
    gzFile gz = gzopen(path, "wb");
    assert_int_equal(gzwrite(gz, text, (unsigned)SIZE), SIZE);
    assert_int_equal(gzclose(gz), Z_OK);
    FILE *in = fopen(path, "re");
    size_t packed_bytes = fread(packed, 1, sizeof packed, in);
    assert_int_equal(fclose(in), 0);
    struct http_files server;
    files_start(&server, "text.txt.gz", packed, packed_bytes);
    struct mst_loader *file = open_loader(scratch_write("text.txt", text, SIZE), SMALL_BUDGET);
    struct mst_loader *web = open_loader(server.uri, SMALL_BUDGET);
    files_stop(&server); /* it has been read once */
    compare_steps(file, web, 200);
    mst_loader_close(web);
    mst_loader_close(file);
}

static void test_a_mirror_goes_away_in_mid_epoch(void **state)
{
    (void)state;
    static const enum files_mode modes[] = {FILES_MISSING, FILES_CHANGED};
    const char *path = scratch_write("text.txt", text, SIZE);
    char uris[200];
    snprintf(uris, sizeof uris, "%s,%s", one.uri, two.uri);
    for (size_t i = 0; i < 2; i++) {
        struct mst_loader *file = open_loader(path, SMALL_BUDGET);
        unsigned before = atomic_load(&two.requests);
        atomic_store(&one.mode, FILES_GOOD);
        struct mst_loader *web = open_loader(uris, SMALL_BUDGET);
        compare_steps(file, web, 100);
        atomic_store(&one.mode, (int)modes[i]);
        compare_steps(file, web, 400);
        assert_true(atomic_load(&two.requests) > before + 100);
        mst_loader_close(web);
        mst_loader_close(file);
    }
}

static void test_without_a_mirror_left_the_error_tells_why(void **state)
{
    (void)state;
    struct mst_loader *loader = open_loader(one.uri, SMALL_BUDGET);
    atomic_store(&one.mode, FILES_CHANGED);
    struct mst_batch batch = MST_BATCH_INIT;
    int rc;
    while ((rc = mst_loader_next(loader, &batch, soon())) == 0)
        continue;
    assert_int_equal(rc, -ESTALE);
    assert_non_null(strstr(mst_loader_error(loader), "/text.txt"));
    mst_loader_close(loader);
}

static void test_close_does_not_wait_for_a_silent_server(void **state)
{
    (void)state;
    struct mst_loader *loader = open_loader(one.uri, SMALL_BUDGET);
    atomic_store(&one.mode, FILES_SILENT);
    struct mst_batch batch = MST_BATCH_INIT;
    int rc;
    while ((rc = mst_loader_next(loader, &batch, mst_deadline_ms(20))) == 0)
        continue;
    assert_int_equal(rc, -ETIMEDOUT);
    uint64_t start_ns = mst_now_ns();
    mst_loader_close(loader);
    assert_true(mst_now_ns() - start_ns < 10 * MST_NS_PER_S);
}

static int start_servers(void **state)
{
    (void)state;
    files_start(&one, "text.txt", text, SIZE);
    files_start(&two, "text.txt", text, SIZE);
    return 0;
}

static int stop_servers(void **state)
{
    (void)state;
    files_stop(&one);
    files_stop(&two);
    return 0;
}

/* Opens objects that a listing has told of, all as `listed`; how many requests that took. */
static unsigned open_listed(const struct mst_blob_info *listed)
{
    enum { COUNT = 20 };
    static const char *const names[COUNT] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
                                             "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"};
    struct store_name foreseen[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        foreseen[i] = (struct store_name){names[i], i == 3 ? NULL : listed};
    char root[64];
    snprintf(root, sizeof root, "http://127.0.0.1:%u/", one.port);
    struct store *store = NULL;
    assert_int_equal(store_remote_create(root, &(struct mst_blob_opts){.depth = 4}, &store, NULL),
                     0);
    atomic_store(&one.requests, 0);
    store->ops->foresee(store, foreseen, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        struct store_item *item = NULL;
        assert_int_equal(store->ops->open_item(store, names[i], &item, NULL), 0);
        assert_int_equal(item->size_bytes, SIZE);
        assert_true(item->version != 0);
        store->ops->close_item(item);
    }
    store->ops->close(store);
    return atomic_load(&one.requests);
}

/* One tells whether the store's listings are right; then only what is not listed is asked for. */
static void test_listed_objects_are_not_asked_for(void **state)
{
    (void)state;
    struct mst_blob_info listed = {.size_bytes = SIZE, .version = "\"1\""};
    assert_int_equal(open_listed(&listed), 2);
    listed.version[1] = '2';
    assert_int_equal(open_listed(&listed), 20);
    listed = (struct mst_blob_info){.size_bytes = SIZE - 1, .version = "\"1\""};
    assert_int_equal(open_listed(&listed), 20);
}

static int setup(void **state)
{
    text = malloc(SIZE);
    for (size_t i = 0; text && i < SIZE; i++)
        text[i] = mst_mix64(i) % 90 ? (char)('a' + mst_mix64(i) % 26) : '\n';
    return text ? scratch_setup(state) : -1;
}

static int teardown(void **state)
{
    free(text);
    return scratch_teardown(state);
}

#define WITH_SERVERS(test) cmocka_unit_test_setup_teardown(test, start_servers, stop_servers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVERS(test_the_same_batches_and_cursors_as_from_a_file),
        WITH_SERVERS(test_neighbours_share_a_request),
        WITH_SERVERS(test_the_least_budget_is_enough),
        WITH_SERVERS(test_gzip_is_inflated_as_it_comes),
        WITH_SERVERS(test_a_mirror_goes_away_in_mid_epoch),
        WITH_SERVERS(test_without_a_mirror_left_the_error_tells_why),
        WITH_SERVERS(test_close_does_not_wait_for_a_silent_server),
        WITH_SERVERS(test_listed_objects_are_not_asked_for),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

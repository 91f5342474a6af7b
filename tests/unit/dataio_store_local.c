/* Files by path: what may be one, and reads past the page cache or through it. */
#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/dataio/store.h"
#include "scratch.h"
#include "soon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define SIZE 20000u
#define BLOCK 4096u

static uint8_t data[SIZE];
static _Alignas(BLOCK) uint8_t blocks[2 * BLOCK];
static unsigned direct_count; /* reads past the page cache */

static struct store *create(const char *aio, uint32_t depth)
{
    struct store *store = NULL;
    struct mst_err err = {0};
    if (store_local_create(aio, depth, &store, &err))
        fail_msg("%s", err.text);
    return store;
}

static struct store_item *open_item(struct store *store, const char *path)
{
    struct store_item *item = NULL;
    struct mst_err err = {0};
    if (store->ops->open_item(store, path, &item, &err))
        fail_msg("%s", err.text);
    return item;
}

static void refuse(struct store *store, const char *path, int rc, const char *why)
{
    struct store_item *item = NULL;
    struct mst_err err = {0};
    assert_int_equal(store->ops->open_item(store, path, &item, &err), rc);
    assert_null(item);
    assert_non_null(strstr(err.text, path));
    if (!strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
}

static int64_t read_once(struct store_item *item, uint64_t offset, uint8_t *at, size_t size_bytes)
{
    struct store *store = item->store;
    struct store_read read = {.item = item,
                              .offset = offset,
                              .data = at,
                              .size_bytes = size_bytes,
                              .direct = true,
                              .user = at};
    assert_int_equal(store->ops->submit(store, &read, 1), 1);
    struct store_done done = {0};
    assert_int_equal(store->ops->reap(store, &done, 1, 1, soon()), 1);
    assert_ptr_equal(done.user, at);
    return done.result;
}

static int count_direct(void *arg, const struct mst_aio_op *op)
{
    int flags = fcntl(op->fd, F_GETFL);
    (void)arg;
    direct_count += (flags & O_DIRECT) != 0;
    return 1;
}

static void test_reads(void **state)
{
    (void)state;
    static const char *const backends[] = {"auto", "threads"};
    for (size_t i = 0; i < 2; i++) {
        struct store *store = create(backends[i], 4);
        struct store_item *item = open_item(store, scratch_write("file", data, SIZE));
        assert_int_equal(item->size_bytes, SIZE);
        assert_int_equal(read_once(item, BLOCK, blocks, BLOCK), BLOCK);
        assert_memory_equal(blocks, data + BLOCK, BLOCK);
        assert_int_equal(read_once(item, 17, blocks + 1, 100), 100);
        assert_memory_equal(blocks + 1, data + 17, 100);
        assert_int_equal(read_once(item, 4 * BLOCK, blocks, BLOCK), SIZE - 4 * BLOCK); /* the end */
        assert_memory_equal(blocks, data + 4 * BLOCK, SIZE - 4 * BLOCK);
        assert_int_equal(read_once(item, 8 * BLOCK, blocks, BLOCK), 0);
        store->ops->close_item(item);
        store->ops->close(store);
    }
}

/* Others go through it, from the same file. */
static void test_only_aligned_reads_pass_the_cache(void **state)
{
    (void)state;
    struct store *store = create("auto", 4);
    struct store_item *item = open_item(store, scratch_write("file", data, SIZE));
    mst_aio_set_tap(count_direct, NULL);
    read_once(item, 1, blocks, BLOCK);
    read_once(item, 0, blocks + 1, BLOCK);
    read_once(item, 0, blocks, BLOCK - 1);
    assert_int_equal(direct_count, 0);
    read_once(item, 0, blocks, BLOCK);
    read_once(item, BLOCK, blocks, BLOCK);
    mst_aio_set_tap(NULL, NULL);
    store->ops->close_item(item);
    store->ops->close(store);
    if (direct_count == 0)
        skip(); /* a file system without */
    assert_int_equal(direct_count, 2);
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    struct store *store = create("auto", 4);
    const char *pipe_path = scratch_path("pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    refuse(store, scratch_path("nothing"), -ENOENT, "does not exist");
    refuse(store, scratch_dir, -EINVAL, "a folder's name ends in /");
    refuse(store, pipe_path, -EINVAL, "not a regular file"); /* and nobody waits for its writer */
    store->ops->close(store);
}

static void test_too_many_files(void **state)
{
    (void)state;
    struct store *store = create("auto", 4);
    const char *path = scratch_write("file", data, SIZE);
    struct rlimit before, none = {0};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    refuse(store, path, -EMFILE, "ulimit -n");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    store->ops->close(store);
}

static void test_an_open_file_is_taken(void **state)
{
    (void)state;
    struct store *store = create("auto", 4);
    int fd = open(scratch_write("file", data, SIZE), O_RDONLY | O_CLOEXEC);
    struct store_item *item = NULL;
    struct mst_err err = {0};
    assert_int_equal(store_local_adopt(store, "label", fd, &item, &err), 0);
    assert_int_equal(read_once(item, 5, blocks, 5), 5);
    assert_memory_equal(blocks, data + 5, 5);
    store->ops->close_item(item);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed with it */
    assert_int_equal(store_local_adopt(store, "label", -1, &item, &err), -EBADF);
    assert_non_null(strstr(err.text, "label"));
    store->ops->close(store);
}

static void test_depth_and_cancel(void **state)
{
    (void)state;
    struct store *store = create("auto", 2);
    struct store_item *item = open_item(store, scratch_write("file", data, SIZE));
    struct store_read reads[3];
    for (size_t i = 0; i < 3; i++)
        reads[i] = (struct store_read){.item = item, .data = blocks + i, .size_bytes = 1};
    assert_int_equal(store->ops->submit(store, reads, 3), 2);
    store->ops->cancel(store);
    struct store_done done;
    assert_int_equal(store->ops->reap(store, &done, 1, 1, 0), 0);
    assert_int_equal(store->ops->submit(store, reads, 1), 1); /* and it goes on */
    store->ops->cancel(store);
    store->ops->close_item(item);
    store->ops->close(store);
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
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_only_aligned_reads_pass_the_cache),
        cmocka_unit_test(test_what_is_no_file),
        cmocka_unit_test(test_too_many_files),
        cmocka_unit_test(test_an_open_file_is_taken),
        cmocka_unit_test(test_depth_and_cancel),
    };
    return cmocka_run_group_tests(tests, setup, scratch_teardown);
}

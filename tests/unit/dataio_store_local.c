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

/* The descriptor for that has the place of one that was not used for longer. */
static void test_no_descriptor_left_to_pass_the_cache(void **state)
{
    (void)state;
    struct store *store = create("threads", 4);
    struct store_item *idle = open_item(store, scratch_write("idle", data, SIZE));
    struct store_item *item = open_item(store, scratch_write("file", data, SIZE));
    int fd = open(scratch_path("file"), O_RDONLY | O_DIRECT);
    bool has_direct = fd >= 0;
    close(fd);
    fd = dup(0);
    close(fd);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    direct_count = 0;
    mst_aio_set_tap(count_direct, NULL);
    assert_int_equal(read_once(item, 0, blocks, BLOCK), BLOCK);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(read_once(idle, 0, blocks, BLOCK), BLOCK);
    store->ops->close_item(idle);
    store->ops->close_item(item);
    store->ops->close(store);
    if (!has_direct)
        skip(); /* a file system without */
    assert_int_equal(direct_count, 1);
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

/* However few descriptors there are, also for reads that are under way together. */
static void test_more_files_than_descriptors(void **state)
{
    (void)state;
    enum { COUNT = 200, DEPTH = 16 };
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct store *store = create("auto", DEPTH);
    struct store_item *items[COUNT];
    char name[16];
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof name, "many-%u", i); /* fits */
        items[i] = open_item(store, scratch_write(name, &i, sizeof i));
    }
    for (unsigned i = 0; i < COUNT; i += DEPTH / 2) {
        unsigned got[DEPTH], count = COUNT - i < DEPTH ? COUNT - i : DEPTH;
        struct store_read reads[DEPTH];
        for (unsigned k = 0; k < count; k++)
            reads[k] = (struct store_read){
                .item = items[i + k], .data = &got[k], .size_bytes = sizeof got[k]};
        assert_int_equal(store->ops->submit(store, reads, count), count);
        struct store_done done[DEPTH];
        for (unsigned reaped = 0; reaped < count;)
            reaped += (unsigned)store->ops->reap(store, done, DEPTH, 1, soon());
        for (unsigned k = 0; k < count; k++)
            assert_int_equal(got[k], i + k);
    }
    for (unsigned i = 0; i < COUNT; i++)
        store->ops->close_item(items[i]);
    store->ops->close(store);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* The store opens it again for the read, and sees that it is another one. */
static void test_a_file_that_was_closed_must_be_the_same(void **state)
{
    (void)state;
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = 16, .rlim_max = before.rlim_max}; /* four stay open */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct store *store = create("threads", 4);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    struct store_item *items[8];
    static const char *const names[] = {"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"};
    for (size_t i = 0; i < 8; i++)
        items[i] = open_item(store, scratch_write(names[i], data, 100));
    scratch_write("new", data, 100);
    assert_int_equal(rename(scratch_path("new"), scratch_path("s0")), 0); /* another inode */
    scratch_write("s1", data, 101);                                       /* and size */
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, scratch_path("s2"), times, 0), 0); /* and time */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(read_once(items[i], 0, blocks, 10), -ESTALE);
        assert_non_null(strstr(store->ops->failure(store), names[i]));
        assert_non_null(strstr(store->ops->failure(store), "another file"));
    }
    assert_int_equal(unlink(scratch_path("s3")), 0);
    assert_int_equal(read_once(items[3], 0, blocks, 10), -ENOENT);
    assert_int_equal(read_once(items[7], 0, blocks, 10), 10);
    assert_null(store->ops->failure(store));
    struct store_read lost = {.item = items[0], .data = blocks, .size_bytes = 1};
    assert_int_equal(store->ops->submit(store, &lost, 1), 1);
    store->ops->cancel(store);
    for (size_t i = 0; i < 8; i++)
        store->ops->close_item(items[i]);
    store->ops->close(store);
}

/* In place: the same inode and size, which stays open. */
static void test_a_file_that_is_written_to_is_seen_behind_the_read(void **state)
{
    (void)state;
    struct store *store = create("threads", 4);
    struct store_item *items[] = {open_item(store, scratch_write("s0", data, 100)),
                                  open_item(store, scratch_write("s1", data, 100))};
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    assert_int_equal(read_once(items[0], 0, blocks, 10), 10);
    assert_int_equal(utimensat(AT_FDCWD, scratch_path("s0"), times, 0), 0);
    assert_int_equal(read_once(items[0], 0, blocks, 10), -ESTALE);
    assert_non_null(strstr(store->ops->failure(store), "s0"));
    assert_non_null(strstr(store->ops->failure(store), "written to"));
    assert_int_equal(read_once(items[1], 0, blocks, 10), 10);
    assert_null(store->ops->failure(store));
    for (size_t i = 0; i < 2; i++)
        store->ops->close_item(items[i]);
    store->ops->close(store);
}

/* Of reads that end together the good ones are told, and the others one by one. */
static void test_reads_of_files_old_and_new_end_each_by_itself(void **state)
{
    (void)state;
    struct store *store = create("threads", 4);
    struct store_item *items[] = {open_item(store, scratch_write("s0", data, 100)),
                                  open_item(store, scratch_write("s1", data, 100))};
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, scratch_path("s0"), times, 0), 0);
    struct store_read reads[4];
    struct store_done done[4];
    for (size_t i = 0; i < 4; i++)
        reads[i] = (struct store_read){
            .item = items[i % 2], .data = blocks + 16 * i, .size_bytes = 10, .user = &reads[i]};
    assert_int_equal(store->ops->submit(store, reads, 4), 4);
    for (int have = 0; have < 4;) {
        int count = store->ops->reap(store, done, 4, 1, soon());
        assert_in_range(count, 1, 4);
        for (int i = 0; i < count; i++) {
            const struct store_read *read = done[i].user;
            assert_int_equal(done[i].result, read->item == items[0] ? -ESTALE : 10);
            assert_true(read->item == items[1] || strstr(store->ops->failure(store), "s0"));
        }
        have += count;
    }
    for (size_t i = 0; i < 2; i++)
        store->ops->close_item(items[i]);
    store->ops->close(store);
}

static void put(struct store *store, struct store_item **ret_item, const void *bytes, size_t size)
{
    int fd = -1;
    uint64_t offset = 1;
    struct mst_err err = {0};
    if (store_local_begin(store, scratch_dir, ret_item, &fd, &offset, &err))
        fail_msg("%s", err.text);
    assert_int_equal(offset % BLOCK, 0);
    assert_int_equal(store_local_check(*ret_item, size), 0);
    assert_int_equal(pwrite(fd, bytes, size, (off_t)offset), size);
    store_local_end(*ret_item, size);
}

/* Each ends where it ends, though the next lies behind it in the same file. */
static void test_contents_share_the_scratch_file(void **state)
{
    (void)state;
    struct store *store = create("auto", 4);
    struct store_item *items[3];
    put(store, &items[0], data, 5000);
    put(store, &items[1], data + 100, 7);
    put(store, &items[2], data + 200, 4096);
    for (size_t i = 0; i < 2; i++) {
        memset(blocks, 'x', sizeof blocks);
        assert_int_equal(read_once(items[0], 4096, blocks + i, BLOCK), 904);
        assert_memory_equal(blocks + i, data + 4096, 904);
        assert_int_equal(read_once(items[1], 0, blocks + i, BLOCK), 7);
        assert_memory_equal(blocks + i, data + 100, 7);
        assert_int_equal(read_once(items[2], 0, blocks + i, BLOCK), 4096);
        assert_memory_equal(blocks + i, data + 200, 4096);
        assert_int_equal(read_once(items[1], 4096, blocks + i, 10), 0);
    }
    for (size_t i = 0; i < 3; i++)
        store->ops->close_item(items[i]);
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
        cmocka_unit_test(test_no_descriptor_left_to_pass_the_cache),
        cmocka_unit_test(test_what_is_no_file),
        cmocka_unit_test(test_too_many_files),
        cmocka_unit_test(test_more_files_than_descriptors),
        cmocka_unit_test(test_a_file_that_was_closed_must_be_the_same),
        cmocka_unit_test(test_a_file_that_is_written_to_is_seen_behind_the_read),
        cmocka_unit_test(test_reads_of_files_old_and_new_end_each_by_itself),
        cmocka_unit_test(test_contents_share_the_scratch_file),
        cmocka_unit_test(test_depth_and_cancel),
    };
    return cmocka_run_group_tests(tests, setup, scratch_teardown);
}

/* One suite over both back ends of core/aio: they must not be told apart. */
#include "deny_uring.h"
#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "soon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *backend; /* the one under test */
static char dir_path[64];
static int dir_fd = -1;

/* ---- help ------------------------------------------------------------------------------------ */

static struct mst_aio *create(uint32_t depth)
{
    struct mst_aio_opts opts = {.depth = depth, .backend = backend};
    struct mst_aio *aio = NULL;
    struct mst_err err = {0};
    if (mst_aio_create(&opts, &aio, &err))
        fail_msg("%s: %s", backend, err.text);
    assert_string_equal(mst_aio_backend(aio), backend);
    return aio;
}

static int open_file(const char *name, int flags)
{
    int fd = openat(dir_fd, name, flags | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static unsigned char *pattern(size_t size_bytes, uint64_t seed)
{
    unsigned char *data = aligned_alloc(4096, (size_bytes + 4095) / 4096 * 4096);
    assert_non_null(data);
    for (size_t i = 0; i < size_bytes; i++)
        data[i] = (unsigned char)mst_mix64(seed + i);
    return data;
}

static int64_t run(struct mst_aio *aio, struct mst_aio_op op)
{
    return mst_aio_do(aio, &op, soon());
}

static int64_t move(struct mst_aio *aio, enum mst_aio_kind kind, int fd, void *data,
                    size_t size_bytes, uint64_t offset)
{
    return run(
        aio, (struct mst_aio_op){
                 .kind = kind, .fd = fd, .data = data, .size_bytes = size_bytes, .offset = offset});
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir_path, sizeof dir_path, "core_aio.XXXXXX");
    if (!mkdtemp(dir_path))
        return -1;
    dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir_fd < 0;
}

static int drop_dir(void **state)
{
    (void)state;
    DIR *dir = fdopendir(dir_fd);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            /* What stays makes rmdir fail. */
            (void)unlinkat(dirfd(dir), entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0);
    if (dir)
        closedir(dir);
    return rmdir(dir_path);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void test_writes_are_read_back(void **state)
{
    (void)state;
    enum { PIECE = 70001, COUNT = 40 };
    struct mst_aio *aio = create(COUNT);
    unsigned char *out = pattern((size_t)PIECE * COUNT, 1);
    unsigned char *in = pattern((size_t)PIECE * COUNT, 2);
    int fd = open_file("bytes", O_RDWR);
    struct mst_aio_op ops[COUNT];
    struct mst_aio_done done[COUNT];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++)
            ops[i] = (struct mst_aio_op){.kind = round ? MST_AIO_READ : MST_AIO_WRITE,
                                         .fd = fd,
                                         .data = (round ? in : out) + i * PIECE,
                                         .size_bytes = PIECE,
                                         .offset = i * PIECE,
                                         .user = &ops[i]};
        assert_int_equal(mst_aio_submit(aio, ops, COUNT), COUNT);
        assert_int_equal(mst_aio_reap(aio, done, COUNT, COUNT, soon()), COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(done[i].result, PIECE);
            struct mst_aio_op *op = done[i].user;
            assert_true(op >= ops && op < ops + COUNT && op->size_bytes);
            op->size_bytes = 0; /* each comes back once */
        }
    }
    assert_memory_equal(in, out, (size_t)PIECE * COUNT);
    close(fd);
    free(in);
    free(out);
    mst_aio_destroy(aio);
}

static void test_read_ends_at_end_of_file(void **state)
{
    (void)state;
    struct mst_aio *aio = create(0);
    unsigned char *data = pattern(20000, 3), in[32768];
    int fd = open_file("short", O_RDWR);
    assert_int_equal(move(aio, MST_AIO_WRITE, fd, data, 20000, 0), 20000);
    assert_int_equal(move(aio, MST_AIO_READ, fd, in, sizeof in, 0), 20000);
    assert_memory_equal(in, data, 20000);
    assert_int_equal(move(aio, MST_AIO_READ, fd, in, 5000, 19000), 1000);
    assert_memory_equal(in, data + 19000, 1000);
    assert_int_equal(move(aio, MST_AIO_READ, fd, in, 10, 20000), 0);
    assert_int_equal(move(aio, MST_AIO_READ, fd, in, 10, 1 << 20), 0);
    assert_int_equal(move(aio, MST_AIO_READ, fd, in, 0, 0), 0);
    close(fd);
    free(data);
    mst_aio_destroy(aio);
}

static void test_direct_read_ends_inside_a_block(void **state)
{
    (void)state;
    struct mst_aio *aio = create(0);
    unsigned char *data = pattern(10000, 4), *in = pattern(16384, 5);
    int fd = open_file("direct", O_RDWR), direct;
    assert_int_equal(move(aio, MST_AIO_WRITE, fd, data, 10000, 0), 10000);
    direct = open_file("direct", O_RDONLY | O_DIRECT);
    assert_int_equal(move(aio, MST_AIO_READ, direct, in, 16384, 0), 10000);
    assert_memory_equal(in, data, 10000);
    assert_int_equal(move(aio, MST_AIO_READ, direct, in, 8192, 8192), 10000 - 8192);
    assert_memory_equal(in, data + 8192, 10000 - 8192);
    assert_int_equal(move(aio, MST_AIO_READ, direct, in + 1, 4096, 0), -EINVAL);
    close(direct);
    close(fd);
    free(in);
    free(data);
    mst_aio_destroy(aio);
}

/* The kernel's seq files give at most a page or so at a time: real short reads. */
static void test_short_reads_are_continued(void **state)
{
    (void)state;
    enum { SIZE = 1 << 18 };
    struct mst_aio *aio = create(0);
    unsigned char *one = pattern(SIZE, 6), *many = pattern(SIZE, 7);
    int fd = open("/proc/kallsyms", O_RDONLY | O_CLOEXEC);
    ssize_t first = fd < 0 ? 0 : pread(fd, one, SIZE, 0);
    if (first > 0 && first < SIZE) {
        size_t size_bytes = (size_t)first;
        ssize_t more;
        while ((more = pread(fd, one + size_bytes, SIZE - size_bytes, (off_t)size_bytes)) > 0)
            size_bytes += (size_t)more;
        assert_int_equal(move(aio, MST_AIO_READ, fd, many, SIZE, 0), size_bytes);
        assert_memory_equal(one, many, size_bytes);
    }
    if (fd >= 0)
        close(fd);
    free(many);
    free(one);
    mst_aio_destroy(aio);
    if (first <= 0 || first == SIZE)
        skip();
}

/* A size limit inside a write makes it short first, and an error when it goes on. */
static void test_short_write_is_continued_to_its_error(void **state)
{
    (void)state;
    struct mst_aio *aio = create(0);
    unsigned char *data = pattern(20000, 8);
    int fd = open_file("limit", O_RDWR);
    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){.rlim_cur = 8192, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int64_t rc = move(aio, MST_AIO_WRITE, fd, data, 20000, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, -EFBIG);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 8192);
    close(fd);
    free(data);
    mst_aio_destroy(aio);
}

/* ---- files and names ------------------------------------------------------------------------- */

static void test_sync_and_allocate(void **state)
{
    (void)state;
    struct mst_aio *aio = create(0);
    int fd = open_file("room", O_RDWR);
    assert_int_equal(move(aio, MST_AIO_FALLOCATE, fd, NULL, 5000, 3000), 0);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 8000);
    assert_true(st.st_blocks > 0);
    assert_int_equal(move(aio, MST_AIO_FDATASYNC, fd, NULL, 0, 0), 0);
    assert_int_equal(move(aio, MST_AIO_FSYNC, fd, NULL, 0, 0), 0);
    assert_int_equal(move(aio, MST_AIO_FSYNC, dir_fd, NULL, 0, 0), 0);
    close(fd);
    mst_aio_destroy(aio);
}

static int64_t name_op(struct mst_aio *aio, enum mst_aio_kind kind, const char *path,
                       const char *path2, uint32_t flags)
{
    return run(aio, (struct mst_aio_op){
                        .kind = kind, .fd = dir_fd, .path = path, .path2 = path2, .flags = flags});
}

static void test_names(void **state)
{
    (void)state;
    struct mst_aio *aio = create(0);
    mode_t old = umask(027);
    assert_int_equal(name_op(aio, MST_AIO_MKDIR, "d", NULL, 0), 0);
    struct stat st;
    assert_int_equal(fstatat(dir_fd, "d", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0750);
    umask(old);
    assert_int_equal(name_op(aio, MST_AIO_MKDIR, "d", NULL, 0), -EEXIST);
    close(open_file("a", O_RDWR));
    assert_int_equal(name_op(aio, MST_AIO_RENAME, "a", "d/b", 0), 0);
    assert_int_equal(faccessat(dir_fd, "a", F_OK, 0), -1);
    assert_int_equal(faccessat(dir_fd, "d/b", F_OK, 0), 0);
    close(open_file("a", O_RDWR));
    assert_int_equal(name_op(aio, MST_AIO_RENAME, "a", "d/b", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(name_op(aio, MST_AIO_RENAME, "a", "d/b", 0), 0);
    assert_int_equal(name_op(aio, MST_AIO_UNLINK, "d", NULL, AT_REMOVEDIR), -ENOTEMPTY);
    assert_int_equal(name_op(aio, MST_AIO_UNLINK, "d/b", NULL, 0), 0);
    assert_int_equal(name_op(aio, MST_AIO_UNLINK, "d/b", NULL, 0), -ENOENT);
    assert_int_equal(name_op(aio, MST_AIO_UNLINK, "d", NULL, AT_REMOVEDIR), 0);
    mst_aio_destroy(aio);
}

static void test_bad_descriptors(void **state)
{
    (void)state;
    struct mst_aio *aio = create(0);
    int fd = open_file("read-only", O_RDONLY);
    unsigned char byte = 0;
    assert_int_equal(move(aio, MST_AIO_READ, -1, &byte, 1, 0), -EBADF);
    assert_int_equal(move(aio, MST_AIO_WRITE, fd, &byte, 1, 0), -EBADF);
    assert_int_equal(move(aio, MST_AIO_FSYNC, -1, NULL, 0, 0), -EBADF);
    assert_int_equal(move(aio, MST_AIO_READ, dir_fd, &byte, 1, 0), -EISDIR);
    close(fd);
    mst_aio_destroy(aio);
}

/* ---- queueing -------------------------------------------------------------------------------- */

static void test_depth_bounds_what_is_taken(void **state)
{
    (void)state;
    struct mst_aio *aio = create(3);
    int fd = open_file("depth", O_RDWR);
    assert_int_equal(pwrite(fd, "abcde", 5, 0), 5);
    unsigned char in[5];
    struct mst_aio_op ops[5];
    for (size_t i = 0; i < 5; i++)
        ops[i] = (struct mst_aio_op){
            .kind = MST_AIO_READ, .fd = fd, .data = in + i, .size_bytes = 1, .offset = i};
    assert_int_equal(mst_aio_submit(aio, ops, 5), 3);
    assert_int_equal(mst_aio_in_flight(aio), 3);
    assert_int_equal(mst_aio_submit(aio, ops + 3, 2), 0);
    struct mst_aio_done done[5];
    assert_int_equal(mst_aio_reap(aio, done, 1, 5, soon()), 1); /* `cap` bounds `min` */
    assert_int_equal(mst_aio_submit(aio, ops + 3, 2), 1);
    assert_int_equal(mst_aio_reap(aio, done, 5, 5, soon()), 3); /* so does what is there */
    assert_int_equal(mst_aio_submit(aio, ops + 4, 1), 1);
    assert_int_equal(mst_aio_reap(aio, done, 5, 1, soon()), 1);
    assert_int_equal(mst_aio_in_flight(aio), 0);
    assert_int_equal(mst_aio_reap(aio, done, 5, 5, soon()), 0);
    assert_memory_equal(in, "abcde", 5);
    close(fd);
    mst_aio_destroy(aio);
}

/* No operation on a file can be made to block, so a deadline that has passed is met with work that
 * takes longer than the call: it must be seen in one of many rounds. */
static void test_deadline(void **state)
{
    (void)state;
    enum { SIZE = 1 << 22 };
    struct mst_aio *aio = create(8);
    unsigned char *data = pattern(SIZE, 9);
    int fd = open_file("deadline", O_RDWR), timeouts = 0;
    struct mst_aio_done done[8];
    for (int round = 0; round < 100 && timeouts == 0; round++) {
        struct mst_aio_op op = {
            .kind = MST_AIO_WRITE, .fd = fd, .data = data, .size_bytes = SIZE, .user = data};
        for (int i = 0; i < 8; i++)
            assert_int_equal(mst_aio_submit(aio, &op, 1), 1);
        int rc = mst_aio_reap(aio, done, 8, 8, mst_now_ns());
        assert_true(rc == 8 || rc == -ETIMEDOUT);
        if (rc == -ETIMEDOUT) {
            timeouts++;
            assert_int_equal(mst_aio_in_flight(aio), 8);
            assert_int_equal(mst_aio_reap(aio, done, 8, 8, soon()), 8);
        }
        for (int i = 0; i < 8; i++)
            assert_int_equal(done[i].result, SIZE);
    }
    assert_int_equal(timeouts, 1);
    close(fd);
    free(data);
    mst_aio_destroy(aio);
}

static void *read_one(void *arg)
{
    struct mst_aio *aio = arg;
    int fd = open_file("handed", O_RDWR);
    unsigned char byte = 0;
    int64_t rc = move(aio, MST_AIO_READ, fd, &byte, 1, 0);
    close(fd);
    return rc == 1 && byte == 'x' ? aio : NULL;
}

static void test_may_move_to_another_thread(void **state)
{
    (void)state;
    struct mst_aio *aio = create(2);
    int fd = open_file("handed", O_RDWR);
    char byte = 'x';
    assert_int_equal(move(aio, MST_AIO_WRITE, fd, &byte, 1, 0), 1);
    pthread_t thread;
    void *result;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&thread, NULL, read_one, aio), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_ptr_equal(result, aio);
    }
    assert_int_equal(move(aio, MST_AIO_READ, fd, &byte, 1, 0), 1);
    close(fd);
    mst_aio_destroy(aio);
}

static void test_destroy_waits_for_what_is_in_flight(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    struct mst_aio *aio = create(4);
    unsigned char *data = pattern(SIZE, 10);
    int fd = open_file("left", O_RDWR);
    for (uint64_t i = 0; i < 4; i++) {
        struct mst_aio_op op = {
            .kind = MST_AIO_WRITE, .fd = fd, .data = data, .size_bytes = SIZE, .offset = i * SIZE};
        assert_int_equal(mst_aio_submit(aio, &op, 1), 1);
    }
    mst_aio_destroy(aio);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 4 * SIZE);
    close(fd);
    free(data);
    mst_aio_destroy(NULL);
}

static void check_reads(struct mst_aio *aio, int fd, const unsigned char *data, size_t size_bytes)
{
    struct mst_rng rng;
    mst_rng_init(&rng, 11, 0);
    unsigned char in[16][512];
    struct mst_aio_op ops[16];
    struct mst_aio_done done[16];
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < 16; i++)
            ops[i] = (struct mst_aio_op){.kind = MST_AIO_READ,
                                         .fd = fd,
                                         .data = in[i],
                                         .size_bytes = 1 + mst_rng_below(&rng, 511),
                                         .offset = mst_rng_below(&rng, (uint32_t)size_bytes - 512),
                                         .user = &ops[i]};
        assert_int_equal(mst_aio_submit(aio, ops, 16), 16);
        assert_int_equal(mst_aio_reap(aio, done, 16, 16, soon()), 16);
        for (size_t i = 0; i < 16; i++) {
            struct mst_aio_op *op = done[i].user;
            assert_int_equal(done[i].result, op->size_bytes);
            assert_memory_equal(op->data, data + op->offset, op->size_bytes);
        }
    }
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    struct mst_aio *aio = create(16);
    unsigned char *data = pattern(100000, 12);
    int fd = open_file("steady", O_RDWR);
    assert_int_equal(move(aio, MST_AIO_WRITE, fd, data, 100000, 0), 100000);
    check_reads(aio, fd, data, 100000);
    size_t before_bytes = mallinfo2().uordblks;
    check_reads(aio, fd, data, 100000);
    assert_int_equal(mallinfo2().uordblks, before_bytes);
    close(fd);
    free(data);
    mst_aio_destroy(aio);
}

/* ---- the tap --------------------------------------------------------------------------------- */

struct record {
    enum mst_aio_kind kinds[16];
    size_t count, fail_at;
    int answer;
};

static int record_op(void *arg, const struct mst_aio_op *op)
{
    struct record *record = arg;
    record->kinds[record->count++] = op->kind;
    return record->count == record->fail_at ? record->answer : 1;
}

static void test_tap_sees_and_answers(void **state)
{
    (void)state;
    struct mst_aio *aio = create(0);
    struct record record = {.fail_at = 2, .answer = -ENOSPC};
    int fd = open_file("tap", O_RDWR);
    char data[4] = "abc";
    mst_aio_set_tap(record_op, &record);
    assert_int_equal(move(aio, MST_AIO_WRITE, fd, data, 1, 0), 1);
    assert_int_equal(move(aio, MST_AIO_WRITE, fd, data, 1, 1), -ENOSPC);
    assert_int_equal(move(aio, MST_AIO_WRITE, fd, data, 1, 2), 1);
    record.fail_at = 4;
    record.answer = 0;
    assert_int_equal(move(aio, MST_AIO_FSYNC, -1, NULL, 0, 0), 0); /* never reached the system */
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(move(aio, MST_AIO_READ, fd, data, 3, 0), 3);
    assert_memory_equal(data, "a\0a", 3);
    assert_int_equal(record.count, 4);
    assert_int_equal(record.kinds[0], MST_AIO_WRITE);
    assert_int_equal(record.kinds[3], MST_AIO_FSYNC);
    close(fd);
    mst_aio_destroy(aio);
}

/* ---- attempts that end early: not per back end, as the rule is the facade's ------------------ */

#define INTERRUPTED SIZE_MAX /* -EINTR, and what is not ready now -EAGAIN, are no end */
#define NOT_READY (SIZE_MAX - 1)

/* A file that moves at each attempt what the test says: `moves` bytes, then 0 of them for ever. */
static struct {
    int fd; /* 0 = none */
    unsigned char *data;
    size_t moves[8];
    uint64_t offsets[8]; /* where each attempt began */
    size_t attempt_count;
} early;

ssize_t __real_pread(int fd, void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size_bytes, off_t offset);
ssize_t __real_pwrite(int fd, const void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size_bytes, off_t offset);

static ssize_t move_some(size_t size_bytes, off_t offset)
{
    size_t moved = early.moves[early.attempt_count];
    early.offsets[early.attempt_count++] = (uint64_t)offset;
    errno = moved == INTERRUPTED ? EINTR : EAGAIN;
    if (moved == INTERRUPTED || moved == NOT_READY)
        return -1;
    return (ssize_t)(moved < size_bytes ? moved : size_bytes);
}

ssize_t __wrap_pread(int fd, void *data, size_t size_bytes, off_t offset)
{
    if (fd != early.fd)
        return __real_pread(fd, data, size_bytes, offset);
    ssize_t moved = move_some(size_bytes, offset);
    if (moved > 0)
        memcpy(data, early.data + offset, (size_t)moved);
    return moved;
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t size_bytes, off_t offset)
{
    if (fd != early.fd)
        return __real_pwrite(fd, data, size_bytes, offset);
    ssize_t moved = move_some(size_bytes, offset);
    if (moved > 0)
        memcpy(early.data + offset, data, (size_t)moved);
    return moved;
}

#define EARLY_BYTES 32768u

/* One operation, whose attempts move `moves` (0 ends them) and must begin at `offsets` (0 ends
 * them, but for the first). */
struct early_case {
    enum mst_aio_kind kind;
    int flags;
    uint64_t offset;
    size_t size_bytes;
    size_t moves[8];
    uint64_t offsets[8];
    int64_t result;
};

static void check_early(const struct early_case *c)
{
    struct mst_aio *aio = create(1);
    unsigned char *file = pattern(EARLY_BYTES, 13), *other = pattern(EARLY_BYTES, 14);
    bool reads = c->kind == MST_AIO_READ;
    int fd = open_file("early", O_RDWR | c->flags);
    assert_int_equal(ftruncate(fd, EARLY_BYTES), 0);
    early.fd = fd;
    early.data = reads ? file : other;
    early.attempt_count = 0;
    memcpy(early.moves, c->moves, sizeof early.moves);
    unsigned char *data = reads ? other : file + c->offset;
    assert_int_equal(move(aio, c->kind, fd, data, c->size_bytes, c->offset), c->result);
    early.fd = 0;
    size_t count = 1;
    while (count < 8 && c->offsets[count])
        count++;
    assert_int_equal(early.attempt_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(early.offsets[i], c->offsets[i]);
    if (c->result > 0)
        assert_memory_equal(other + (reads ? 0 : c->offset), file + c->offset, (size_t)c->result);
    close(fd);
    free(file);
    free(other);
    mst_aio_destroy(aio);
}

static void check_all_early(const struct early_case *cases, size_t count)
{
    backend = "threads"; /* their calls can be stood between */
    for (size_t i = 0; i < count; i++)
        check_early(&cases[i]);
}

/* The next attempt begins where a block does: of 4096 bytes, or smaller if the operation's own
 * offset shows that they are. */
static void test_a_short_direct_attempt_steps_back_to_a_block(void **state)
{
    (void)state;
    static const struct early_case cases[] = {
        {MST_AIO_READ, O_DIRECT, 0, 16384, {5000, -1u}, {0, 4096}, 16384},
        {MST_AIO_READ, O_DIRECT, 0, 16384, {8192, -1u}, {0, 8192}, 16384},
        {MST_AIO_READ,
         O_DIRECT,
         8192,
         16384,
         {4095 + 4096, 4097, -1u},
         {8192, 12288, 16384},
         16384},
        {MST_AIO_READ, O_DIRECT, 1536, 4096, {700, 1023, -1u}, {1536, 2048, 2560}, 4096},
        {MST_AIO_READ, O_DIRECT, 1024, 8192, {5000, -1u}, {1024, 1024 + 4096}, 8192},
        {MST_AIO_WRITE, O_DIRECT, 0, 16384, {5000, -1u}, {0, 4096}, 16384},
        {MST_AIO_WRITE, O_DIRECT, 12288, 12288, {8191, 4096, -1u}, {12288, 16384, 20480}, 12288},
    };
    check_all_early(cases, sizeof cases / sizeof *cases);
}

/* Less than a block is no step, and would be tried for ever. */
static void test_a_direct_attempt_without_a_block_ends(void **state)
{
    (void)state;
    static const struct early_case cases[] = {
        {MST_AIO_READ, O_DIRECT, 0, 8192, {100}, {0}, -EIO},
        {MST_AIO_WRITE, O_DIRECT, 0, 8192, {4095}, {0}, -EIO},
        {MST_AIO_WRITE, O_DIRECT, 0, 8192, {4097, 5}, {0, 4096}, -EIO},
        {MST_AIO_WRITE, O_DIRECT, 0, 8192, {4096, 0}, {0, 4096}, -EIO},
        {MST_AIO_READ, O_DIRECT, 0, 8192, {4096, 0}, {0, 4096}, 4096},
        {MST_AIO_READ, O_DIRECT, EARLY_BYTES - 4096, 8192, {4096}, {EARLY_BYTES - 4096}, 4096},
    };
    check_all_early(cases, sizeof cases / sizeof *cases);
}

static void test_other_short_attempts_go_on_at_once(void **state)
{
    (void)state;
    static const struct early_case cases[] = {
        {MST_AIO_READ, 0, 0, 16384, {5000, 1, -1u}, {0, 5000, 5001}, 16384},
        {MST_AIO_WRITE, 0, 7, 9000, {1, 4096, -1u}, {7, 8, 4104}, 9000},
        {MST_AIO_READ, 0, 0, 16384, {5000, 0}, {0, 5000}, 5000},
        {MST_AIO_WRITE, 0, 0, 16384, {5000, 0}, {0, 5000}, -EIO},
        {MST_AIO_READ, 0, 8, 9000, {INTERRUPTED, 5000, NOT_READY, -1u}, {8, 8, 5008, 5008}, 9000},
        {MST_AIO_WRITE, 0, 8, 9000, {NOT_READY, 1, INTERRUPTED, -1u}, {8, 8, 9, 9}, 9000},
    };
    check_all_early(cases, sizeof cases / sizeof *cases);
}

/* ---- choosing a back end: not per back end --------------------------------------------------- */

static void test_options(void **state)
{
    (void)state;
    struct mst_aio_opts opts = {.backend = "floppy"};
    struct mst_aio *aio = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_aio_create(&opts, &aio, &err), -EINVAL);
    assert_non_null(strstr(err.text, "floppy"));
    opts = (struct mst_aio_opts){.backend = "threads", .depth = 1u << 20};
    assert_int_equal(mst_aio_create(&opts, &aio, &err), -EINVAL);
    assert_null(aio);
    opts = (struct mst_aio_opts){.backend = "auto", .depth = 1};
    assert_int_equal(mst_aio_create(&opts, &aio, NULL), 0);
    mst_aio_destroy(aio);
}

/* The child's answer: 0, or the number of the check that failed. */
static int check_denied(void)
{
    struct mst_aio_opts opts = {.backend = "uring"};
    if (deny_uring())
        return 77;
    struct mst_aio *aio = NULL;
    struct mst_err err = {0};
    if (mst_aio_create(&opts, &aio, &err) != -ENOTSUP || aio)
        return 1;
    if (!strstr(err.text, "Operation not permitted") || !strstr(err.text, "MST_AIO=threads"))
        return 2;
    opts.backend = NULL;
    if (mst_aio_create(&opts, &aio, &err) || err.code || err.text[0])
        return 3;
    if (strcmp(mst_aio_backend(aio), "threads") != 0)
        return 4;
    if (name_op(aio, MST_AIO_MKDIR, "denied", NULL, 0) != 0)
        return 5;
    mst_aio_destroy(aio);
    return 0;
}

static void test_seccomp_filter_leads_to_threads(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(check_denied());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The value of `key` in /proc/self/task/<tid>/status. */
static int thread_status(const char *tid, const char *key, char *value, size_t cap)
{
    char path[320], line[256];
    snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *file = fopen(path, "re");
    int found = 0;
    while (file && fgets(line, sizeof line, file)) {
        size_t length = strlen(key);
        if (strncmp(line, key, length) != 0 || line[length] != ':')
            continue;
        snprintf(value, cap, "%s", line + length + 2);
        value[strcspn(value, "\n")] = 0;
        found = 1;
    }
    if (file)
        (void)fclose(file); /* read only */
    return found;
}

static void test_pool_is_named_and_blocks_signals(void **state)
{
    (void)state;
    struct mst_aio_opts opts = {.backend = "threads", .depth = 64};
    struct mst_aio *aio = NULL;
    assert_int_equal(mst_aio_create(&opts, &aio, NULL), 0);
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    struct dirent *entry;
    int named = 0;
    while ((entry = readdir(tasks))) {
        char name[256], blocked[256];
        if (!thread_status(entry->d_name, "Name", name, sizeof name) ||
            strncmp(name, "mst-aio-", 8) != 0)
            continue;
        named++;
        assert_true(thread_status(entry->d_name, "SigBlk", blocked, sizeof blocked));
        /* Of the first 31 signals all but KILL and STOP. */
        assert_int_equal(strtoull(blocked, NULL, 16) & 0x7fffffff, 0x7ffbfeff);
    }
    closedir(tasks);
    assert_int_equal(named, 4);
    mst_aio_destroy(aio);
}

int main(void)
{
    static const char *const names[] = {"uring", "threads"};
    const struct CMUnitTest suite[] = {
        cmocka_unit_test(test_writes_are_read_back),
        cmocka_unit_test(test_read_ends_at_end_of_file),
        cmocka_unit_test(test_direct_read_ends_inside_a_block),
        cmocka_unit_test(test_short_reads_are_continued),
        cmocka_unit_test(test_short_write_is_continued_to_its_error),
        cmocka_unit_test(test_sync_and_allocate),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_descriptors),
        cmocka_unit_test(test_depth_bounds_what_is_taken),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_may_move_to_another_thread),
        cmocka_unit_test(test_destroy_waits_for_what_is_in_flight),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_tap_sees_and_answers),
    };
    const struct CMUnitTest choice[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_seccomp_filter_leads_to_threads),
        cmocka_unit_test(test_pool_is_named_and_blocks_signals),
        cmocka_unit_test(test_a_short_direct_attempt_steps_back_to_a_block),
        cmocka_unit_test(test_a_direct_attempt_without_a_block_ends),
        cmocka_unit_test(test_other_short_attempts_go_on_at_once),
    };
    int failures = cmocka_run_group_tests_name("choice", choice, make_dir, drop_dir);
    for (size_t i = 0; i < 2; i++) {
        backend = names[i];
        struct mst_aio *aio = NULL;
        if (mst_aio_create(&(struct mst_aio_opts){.backend = backend}, &aio, NULL) == -ENOTSUP)
            continue; /* no io_uring on this machine */
        mst_aio_destroy(aio);
        failures += cmocka_run_group_tests_name(backend, suite, make_dir, drop_dir);
    }
    return failures;
}

/* The record of an owner as a locked file. */
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/owner_file.h"
#include "muster/ckpt/tier.h"

#include <errno.h>

static int root_fd;
static char text[OWNER_BYTES];

static int setup(void **state)
{
    int rc = fixture_setup(state);
    root_fd = open(fixture_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    memset(text, 'a', sizeof text);
    return root_fd < 0 ? -1 : rc;
}

static int teardown(void **state)
{
    close(root_fd);
    return fixture_teardown(state);
}

static void test_lock_lasts_as_long_as_the_file(void **state)
{
    (void)state;
    int fd = owner_file_create(root_fd, 3, text);
    assert_true(fd >= 0);
    struct tier_owner found;
    assert_int_equal(owner_file_read(root_fd, 3, &found), 0);
    assert_int_equal(found.size_bytes, OWNER_BYTES);
    assert_memory_equal(found.text, text, OWNER_BYTES);
    assert_int_equal(found.lock, OWNER_LOCKED);
    memset(text, 'b', sizeof text);
    assert_int_equal(owner_file_rewrite(fd, text), 0);
    assert_int_equal(owner_file_read(root_fd, 3, &found), 0);
    assert_memory_equal(found.text, text, OWNER_BYTES);
    assert_int_equal(found.lock, OWNER_LOCKED);
    close(fd);
    assert_int_equal(owner_file_read(root_fd, 3, &found), 0);
    assert_int_equal(found.lock, OWNER_UNLOCKED);
    owner_file_remove(root_fd, 3);
    assert_int_equal(owner_file_read(root_fd, 3, &found), -ENOENT);
}

/* Those that are being made count, too. */
static int count_records(void)
{
    DIR *dir = opendir(fixture_root);
    struct dirent *entry;
    int count = 0;
    while ((entry = readdir(dir)))
        count += strncmp(entry->d_name, "OWNER", 5) == 0;
    closedir(dir);
    return count;
}

static void test_made_once(void **state)
{
    (void)state;
    int fd = owner_file_create(root_fd, 3, text);
    memset(text, 'b', sizeof text);
    assert_int_equal(owner_file_create(root_fd, 3, text), -EEXIST);
    struct tier_owner found;
    assert_int_equal(owner_file_read(root_fd, 3, &found), 0);
    assert_int_equal(found.text[0], 'a');
    close(fd);
    assert_int_equal(count_records(), 1);
}

static bool is_swept;
static int calls_left = -1; /* before one that fails; -1: none does */
static int link_fault;

static bool fails(void)
{
    if (calls_left < 0 || calls_left-- > 0)
        return false;
    errno = EIO;
    return true;
}

ssize_t __real_pwrite(int fd, const void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size_bytes, off_t offset)
{
    return fails() ? -1 : __real_pwrite(fd, data, size_bytes, offset);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    return fails() ? -1 : __real_fdatasync(fd);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return fails() ? -1 : __real_fsync(fd);
}

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return fails() ? -1 : __real_renameat2(from_fd, from, to_fd, to, flags);
}

int __real_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    if (is_swept)
        assert_int_equal(unlinkat(from_fd, from, 0), 0);
    if (fails())
        return -1;
    errno = link_fault;
    return link_fault ? -1 : __real_linkat(from_fd, from, to_fd, to, flags);
}

/* Whoever has swept has taken the root: this one looks again. */
static void test_swept_while_made(void **state)
{
    (void)state;
    is_swept = true;
    assert_int_equal(owner_file_create(root_fd, 3, text), -EEXIST);
    is_swept = false;
    assert_false(fixture_has("OWNER.3"));
}

/* Where the disk is full the record before gives its place. */
static void test_adopted(void **state)
{
    (void)state;
    assert_int_equal(owner_file_adopt(root_fd, 3, text), -ENOENT);
    close(owner_file_create(root_fd, 2, text));
    memset(text, 'b', sizeof text);
    int fd = owner_file_adopt(root_fd, 3, text);
    assert_true(fd >= 0);
    struct tier_owner found;
    assert_int_equal(owner_file_read(root_fd, 2, &found), -ENOENT);
    assert_int_equal(owner_file_read(root_fd, 3, &found), 0);
    assert_int_equal(found.text[0], 'b');
    assert_int_equal(found.lock, OWNER_LOCKED);
    int next = owner_file_create(root_fd, 2, text);
    assert_int_equal(owner_file_adopt(root_fd, 3, text), -EEXIST);
    close(next);
    close(fd);
}

/* Some file systems have no links. */
static void test_made_by_a_rename(void **state)
{
    (void)state;
    link_fault = EPERM;
    int fd = owner_file_create(root_fd, 3, text);
    assert_true(fd >= 0);
    assert_int_equal(owner_file_create(root_fd, 3, text), -EEXIST);
    assert_int_equal(count_records(), 1);
    close(fd);
    link_fault = EMLINK;
    assert_int_equal(owner_file_create(root_fd, 4, text), -EMLINK);
    assert_int_equal(count_records(), 1);
    link_fault = 0;
}

/* Whether it fails if call `n` of it does: then nobody holds a lock, and a record that is there all
 * the same is whole. */
static bool fails_at(int (*take)(int root_fd, uint64_t epoch, const char *text), int n)
{
    struct tier_owner found;
    calls_left = n;
    int fd = take(root_fd, 3, text);
    bool failed = calls_left < 0;
    calls_left = -1;
    if (!failed) {
        assert_true(fd >= 0);
        close(fd);
        return false;
    }
    assert_int_equal(fd, -EIO);
    if (owner_file_read(root_fd, 3, &found) == 0) {
        assert_int_equal(found.lock, OWNER_UNLOCKED);
        assert_int_equal(found.size_bytes, OWNER_BYTES);
        owner_file_remove(root_fd, 3);
    }
    return true;
}

static void test_taking_fails_anywhere(void **state)
{
    (void)state;
    for (link_fault = 0; link_fault <= EPERM; link_fault += EPERM) {
        int n = 0;
        while (fails_at(owner_file_create, n++))
            assert_int_equal(count_records(), 0);
        assert_true(n > 4);
        owner_file_remove(root_fd, 3);
        bool failed = true;
        for (n = 0; failed; n++) {
            close(owner_file_create(root_fd, 2, text));
            failed = fails_at(owner_file_adopt, n);
            owner_file_remove(root_fd, 2);
        }
        owner_file_remove(root_fd, 3);
    }
    link_fault = 0;
}

static void test_no_link_is_written_through(void **state)
{
    (void)state;
    assert_int_equal(symlinkat("precious", root_fd, "OWNER.3"), 0);
    assert_int_equal(owner_file_create(root_fd, 3, text), -EEXIST);
    assert_false(fixture_has("precious"));
    assert_int_equal(mkfifoat(root_fd, "OWNER.4", 0600), 0);
    struct tier_owner found;
    assert_int_equal(owner_file_read(root_fd, 4, &found), -EBADMSG);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_lock_lasts_as_long_as_the_file),
                                       CASE(test_made_once),
                                       CASE(test_swept_while_made),
                                       CASE(test_adopted),
                                       CASE(test_made_by_a_rename),
                                       CASE(test_taking_fails_anywhere),
                                       CASE(test_no_link_is_written_through)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

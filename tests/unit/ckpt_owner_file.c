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
    DIR *dir = opendir(fixture_root);
    struct dirent *entry;
    int count = 0;
    while ((entry = readdir(dir)))
        count += strncmp(entry->d_name, "OWNER", 5) == 0;
    closedir(dir);
    assert_int_equal(count, 1);
}

static bool is_swept;

int __real_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    if (is_swept)
        assert_int_equal(unlinkat(from_fd, from, 0), 0);
    return __real_linkat(from_fd, from, to_fd, to, flags);
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
                                       CASE(test_made_once), CASE(test_swept_while_made),
                                       CASE(test_adopted), CASE(test_no_link_is_written_through)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

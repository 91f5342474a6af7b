/* What is blank, and that it is again what it was. */
#include "muster/core/blank.h"

#include "muster/core/file.h"

#include "failing_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 9

static bool is_locked; /* what the kernel says of it */
int __real_madvise(void *address, size_t size_bytes, int advice);
int __wrap_madvise(void *address, size_t size_bytes, int advice);
int __wrap_madvise(void *address, size_t size_bytes, int advice)
{
    if (!is_locked)
        return __real_madvise(address, size_bytes, advice);
    errno = EINVAL;
    return -1;
}

static size_t page;
static uint8_t *memory;

static uint8_t *map(int flags, int fd)
{
    uint8_t *base = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, flags, fd, 0);
    assert_true(base != MAP_FAILED);
    return base;
}

static int setup(void **state)
{
    (void)state;
    page = (size_t)sysconf(_SC_PAGESIZE);
    memory = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    return madvise(memory, PAGES * page, MADV_NOHUGEPAGE);
}

static int teardown(void **state)
{
    (void)state;
    is_locked = false;
    allow_allocations();
    return munmap(memory, PAGES * page);
}

static bool is_blank(const void *data, size_t size_bytes)
{
    struct mst_blank blank;
    mst_blank_look(&blank);
    bool found = mst_blank_is(&blank, data, size_bytes);
    mst_blank_forget(&blank);
    return found;
}

/* Its neighbours may be anything, in its own pages, too. */
static void test_until_it_is_written_to(void **state)
{
    (void)state;
    assert_true(is_blank(memory, PAGES * page));
    memory[page - 1] = 1;
    memory[4 * page + 100] = 1;
    assert_false(is_blank(memory, page));
    assert_false(is_blank(memory, 4 * page));
    assert_false(is_blank(memory + page - 1, 2 * page));
    assert_false(is_blank(memory + page, 3 * page + 101));
    assert_false(is_blank(memory + page, 4 * page));
    assert_true(is_blank(memory + page, 3 * page));
    assert_true(is_blank(memory, page - 1));
    assert_true(is_blank(memory + page, 3 * page + 100));
    assert_true(is_blank(memory + 4 * page + 101, 2 * page));
    assert_true(is_blank(memory + 17, 3));
    memory[5 * page] = 1;
    memory[5 * page] = 0;
    assert_false(is_blank(memory + 5 * page, page)); /* zeros that cost nothing to stage */
}

static void test_what_others_fill(void **state)
{
    (void)state;
    int fd = memfd_create("file", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(PAGES * page)), 0);
    const int kinds[] = {MAP_SHARED, MAP_PRIVATE, MAP_SHARED | MAP_ANONYMOUS};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint8_t *base = map(kinds[i], kinds[i] & MAP_ANONYMOUS ? -1 : fd);
        assert_false(is_blank(base, page));
        assert_int_equal(munmap(base, PAGES * page), 0);
    }
    close(fd);
    assert_false(is_blank((const void *)(uintptr_t)map, page)); /* code */
}

/* Ranges that touch are one; those that may not be written to, or that are not there, are none. */
static void test_where_it_ends(void **state)
{
    (void)state;
    assert_int_equal(mprotect(memory, 2 * page, PROT_READ), 0);
    assert_int_equal(munmap(memory + 7 * page, page), 0);
    assert_int_equal(madvise(memory + 4 * page, page, MADV_DONTFORK), 0);
    assert_true(is_blank(memory + 2 * page, 5 * page));
    assert_false(is_blank(memory + 2 * page, 5 * page + 1));
    assert_false(is_blank(memory + 2 * page - 1, 2 * page));
    assert_false(is_blank(memory + 7 * page, page));
}

static void test_again(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++, is_locked = true) {
        memset(memory, 7, PAGES * page);
        mst_blank_again(memory + page - 3, 3 * page + 5);
        assert_int_equal(is_blank(memory + page, 3 * page), !is_locked);
        for (size_t at = 0; at < PAGES * page; at++)
            assert_int_equal(memory[at], at >= page - 3 && at < 4 * page + 2 ? 0 : 7);
    }
    memset(memory, 7, page);
    is_locked = false;
    mst_blank_again(memory + 5, 10);
    mst_blank_again(memory, 0);
    for (size_t at = 0; at < page; at++)
        assert_int_equal(memory[at], at >= 5 && at < 15 ? 0 : 7);
}

/* Where it cannot be told nothing is blank. */
static void test_nothing_is_known(void **state)
{
    (void)state;
    struct mst_blank blank;
    mst_blank_look(&blank);
    assert_true(mst_blank_is(&blank, memory, page));
    mst_file_close(&blank.pagemap_fd);
    assert_false(mst_blank_is(&blank, memory, page));
    mst_blank_forget(&blank);
}

/* Without memory to keep a list in, what is on it is right. */
static void test_no_memory(void **state)
{
    (void)state;
    memory[0] = 1;
    bool found = false;
    for (size_t n = 0; !found && n < 100; n++) {
        fail_allocations_after(n);
        struct mst_blank blank;
        mst_blank_look(&blank);
        allow_allocations();
        found = mst_blank_is(&blank, memory + page, page);
        assert_false(mst_blank_is(&blank, memory, page));
        mst_blank_forget(&blank);
    }
    assert_true(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_until_it_is_written_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_others_fill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_where_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

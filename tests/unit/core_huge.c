#include "muster/core/huge.h"

#include "muster/core/err.h"

#include "fake_root.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cmocka.h>

#define ALL_SIZES "/sys/kernel/mm/transparent_hugepage/enabled"
#define ONE_SIZE "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled"

/* What a kernel says that lacks one of them, or lets nobody use it. */
static int refused_advice = -1, refusal, counted_advice = -1;
static size_t counted_bytes;
int __real_madvise(void *address, size_t size_bytes, int advice);
int __wrap_madvise(void *address, size_t size_bytes, int advice);
int __wrap_madvise(void *address, size_t size_bytes, int advice)
{
    if (advice == counted_advice)
        counted_bytes += size_bytes;
    if (advice != refused_advice)
        return __real_madvise(address, size_bytes, advice);
    errno = refusal;
    return -1;
}

static bool no_memory;
void *__real_mmap(void *address, size_t size_bytes, int protection, int flags, int fd, off_t at);
void *__wrap_mmap(void *address, size_t size_bytes, int protection, int flags, int fd, off_t at);
void *__wrap_mmap(void *address, size_t size_bytes, int protection, int flags, int fd, off_t at)
{
    return no_memory ? MAP_FAILED : __real_mmap(address, size_bytes, protection, flags, fd, at);
}

static int forget(void **state)
{
    refused_advice = counted_advice = -1;
    no_memory = false;
    return scratch_teardown(state);
}

static size_t resident_pages(void *data, size_t size_bytes)
{
    static unsigned char there[4096];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
    assert_true(size_bytes / page <= sizeof there);
    assert_int_equal(mincore(data, size_bytes, there), 0);
    for (size_t i = 0; i < size_bytes / page; i++)
        count += there[i] & 1;
    return count;
}

static void buffers_are_whole_huge_pages_of_zeros(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 3 * MST_HUGE_BYTES; size += MST_HUGE_BYTES - 1) {
        uint8_t *base = mst_huge_map(size);
        assert_non_null(base);
        assert_int_equal((uintptr_t)base % MST_HUGE_BYTES, 0);
        assert_int_equal(resident_pages(base, size < MST_HUGE_BYTES ? MST_HUGE_BYTES : size), 0);
        for (size_t i = 0; i < size; i += 4096)
            assert_int_equal(base[i]++, 0);
        mst_huge_unmap(base, size);
    }
    mst_huge_unmap(NULL, 1);
}

static void an_end_goes_back(void **state)
{
    (void)state;
    uint8_t *base = mst_huge_map(3 * MST_HUGE_BYTES);
    assert_non_null(base);
    base[0] = 7;
    mst_huge_unmap(base + MST_HUGE_BYTES, 2 * MST_HUGE_BYTES);
    unsigned char there;
    assert_int_equal(mincore(base + MST_HUGE_BYTES, 1, &there), -1);
    assert_int_equal(base[0], 7);
    mst_huge_unmap(base, MST_HUGE_BYTES);
    assert_int_equal(mincore(base, 1, &there), -1);
}

static void too_much_is_no_memory(void **state)
{
    (void)state;
    assert_null(mst_huge_map(SIZE_MAX));
    assert_null(mst_huge_map(SIZE_MAX - 2 * MST_HUGE_BYTES));
    no_memory = true;
    assert_null(mst_huge_map(1));
}

/* Whatever the kernel has, memory keeps what it holds, and the neighbours are let be. */
static void populate_keeps_what_is_there(void **state)
{
    (void)state;
    static const int refused[] = {-1, 23 /* MADV_POPULATE_WRITE */};
    for (size_t i = 0; i < 2; i++) {
        refused_advice = refused[i];
        refusal = EINVAL;
        uint8_t *base = mst_huge_map(2 * MST_HUGE_BYTES);
        assert_non_null(base);
        assert_int_equal(__real_madvise(base, 2 * MST_HUGE_BYTES, MADV_NOHUGEPAGE), 0);
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        memset(base + page, 5, page);
        mst_huge_populate(base + page + 17, 8 * page);
        mst_huge_populate(base, 0);
        assert_int_equal(resident_pages(base, MST_HUGE_BYTES), 9);
        assert_int_equal(base[page + 17] + base[2 * page - 1], 10);
        mst_huge_unmap(base, 2 * MST_HUGE_BYTES);
    }
}

/* Memory that somebody else mapped gets the huge pages that lie whole in it, once. */
static void populate_asks_for_whole_huge_pages(void **state)
{
    (void)state;
    size_t size = 4 * MST_HUGE_BYTES;
    uint8_t *base = mst_huge_map(size);
    assert_non_null(base);
    counted_advice = MADV_HUGEPAGE;
    counted_bytes = 0;
    mst_huge_populate(base + 1, size - 2);
    assert_int_equal(counted_bytes, 2 * MST_HUGE_BYTES);
    assert_int_equal(resident_pages(base, size), size / (size_t)sysconf(_SC_PAGESIZE));
    mst_huge_populate(base, size);
    assert_int_equal(counted_bytes, 2 * MST_HUGE_BYTES);
    mst_huge_unmap(base, size);
}

/* Asking touches nothing; what lies whole in no huge page is not asked for. */
static void ask_is_for_whole_huge_pages(void **state)
{
    (void)state;
    size_t size = 4 * MST_HUGE_BYTES;
    uint8_t *base = mst_huge_map(size);
    assert_non_null(base);
    counted_advice = MADV_HUGEPAGE;
    counted_bytes = 0;
    mst_huge_ask(base + 1, MST_HUGE_BYTES);
    mst_huge_ask(base + 1, 2 * MST_HUGE_BYTES - 2);
    mst_huge_ask(base, 0);
    assert_int_equal(counted_bytes, 0);
    mst_huge_ask(base + 1, size - 2);
    assert_int_equal(counted_bytes, 2 * MST_HUGE_BYTES);
    mst_huge_ask(base, size);
    assert_int_equal(counted_bytes, 2 * MST_HUGE_BYTES + size);
    assert_int_equal(resident_pages(base, size), 0);
    mst_huge_unmap(base, size);
}

static void check_reads_the_switches(void **state)
{
    (void)state;
    struct mst_err err = {0};
    assert_int_equal(mst_huge_check(scratch_dir, &err), 0); /* nothing says that they are off */
    fake_root_put(ALL_SIZES, "always [madvise] never\n");
    assert_int_equal(mst_huge_check(scratch_dir, &err), 0);
    fake_root_put(ALL_SIZES, "always madvise [never]\n");
    assert_int_equal(mst_huge_check(scratch_dir, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "enabled is never"));
    fake_root_put(ONE_SIZE, "always [inherit] madvise never\n");
    assert_int_equal(mst_huge_check(scratch_dir, &err), -ENOTSUP);
    fake_root_put(ONE_SIZE, "always inherit [madvise] never\n");
    assert_int_equal(mst_huge_check(scratch_dir, &err), 0);
    fake_root_put(ALL_SIZES, "[always] madvise never\n");
    fake_root_put(ONE_SIZE, "always inherit madvise [never]\n");
    assert_int_equal(mst_huge_check(scratch_dir, &err), -ENOTSUP);
}

static void check_asks_the_kernel(void **state)
{
    (void)state;
    struct mst_err err = {0};
    refused_advice = MADV_HUGEPAGE;
    refusal = EINVAL;
    assert_int_equal(mst_huge_check(scratch_dir, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "madvise: "));
    uint8_t *base = mst_huge_map(1);
    assert_non_null(base);
    mst_huge_unmap(base, 1);
    refused_advice = -1;
    assert_int_equal(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
    assert_int_equal(mst_huge_check(scratch_dir, &err), -ENOTSUP);
    assert_int_equal(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
    no_memory = true;
    assert_int_equal(mst_huge_check(scratch_dir, &err), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(buffers_are_whole_huge_pages_of_zeros),
        CASE(an_end_goes_back),
        CASE(too_much_is_no_memory),
        CASE(populate_keeps_what_is_there),
        CASE(populate_asks_for_whole_huge_pages),
        CASE(ask_is_for_whole_huge_pages),
        CASE(check_reads_the_switches),
        CASE(check_asks_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

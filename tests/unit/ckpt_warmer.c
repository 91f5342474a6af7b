#include "muster/ckpt/warmer.h"

#include "muster/core/huge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_there(const uint8_t *page)
{
    unsigned char there = 0;
    assert_int_equal(mincore((void *)(uintptr_t)page, 1, &there), 0);
    return there & 1;
}

/* Two huge pages with an empty tensor between them: pages come in order, as far as it is told, and
 * what was written there stays. */
static void test_as_far_as_told(void **state)
{
    (void)state;
    uint8_t *a = mst_huge_map(MST_HUGE_BYTES), *b = mst_huge_map(MST_HUGE_BYTES);
    assert_true(a && b);
    assert_int_equal(madvise(a, MST_HUGE_BYTES, MADV_NOHUGEPAGE), 0);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const struct mst_tensor tensors[] = {{.name = "a", .data = {a, 4 * page, MST_MEM_HOST}},
                                         {.name = "empty"},
                                         {.name = "b", .data = {b, 2 * page, MST_MEM_HOST}}};
    const struct state all = {.tensors = tensors, .tensor_count = 3};
    struct warmer warmer = {.state = &all};
    a[page] = 7;
    warmer_go_on(&warmer, 0);
    assert_false(is_there(a));
    warmer_go_on(&warmer, 3 * page - 1);
    assert_true(is_there(a) && is_there(a + 2 * page));
    assert_false(is_there(a + 3 * page) || is_there(b));
    warmer_go_on(&warmer, page + 1);
    assert_true(is_there(a + 3 * page));
    assert_false(is_there(b));
    warmer_go_on(&warmer, page);
    assert_true(is_there(b));
    warmer_go_on(&warmer, 1000 * page);
    warmer_go_on(&warmer, 1);
    assert_true(is_there(b + page));
    assert_int_equal(a[page], 7);
    mst_huge_unmap(a, MST_HUGE_BYTES);
    mst_huge_unmap(b, MST_HUGE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_far_as_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

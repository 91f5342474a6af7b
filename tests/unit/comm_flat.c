/* How vectors are cut. What flat collectives compute is comm_conformance's. */
#include "muster/comm/flat.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Stripes follow one another, cover everything, and start at cache lines. */
static void check_cut(size_t count, uint32_t owners, size_t elem_size)
{
    struct stripes stripes = stripes_cut(count, owners, elem_size);
    size_t at = 0;
    for (uint32_t k = 0; k < owners; k++) {
        size_t len = stripes_len(&stripes, k);
        assert_int_equal(stripes_start(&stripes, k), at);
        assert_true(len == 0 || at * elem_size % 64 == 0);
        at += len;
    }
    assert_int_equal(at, count);
    assert_int_equal(stripes_len(&stripes, owners), 0);
}

static void cuts_cover_everything_once(void **state)
{
    (void)state;
    static const size_t elem_sizes[] = {1, 2, 4, 8};
    for (size_t s = 0; s < 4; s++)
        for (uint32_t owners = 1; owners <= 17; owners++)
            for (size_t count = 0; count < 600; count += 7)
                check_cut(count, owners, elem_sizes[s]);
}

static void stripes_may_be_placed_anywhere(void **state)
{
    (void)state;
    static const uint32_t place[] = {3, 0};
    struct stripes stripes = {
        .count = 40, .stride = 10, .owners = 2, .elem_size = 4, .place = place};
    assert_int_equal(stripes_start(&stripes, 0), 30);
    assert_int_equal(stripes_start(&stripes, 1), 0);
    assert_int_equal(stripes_len(&stripes, 0), 10);
    assert_int_equal(stripes_len(&stripes, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_cover_everything_once),
        cmocka_unit_test(stripes_may_be_placed_anywhere),
    };
    return cmocka_run_group_tests_name("comm_flat", tests, NULL, NULL);
}

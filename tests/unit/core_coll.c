#include "muster/core/coll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void each_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MST_COLL_COUNT; i++) {
        assert_true(strlen(mst_coll_name((enum mst_coll)i)) > 1);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(mst_coll_name((enum mst_coll)i),
                                    mst_coll_name((enum mst_coll)j));
    }
    for (unsigned i = 0; i < MST_OP_COUNT; i++)
        assert_true(strlen(mst_op_name((enum mst_op)i)) == 3);
}

static void numbers_are_sent_and_fixed(void **state)
{
    (void)state;
    assert_string_equal(mst_coll_name((enum mst_coll)0), "allreduce");
    assert_string_equal(mst_coll_name((enum mst_coll)3), "reduce_scatter");
    assert_string_equal(mst_coll_name((enum mst_coll)4), "barrier");
    assert_string_equal(mst_op_name((enum mst_op)0), "sum");
    assert_string_equal(mst_op_name((enum mst_op)3), "avg");
}

static void what_is_none_is_a_question_mark(void **state)
{
    (void)state;
    assert_string_equal(mst_coll_name(MST_COLL_COUNT), "?");
    assert_string_equal(mst_coll_name((enum mst_coll)255), "?");
    assert_string_equal(mst_op_name((enum mst_op)255), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_a_name_of_its_own),
        cmocka_unit_test(numbers_are_sent_and_fixed),
        cmocka_unit_test(what_is_none_is_a_question_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

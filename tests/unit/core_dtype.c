#include "muster/core/dtype.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void names_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MST_DTYPE_COUNT; i++) {
        enum mst_dtype dtype = MST_DTYPE_COUNT;
        assert_int_equal(mst_dtype_parse(mst_dtype_name((enum mst_dtype)i), &dtype), 0);
        assert_int_equal(dtype, i);
    }
}

static void sizes_are_the_types_own(void **state)
{
    (void)state;
    assert_int_equal(mst_dtype_size(MST_I8), 1);
    assert_int_equal(mst_dtype_size(MST_U16), 2);
    assert_int_equal(mst_dtype_size(MST_BF16), 2);
    assert_int_equal(mst_dtype_size(MST_F32), sizeof(float));
    assert_int_equal(mst_dtype_size(MST_F64), sizeof(double));
    assert_int_equal(mst_dtype_size(MST_F8E5M2), 1);
}

static void numbers_are_stored_and_fixed(void **state)
{
    (void)state;
    assert_string_equal(mst_dtype_name((enum mst_dtype)0), "i8");
    assert_string_equal(mst_dtype_name((enum mst_dtype)9), "bf16");
    assert_string_equal(mst_dtype_name((enum mst_dtype)13), "f8e5m2");
}

static void refuses_what_is_no_type(void **state)
{
    (void)state;
    enum mst_dtype dtype = MST_F16;
    assert_int_equal(mst_dtype_parse("float", &dtype), -EINVAL);
    assert_int_equal(mst_dtype_parse("", &dtype), -EINVAL);
    assert_int_equal(dtype, MST_F16);
    assert_int_equal(mst_dtype_size(MST_DTYPE_COUNT), 0);
    assert_string_equal(mst_dtype_name((enum mst_dtype)200), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(sizes_are_the_types_own),
        cmocka_unit_test(numbers_are_stored_and_fixed),
        cmocka_unit_test(refuses_what_is_no_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

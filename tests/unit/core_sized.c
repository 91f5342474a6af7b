/* Structs that grow: programs built against other headers than the library's, older and newer. */
#include "muster/core/sized.h"

#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct known {
    uint32_t struct_bytes;
    uint32_t count;
    uint64_t budget;
};

struct older {
    uint32_t struct_bytes;
    uint32_t count;
};

struct newer {
    struct known base;
    uint32_t flags;
    uint32_t spare;
};

#define KNOWN_INIT "MST_KNOWN_INIT"

static int take(struct known *ret_known, const void *given, struct mst_err *err)
{
    memset(ret_known, 0xee, sizeof *ret_known);
    return mst_sized_take(ret_known, sizeof *ret_known, given, KNOWN_INIT, err);
}

static void nothing_given_is_all_defaults(void **state)
{
    (void)state;
    struct known known;
    assert_int_equal(take(&known, NULL, NULL), 0);
    assert_int_equal(known.struct_bytes, sizeof known);
    assert_int_equal(known.count, 0);
    assert_int_equal(known.budget, 0);
}

static void an_older_program_sets_what_it_knows(void **state)
{
    (void)state;
    struct older given = {.struct_bytes = sizeof given, .count = 7};
    struct known known;
    assert_int_equal(take(&known, &given, NULL), 0);
    assert_int_equal(known.count, 7);
    assert_int_equal(known.budget, 0);
}

static void a_newer_program_is_understood_if_it_asks_for_nothing_new(void **state)
{
    (void)state;
    struct newer given = {.base = {.struct_bytes = sizeof given, .count = 7, .budget = 9}};
    struct known known;
    assert_int_equal(take(&known, &given, NULL), 0);
    assert_int_equal(known.struct_bytes, sizeof known);
    assert_int_equal(known.count, 7);
    assert_int_equal(known.budget, 9);
    given.spare = 1;
    struct mst_err err = {0};
    assert_int_equal(take(&known, &given, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "byte 16"));
    assert_int_equal(known.count, 0xeeeeeeee); /* untouched */
}

static void a_size_that_was_not_set_names_the_macro(void **state)
{
    (void)state;
    struct known known, given = {0};
    const uint32_t wrong[] = {0, 3, 4, 12, 15, 17, 65537, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        given.struct_bytes = wrong[i];
        struct mst_err err = {0};
        assert_int_equal(take(&known, &given, &err), -EINVAL);
        assert_non_null(strstr(err.text, KNOWN_INIT));
    }
}

static void results_go_as_far_as_the_program_knows(void **state)
{
    (void)state;
    const struct known known = {.struct_bytes = sizeof known, .count = 7, .budget = 9};
    struct older older[2] = {{.struct_bytes = sizeof older[0]}, {.count = 1}};
    assert_int_equal(mst_sized_give(&older[0], &known, sizeof known), 0);
    assert_int_equal(older[0].struct_bytes, sizeof older[0]);
    assert_int_equal(older[0].count, 7);
    assert_int_equal(older[1].count, 1); /* nothing behind its end */
    struct newer newer = {.base = {.struct_bytes = sizeof newer}, .flags = 5, .spare = 5};
    assert_int_equal(mst_sized_give(&newer, &known, sizeof known), 0);
    assert_int_equal(newer.base.struct_bytes, sizeof newer);
    assert_int_equal(newer.base.budget, 9);
    assert_int_equal(newer.flags, 0);
    assert_int_equal(newer.spare, 0);
    struct known unset = {0};
    assert_int_equal(mst_sized_give(&unset, &known, sizeof known), -EINVAL);
    assert_int_equal(unset.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_given_is_all_defaults),
        cmocka_unit_test(an_older_program_sets_what_it_knows),
        cmocka_unit_test(a_newer_program_is_understood_if_it_asks_for_nothing_new),
        cmocka_unit_test(a_size_that_was_not_set_names_the_macro),
        cmocka_unit_test(results_go_as_far_as_the_program_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

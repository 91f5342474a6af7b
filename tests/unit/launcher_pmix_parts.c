#include "muster/launcher/pmix/parts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const uint16_t sizes[] = {2, 1, 3};
static const struct parts_layout layout = {sizes, 3};

static void a_rank_has_its_node(void **state)
{
    (void)state;
    static const uint32_t nodes[] = {0, 0, 1, 2, 2, 2, 3};
    for (uint32_t rank = 0; rank < 7; rank++)
        assert_int_equal(parts_node_of(&layout, rank), nodes[rank]);
    assert_int_equal(parts_node_of(&layout, UINT32_MAX), 3);
}

static void each_node_of_a_set_has_its_place(void **state)
{
    (void)state;
    static const struct {
        uint32_t ranks[6], count;
        int index[3]; /* of each node; -1: it has none of the set */
        uint32_t nodes;
    } cases[] = {{{0, 1, 2, 3, 4, 5}, 6, {0, 1, 2}, 3},
                 {{5, 0}, 2, {0, -1, 1}, 2},
                 {{2, 2, 2}, 3, {-1, 0, -1}, 1},
                 {{4, 3, 4, 5}, 4, {-1, -1, 0}, 1},
                 {{3, 2}, 2, {-1, 0, 1}, 2},
                 {{1}, 1, {0, -1, -1}, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (uint32_t node = 0; node < 3; node++) {
            struct parts parts = {0};
            uint32_t ranks[6];
            for (uint32_t k = 0; k < 6; k++)
                ranks[k] = cases[i].ranks[k];
            int rc = parts_find(&layout, node, ranks, cases[i].count, &parts);
            assert_int_equal(rc, cases[i].index[node] < 0 ? -ENOENT : 0);
            if (rc)
                continue;
            assert_int_equal(parts.index, cases[i].index[node]);
            assert_int_equal(parts.count, cases[i].nodes);
        }
    }
}

static uint64_t name_of(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t ranks[] = {a, b, c};
    struct parts parts;
    assert_int_equal(parts_find(&layout, 0, ranks, 3, &parts), 0);
    return parts.name;
}

static void the_order_is_not_the_sets_name(void **state)
{
    (void)state;
    assert_true(name_of(0, 3, 5) == name_of(5, 0, 3));
    assert_true(name_of(0, 3, 3) == name_of(3, 0, 0));
    assert_true(name_of(0, 3, 5) != name_of(0, 3, 4));
    assert_true(name_of(0, 1, 2) != name_of(0, 0, 2));
    assert_true(name_of(0, 0, 0) != 0); /* which is the name of all */
}

static void whom_there_is_not_is_refused(void **state)
{
    (void)state;
    uint32_t ranks[] = {0, 6};
    struct parts parts;
    assert_int_equal(parts_find(&layout, 0, ranks, 2, &parts), -EINVAL);
    assert_int_equal(parts_find(&layout, 0, ranks, 0, &parts), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_has_its_node),
        cmocka_unit_test(each_node_of_a_set_has_its_place),
        cmocka_unit_test(the_order_is_not_the_sets_name),
        cmocka_unit_test(whom_there_is_not_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

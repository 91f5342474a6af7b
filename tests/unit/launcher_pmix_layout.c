#include "muster/launcher/pmix/layout.h"

#include "failing_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(char *text, const char *wanted)
{
    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

static void ranks_are_counted_node_by_node(void **state)
{
    (void)state;
    const struct layout_node nodes[] = {{"a", 3}, {"b", 1}, {"c", 2}};
    expect(layout_names(nodes, 3), "a,b,c");
    expect(layout_ranks(nodes, 3), "0,1,2;3;4,5");
    expect(layout_peers(3, 1), "3");
    expect(layout_peers(4, 2), "4,5");
    expect(layout_names(nodes, 1), "a");
    expect(layout_ranks(nodes, 1), "0,1,2");
}

static void long_names_and_numbers_have_room(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    struct layout_node nodes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        memset(nodes[i].name, 'x', LAYOUT_NAME_BYTES - 1);
        nodes[i].name[LAYOUT_NAME_BYTES - 1] = '\0';
        nodes[i].size = 1024;
    }
    char *names = layout_names(nodes, COUNT), *ranks = layout_ranks(nodes, COUNT);
    assert_int_equal(strlen(names), COUNT * LAYOUT_NAME_BYTES - 1);
    assert_string_equal(strrchr(ranks, ','), ",40959");
    char *peers = layout_peers(UINT32_MAX - 2, 2);
    assert_string_equal(peers, "4294967293,4294967294");
    free(names);
    free(ranks);
    free(peers);
}

static void nodes_of_one_name_are_told_apart(void **state)
{
    (void)state;
    struct layout_node nodes[] = {{"vm", 1}, {"other", 1}, {"vm", 1}};
    layout_tell_apart(nodes, 3);
    expect(layout_names(nodes, 3), "vm-0,other-1,vm-2");
    struct layout_node distinct[] = {{"vm", 1}, {"vm-0", 1}};
    layout_tell_apart(distinct, 2);
    expect(layout_names(distinct, 2), "vm,vm-0");
}

static void long_names_are_told_apart_by_their_ends(void **state)
{
    (void)state;
    struct layout_node nodes[2] = {{.size = 1}, {.size = 1}};
    for (size_t i = 0; i < 2; i++)
        memset(nodes[i].name, 'x', LAYOUT_NAME_BYTES - 1);
    layout_tell_apart(nodes, 2);
    assert_string_not_equal(nodes[0].name, nodes[1].name);
    assert_string_equal(strrchr(nodes[1].name, '-'), "-1");
}

static void memory_may_run_out(void **state)
{
    (void)state;
    const struct layout_node node = {"a", 1};
    fail_allocations_after(0);
    char *names = layout_names(&node, 1), *ranks = layout_ranks(&node, 1);
    char *peers = layout_peers(0, 1);
    allow_allocations();
    assert_null(names);
    assert_null(ranks);
    assert_null(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_counted_node_by_node),
        cmocka_unit_test(long_names_and_numbers_have_room),
        cmocka_unit_test(nodes_of_one_name_are_told_apart),
        cmocka_unit_test(long_names_are_told_apart_by_their_ends),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

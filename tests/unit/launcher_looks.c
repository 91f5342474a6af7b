#include "muster/launcher/node_own.h"

#include "muster/core/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A node of no rank that lives, but for what the tests say. */
static void begin(struct node *node)
{
    *node = (struct node){.stop_step = MST_PAGE_NO_STEP, .late = {.look_ns = MST_NEVER}};
    node->ranks.alive = 1;
    hung_init(&node->hung);
}

static uint64_t look_in(enum super_state state, struct node *node)
{
    node->super.state = state;
    node_look(node, 100);
    return node->hung.look_ns;
}

static void who_is_to_leave_is_looked_at(void **state)
{
    (void)state;
    static struct node node;
    static const enum super_state leaving[] = {SUPER_LEAVING, SUPER_TERMINATING, SUPER_KILLING,
                                               SUPER_STUCK};
    for (size_t i = 0; i < sizeof leaving / sizeof leaving[0]; i++) {
        begin(&node);
        assert_true(look_in(SUPER_RUNNING, &node) == MST_NEVER);
        assert_true(look_in(leaving[i], &node) == 100 + HUNG_EVERY_NS);
        node.ranks.alive = 0;
        assert_true(look_in(leaving[i], &node) == MST_NEVER);
    }
}

static void who_is_drained_is_told_to_leave(void **state)
{
    (void)state;
    static struct node node;
    begin(&node);
    node.stopping = true; /* no step is agreed on yet */
    assert_true(look_in(SUPER_RUNNING, &node) == MST_NEVER);
    node.stop_step = 7;
    assert_true(look_in(SUPER_RUNNING, &node) == 100 + HUNG_EVERY_NS);
    begin(&node);
    node.forwarded = true;
    assert_true(look_in(SUPER_RUNNING, &node) == 100 + HUNG_EVERY_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_to_leave_is_looked_at),
        cmocka_unit_test(who_is_drained_is_told_to_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

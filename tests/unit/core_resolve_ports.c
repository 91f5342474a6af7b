#include "muster/core/resolve/ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void all_lie_in_the_range_and_differ(void **state)
{
    (void)state;
    for (uint32_t job = 0; job < 20000; job++) {
        char name[16];
        uint16_t ports[MST_PORTS_COUNT];
        snprintf(name, sizeof name, "%u", job);
        mst_ports_derive(name, ports);
        for (uint32_t i = 0; i < MST_PORTS_COUNT; i++) {
            assert_in_range(ports[i], MST_PORTS_FIRST, MST_PORTS_LAST);
            for (uint32_t k = 0; k < i; k++)
                assert_int_not_equal(ports[i], ports[k]);
        }
    }
}

/* Both sides, of any build, look at the same doors. */
static void a_name_always_means_the_same(void **state)
{
    (void)state;
    uint16_t first[MST_PORTS_COUNT], second[MST_PORTS_COUNT];
    mst_ports_derive("4711_3", first);
    mst_ports_derive("4711_3", second);
    assert_memory_equal(first, second, sizeof first);
    mst_ports_derive("4711_4", second);
    assert_int_not_equal(first[0], second[0]);
}

/* The tasks of an array have names that hardly differ. */
static void neighbours_are_spread(void **state)
{
    (void)state;
    static uint8_t taken[MST_PORTS_LAST + 1];
    uint32_t clashes = 0;
    for (uint32_t task = 0; task < 1000; task++) {
        char name[24];
        uint16_t ports[MST_PORTS_COUNT];
        snprintf(name, sizeof name, "4711_%u", task);
        mst_ports_derive(name, ports);
        clashes += taken[ports[0]]++ > 0;
    }
    assert_true(clashes < 100); /* 53 in the mean */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_lie_in_the_range_and_differ),
        cmocka_unit_test(a_name_always_means_the_same),
        cmocka_unit_test(neighbours_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

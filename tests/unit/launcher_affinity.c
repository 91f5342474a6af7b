#include "muster/launcher/affinity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Every core of `allowed` belongs to one rank, and no rank has two more than another. */
static void check_shares(const cpu_set_t *allowed, uint32_t local_size)
{
    int least = CPU_SETSIZE, most = 0;
    cpu_set_t all, share, both;
    CPU_ZERO(&all);
    for (uint32_t rank = 0; rank < local_size; rank++) {
        assert_true(affinity_share(allowed, rank, local_size, &share));
        CPU_AND(&both, &all, &share);
        assert_int_equal(CPU_COUNT(&both), 0);
        CPU_OR(&all, &all, &share);
        least = CPU_COUNT(&share) < least ? CPU_COUNT(&share) : least;
        most = CPU_COUNT(&share) > most ? CPU_COUNT(&share) : most;
    }
    assert_true(CPU_EQUAL(&all, allowed));
    assert_in_range(most - least, 0, 1);
    assert_true(least >= 1);
}

static void shares_cover_the_allowed_cores(void **state)
{
    (void)state;
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    for (size_t cpu = 0, count = 0; count < 17; cpu += cpu % 3 + 1) {
        CPU_SET(cpu, &allowed);
        count++;
        for (uint32_t local_size = 1; local_size <= count; local_size++)
            check_shares(&allowed, local_size);
    }
}

static void more_ranks_than_cores_are_not_bound(void **state)
{
    (void)state;
    cpu_set_t allowed, share;
    CPU_ZERO(&allowed);
    CPU_SET(5, &allowed);
    CPU_SET(9, &allowed);
    CPU_ZERO(&share);
    assert_false(affinity_share(&allowed, 0, 3, &share));
    assert_int_equal(CPU_COUNT(&share), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_cover_the_allowed_cores),
        cmocka_unit_test(more_ranks_than_cores_are_not_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

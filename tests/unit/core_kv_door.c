#include "muster/core/kv/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void who_waits_longest_of_the_fullest_address_makes_room(void **state)
{
    (void)state;
    struct mst_door door = {0};
    struct mst_guest guests[6];
    const uint32_t addresses[6] = {1, 2, 3, 2, 2 + MST_DOOR_BUCKETS, 1};
    assert_null(mst_door_victim(&door));
    for (uint32_t i = 0; i < 6; i++)
        mst_door_enter(&door, &guests[i], addresses[i], 10 + i);
    assert_int_equal(door.count, 6);
    assert_ptr_equal(mst_door_victim(&door), &guests[1]);
    mst_door_leave(&door, &guests[1]);
    mst_door_leave(&door, &guests[4]);
    assert_ptr_equal(mst_door_victim(&door), &guests[0]); /* two of address 1 are left */
    mst_door_leave(&door, &guests[0]);
    mst_door_leave(&door, &guests[5]);
    mst_door_leave(&door, &guests[3]);
    assert_ptr_equal(mst_door_victim(&door), &guests[2]);
    mst_door_leave(&door, &guests[2]);
    assert_null(mst_door_victim(&door));
    assert_null(door.first);
    assert_null(door.last);
    assert_int_equal(door.count, 0);
}

static void they_stand_in_the_order_in_which_they_came(void **state)
{
    (void)state;
    struct mst_door door = {0};
    struct mst_guest guests[4];
    for (uint32_t i = 0; i < 4; i++)
        mst_door_enter(&door, &guests[i], i, 7);
    mst_door_leave(&door, &guests[2]);
    const size_t order[] = {0, 1, 3};
    struct mst_guest *at = door.first;
    for (size_t i = 0; i < 3; i++, at = at->later)
        assert_ptr_equal(at, &guests[order[i]]);
    assert_null(at);
    mst_door_leave(&door, &guests[0]);
    mst_door_leave(&door, &guests[3]);
    assert_ptr_equal(door.first, &guests[1]);
    assert_ptr_equal(door.last, &guests[1]);
}

static void who_does_a_step_waits_anew(void **state)
{
    (void)state;
    struct mst_door door = {0};
    struct mst_guest guests[3];
    for (uint32_t i = 0; i < 3; i++)
        mst_door_enter(&door, &guests[i], 5, 10 + i);
    mst_door_come_again(&door, &guests[0], 20);
    assert_ptr_equal(mst_door_victim(&door), &guests[1]);
    assert_ptr_equal(door.last, &guests[0]);
    assert_int_equal(guests[0].since_ns, 20);
    assert_int_equal(door.count, 3);
    assert_int_equal(door.counts[5], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_longest_of_the_fullest_address_makes_room),
        cmocka_unit_test(they_stand_in_the_order_in_which_they_came),
        cmocka_unit_test(who_does_a_step_waits_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

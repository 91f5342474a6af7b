#include "muster/core/kv/slots.h"

#include "failing_memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_number_names_one_item_for_ever(void **state)
{
    (void)state;
    struct kv_slots slots;
    int items[200];
    uint64_t ids[200], again;
    kv_slots_init(&slots);
    assert_null(kv_slots_find(&slots, 0));
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(kv_slots_add(&slots, &items[i], &ids[i]), 0);
        assert_true(ids[i] > 0);
    }
    assert_int_equal(slots.used, 200);
    for (size_t i = 0; i < 200; i++)
        assert_ptr_equal(kv_slots_find(&slots, ids[i]), &items[i]);
    kv_slots_remove(&slots, ids[7]);
    assert_null(kv_slots_find(&slots, ids[7]));
    assert_int_equal(kv_slots_add(&slots, &items[0], &again), 0);
    assert_int_equal(again % KV_SLOTS_MAX, ids[7] % KV_SLOTS_MAX); /* the place is used again */
    assert_null(kv_slots_find(&slots, ids[7]));
    assert_ptr_equal(kv_slots_find(&slots, again), &items[0]);
    assert_null(kv_slots_find(&slots, again + KV_SLOTS_MAX));
    assert_null(kv_slots_find(&slots, KV_SLOTS_MAX - 1));
    kv_slots_fini(&slots);
    assert_null(kv_slots_find(&slots, ids[3]));
}

static void all_items_can_be_looked_at(void **state)
{
    (void)state;
    struct kv_slots slots;
    int items[100], seen = 0;
    uint64_t ids[100];
    kv_slots_init(&slots);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(kv_slots_add(&slots, &items[i], &ids[i]), 0);
    for (size_t i = 0; i < 100; i += 2)
        kv_slots_remove(&slots, ids[i]);
    for (uint32_t i = 0; i < slots.count; i++)
        seen += kv_slots_at(&slots, i) != NULL;
    assert_int_equal(seen, 50);
    assert_int_equal(slots.used, 50);
    kv_slots_fini(&slots);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    struct kv_slots slots;
    int item;
    uint64_t id = 5;
    kv_slots_init(&slots);
    fail_allocations_after(0);
    assert_int_equal(kv_slots_add(&slots, &item, &id), -ENOMEM);
    allow_allocations();
    assert_int_equal(id, 5);
    assert_int_equal(slots.used, 0);
    assert_int_equal(kv_slots_add(&slots, &item, &id), 0);
    kv_slots_fini(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_names_one_item_for_ever),
        cmocka_unit_test(all_items_can_be_looked_at),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

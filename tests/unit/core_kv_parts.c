#include "muster/core/kv/parts.h"

#include "failing_memory.h"

#include "muster/core/kv/kv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES(text) (const uint8_t *)(text), strlen(text)

static void parts_come_in_any_order(void **state)
{
    (void)state;
    struct kv_parts *parts = kv_parts_create(4);
    assert_non_null(parts);
    assert_int_equal(kv_parts_add(parts, 2, BYTES("two")), 0);
    assert_int_equal(kv_parts_add(parts, 0, BYTES("zero")), 0);
    assert_int_equal(kv_parts_missing(parts), 2);
    assert_int_equal(kv_parts_add(parts, 2, BYTES("two")), 0);
    assert_int_equal(kv_parts_add(parts, 2, BYTES("tw")), -EEXIST);
    assert_int_equal(kv_parts_add(parts, 2, BYTES("TWO")), -EEXIST);
    assert_int_equal(kv_parts_add(parts, 3, NULL, 0), 0);
    assert_int_equal(kv_parts_add(parts, 3, NULL, 0), 0); /* again */
    assert_int_equal(kv_parts_missing(parts), 1);
    assert_int_equal(kv_parts_packed_bytes(parts), 4 * 4 + 7);
    assert_int_equal(kv_parts_bytes(parts), kv_parts_bytes_of(4) + 7);
    uint8_t packed[64];
    struct mst_cspan spans[4];
    kv_parts_pack(parts, packed);
    assert_int_equal(kv_parts_unpack(packed, 23, 4, spans), 0);
    assert_int_equal(spans[0].size_bytes, 4);
    assert_memory_equal(spans[0].data, "zero", 4);
    assert_null(spans[1].data);
    assert_memory_equal(spans[2].data, "two", 3);
    assert_non_null(spans[3].data); /* empty is not absent */
    assert_int_equal(spans[3].size_bytes, 0);
    kv_parts_remove(parts, 0);
    assert_int_equal(kv_parts_missing(parts), 2);
    assert_int_equal(kv_parts_packed_bytes(parts), 4 * 4 + 3);
    kv_parts_destroy(parts);
    kv_parts_destroy(NULL);
}

static void a_part_of_the_whole_is_known(void **state)
{
    (void)state;
    struct kv_parts *parts = kv_parts_create(2);
    assert_non_null(parts);
    assert_int_equal(kv_parts_add(parts, 0, BYTES("a")), 0);
    assert_int_equal(kv_parts_add(parts, 1, BYTES("b")), 0);
    uint8_t packed[10];
    kv_parts_pack(parts, packed);
    struct kv_request request = {
        .index = 1, .count = 2, .value = (const uint8_t *)"b", .value_bytes = 1};
    assert_int_equal(kv_parts_compare(packed, sizeof packed, &request), 0);
    request.index = 0;
    assert_int_equal(kv_parts_compare(packed, sizeof packed, &request), -EEXIST);
    request.value_bytes = 0;
    assert_int_equal(kv_parts_compare(packed, sizeof packed, &request), -EEXIST);
    request.count = 3;
    assert_int_equal(kv_parts_compare(packed, sizeof packed, &request), -EINVAL);
    fail_allocations_after(0);
    assert_int_equal(kv_parts_compare(packed, sizeof packed, &request), -ENOMEM);
    allow_allocations();
    kv_parts_destroy(parts);
}

static void all_together_have_a_limit(void **state)
{
    (void)state;
    struct kv_parts *parts = kv_parts_create(2);
    uint8_t *bytes = calloc(1, MST_KV_VALUE_MAX);
    assert_non_null(parts);
    assert_non_null(bytes);
    assert_int_equal(kv_parts_add(parts, 0, bytes, MST_KV_VALUE_MAX - 7), -ENOSPC);
    assert_int_equal(kv_parts_add(parts, 0, bytes, MST_KV_VALUE_MAX - 8), 0);
    assert_int_equal(kv_parts_add(parts, 1, bytes, 1), -ENOSPC);
    assert_int_equal(kv_parts_add(parts, 1, bytes, 0), 0);
    free(bytes);
    kv_parts_destroy(parts);
}

static void cut_and_forged_bytes_are_refused(void **state)
{
    (void)state;
    static const uint8_t good[] = {2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'a', 'b'};
    struct mst_cspan spans[3];
    assert_int_equal(kv_parts_unpack(good, sizeof good, 2, spans), 0);
    for (size_t size = 0; size < sizeof good; size++)
        assert_int_equal(kv_parts_unpack(good, size, 2, spans), -EBADMSG);
    assert_int_equal(kv_parts_unpack(good, sizeof good, 1, spans), -EBADMSG);
    assert_int_equal(kv_parts_unpack(good, sizeof good, 3, spans), -EBADMSG);
}

static void without_memory_nothing_is_added(void **state)
{
    (void)state;
    fail_allocations_after(0);
    assert_null(kv_parts_create(3));
    allow_allocations();
    struct kv_parts *parts = kv_parts_create(3);
    fail_allocations_after(0);
    assert_int_equal(kv_parts_add(parts, 1, BYTES("x")), -ENOMEM);
    allow_allocations();
    assert_int_equal(kv_parts_missing(parts), 3);
    kv_parts_destroy(parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_in_any_order),
        cmocka_unit_test(a_part_of_the_whole_is_known),
        cmocka_unit_test(all_together_have_a_limit),
        cmocka_unit_test(cut_and_forged_bytes_are_refused),
        cmocka_unit_test(without_memory_nothing_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

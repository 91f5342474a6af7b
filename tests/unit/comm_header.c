#include "muster/comm/header.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct header example = {.generation = 3,
                                      .comm_id = 2,
                                      .signature = 0xdeadbeef,
                                      .op_seq = UINT64_C(1) << 40,
                                      .kind = UINT64_C(0x0102030405060708),
                                      .count = 77,
                                      .part = 9,
                                      .size_bytes = UINT64_C(5) << 33};

static void a_header_survives_the_wire(void **state)
{
    (void)state;
    uint8_t bytes[HEADER_BYTES], again[HEADER_BYTES];
    struct header back;
    header_encode(&example, bytes);
    assert_int_equal(header_decode(bytes, &back), 0);
    header_encode(&back, again);
    assert_memory_equal(again, bytes, sizeof bytes);
    assert_true(back.op_seq == example.op_seq && back.size_bytes == example.size_bytes);
    assert_memory_equal(bytes, "1MCM\3\0\0\0\2\0\0\0\xef\xbe\xad\xde", 16);
}

static void failures_have_short_texts(void **state)
{
    (void)state;
    uint8_t bytes[HEADER_BYTES];
    struct header header = example, back = {0};
    header.code = -EPROTO;
    header.size_bytes = HEADER_TEXT_MAX;
    header_encode(&header, bytes);
    assert_int_equal(header_decode(bytes, &back), 0);
    assert_int_equal(back.code, -EPROTO);
    header.size_bytes = HEADER_TEXT_MAX + 1;
    header_encode(&header, bytes);
    assert_int_equal(header_decode(bytes, &back), -EPROTO);
}

static void nonsense_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    uint8_t bytes[HEADER_BYTES];
    struct header header = example, back = {.part = 123};
    header_encode(&header, bytes);
    bytes[0] ^= 1;
    assert_int_equal(header_decode(bytes, &back), -EPROTO);
    header.code = 1;
    header_encode(&header, bytes);
    assert_int_equal(header_decode(bytes, &back), -EPROTO);
    assert_int_equal(back.part, 123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_survives_the_wire),
        cmocka_unit_test(failures_have_short_texts),
        cmocka_unit_test(nonsense_is_refused_and_changes_nothing),
    };
    return cmocka_run_group_tests_name("comm_header", tests, NULL, NULL);
}

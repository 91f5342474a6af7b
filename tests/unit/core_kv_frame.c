#include "muster/core/kv/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct frame_head example = {.type = 7, .size_bytes = 0x123, .crc = 0xdeadbeef};
static const uint8_t example_bytes[MST_FRAME_HEADER_BYTES] = {
    'M', 'S', 'T', 'M', 7, 0, 0, 0, 0x23, 0x01, 0, 0, 0xef, 0xbe, 0xad, 0xde};

static void assert_refused(const uint8_t bytes[MST_FRAME_HEADER_BYTES], size_t payload_max)
{
    struct frame_head head = {.type = 99};
    assert_int_equal(frame_decode(bytes, payload_max, &head), -EBADMSG);
    assert_int_equal(head.type, 99);
}

static void is_little_endian(void **state)
{
    (void)state;
    uint8_t bytes[MST_FRAME_HEADER_BYTES];
    memset(bytes, 0xff, sizeof bytes);
    frame_encode(bytes, &example);
    assert_memory_equal(bytes, example_bytes, sizeof bytes);
    struct frame_head head;
    assert_int_equal(frame_decode(bytes, MST_FRAME_PAYLOAD_MAX, &head), 0);
    assert_int_equal(head.type, example.type);
    assert_int_equal(head.size_bytes, example.size_bytes);
    assert_int_equal(head.crc, example.crc);
}

/* The magic, the flags and the reserved field have one value each. */
static void refuses_every_other_bit(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 64; bit++) {
        uint8_t bytes[MST_FRAME_HEADER_BYTES];
        memcpy(bytes, example_bytes, sizeof bytes);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (bit / 8 != 4) /* any type is one */
            assert_refused(bytes, MST_FRAME_PAYLOAD_MAX);
    }
}

static void keeps_both_limits(void **state)
{
    (void)state;
    uint8_t bytes[MST_FRAME_HEADER_BYTES];
    struct frame_head head = {.size_bytes = MST_FRAME_PAYLOAD_MAX};
    frame_encode(bytes, &head);
    assert_int_equal(frame_decode(bytes, MST_FRAME_PAYLOAD_MAX, &head), 0);
    assert_refused(bytes, MST_FRAME_PAYLOAD_MAX - 1);
    head.size_bytes++;
    frame_encode(bytes, &head);
    assert_refused(bytes, SIZE_MAX);
    assert_int_equal(frame_decode(example_bytes, 0x123, &head), 0);
    assert_refused(example_bytes, 0x122);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_little_endian),
        cmocka_unit_test(refuses_every_other_bit),
        cmocka_unit_test(keeps_both_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

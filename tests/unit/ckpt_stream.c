#include "muster/ckpt/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KIB ((size_t)1 << 10)
#define ROOM (300 * KIB)

static uint8_t byte_of(size_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

static void expect_copy(uint8_t *to, const uint8_t *from, size_t to_at, size_t from_at, size_t size)
{
    memset(to, 0xee, ROOM);
    stream_copy(to + to_at, from + from_at, size);
    for (size_t i = 0; i < ROOM; i++) {
        bool inside = i >= to_at && i < to_at + size;
        uint8_t expected = inside ? byte_of(from_at + i - to_at) : 0xee;
        if (to[i] != expected) /* an assertion a byte takes too long */
            assert_int_equal(to[i], expected);
    }
}

/* Wherever the two lie in their lines, and whatever is left behind the last whole one. */
static void test_every_byte_and_no_other(void **state)
{
    static const size_t offsets[] = {0, 1, 15, 16, 63};
    static const size_t sizes[] = {0, 1, 1000, 256 * KIB - 1, 256 * KIB, 256 * KIB + 77};
    (void)state;
    uint8_t *from = malloc(ROOM), *to = malloc(ROOM);
    assert_true(from && to);
    for (size_t i = 0; i < ROOM; i++)
        from[i] = byte_of(i);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = 0; i < 5; i++)
            for (size_t j = 0; j < 5; j++)
                expect_copy(to, from, offsets[i], offsets[j], sizes[s]);
    free(from);
    free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_byte_and_no_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

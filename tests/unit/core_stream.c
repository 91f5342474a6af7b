#include "muster/core/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define KIB ((size_t)1 << 10)
#define ROOM (300 * KIB)
#define LINE 64

typedef void (*copy_fn)(void *to, const void *from, size_t size_bytes);

static uint8_t byte_of(size_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

/* In `room` bytes at either end. */
static void expect_copy(copy_fn copy, size_t room, size_t to_at, size_t from_at, size_t size)
{
    static uint8_t from[ROOM], to[ROOM];
    for (size_t i = 0; i < room; i++)
        from[i] = byte_of(i);
    memset(to, 0xee, room);
    copy(to + to_at, from + from_at, size);
    for (size_t i = 0; i < room; i++) {
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
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = 0; i < 5; i++)
            for (size_t j = 0; j < 5; j++)
                expect_copy(mst_stream_copy, ROOM, offsets[i], offsets[j], sizes[s]);
}

static void stream_lines(void *to, const void *from, size_t size_bytes)
{
    mst_stream_lines(to, from, size_bytes);
    mst_stream_finish();
}

/* Whole lines of it are streamed however little it is. */
static void test_lines_of_every_alignment_and_length(void **state)
{
    (void)state;
    for (size_t to_at = 0; to_at < LINE; to_at++)
        for (size_t size = 0; size <= 4 * LINE + 1; size++)
            expect_copy(stream_lines, 8 * LINE, to_at, (to_at * 3 + size) % LINE, size);
}

static void test_what_is_taken_is_the_same(void **state)
{
    static const size_t sizes[] = {0, 1, LINE, 2 * KIB, 2 * KIB + 1, 7 * KIB - 1, 64 * KIB};
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t at = 0; at < 4; at++)
            expect_copy(mst_stream_take, 80 * KIB, at * 3, at * 5, sizes[s]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_and_no_other),
        cmocka_unit_test(test_lines_of_every_alignment_and_length),
        cmocka_unit_test(test_what_is_taken_is_the_same),
    };
    return cmocka_run_group_tests_name("core_stream", tests, NULL, NULL);
}

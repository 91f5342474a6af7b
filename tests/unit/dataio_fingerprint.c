#include "muster/dataio/fingerprint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define BLOCK FINGERPRINT_BLOCK_BYTES

static void test_counts(void **state)
{
    (void)state;
    assert_int_equal(fingerprint_block_count(0, 1), 0);
    assert_int_equal(fingerprint_block_count(1, 1), 16 + 1);
    assert_int_equal(fingerprint_block_count(BLOCK + 1, 1), 16 + 2);
    assert_int_equal(fingerprint_block_count(UINT64_C(1) << 40, 1), 256);
    assert_int_equal(fingerprint_block_count(UINT64_C(1) << 40, 16), 256);
    assert_int_equal(fingerprint_block_count(UINT64_C(1) << 40, 64), 64);
    assert_int_equal(fingerprint_block_count(UINT64_C(1) << 40, 256), 16);
    assert_int_equal(fingerprint_block_count(UINT64_MAX, 65536), 16);
}

static void test_blocks_are_within_and_cover_the_ends(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1,
                                     4095,
                                     4096,
                                     4097,
                                     240u * BLOCK,
                                     240u * BLOCK + 1,
                                     50000000,
                                     UINT64_C(1) << 40,
                                     UINT64_C(1) << 62};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint32_t count = fingerprint_block_count(sizes[s], 1);
        bool first = false, last = false;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t offset = UINT64_MAX;
            size_t bytes = fingerprint_block(sizes[s], count, i, &offset);
            assert_in_range(bytes, 1, BLOCK);
            assert_true(offset <= sizes[s] - bytes);
            first = first || offset == 0;
            last = last || offset + bytes == sizes[s];
        }
        assert_true(first && last);
    }
}

static void test_small_sources_are_covered_whole(void **state)
{
    (void)state;
    assert_false(fingerprint_is_whole(240u * BLOCK + 1, 256));
    for (uint64_t size = 1; size <= 240u * BLOCK; size = size * 3 + 1) {
        uint8_t *seen = calloc(1, size);
        uint32_t count = fingerprint_block_count(size, 1);
        assert_true(fingerprint_is_whole(size, count));
        for (uint32_t i = 0; i < count; i++) {
            uint64_t offset;
            size_t bytes = fingerprint_block(size, count, i, &offset);
            memset(seen + offset, 1, bytes);
        }
        assert_null(memchr(seen, 0, size));
        free(seen);
    }
}

/* Whoever patches every file at the same place is seen in some of them. */
static void test_places_depend_on_the_size(void **state)
{
    (void)state;
    uint64_t size = 50000000, a, b;
    uint32_t moved = 0;
    for (uint32_t i = FINGERPRINT_EVEN_BLOCKS; i < FINGERPRINT_BLOCKS_MAX; i++) {
        (void)fingerprint_block(size, FINGERPRINT_BLOCKS_MAX, i, &a); /* its size is the most */
        (void)fingerprint_block(size + 1, FINGERPRINT_BLOCKS_MAX, i, &b);
        moved += a > b + BLOCK || b > a + BLOCK;
    }
    assert_in_range(moved, 200, 240);
}

static void test_what_counts(void **state)
{
    (void)state;
    uint32_t crcs[FINGERPRINT_BLOCKS_MAX] = {1, 2, 3};
    struct fingerprint a, b;
    fingerprint_init(&a, 9);
    fingerprint_add(&a, "x", 100000, crcs, 41);
    fingerprint_init(&b, 9);
    fingerprint_add(&b, "y", 100000, crcs, 41);
    assert_int_equal(a.sampled, b.sampled);
    assert_true(a.named != b.named);
    fingerprint_init(&b, 9);
    fingerprint_add(&b, "x", 100001, crcs, 41); /* as zeros at an end of zeros */
    assert_true(a.sampled != b.sampled && a.named != b.named);
    crcs[40] = 5; /* not one of the even blocks */
    fingerprint_init(&b, 9);
    fingerprint_add(&b, "x", 100000, crcs, 41);
    assert_true(a.sampled != b.sampled);
    assert_int_equal(a.named, b.named);
    fingerprint_init(&b, 8);
    fingerprint_add(&b, "x", 100000, crcs, 41);
    assert_true(a.sampled != b.sampled && a.named != b.named && a.full != b.full);
}

static void test_full_is_another_number(void **state)
{
    (void)state;
    struct fingerprint a, b;
    fingerprint_init(&a, 9);
    fingerprint_add_full(&a, 100, 1);
    fingerprint_add_full(&a, 50, 2);
    fingerprint_init(&b, 9);
    assert_true(b.full != b.sampled);
    fingerprint_add_full(&b, 50, 2);
    fingerprint_add_full(&b, 100, 1);
    assert_true(a.full != b.full);
    fingerprint_init(&b, 9);
    fingerprint_add_full(&b, 101, 1);
    fingerprint_add_full(&b, 50, 2);
    assert_true(a.full != b.full);
    assert_int_equal(a.sampled, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_blocks_are_within_and_cover_the_ends),
        cmocka_unit_test(test_small_sources_are_covered_whole),
        cmocka_unit_test(test_places_depend_on_the_size),
        cmocka_unit_test(test_what_counts),
        cmocka_unit_test(test_full_is_another_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

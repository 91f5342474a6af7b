#include "muster/core/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/rng.h"

static uint8_t data[10000];

static void fill_data(void)
{
    struct mst_rng rng;
    mst_rng_init(&rng, 11, 0);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)mst_rng_next(&rng);
}

/* Bit by bit, from the definition. */
static uint32_t by_definition(const uint8_t *bytes, size_t size)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0x82F63B78) : crc >> 1;
    }
    return ~crc;
}

/* The check value of the catalogue, and iSCSI's (RFC 3720, B.4). */
static void is_the_published_checksum(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32];
    memset(ones, 0xFF, sizeof ones);
    assert_int_equal(mst_crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(mst_crc32c(0, zeros, 32), 0x8A9136AA);
    assert_int_equal(mst_crc32c(0, ones, 32), 0x62A8AB43);
    assert_int_equal(mst_crc32c(0, NULL, 0), 0);
}

static void agrees_with_the_definition(void **state)
{
    (void)state;
    for (size_t size = 0; size < 300; size++)
        for (size_t shift = 0; shift < 3; shift++)
            assert_int_equal(mst_crc32c(0, data + shift, size), by_definition(data + shift, size));
}

/* By table, by instruction, and where one gives way to the other. */
static void is_the_same_without_the_library(void **state)
{
    (void)state;
    for (size_t size = 0; size < 2100; size++)
        assert_int_equal(mst_crc32c_short(0, data + size % 3, size),
                         mst_crc32c(0, data + size % 3, size));
    uint32_t a = mst_crc32c_short(0, data, 1501);
    assert_int_equal(mst_crc32c_short(a, data + 1501, sizeof data - 1501),
                     mst_crc32c(0, data, sizeof data));
}

static void continues(void **state)
{
    (void)state;
    uint32_t whole = mst_crc32c(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut += 97) {
        uint32_t a = mst_crc32c(0, data, cut);
        assert_int_equal(mst_crc32c(a, data + cut, sizeof data - cut), whole);
    }
}

static void sees_every_flipped_bit(void **state)
{
    (void)state;
    uint32_t before = mst_crc32c(0, data, 64);
    for (size_t bit = 0; bit < 64 * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(mst_crc32c(0, data, 64), before);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    fill_data();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_published_checksum),
        cmocka_unit_test(agrees_with_the_definition),
        cmocka_unit_test(is_the_same_without_the_library),
        cmocka_unit_test(continues),
        cmocka_unit_test(sees_every_flipped_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

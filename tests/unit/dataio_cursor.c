#include "muster/ckpt/ckpt.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/dataio/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static const struct cursor sample = {
    .version = CURSOR_VERSION,
    .fingerprint = {.sampled = 0x0123456789abcdef, .full = 0x1122334455667788},
    .place = 0xaabbccdd,
    .pin = 0x99eeff00,
    .shape = 0xfedcba9876543210,
    .seed = 42,
    .position = UINT64_MAX - 1,
    .sequential = true};

static void set_crc(uint8_t bytes[CURSOR_BYTES])
{
    uint32_t crc = mst_crc32c(0, bytes, 60);
    for (size_t i = 0; i < 4; i++)
        bytes[60 + i] = (uint8_t)(crc >> (8 * i));
}

static void test_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[CURSOR_BYTES];
    cursor_encode(&sample, bytes);
    struct cursor back = {0};
    assert_int_equal(cursor_decode(bytes, sizeof bytes, &back, NULL), 0);
    assert_int_equal(back.version, CURSOR_VERSION);
    assert_memory_equal(&back.fingerprint, &sample.fingerprint, sizeof back.fingerprint);
    assert_int_equal(back.place, sample.place);
    assert_int_equal(back.pin, sample.pin);
    assert_int_equal(back.shape, sample.shape);
    assert_int_equal(back.seed, sample.seed);
    assert_true(back.position == sample.position);
    assert_true(back.sequential);
}

/* What a save compares among ranks is before all that a rank may have for itself: where its copies
 * of the sources lie, and whether it has read all of them. */
static void test_alike_on_all_ranks(void **state)
{
    struct cursor other = sample;
    uint8_t bytes[CURSOR_BYTES], others[CURSOR_BYTES];
    (void)state;
    other.place++;
    other.pin++;
    other.fingerprint.full++;
    cursor_encode(&sample, bytes);
    cursor_encode(&other, others);
    assert_memory_equal(bytes, others, MST_CKPT_CURSOR_ALIKE);
    other = sample;
    other.sequential = false; /* the last that all have in common */
    cursor_encode(&other, others);
    assert_memory_not_equal(bytes, others, MST_CKPT_CURSOR_ALIKE);
}

/* The bytes are what checkpoints hold: they may never change. */
static void test_layout(void **state)
{
    (void)state;
    static const uint8_t head[] = {'M',  'S',  'C',  'U',  2,    0,    0,    0,
                                   0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
    uint8_t bytes[CURSOR_BYTES];
    cursor_encode(&sample, bytes);
    assert_memory_equal(bytes, head, sizeof head);
    assert_int_equal(bytes[24], 42);
    assert_int_equal(bytes[32], 0xfe);
    assert_int_equal(bytes[40], 1);
    static const uint8_t tail[] = {0,    0,    0,    0xdd, 0xcc, 0xbb, 0xaa, 0x00, 0xff, 0xee,
                                   0x99, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
    assert_memory_equal(bytes + 41, tail, sizeof tail);
}

/* As version 1 was written: its fingerprint is the one with the names. */
static void test_version_1_is_read(void **state)
{
    (void)state;
    uint8_t bytes[CURSOR_BYTES];
    cursor_encode(&sample, bytes);
    bytes[4] = 1;
    memset(bytes + 44, 0, 16);
    set_crc(bytes);
    struct cursor back = {0};
    assert_int_equal(cursor_decode(bytes, sizeof bytes, &back, NULL), 0);
    assert_int_equal(back.version, 1);
    assert_int_equal(back.fingerprint.named, sample.fingerprint.sampled);
    assert_int_equal(back.position, sample.position);
    struct cursor here = sample;
    here.fingerprint = (struct fingerprint){.sampled = 7, .named = 0x0123456789abcdef, .full = 8};
    assert_int_equal(cursor_match(&back, &here, NULL), 0);
    assert_null(cursor_doubt(&back, &here));
    here.fingerprint = sample.fingerprint;
    struct mst_err err = {0};
    assert_int_equal(cursor_match(&back, &here, &err), -EINVAL);
    assert_non_null(strstr(err.text, "version 1"));
    for (size_t at = 44; at < 60; at++) {
        bytes[at] = 1;
        set_crc(bytes);
        assert_int_equal(cursor_decode(bytes, sizeof bytes, &back, NULL), -EBADMSG);
        bytes[at] = 0;
    }
}

static void test_every_flipped_bit_and_size_is_refused(void **state)
{
    (void)state;
    struct cursor back = {.seed = 7};
    uint8_t bytes[CURSOR_BYTES + 1] = {0};
    cursor_encode(&sample, bytes);
    for (size_t bit = 0; bit < CURSOR_BYTES * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(cursor_decode(bytes, CURSOR_BYTES, &back, NULL), -EBADMSG);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = 0; size < CURSOR_BYTES + 2; size++)
        if (size != CURSOR_BYTES)
            assert_int_equal(cursor_decode(bytes, size, &back, NULL), -EBADMSG);
    assert_int_equal(back.seed, 7);
}

static void refuse_patched(size_t at, uint8_t value, const char *why)
{
    uint8_t bytes[CURSOR_BYTES];
    cursor_encode(&sample, bytes);
    bytes[at] = value;
    set_crc(bytes);
    struct cursor back;
    struct mst_err err = {0};
    assert_int_equal(cursor_decode(bytes, sizeof bytes, &back, &err), -EBADMSG);
    assert_non_null(strstr(err.text, why));
}

static void test_newer_versions_are_refused(void **state)
{
    (void)state;
    refuse_patched(0, 'X', "not a loader's cursor");
    refuse_patched(4, 3, "version 3");
    refuse_patched(4, 0, "version 0");
    refuse_patched(40, 3, "flags");
    refuse_patched(43, 1, "newer build");
}

static void test_match_names_the_difference(void **state)
{
    (void)state;
    struct cursor here = sample;
    here.position = 3;
    struct mst_err err = {0};
    assert_int_equal(cursor_match(&sample, &here, &err), 0);
    here.sequential = false;
    assert_int_equal(cursor_match(&sample, &here, &err), -EINVAL);
    assert_non_null(strstr(err.text, "file order"));
    here.seed = 43;
    assert_int_equal(cursor_match(&sample, &here, &err), -EINVAL);
    assert_non_null(strstr(err.text, "seed 42, not 43"));
    here.fingerprint.full++;
    assert_int_equal(cursor_match(&sample, &here, &err), -EINVAL);
    assert_non_null(strstr(err.text, "1122334455667789"));
    assert_non_null(strstr(err.text, "muster data index --fingerprint full shows it, given the"));
    here.fingerprint.sampled = 1;
    assert_int_equal(cursor_match(&sample, &here, &err), -EINVAL);
    assert_non_null(strstr(err.text, "0123456789abcdef"));
    assert_non_null(strstr(err.text, "muster data index shows it, given the loader's format"));
    here.shape = 1;
    assert_int_equal(cursor_match(&sample, &here, &err), -EINVAL);
    assert_non_null(strstr(err.text, "record shape"));
}

/* What is no difference that refuses, and yet to be told. */
static void test_doubts(void **state)
{
    (void)state;
    struct cursor saved = sample, here = sample;
    assert_null(cursor_doubt(&saved, &here));
    here.fingerprint.full = 0;
    assert_int_equal(cursor_match(&saved, &here, NULL), 0);
    assert_non_null(strstr(cursor_doubt(&saved, &here), "not every byte"));
    saved.fingerprint.full = 0;
    assert_null(cursor_doubt(&saved, &here));
    here.pin++;
    assert_int_equal(cursor_match(&saved, &here, NULL), 0);
    assert_non_null(strstr(cursor_doubt(&saved, &here), "time or ETag"));
    here.place++; /* moved: of course its times are others */
    assert_null(cursor_doubt(&saved, &here));
    here.place--;
    here.pin = 0; /* not known */
    assert_null(cursor_doubt(&saved, &here));
    here.pin = sample.pin + 1;
    saved.fingerprint.full = here.fingerprint.full = 5; /* every byte is the same */
    assert_null(cursor_doubt(&saved, &here));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_alike_on_all_ranks),
        cmocka_unit_test(test_version_1_is_read),
        cmocka_unit_test(test_doubts),
        cmocka_unit_test(test_every_flipped_bit_and_size_is_refused),
        cmocka_unit_test(test_newer_versions_are_refused),
        cmocka_unit_test(test_match_names_the_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

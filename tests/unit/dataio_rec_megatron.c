#include "megatron.h"
#include "muster/core/err.h"
#include "muster/dataio/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t lengths[] = {5, 0, 7, 1};
#define COUNT 4u
#define TOKENS 13u
#define IDX_BYTES (42 + 20 * COUNT)

/* In memory of exactly that size, so that a read behind the end is seen. */
static int cut(const uint8_t *idx, size_t idx_bytes, uint64_t size_bytes,
               struct record_shape *shape, struct record_table *table, struct mst_err *err)
{
    uint8_t *copy = malloc(idx_bytes ? idx_bytes : 1);
    assert_non_null(copy);
    memcpy(copy, idx, idx_bytes);
    int rc = rec_megatron.cut(
        shape, size_bytes, (struct mst_cspan){.data = copy, .size_bytes = idx_bytes}, table, err);
    free(copy);
    return rc;
}

static void test_cuts_the_tokens(void **state)
{
    (void)state;
    struct record_shape shape = {.format = MST_FORMAT_MEGATRON, .elems = 4, .stride = 3};
    uint8_t idx[IDX_BYTES + COUNT] = {0};
    assert_int_equal(megatron_index(idx, 8, 2, lengths, COUNT), IDX_BYTES);
    struct record_table table;
    assert_int_equal(cut(idx, IDX_BYTES, TOKENS * 2, &shape, &table, NULL), 0);
    assert_int_equal(shape.dtype, MST_U16);
    assert_int_equal(table.count, (TOKENS - 4) / 3 + 1);
    assert_int_equal(table.size_bytes, 8);
    assert_int_equal(table.stride_bytes, 6);
    /* With a table of modes behind. */
    assert_int_equal(cut(idx, IDX_BYTES + COUNT, TOKENS * 2, &shape, &table, NULL), 0);
}

static void test_every_type(void **state)
{
    (void)state;
    static const enum mst_dtype types[] = {MST_U8,  MST_I8,  MST_I16, MST_I32,
                                           MST_I64, MST_F64, MST_F32, MST_U16};
    struct record_table table;
    uint8_t idx[IDX_BYTES];
    for (uint8_t code = 1; code <= 8; code++) {
        struct record_shape shape = {.elems = 1, .stride = 1};
        size_t elem = mst_dtype_size(types[code - 1]);
        megatron_index(idx, code, elem, lengths, COUNT);
        assert_int_equal(cut(idx, IDX_BYTES, TOKENS * elem, &shape, &table, NULL), 0);
        assert_int_equal(shape.dtype, types[code - 1]);
    }
}

static void test_sizes_must_agree(void **state)
{
    (void)state;
    struct record_shape shape = {.elems = 1, .stride = 1, .dtype = MST_F16};
    struct record_table table = {.count = 99};
    uint8_t idx[IDX_BYTES];
    megatron_index(idx, 8, 2, lengths, COUNT);
    struct mst_err err = {0};
    assert_int_equal(cut(idx, IDX_BYTES, 24, &shape, &table, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "26 bytes"));
    assert_non_null(strstr(err.text, "24"));
    assert_int_equal(shape.dtype, MST_F16);
    assert_int_equal(table.count, 99);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    struct record_shape shape = {.elems = 1, .stride = 1};
    uint8_t idx[IDX_BYTES + COUNT + 1] = {0};
    megatron_index(idx, 8, 2, lengths, COUNT);
    struct record_table table;
    for (size_t size = 0; size < sizeof idx; size++)
        if (size != IDX_BYTES && size != IDX_BYTES + COUNT)
            assert_int_equal(cut(idx, size, TOKENS * 2, &shape, &table, NULL), -EBADMSG);
}

/* No bit of an index is free. */
static void test_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct record_shape shape = {.elems = 1, .stride = 1};
    size_t documents = 34 + 12 * COUNT;
    uint8_t idx[IDX_BYTES];
    megatron_index(idx, 8, 2, lengths, COUNT);
    struct record_table table;
    for (size_t bit = 0; bit < documents * 8; bit++) {
        idx[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(cut(idx, IDX_BYTES, TOKENS * 2, &shape, &table, NULL), -EBADMSG);
        idx[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    megatron_put(idx + documents, 1, 8); /* the first document must start at 0 */
    assert_int_equal(cut(idx, IDX_BYTES, TOKENS * 2, &shape, &table, NULL), -EBADMSG);
    megatron_put(idx + documents, 0, 8);
    megatron_put(idx + documents + 8, 3, 8); /* and none before the one before it */
    assert_int_equal(cut(idx, IDX_BYTES, TOKENS * 2, &shape, &table, NULL), -EBADMSG);
}

/* Megatron's own reader stops at such an index: documents would be missing from an epoch. */
static void test_documents_end_with_the_last_sequence(void **state)
{
    (void)state;
    struct record_shape shape = {.elems = 1, .stride = 1};
    size_t documents = 34 + 12 * COUNT;
    uint8_t idx[IDX_BYTES];
    struct record_table table;
    struct mst_err err = {0};
    megatron_index(idx, 8, 2, lengths, COUNT);
    megatron_put(idx + documents + 8 * (size_t)COUNT, COUNT - 1, 8);
    assert_int_equal(cut(idx, IDX_BYTES, TOKENS * 2, &shape, &table, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "end at sequence 3 of 4"));
    megatron_index(idx, 8, 2, lengths, COUNT);
    megatron_put(idx + 26, 0, 8); /* no boundary at all */
    assert_int_equal(cut(idx, documents, TOKENS * 2, &shape, &table, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "0 document boundaries"));
}

static void test_impossible_counts_are_refused(void **state)
{
    (void)state;
    static const uint64_t counts[] = {UINT64_MAX, UINT64_MAX / 12 + 1, UINT64_C(1) << 60, 5};
    struct record_shape shape = {.elems = 1, .stride = 1};
    struct record_table table;
    uint8_t idx[IDX_BYTES];
    for (size_t i = 0; i < 4; i++)
        for (size_t at = 18; at <= 26; at += 8) {
            megatron_index(idx, 8, 2, lengths, COUNT);
            megatron_put(idx + at, at == 18 ? counts[i] : counts[i] + 1, 8);
            assert_int_equal(cut(idx, IDX_BYTES, TOKENS * 2, &shape, &table, NULL), -EBADMSG);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts_the_tokens),
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_sizes_must_agree),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_documents_end_with_the_last_sequence),
        cmocka_unit_test(test_impossible_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

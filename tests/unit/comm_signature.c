#include "muster/comm/signature.h"

#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct signature_desc base = {
    .coll = MST_COLL_ALLREDUCE, .dtype = MST_F32, .op = MST_SUM, .count = 1024};

static void every_field_changes_the_signature(void **state)
{
    (void)state;
    struct signature_desc variants[5] = {base, base, base, base, base};
    variants[0].coll = MST_COLL_REDUCE_SCATTER;
    variants[1].dtype = MST_BF16;
    variants[2].op = MST_AVG;
    variants[3].count = 1023;
    variants[4].root = 1;
    for (size_t i = 0; i < 5; i++)
        assert_int_not_equal(signature_of(&variants[i]), signature_of(&base));
    assert_int_equal(signature_of(&base), signature_of(&(struct signature_desc){
                                              base.count, base.coll, base.dtype, base.op, 0}));
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* 40000 descriptions: about 0.2 collisions are to be expected of a random function. */
static void near_descriptions_do_not_collide(void **state)
{
    (void)state;
    enum { COUNTS = 2000, DTYPES = 10, OPS = 2, ALL = COUNTS * DTYPES * OPS };
    uint32_t *signatures = calloc(ALL, sizeof *signatures);
    assert_non_null(signatures);
    size_t n = 0, collisions = 0;
    for (unsigned count = 0; count < COUNTS; count++)
        for (unsigned dtype = 0; dtype < DTYPES; dtype++)
            for (unsigned op = 0; op < OPS; op++)
                signatures[n++] = signature_of(&(struct signature_desc){
                    .count = count, .dtype = (enum mst_dtype)dtype, .op = (enum mst_op)op});
    qsort(signatures, n, sizeof *signatures, by_value);
    for (size_t i = 1; i < n; i++)
        collisions += signatures[i] == signatures[i - 1];
    free(signatures);
    assert_true(collisions <= 2);
}

static void packing_loses_nothing(void **state)
{
    (void)state;
    struct signature_desc desc = {.coll = MST_COLL_BROADCAST,
                                  .dtype = MST_F8E5M2,
                                  .op = MST_AVG,
                                  .root = 4000000000U,
                                  .count = UINT64_MAX};
    struct signature_desc back = signature_unpack(signature_pack(&desc), desc.count);
    assert_int_equal(back.coll, desc.coll);
    assert_int_equal(back.dtype, desc.dtype);
    assert_int_equal(back.op, desc.op);
    assert_int_equal(back.root, desc.root);
    assert_true(back.count == desc.count);
}

static void descriptions_read_well(void **state)
{
    (void)state;
    static const struct {
        struct signature_desc desc;
        const char *text;
    } cases[] = {
        {{1024, MST_COLL_ALLREDUCE, MST_F32, MST_SUM, 0}, "allreduce sum f32 count 1024"},
        {{7, MST_COLL_REDUCE_SCATTER, MST_BF16, MST_AVG, 0}, "reduce_scatter avg bf16 count 7"},
        {{7, MST_COLL_BROADCAST, MST_I8, MST_SUM, 2}, "broadcast i8 count 7 root 2"},
        {{0, MST_COLL_ALLGATHER, MST_F64, MST_SUM, 0}, "allgather f64 count 0"},
        {{0, MST_COLL_BARRIER, MST_I8, MST_SUM, 0}, "barrier"},
        {{0, (enum mst_coll)200, MST_I8, MST_SUM, 0}, "?"},
        {{1, MST_COLL_ALLREDUCE, (enum mst_dtype)99, (enum mst_op)9, 0}, "allreduce ? ? count 1"},
    };
    char text[SIGNATURE_TEXT_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(signature_describe(&cases[i].desc, text, sizeof text), cases[i].text);
    char brief[6];
    assert_string_equal(signature_describe(&base, brief, sizeof brief), "allre");
}

static void both_sides_tell_the_same_story(void **state)
{
    (void)state;
    struct signature_desc other = base;
    other.count = 1023;
    struct mst_err a, b;
    assert_int_equal(signature_mismatch(0, &base, 1, &other, &a), -EPROTO);
    assert_int_equal(signature_mismatch(1, &other, 0, &base, &b), -EPROTO);
    assert_int_equal(a.code, -EPROTO);
    assert_string_equal(a.text, b.text);
    assert_string_equal(
        a.text, "rank 0: allreduce sum f32 count 1024; rank 1: allreduce sum f32 count 1023");
}

static void the_absent_are_listed_as_far_as_there_is_room(void **state)
{
    (void)state;
    char text[64] = "missing", brief[12] = "missing";
    struct signature_desc last = {.coll = MST_COLL_BARRIER};
    signature_append_absent("rank 3", 0, &last, text, sizeof text);
    signature_append_absent("rank 4 on node 1", 17, &last, text, sizeof text);
    assert_string_equal(text, "missing rank 3 (last: none) rank 4 on node 1 (last: op 17, barr");
    signature_append_absent("rank 3", 0, &last, text, sizeof text);
    assert_int_equal(strlen(text), sizeof text - 1);
    signature_append_absent("rank 3", 0, &last, brief, sizeof brief);
    assert_string_equal(brief, "missing ran");
}

static void sums_are_reduced_and_copies_are_not(void **state)
{
    (void)state;
    for (enum mst_coll coll = 0; coll < MST_COLL_COUNT; coll++) {
        struct signature_desc desc = {.coll = coll};
        bool reduces = coll == MST_COLL_ALLREDUCE || coll == MST_COLL_REDUCE_SCATTER;
        assert_int_equal(signature_reduces(&desc), reduces);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_changes_the_signature),
        cmocka_unit_test(near_descriptions_do_not_collide),
        cmocka_unit_test(packing_loses_nothing),
        cmocka_unit_test(descriptions_read_well),
        cmocka_unit_test(both_sides_tell_the_same_story),
        cmocka_unit_test(the_absent_are_listed_as_far_as_there_is_room),
        cmocka_unit_test(sums_are_reduced_and_copies_are_not),
    };
    return cmocka_run_group_tests_name("comm_signature", tests, NULL, NULL);
}

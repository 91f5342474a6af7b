#include "unit/ckpt_fixture.h"

#include "muster/ckpt/reshard.h"

#include <errno.h>

#define ROWS 103

/* Boxes of an uneven split, some empty, in rank order turned by `turn`. */
static size_t split(struct reshard_box *boxes, uint32_t world, uint32_t turn)
{
    for (uint32_t i = 0; i < world; i++) {
        uint32_t rank = (i + turn) % world;
        uint64_t start = (uint64_t)ROWS * rank * rank / (world * world);
        uint64_t end = (uint64_t)ROWS * (rank + 1) * (rank + 1) / (world * world);
        boxes[i] = (struct reshard_box){
            .tensor = 7, .file = rank, .row_start = start, .row_count = end - start};
    }
    reshard_sort(boxes, world);
    return world;
}

/* Every pair of worlds up to 17: each row that is wanted comes exactly once, from a box with it. */
static void test_all_worlds(void **state)
{
    (void)state;
    for (uint32_t from = 1; from <= 17; from++)
        for (uint32_t to = 1; to <= 17; to++) {
            struct reshard_box boxes[17];
            const struct reshard_slice slice = {boxes, split(boxes, from, to)};
            for (uint32_t rank = 0; rank < to; rank++) {
                struct reshard_piece pieces[17];
                uint64_t start = ROWS * rank / to, end = ROWS * (rank + 1) / to, bad;
                int64_t n = reshard_plan(&slice, start, end - start, pieces, 17, &bad);
                assert_true(n >= 0);
                for (int64_t i = 0; i < n; i++) {
                    const struct reshard_box *box = &boxes[pieces[i].box];
                    assert_int_equal(pieces[i].row_start, start);
                    assert_true(pieces[i].row_start >= box->row_start);
                    start += pieces[i].row_count;
                    assert_true(start <= box->row_start + box->row_count);
                }
                assert_int_equal(start, end);
            }
        }
}

static int64_t plan(const struct reshard_box *boxes, size_t count, uint64_t start, uint64_t rows,
                    uint64_t *row)
{
    const struct reshard_slice slice = {boxes, count};
    struct reshard_piece pieces[4];
    return reshard_plan(&slice, start, rows, pieces, 4, row);
}

static void test_gaps_and_overlaps(void **state)
{
    const struct reshard_box boxes[] = {{.row_start = 0, .row_count = 4},
                                        {.row_start = 5, .row_count = 5},
                                        {.row_start = 9, .row_count = 3}};
    (void)state;
    uint64_t row = 0;
    assert_int_equal(plan(boxes, 3, 0, 10, &row), -EBADMSG);
    assert_int_equal(row, 4);
    assert_int_equal(plan(boxes, 3, 6, 6, &row), -EBADMSG);
    assert_int_equal(row, 9);
    assert_int_equal(plan(boxes, 3, 10, 5, &row), -EBADMSG);
    assert_int_equal(row, 12);
    assert_int_equal(plan(boxes, 3, 9, 1, &row), -EBADMSG);
    assert_int_equal(row, 9);
    assert_int_equal(plan(boxes, 3, 5, 4, &row), 1);
    assert_int_equal(plan(boxes, 0, 0, 1, &row), -EBADMSG);
    assert_int_equal(plan(boxes, 0, 0, 0, &row), 0);
}

static void test_no_room(void **state)
{
    (void)state;
    struct reshard_box boxes[4];
    const struct reshard_slice slice = {boxes, split(boxes, 4, 0)};
    struct reshard_piece pieces[1];
    uint64_t row;
    assert_int_equal(reshard_plan(&slice, 0, ROWS, pieces, 1, &row), -ENOSPC);
}

static void test_slice(void **state)
{
    struct reshard_box boxes[] = {
        {.tensor = 3}, {.tensor = UINT32_MAX}, {.tensor = 1}, {.tensor = 3}};
    (void)state;
    reshard_sort(boxes, 4);
    assert_int_equal(reshard_slice(boxes, 4, 3).count, 2);
    assert_ptr_equal(reshard_slice(boxes, 4, 3).boxes, &boxes[1]);
    assert_int_equal(reshard_slice(boxes, 4, 2).count, 0);
    assert_int_equal(reshard_slice(boxes, 4, UINT32_MAX).count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_worlds),
        cmocka_unit_test(test_gaps_and_overlaps),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

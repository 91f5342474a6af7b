#include "unit/ckpt_fixture.h"

#include "muster/ckpt/layout.h"

#include <errno.h>

static struct layout_tensor matrix(uint64_t rows, uint64_t row_floats)
{
    uint64_t shape[2] = {rows, row_floats};
    struct layout_tensor tensor;
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_F32, 2, shape, NULL), 0);
    return tensor;
}

/* Over all small worlds: the shares of all ranks follow one another without gap or overlap. */
static void test_shares_cover_once(void **state)
{
    static const uint64_t rows[] = {1, 2, 16, 17, 1000, 12345};
    (void)state;
    for (uint32_t world = 1; world <= 17; world++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            for (size_t index = 0; index < 5; index++) {
                struct layout_tensor tensor = matrix(rows[i], 20000);
                uint64_t next = 0, most = 0, least = UINT64_MAX;
                for (uint32_t share = 0; share < world; share++) {
                    uint64_t start, count;
                    uint32_t rank = (uint32_t)((share + world - index % world) % world);
                    layout_share(&tensor, index, rank, world, &start, &count);
                    assert_true(count == 0 || start == next);
                    next += count;
                    most = count > most ? count : most;
                    least = count < least ? count : least;
                }
                assert_int_equal(next, rows[i]);
                assert_true(most - least <= 1);
            }
}

static void test_small_tensors_spread(void **state)
{
    struct layout_tensor tensor = matrix(10, 4);
    (void)state;
    uint64_t counts[4] = {0};
    uint64_t start, count;
    for (size_t index = 0; index < 8; index++)
        for (uint32_t rank = 0; rank < 4; rank++) {
            layout_share(&tensor, index, rank, 4, &start, &count);
            assert_true(count == 0 || count == 10);
            counts[rank] += count;
        }
    for (uint32_t rank = 0; rank < 4; rank++)
        assert_int_equal(counts[rank], 20);
}

static void test_a_tensor_is_split_from_a_size_on(void **state)
{
    struct layout_tensor whole = matrix(LAYOUT_SPLIT_BYTES / 4 - 1, 1);
    struct layout_tensor split = matrix(LAYOUT_SPLIT_BYTES / 4, 1);
    uint64_t start, count;
    (void)state;
    layout_share(&whole, 0, 0, 2, &start, &count);
    assert_int_equal(count, LAYOUT_SPLIT_BYTES / 4 - 1);
    layout_share(&split, 0, 0, 2, &start, &count);
    assert_int_equal(count, LAYOUT_SPLIT_BYTES / 8);
}

static void test_rows_beyond_32_bits(void **state)
{
    uint64_t shape[1] = {UINT64_C(1) << 62};
    (void)state;
    struct layout_tensor tensor;
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_U8, 1, shape, NULL), 0);
    uint64_t start, count;
    layout_share(&tensor, 0, 16, 17, &start, &count);
    assert_int_equal(start + count, shape[0]);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"",      "/a",   "a/",     "a//b",     ".",
                                      "a/./b", "a\"b", "muster", "muster/x", "a\nb"};
    (void)state;
    struct layout_tensor tensor;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(layout_tensor_init(&tensor, bad[i], MST_F32, 0, NULL, NULL), -EINVAL);
    assert_int_equal(layout_tensor_init(&tensor, "musters/..a", MST_F32, 0, NULL, NULL), 0);
    char name[300];
    memset(name, 'a', sizeof name);
    name[256] = '\0';
    assert_int_equal(layout_tensor_init(&tensor, name, MST_F32, 0, NULL, NULL), -EINVAL);
    name[255] = '\0';
    assert_int_equal(layout_tensor_init(&tensor, name, MST_F32, 0, NULL, NULL), 0);
}

static void test_shape_limits(void **state)
{
    uint64_t shape[3] = {UINT64_C(1) << 32, UINT64_C(1) << 31, 1};
    (void)state;
    struct layout_tensor tensor;
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_U8, 3, shape, NULL), -EINVAL);
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_U8, 9, shape, NULL), -EINVAL);
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_DTYPE_COUNT, 1, shape, NULL), -EINVAL);
    shape[1] = 0;
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_U8, 3, shape, NULL), 0);
    assert_int_equal(tensor.row_bytes, 0);
    uint64_t ones[MST_TENSOR_DIMS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1}, most[1] = {INT64_MAX};
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_U8, MST_TENSOR_DIMS_MAX, ones, NULL), 0);
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_U8, 1, most, NULL), 0);
    most[0]++;
    assert_int_equal(layout_tensor_init(&tensor, "t", MST_U8, 1, most, NULL), -EINVAL);
}

static void test_describe_rows(void **state)
{
    float data[12];
    struct mst_tensor tensor = {.name = "t",
                                .dtype = MST_F32,
                                .dim_count = 2,
                                .shape = {10, 4},
                                .sharded = true,
                                .row_start = 7,
                                .row_count = 3,
                                .data = {.data = data, .size_bytes = sizeof data}};
    (void)state;
    struct layout_tensor described;
    assert_int_equal(layout_describe(&tensor, &described, NULL), 0);
    assert_string_equal(described.name, "t");
    assert_int_equal(described.row_count, 10);
    assert_int_equal(described.row_bytes, 16);
    tensor.row_start = 8;
    assert_int_equal(layout_describe(&tensor, &described, NULL), -EINVAL);
    tensor.row_start = UINT64_MAX;
    assert_int_equal(layout_describe(&tensor, &described, NULL), -EINVAL);
    tensor.row_start = 0;
    tensor.data.size_bytes--;
    assert_int_equal(layout_describe(&tensor, &described, NULL), -EINVAL);
    tensor.data = (struct mst_span){data, sizeof data, MST_MEM_DEVICE};
    assert_int_equal(layout_describe(&tensor, &described, NULL), 0);
    tensor.data.mem++;
    assert_int_equal(layout_describe(&tensor, &described, NULL), -ENOTSUP);
    tensor.data = (struct mst_span){NULL, sizeof data, MST_MEM_HOST};
    assert_int_equal(layout_describe(&tensor, &described, NULL), -EINVAL);
}

/* Rank 1 of 2 has its shard, a small tensor that rank 0 then has nothing of, half of a large one,
 * and no part of an empty one. */
static void test_a_part_for_every_share_but_empty_ones(void **state)
{
    static const struct mst_tensor tensors[] = {
        {.name = "a",
         .dtype = MST_U8,
         .dim_count = 1,
         .shape = {9},
         .sharded = true,
         .row_start = 4,
         .row_count = 5},
        {.name = "b", .dtype = MST_U8, .dim_count = 1, .shape = {8}},
        {.name = "c", .dtype = MST_U8, .dim_count = 1, .shape = {0}},
        {.name = "d", .dtype = MST_U8, .dim_count = 1, .shape = {4 * LAYOUT_BLOCK_BYTES + 2}},
    };
    struct layout_tensor described[4];
    struct layout_part parts[4];
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(
            layout_tensor_init(&described[i], tensors[i].name, MST_U8, 1, tensors[i].shape, NULL),
            0);
    assert_int_equal(layout_plan(tensors, described, 4, 0, 2, parts), 2);
    assert_int_equal(layout_plan(tensors, described, 4, 1, 2, parts), 3);
    const struct layout_part want[] = {
        {.tensor = 0, .row_start = 4, .row_count = 5, .size_bytes = 5, .block_count = 1},
        {.tensor = 1, .row_count = 8, .size_bytes = 8, .block_first = 1, .block_count = 1},
        {.tensor = 3,
         .row_count = 2 * LAYOUT_BLOCK_BYTES + 1,
         .size_bytes = 2 * LAYOUT_BLOCK_BYTES + 1,
         .block_first = 2,
         .block_count = 3},
    };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(parts[i].tensor, want[i].tensor);
        assert_int_equal(parts[i].row_start, want[i].row_start);
        assert_int_equal(parts[i].row_count, want[i].row_count);
        assert_int_equal(parts[i].size_bytes, want[i].size_bytes);
        assert_int_equal(parts[i].block_first, want[i].block_first);
        assert_int_equal(parts[i].block_count, want[i].block_count);
    }
}

static int check_pair(const char *a, const char *b)
{
    struct layout_tensor tensors[3];
    assert_int_equal(layout_tensor_init(&tensors[0], a, MST_F32, 0, NULL, NULL), 0);
    assert_int_equal(layout_tensor_init(&tensors[1], "model-x", MST_F32, 0, NULL, NULL), 0);
    assert_int_equal(layout_tensor_init(&tensors[2], b, MST_F32, 0, NULL, NULL), 0);
    const struct layout_tensor *scratch[3];
    return layout_check_names(tensors, 3, scratch, NULL);
}

static void test_names_that_clash(void **state)
{
    (void)state;
    assert_int_equal(check_pair("a", "a"), -EINVAL);
    assert_int_equal(check_pair("model", "model/w"), -EINVAL);
    assert_int_equal(check_pair("model/a/b", "model"), -EINVAL);
    assert_int_equal(check_pair("model/w1", "model/w"), 0);
    assert_int_equal(layout_check_names(NULL, 0, NULL, NULL), 0);
}

static void test_blocks(void **state)
{
    struct layout_part part = {.size_bytes = 2 * LAYOUT_BLOCK_BYTES + 1, .block_count = 3};
    (void)state;
    assert_int_equal(layout_block_count(0), 0);
    assert_int_equal(layout_block_count(LAYOUT_BLOCK_BYTES), 1);
    assert_int_equal(layout_block_count(part.size_bytes), 3);
    assert_int_equal(layout_block_bytes(&part, 1), LAYOUT_BLOCK_BYTES);
    assert_int_equal(layout_block_bytes(&part, 2), 1);
}

static void test_fingerprint(void **state)
{
    struct layout_tensor a = matrix(3, 4), b = matrix(4, 3);
    (void)state;
    assert_true(layout_tensor_equal(&a, &a));
    assert_false(layout_tensor_equal(&a, &b));
    assert_true(layout_fingerprint(&a, 1) != layout_fingerprint(&b, 1));
    assert_true(layout_fingerprint(&a, 1) != layout_fingerprint(&a, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_cover_once),
        cmocka_unit_test(test_small_tensors_spread),
        cmocka_unit_test(test_rows_beyond_32_bits),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_shape_limits),
        cmocka_unit_test(test_describe_rows),
        cmocka_unit_test(test_a_part_for_every_share_but_empty_ones),
        cmocka_unit_test(test_names_that_clash),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_a_tensor_is_split_from_a_size_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

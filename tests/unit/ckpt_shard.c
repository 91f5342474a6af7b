/* What stays from save to save, and when it is made again. */
#include "failing_memory.h"
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/shard.h"
#include "muster/core/huge.h"

#include <errno.h>
#include <sys/mman.h>

static struct fixture_model model;
static struct shard shard;

static int prepare(size_t tensor_count, struct mst_err *err)
{
    const struct state state = {.tensors = model.tensors, .tensor_count = tensor_count};
    int rc = shard_describe(&shard, &state, err);
    return rc < 0 ? rc : shard_reserve(&shard, err);
}

static int setup(void **state)
{
    (void)state;
    shard = (struct shard){.world_size = 1};
    fixture_open_model(&model, 0, 1);
    return prepare(FIXTURE_TENSORS, NULL);
}

static int teardown(void **state)
{
    (void)state;
    shard_fini(&shard);
    fixture_close_model(&model);
    return 0;
}

static void test_same_tensors(void **state)
{
    const struct layout_part *parts = shard.parts;
    const uint8_t *pool = shard.pool.base;
    (void)state;
    assert_int_equal(prepare(FIXTURE_TENSORS, NULL), 0);
    assert_ptr_equal(shard.parts, parts);
    assert_ptr_equal(shard.pool.base, pool);
}

static void test_every_change_counts(void **state)
{
    struct mst_tensor *lr = &model.tensors[5], *sharded = &model.tensors[4];
    uint32_t fingerprint = shard.fingerprint;
    (void)state;
    lr->name = "rate";
    assert_int_equal(prepare(FIXTURE_TENSORS, NULL), 0);
    assert_true(shard.fingerprint != fingerprint);
    assert_string_equal(shard.tensors[5].name, "rate");
    fingerprint = shard.fingerprint;
    sharded->row_count--;
    sharded->row_start++;
    sharded->data.size_bytes -= sizeof(double);
    assert_int_equal(prepare(FIXTURE_TENSORS, NULL), 0);
    assert_int_equal(shard.fingerprint, fingerprint);
    assert_int_equal(shard.rows[4].row_start, 1);
    assert_int_equal(prepare(FIXTURE_TENSORS - 1, NULL), 0);
    assert_int_equal(shard.tensor_count, FIXTURE_TENSORS - 1);
}

/* A refused set of tensors leaves nothing that the next save could mistake for its own. */
static void test_refused_tensors(void **state)
{
    (void)state;
    model.tensors[1].name = model.tensors[0].name;
    struct mst_err err = {0};
    assert_int_equal(prepare(FIXTURE_TENSORS, &err), -EINVAL);
    assert_non_null(strstr(err.text, "model/embedding"));
    assert_int_equal(shard.tensor_count, 0);
    assert_null(shard.tensors);
    model.tensors[1].name = "model/w1";
    assert_int_equal(prepare(FIXTURE_TENSORS, &err), 0);
}

static size_t resident_pages(void)
{
    size_t size = shard.skeleton.size_bytes, page_count = (size + 4095) / 4096, count = 0;
    unsigned char *resident = calloc(1, page_count);
    assert_non_null(resident);
    assert_int_equal(mincore(shard.pool.base, size, resident), 0);
    for (size_t i = 0; i < page_count; i++)
        count += resident[i] & 1;
    free(resident);
    return count;
}

/* No save waits for memory: the pool is there before the first, however it came. */
static void test_pool_is_resident(void **state)
{
    size_t page_count = (shard.skeleton.size_bytes + 4095) / 4096;
    (void)state;
    assert_int_equal(madvise(shard.pool.base, shard.pool.cap_bytes, MADV_NOHUGEPAGE), 0);
    assert_int_equal(resident_pages(), 0);
    assert_true(shard_populate(&shard, 4096));
    assert_true(resident_pages() < page_count);
    while (shard_populate(&shard, 100000))
        continue;
    assert_int_equal(resident_pages(), page_count);
    assert_false(shard_populate(&shard, 1));
}

/* The image is the same in memory that a load has staged in as in new memory. */
static void test_lent_pool(void **unused)
{
    (void)unused;
    const struct state state = {.tensors = model.tensors, .tensor_count = FIXTURE_TENSORS};
    size_t size = shard.skeleton.size_bytes;
    assert_int_equal(shard_snapshot(&shard, 4, &state, NULL), 0);
    uint8_t *expected = malloc(size);
    assert_non_null(expected);
    memcpy(expected, shard.pool.base, size);
    struct snapshot *pool = shard_lend_pool(&shard);
    assert_int_equal(snapshot_reserve(pool, size + 3 * MST_HUGE_BYTES), 1);
    memset(pool->base, 0xa5, size + 3 * MST_HUGE_BYTES);
    assert_int_equal(prepare(FIXTURE_TENSORS, NULL), 0);
    assert_true(shard.pool.cap_bytes < size + MST_HUGE_BYTES);
    assert_int_equal(shard_snapshot(&shard, 4, &state, NULL), 0);
    assert_memory_equal(shard.pool.base, expected, size);
    free(expected);
}

/* The image holds the tensors at their offsets and, between them, the same bytes every time. */
static void test_snapshot(void **unused)
{
    (void)unused;
    const struct state state = {.tensors = model.tensors,
                                .tensor_count = FIXTURE_TENSORS,
                                .cursor = {.data = "c", .size_bytes = 1}};
    fixture_fill(&model, 4);
    assert_int_equal(shard_snapshot(&shard, 4, &state, NULL), 0);
    for (size_t i = 0; i < shard.part_count; i++) {
        const struct layout_part *part = &shard.parts[i];
        assert_memory_equal(shard.pool.base + part->offset, model.tensors[part->tensor].data.data,
                            part->size_bytes);
    }
    assert_int_equal(shard.pool.base[shard.skeleton.step_offset], 4);
    assert_int_equal(shard.pool.base[shard.skeleton.cursor_offset], 'c');
}

/* Whichever allocation fails, there are no tensors, and the next try has all its memory again. */
static void test_no_memory(void **state)
{
    (void)state;
    int rc = -ENOMEM;
    size_t n = 0;
    for (; rc != 0 && n < 1000; n++) {
        shard_fini(&shard);
        fail_allocations_after(n);
        rc = prepare(FIXTURE_TENSORS, NULL);
        allow_allocations();
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_true(rc == 0 || !shard.tensors);
    }
    assert_in_range(n, 5, 999);
    assert_int_equal(shard.tensor_count, FIXTURE_TENSORS);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_same_tensors),    CASE(test_every_change_counts),
        CASE(test_refused_tensors), CASE(test_pool_is_resident),
        CASE(test_snapshot),        CASE(test_lent_pool),
        CASE(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

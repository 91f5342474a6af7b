/* What a read leaves in tensors before, and after, the ranks have agreed on it. */
#include "failing_memory.h"
#include "soon.h"
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/intake.h"
#include "muster/ckpt/tier.h"
#include "muster/core/least.h"

#include <errno.h>
#include <sys/mman.h>

#define ROWS 301 /* of the big tensor: each rank's are too many to be packed */
#define BIG (&bench.model.tensors[FIXTURE_BIG])

/* A checkpoint of one or two ranks, read by one whose tensors are new memory. */
static struct {
    struct tier *tier;
    struct fixture_model model;
    struct snapshot staging;
    struct intake intake;
    uint8_t *pages; /* where the big tensor is */
    size_t pages_bytes;
} bench;

static int open_bench(void **state, uint32_t world_size, uint64_t rows)
{
    static const uint64_t steps[] = {1, 2, 0};
    fixture_setup(state);
    fixture_big_rows = rows;
    fixture_save(world_size, steps);
    memset(&bench, 0, sizeof bench);
    bench.intake.staging = &bench.staging;
    struct tier_opts opts = {.uri = fixture_root, .aio = "threads", .read_only = true};
    assert_int_equal(tier_open(&opts, &bench.tier, NULL), 0);
    fixture_open_model(&bench.model, 0, 1);
    return 0;
}

static int setup(void **state)
{
    return open_bench(state, 2, ROWS);
}

/* Of more than one block in a file. */
static int setup_blocks(void **state)
{
    return open_bench(state, 1, FIXTURE_MANY_ROWS);
}

static int teardown(void **state)
{
    intake_fini(&bench.intake);
    snapshot_fini(&bench.staging);
    if (bench.pages) {
        assert_int_equal(munmap(bench.pages, bench.pages_bytes), 0);
        BIG->data.data = NULL;
    }
    fixture_close_model(&bench.model);
    tier_close(bench.tier);
    return fixture_teardown(state);
}

/* Puts the big tensor `skip` bytes behind the start of a page, with a page before and behind. */
static void place_big(size_t skip)
{
    bench.pages_bytes = mst_round_up(BIG->data.size_bytes + skip, 4096) + 2 * 4096;
    bench.pages = mmap(NULL, bench.pages_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    assert_true(bench.pages != MAP_FAILED);
    free(BIG->data.data);
    BIG->data.data = bench.pages + 4096 + skip;
}

static struct state tensors(void)
{
    return (struct state){.tensors = bench.model.tensors, .tensor_count = FIXTURE_TENSORS};
}

static int take(uint64_t step, struct mst_err *err)
{
    const struct state all = tensors();
    return intake_read(&bench.intake, bench.tier, step, &all, soon(), err);
}

static void install(void)
{
    const struct state all = tensors();
    assert_int_equal(intake_install(&bench.intake, &all, NULL), 0);
}

static bool is_zero(const void *data, size_t size_bytes)
{
    const uint8_t *bytes = data;
    return size_bytes == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size_bytes - 1) == 0);
}

static void assert_all_zero(void)
{
    for (size_t i = 0; i < FIXTURE_TENSORS; i++)
        assert_true(
            is_zero(bench.model.tensors[i].data.data, bench.model.tensors[i].data.size_bytes));
}

/* New memory is filled at once, and no byte beside it: only what is small is staged. */
static void read_blank(size_t skip)
{
    place_big(skip);
    assert_int_equal(take(2, NULL), 0);
    assert_ptr_equal(bench.intake.targets[FIXTURE_BIG].blank, BIG->data.data);
    assert_true(bench.intake.staging_bytes < BIG->data.size_bytes);
    uint8_t *end = (uint8_t *)BIG->data.data + BIG->data.size_bytes;
    assert_true(is_zero(bench.pages, 4096 + skip));
    assert_true(is_zero(end, (size_t)(bench.pages + bench.pages_bytes - end)));
    install();
    assert_true(fixture_is(&bench.model, 2));
}

static void test_blank(void **state)
{
    (void)state;
    read_blank(0);
}

/* As most allocators give it: no page of the file is one of memory. */
static void test_blank_inside_pages(void **state)
{
    (void)state;
    read_blank(16);
}

static void test_undo(void **state)
{
    (void)state;
    place_big(0);
    assert_int_equal(take(2, NULL), 0);
    assert_false(is_zero(BIG->data.data, BIG->data.size_bytes));
    intake_undo(&bench.intake);
    assert_int_equal(take(1, NULL), 0);
    assert_ptr_equal(bench.intake.targets[FIXTURE_BIG].blank, BIG->data.data);
    install();
    assert_true(fixture_is(&bench.model, 1));
    intake_undo(&bench.intake);
    assert_true(is_zero(BIG->data.data, BIG->data.size_bytes));
}

/* Damage is noticed when some of it is there already. */
static void test_damage(void **state)
{
    (void)state;
    place_big(0);
    fixture_flip("step_2/rank_1.h5", 1 << 19);
    struct mst_err err = {0};
    assert_int_equal(take(2, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "model/big"));
    intake_undo(&bench.intake);
    assert_all_zero();
}

/* What holds anything is not changed before the ranks agree. */
static void test_written_to(void **state)
{
    (void)state;
    place_big(0);
    fixture_fill(&bench.model, 99);
    assert_int_equal(take(2, NULL), 0);
    assert_null(bench.intake.targets[FIXTURE_BIG].blank);
    assert_true(fixture_is(&bench.model, 99));
    intake_undo(&bench.intake);
    assert_true(fixture_is(&bench.model, 99));
    install();
    assert_true(fixture_is(&bench.model, 2));
}

/* Tensors that share memory get what they would one after the other. */
static void test_shared_memory(void **state)
{
    (void)state;
    place_big(0);
    struct mst_tensor *w1 = &bench.model.tensors[1];
    void *own = w1->data.data;
    w1->data.data = (uint8_t *)BIG->data.data + BIG->data.size_bytes / 2;
    assert_int_equal(take(2, NULL), 0);
    assert_null(bench.intake.targets[FIXTURE_BIG].blank);
    assert_true(is_zero(BIG->data.data, BIG->data.size_bytes));
    w1->data.data = own;
}

/* Empty tensors share nothing, wherever they point. */
static void test_empty_inside(void **state)
{
    (void)state;
    place_big(0);
    struct mst_tensor *empty = &bench.model.tensors[7];
    void *own = empty->data.data;
    empty->data.data = (uint8_t *)BIG->data.data + 5;
    assert_int_equal(take(2, NULL), 0);
    assert_ptr_equal(bench.intake.targets[FIXTURE_BIG].blank, BIG->data.data);
    empty->data.data = own;
}

/* Rows that lie across blocks and pages of both files. */
static void test_some_rows(void **state)
{
    (void)state;
    place_big(0);
    uint64_t row_bytes = bench.model.row_bytes[FIXTURE_BIG];
    for (uint64_t first = 1; first < ROWS - 1; first += 67) {
        BIG->sharded = true;
        BIG->row_start = first;
        BIG->row_count = ROWS - first - 1;
        BIG->data.size_bytes = BIG->row_count * row_bytes;
        assert_int_equal(take(2, NULL), 0);
        install();
        assert_true(fixture_is(&bench.model, 2));
        assert_true(
            is_zero((uint8_t *)BIG->data.data + BIG->data.size_bytes, (first + 1) * row_bytes));
        intake_undo(&bench.intake);
    }
}

/* Whichever allocation fails, the tensors are as they were, and nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    place_big(0);
    int rc = -ENOMEM;
    size_t n = 0;
    for (; rc != 0 && n < 10000; n++) {
        fail_allocations_after(n);
        rc = take(2, NULL);
        allow_allocations();
        assert_true(rc == 0 || rc == -ENOMEM);
        if (rc != 0) {
            intake_undo(&bench.intake);
            assert_all_zero();
        }
    }
    assert_in_range(n, 10, 9999);
    install();
    assert_true(fixture_is(&bench.model, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_blank, setup_blocks, teardown),
        cmocka_unit_test_setup_teardown(test_blank_inside_pages, setup_blocks, teardown),
        cmocka_unit_test_setup_teardown(test_undo, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_written_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_some_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

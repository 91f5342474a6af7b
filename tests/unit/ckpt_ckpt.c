/* The API as ranks use it: save with one world, load with another. */
#include "soon.h"
#include "unit/ckpt_fixture.h"

#include "muster/core/aio/aio.h"
#include "muster/core/world/page.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>

static void test_same_world(void **state)
{
    static const uint64_t steps[] = {10, 20, 0};
    (void)state;
    fixture_save(4, steps);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(4, ranks), 20);
    assert_int_equal(ranks[3].loaded.saved_world_size, 4);
    assert_int_equal(ranks[3].loaded.skipped_count, 0);
    assert_string_equal(ranks[0].err.text, "");
    assert_true(fixture_has("LATEST"));
}

static void test_other_worlds(void **state)
{
    static const uint64_t steps[] = {7, 0};
    static const uint32_t worlds[] = {1, 2, 3, 5};
    (void)state;
    fixture_save(4, steps);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++)
        assert_int_equal(fixture_load(worlds[i], ranks), 7);
}

static void test_world_grows(void **state)
{
    static const uint64_t steps[] = {7, 0};
    (void)state;
    fixture_save(1, steps);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(4, ranks), 7);
}

static void test_fresh_start(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 0);
    assert_int_equal(ranks[0].result, -ENOENT);
    assert_int_equal(ranks[1].result, -ENOENT);
}

static void test_retention(void **state)
{
    static const uint64_t steps[] = {1, 2, 3, 4, 5, 0};
    (void)state;
    fixture_keep = 2;
    fixture_save(2, steps);
    fixture_keep = 0;
    assert_false(fixture_has("step_3"));
    assert_true(fixture_has("step_4"));
    assert_true(fixture_has("step_5"));
}

/* A job that redoes a step takes the place of the step that is there. */
static void test_step_again(void **state)
{
    static const uint64_t steps[] = {5, 0};
    (void)state;
    fixture_save(2, steps);
    fixture_flip("step_5/MANIFEST.json", 100);
    fixture_save(2, steps);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 5);
    assert_false(fixture_has_temp("step_5"));
}

/* A load of these tensors has the pool made for them; a save of others is none the worse for it. */
static void load_then_save_fewer(struct fixture_rank *rank)
{
    struct mst_state state = fixture_state(&rank->model, "");
    state.tensor_count = 2;
    fixture_load_newest(rank);
    assert_int_equal(rank->result, -ENOENT);
    rank->result = mst_ckpt_save(rank->ckpt, 1, &state, soon());
    if (rank->result == 0)
        rank->result = mst_ckpt_drain(rank->ckpt, soon());
}

static void test_save_after_load(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 3, load_then_save_fewer, NULL);
    for (uint32_t r = 0; r < 3; r++)
        assert_int_equal(ranks[r].result, 0);
    assert_true(fixture_has("step_1/rank_2.h5"));
}

static void expect_descent(const char *file, off_t offset, const char *text)
{
    static const uint64_t steps[] = {1, 2, 0};
    fixture_save(3, steps);
    fixture_flip(file, offset);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(3, ranks), 1);
    for (uint32_t r = 0; r < 3; r++) {
        assert_int_equal(ranks[r].loaded.skipped_count, 1);
        if (!strstr(ranks[r].err.text, text))
            print_error("%s\n", ranks[r].err.text);
        assert_non_null(strstr(ranks[r].err.text, text));
    }
}

static void test_flip_in_manifest(void **state)
{
    (void)state;
    expect_descent("step_2/MANIFEST.json", 1000, "step_2/MANIFEST.json: checksum");
}

/* The end of the middle rank's file holds the biggest tensor. */
static void test_flip_in_tensor(void **state)
{
    (void)state;
    expect_descent("step_2/rank_1.h5", 1 << 20, "step_2/rank_1.h5: tensor model/");
}

static void move(const char *from, const char *to)
{
    char a[512];
    snprintf(a, sizeof a, "%s/%s", fixture_root, from);
    char b[512];
    snprintf(b, sizeof b, "%s/%s", fixture_root, to);
    assert_int_equal(rename(a, b), 0);
}

static void test_swapped_files(void **state)
{
    static const uint64_t steps[] = {1, 2, 0};
    (void)state;
    fixture_save(3, steps);
    move("step_2/rank_0.h5", "x");
    move("step_2/rank_2.h5", "step_2/rank_0.h5");
    move("x", "step_2/rank_2.h5");
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 1);
}

static void test_missing_file(void **state)
{
    static const uint64_t steps[] = {1, 2, 0};
    (void)state;
    fixture_save(3, steps);
    move("step_2/rank_2.h5", "x");
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(4, ranks), 1);
    assert_non_null(strstr(ranks[0].err.text, "rank_2.h5"));
}

/* A FIFO in place of a file is damage, and is not waited for. */
static void test_fifo_in_place_of_a_file(void **state)
{
    static const uint64_t steps[] = {1, 2, 0};
    (void)state;
    fixture_save(2, steps);
    move("step_2/rank_1.h5", "x");
    char path[512];
    snprintf(path, sizeof path, "%s/step_2/rank_1.h5", fixture_root);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 1);
    assert_non_null(strstr(ranks[0].err.text, "rank_1.h5: is no regular file"));
}

static void test_truncated_file(void **state)
{
    static const uint64_t steps[] = {1, 2, 0};
    (void)state;
    fixture_save(2, steps);
    char path[512];
    snprintf(path, sizeof path, "%s/step_2/rank_1.h5", fixture_root);
    assert_int_equal(truncate(path, 500000), 0);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 1);
}

static void test_mixed_steps(void **state)
{
    static const uint64_t steps[] = {1, 2, 0};
    (void)state;
    fixture_save(2, steps);
    move("step_1/rank_1.h5", "step_2/rank_1.h5");
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, fixture_load_newest, NULL);
    assert_int_equal(ranks[0].result, -EBADMSG);
    assert_int_equal(ranks[1].result, -EBADMSG);
}

/* All damaged: an error, and the tensors are as they were. */
static void load_untouched(struct fixture_rank *rank)
{
    fixture_fill(&rank->model, 99);
    fixture_load_newest(rank);
    rank->matches = fixture_is(&rank->model, 99);
}

static void test_nothing_installed_on_damage(void **state)
{
    static const uint64_t steps[] = {1, 0};
    (void)state;
    fixture_save(2, steps);
    fixture_flip("step_1/rank_1.h5", 1 << 20);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, load_untouched, NULL);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].result, -EBADMSG);
        assert_true(ranks[r].matches);
    }
}

static void load_other_shape(struct fixture_rank *rank)
{
    rank->model.tensors[8].shape[0] = rank->world.rank == 1 ? 9 : 3;
    rank->model.tensors[8].shape[1] = rank->world.rank == 1 ? 1 : 3;
    load_untouched(rank);
}

static void test_other_shape(void **state)
{
    static const uint64_t steps[] = {1, 0};
    (void)state;
    fixture_save(2, steps);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, load_other_shape, NULL);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].result, -EINVAL);
        assert_non_null(strstr(ranks[r].err.text, "model/half"));
    }
}

static void load_unknown(struct fixture_rank *rank)
{
    rank->model.tensors[0].name = "model/other";
    load_untouched(rank);
}

static void test_unknown_tensor(void **state)
{
    static const uint64_t steps[] = {1, 0};
    (void)state;
    fixture_save(2, steps);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, load_unknown, NULL);
    assert_int_equal(ranks[1].result, -EINVAL);
    assert_non_null(strstr(ranks[1].err.text, "model/other"));
}

/* One rank's mistake fails the step on all, at once and with its text; the next step works. */
static void save_malformed(struct fixture_rank *rank)
{
    struct fixture_model *model = &rank->model;
    const struct mst_state state = fixture_state(model, "");
    if (rank->world.rank == 1)
        model->tensors[0].data.size_bytes--;
    if (mst_ckpt_save(rank->ckpt, 1, &state, soon()) < 0)
        rank->matches = strstr(mst_ckpt_error(rank->ckpt), "model/embedding") != NULL;
    else
        rank->matches = rank->world.rank != 1 && mst_ckpt_error(rank->ckpt)[0] == '\0';
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
    if (rank->world.rank == 1)
        model->tensors[0].data.size_bytes++;
    fixture_look(rank);
    rank->matches = rank->matches && rank->status.failed_step == 1 &&
                    rank->status.failed_count == 1 &&
                    strstr(rank->status.failed_text, "model/embedding") != NULL &&
                    strcmp(mst_ckpt_error(rank->ckpt), rank->status.failed_text) == 0 &&
                    mst_ckpt_save(rank->ckpt, 2, &state, soon()) == 0 &&
                    mst_ckpt_drain(rank->ckpt, soon()) == 0 &&
                    mst_ckpt_error(rank->ckpt)[0] == '\0';
}

static void test_malformed_on_one_rank(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 3, save_malformed, NULL);
    for (uint32_t r = 0; r < 3; r++) {
        assert_int_equal(ranks[r].result, -EINVAL);
        assert_true(ranks[r].matches);
        assert_int_equal(ranks[r].status.committed_step, 2);
    }
    assert_false(fixture_has("step_1"));
    assert_false(fixture_has_temp("step_1"));
}

/* Sharded rows that overlap or leave a gap are found by rank 0. */
static void save_gap(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "");
    struct mst_tensor *tensor = &rank->model.tensors[3];
    if (rank->world.rank == 0 && tensor->row_count > 0) {
        tensor->row_count--;
        tensor->data.size_bytes -= rank->model.row_bytes[3];
    }
    (void)mst_ckpt_save(rank->ckpt, 1, &state, soon());
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
}

static void test_gap_between_shards(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, save_gap, NULL);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].result, -EINVAL);
        assert_non_null(strstr(ranks[r].status.failed_text, "optimizer/m: row 24"));
    }
}

/* A rank that does not save (killed, or hung) fails the step on the others in time. */
static void save_unless_last(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "");
    if (rank->world.rank == 2)
        return;
    (void)mst_ckpt_save(rank->ckpt, 1, &state, soon());
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
}

static void test_missing_vote(void **state)
{
    (void)state;
    fixture_timeout_ms = 300;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 3, save_unless_last, NULL);
    fixture_timeout_ms = SOON_MS;
    assert_int_equal(ranks[0].result, -ETIMEDOUT);
    assert_int_equal(ranks[1].result, -ETIMEDOUT);
    assert_non_null(strstr(ranks[1].status.failed_text, "rank 2: no vote"));
    assert_false(fixture_has_temp("step_1"));
}

static void save_malformed_twice(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "");
    if (rank->world.rank == 1)
        rank->model.tensors[0].data.size_bytes--;
    for (uint64_t step = 1; step <= 2; step++) {
        (void)mst_ckpt_save(rank->ckpt, step, &state, soon());
        (void)mst_ckpt_drain(rank->ckpt, soon());
    }
    char value[64];
    size_t size;
    rank->result = mst_kv_get(rank->kv, "ckpt/1/1/verdict", value, sizeof value, &size, soon());
}

/* However many steps fail, the table does not keep their votes. */
static void test_failures_are_forgotten(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, save_malformed_twice, NULL);
    assert_int_equal(ranks[0].result, -ENOENT);
}

/* Rank 0 comes to the save when the others have waited for longer than a save may take. */
static void save_late(struct fixture_rank *rank)
{
    static const uint64_t steps[] = {1, 0};
    char value[8];
    size_t size;
    if (rank->world.rank == 0)
        assert_int_equal(mst_kv_wait(rank->kv, "never", value, sizeof value, &size,
                                     mst_deadline_ms(rank->timeout_ms * 17 / 10)),
                         -ETIMEDOUT);
    rank->arg = (void *)(uintptr_t)steps;
    fixture_save_steps(rank);
}

static void test_late_leader(void **state)
{
    (void)state;
    fixture_timeout_ms = 1500;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, save_late, NULL);
    fixture_timeout_ms = SOON_MS;
    assert_int_equal(ranks[0].result, 0);
    assert_int_equal(ranks[1].result, 0);
}

/* Once the pool is there, save touches only memory that is there too. */
static void save_and_count_faults(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "");
    fixture_fill(&rank->model, 1);
    for (uint64_t step = 1; step <= 4; step++) {
        struct rusage before;
        assert_int_equal(getrusage(RUSAGE_THREAD, &before), 0);
        rank->result = mst_ckpt_save(rank->ckpt, step, &state, soon());
        struct rusage after;
        assert_int_equal(getrusage(RUSAGE_THREAD, &after), 0);
        if (rank->result == 0)
            rank->result = mst_ckpt_drain(rank->ckpt, soon());
        rank->matches = after.ru_minflt == before.ru_minflt;
    }
}

static void test_no_page_faults(void **state)
{
    (void)state;
    struct fixture_rank rank;
    fixture_run(&rank, 1, save_and_count_faults, NULL);
    assert_int_equal(rank.result, 0);
    assert_true(rank.matches);
}

static void save_bad_steps(struct fixture_rank *rank)
{
    struct mst_ckpt *ckpt = rank->ckpt;
    const struct mst_state state = fixture_state(&rank->model, "");
    struct mst_state long_cursor = state;
    long_cursor.cursor = (struct mst_cspan){.data = fixture_root, .size_bytes = 4097};
    assert_int_equal(mst_ckpt_drain(ckpt, 0), 0);
    assert_int_equal(mst_ckpt_save(ckpt, 1, &long_cursor, soon()), -EINVAL);
    assert_non_null(strstr(mst_ckpt_error(ckpt), "4097"));
    assert_int_equal(mst_ckpt_save(ckpt, MST_CKPT_NONE, &state, soon()), -EINVAL);
    assert_int_equal(mst_ckpt_save(ckpt, 5, &state, soon()), 0);
    assert_int_equal(mst_ckpt_save(ckpt, 5, &state, soon()), -EINVAL);
    assert_string_equal(mst_ckpt_error(ckpt), "step 5 is not over the last saved, 5");
    assert_int_equal(mst_ckpt_save(ckpt, 4, &state, soon()), -EINVAL);
    assert_int_equal(mst_ckpt_drain(ckpt, soon()), 0);
    rank->matches = true;
}

static void test_bad_steps(void **state)
{
    (void)state;
    struct fixture_rank rank;
    fixture_run(&rank, 1, save_bad_steps, NULL);
    assert_true(rank.matches);
    assert_int_equal(rank.status.save_count, 1);
}

static void save_nothing(struct fixture_rank *rank)
{
    const struct mst_state state = MST_STATE_INIT;
    rank->loaded = (struct mst_ckpt_loaded)MST_CKPT_LOADED_INIT;
    rank->result = mst_ckpt_save(rank->ckpt, 1, &state, soon());
    if (rank->result == 0)
        rank->result = mst_ckpt_drain(rank->ckpt, soon());
    if (rank->result == 0)
        rank->result = mst_ckpt_load(rank->ckpt, &state, &rank->loaded, soon(), &rank->err);
}

static void test_no_tensors(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, save_nothing, NULL);
    assert_int_equal(ranks[0].result, 0);
    assert_int_equal(ranks[1].loaded.step, 1);
}

/* ---- what is refused, and what was lost ------------------------------------------------------ */

static void save_odd_cursors(struct fixture_rank *rank)
{
    struct mst_state state = fixture_state(&rank->model, "cursor");
    state.cursor.data = NULL;
    assert_int_equal(mst_ckpt_save(rank->ckpt, 1, &state, soon()), -EINVAL);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "cursor of 6 bytes whose data is NULL"));
    state.cursor.data = "cursor";
    state.cursor.mem = MST_MEM_DEVICE;
    assert_int_equal(mst_ckpt_save(rank->ckpt, 1, &state, soon()), -ENOTSUP);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "device memory"));
}

static void test_odd_cursors(void **state)
{
    (void)state;
    struct fixture_rank rank;
    fixture_run(&rank, 1, save_odd_cursors, NULL);
}

/* No name is refused without a word that says which, and what a name is. */
static void save_odd_names(struct fixture_rank *rank)
{
    static const char *const names[] = {"",      "/a",    "a//b",    "muster",   "muster/x",
                                        "a/./b", "tab\t", "quote\"", "model/w1", "lr/x"};
    const struct mst_state state = fixture_state(&rank->model, "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rank->model.tensors[0].name = names[i];
        assert_int_equal(mst_ckpt_save(rank->ckpt, i + 1, &state, soon()), -EINVAL);
        const char *text = mst_ckpt_error(rank->ckpt);
        assert_non_null(strstr(text, "name"));
        assert_true(!names[i][0] || strstr(text, names[i]) || strstr(text, "lr"));
    }
}

static void test_odd_names(void **state)
{
    (void)state;
    struct fixture_rank rank;
    fixture_run(&rank, 1, save_odd_names, NULL);
}

/* One rank has nothing to load into: all are told, at once, and the next load means the same. */
static void load_with_one_unset(struct fixture_rank *rank)
{
    struct mst_state state = fixture_state(&rank->model, "");
    rank->loaded = (struct mst_ckpt_loaded)MST_CKPT_LOADED_INIT;
    if (rank->world.rank == 1)
        state.tensor_bytes = 1;
    rank->result = mst_ckpt_load(rank->ckpt, &state, &rank->loaded, soon(), &rank->err);
    assert_int_equal(rank->result, -EINVAL);
    assert_non_null(strstr(rank->err.text, "MST_STATE_INIT"));
    fixture_load_newest(rank);
}

static void test_load_with_one_unset(void **state)
{
    static const uint64_t steps[] = {1, 0};
    (void)state;
    fixture_save(3, steps);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 3, load_with_one_unset, NULL);
    for (uint32_t r = 0; r < 3; r++)
        assert_true(ranks[r].matches);
}

/* What the agent sees of a rank: the last save, if it came to nothing. */
static struct mst_page *fixture_page;

static uint64_t lost_step(const struct fixture_rank *rank)
{
    return atomic_load(&mst_page_slot(fixture_page, rank->world.local_rank)->lost_step);
}

static void lose_saves(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "");
    assert_int_equal(lost_step(rank), MST_PAGE_NO_STEP);
    rank->model.tensors[0].data.size_bytes--;
    assert_int_equal(mst_ckpt_save(rank->ckpt, 1, &state, soon()), -EINVAL);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), -EINVAL);
    assert_int_equal(lost_step(rank), 1);
    rank->model.tensors[0].data.size_bytes++;
    assert_int_equal(mst_ckpt_save(rank->ckpt, 2, &state, soon()), 0);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
    assert_int_equal(lost_step(rank), MST_PAGE_NO_STEP);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 3, NULL, soon()), -EINVAL);
    assert_int_equal(lost_step(rank), 3);
}

static void test_lost_step(void **state)
{
    (void)state;
    assert_int_equal(mst_page_create(1, &fixture_page_fd, &fixture_page, NULL), 0);
    struct fixture_rank rank;
    fixture_run(&rank, 1, lose_saves, NULL);
    mst_page_unmap(fixture_page);
    close(fixture_page_fd);
    fixture_page_fd = -1;
}

/* One rank is killed in the middle of a step, the other had begun a save: its close is not to wait
 * for a word that never comes, but the agent's patience would. */
static void save_alone(struct fixture_rank *rank)
{
    const uint32_t *ended = rank->arg;
    const struct mst_state state = fixture_state(&rank->model, "");
    if (rank->world.rank == *ended)
        return;
    assert_int_equal(mst_ckpt_save(rank->ckpt, 1, &state, soon()), 0);
    mst_page_abort(fixture_page, *ended);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, MST_NEVER), -ECONNRESET);
}

static void test_a_save_does_not_wait_for_who_has_ended(void **state)
{
    (void)state;
    for (uint32_t ended = 0; ended < 2; ended++) {
        assert_int_equal(mst_page_create(2, &fixture_page_fd, &fixture_page, NULL), 0);
        fixture_timeout_ms = 24 * 3600 * 1000;
        struct fixture_rank ranks[2];
        fixture_run(ranks, 2, save_alone, &ended);
        fixture_timeout_ms = SOON_MS;
        mst_page_unmap(fixture_page);
        close(fixture_page_fd);
        fixture_page_fd = -1;
    }
}

/* Programs that were compiled against other headers than the library's. */
static void use_other_sizes(struct fixture_rank *rank)
{
    struct newer_state {
        struct mst_state known;
        uint64_t later;
    } newer = {.known = fixture_state(&rank->model, "cursor")};
    struct newer_loaded {
        struct mst_ckpt_loaded known;
        uint64_t later;
    } loaded = {.known = MST_CKPT_LOADED_INIT};
    newer.known.struct_bytes = sizeof newer;
    fixture_fill(&rank->model, 7);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 7, &newer.known, soon()), 0);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
    newer.later = 1;
    assert_int_equal(mst_ckpt_save(rank->ckpt, 8, &newer.known, soon()), -ENOTSUP);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "MST_STATE_INIT"));
    newer.later = 0;
    newer.known.cursor.size_bytes = SIZE_MAX; /* behind what an older program has */
    newer.known.struct_bytes = offsetof(struct mst_state, cursor);
    loaded.known.struct_bytes = sizeof loaded;
    fixture_fill(&rank->model, 9);
    rank->result = mst_ckpt_load(rank->ckpt, &newer.known, &loaded.known, soon(), &rank->err);
    assert_int_equal(loaded.known.struct_bytes, sizeof loaded);
    rank->loaded = loaded.known;
    rank->matches = fixture_is(&rank->model, 7);
}

static void test_other_sizes(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, use_other_sizes, NULL);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].result, 0);
        assert_int_equal(ranks[r].loaded.step, 7);
        assert_true(ranks[r].matches);
    }
}

/* A size that was not set is refused by every call, naming the macro, and changes nothing. */
static void forget_sizes(struct fixture_rank *rank)
{
    struct mst_state state = fixture_state(&rank->model, "");
    fixture_fill(&rank->model, 99);
    struct mst_ckpt_status status = {0};
    assert_int_equal(mst_ckpt_get_status(rank->ckpt, &status), -EINVAL);
    struct mst_ckpt_loaded loaded = {0};
    assert_int_equal(mst_ckpt_load(rank->ckpt, &state, &loaded, soon(), &rank->err), -EINVAL);
    assert_non_null(strstr(rank->err.text, "MST_CKPT_LOADED_INIT"));
    loaded.struct_bytes = sizeof loaded;
    state.struct_bytes = 0;
    assert_int_equal(mst_ckpt_load(rank->ckpt, &state, &loaded, soon(), &rank->err), -EINVAL);
    assert_non_null(strstr(rank->err.text, "MST_STATE_INIT"));
    assert_int_equal(mst_ckpt_save(rank->ckpt, 2, &state, soon()), -EINVAL);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "MST_STATE_INIT"));
    rank->matches = fixture_is(&rank->model, 99);
}

static void test_forgotten_sizes(void **state)
{
    static const uint64_t steps[] = {1, 0};
    const struct mst_ckpt_opts opts = {.uri = fixture_uri};
    (void)state;
    fixture_save(1, steps);
    struct fixture_rank rank;
    fixture_run(&rank, 1, forget_sizes, NULL);
    assert_true(rank.matches);
    assert_int_equal(rank.status.save_count, 0);
    struct mst_err err = {0};
    assert_int_equal(mst_ckpt_open(&opts, &rank.world, NULL, &rank.ckpt, &err), -EINVAL);
    assert_non_null(strstr(err.text, "MST_CKPT_OPTS_INIT"));
}

/* The program's handle of the table is borrowed for open, as comm's is. */
static void save_and_load_without_kv(struct fixture_rank *rank)
{
    static const uint64_t steps[] = {3, 0};
    mst_kv_close(rank->kv);
    rank->kv = NULL;
    rank->arg = (void *)(uintptr_t)steps;
    fixture_save_steps(rank);
    if (rank->result == 0)
        fixture_load_newest(rank);
}

static void test_kv_closed_after_open(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, save_and_load_without_kv, NULL);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].result, 0);
        assert_int_equal(ranks[r].loaded.step, 3);
        assert_true(ranks[r].matches);
    }
}

static void do_nothing(struct fixture_rank *rank)
{
    (void)rank;
}

/* Of epochs before this one; what is nobody's stays. */
static void test_abandoned_directories(void **state)
{
    static const char *const names[] = {"step_3.tmp.1.1",
                                        "step_3.tmp.e1.00000000000000aa",
                                        "step_3.tmp.e3.00000000000000bb",
                                        "step_3.tmp.x",
                                        "step_3.tmp.01.1",
                                        "notes"};
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, do_nothing, NULL); /* epoch 1 */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", fixture_root, names[i]);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    fixture_run(ranks, 2, do_nothing, NULL);
    assert_false(fixture_has(names[0]));
    assert_false(fixture_has(names[1]));
    for (size_t i = 2; i < sizeof names / sizeof *names; i++)
        assert_true(fixture_has(names[i]));
    for (int i = 0; i < 2; i++)
        fixture_run(ranks, 2, do_nothing, NULL);
    assert_false(fixture_has(names[2]));
}

static void test_open_faults(void **state)
{
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    (void)state;
    struct mst_world world;
    world_init_single(&world);
    struct mst_err err;
    struct mst_kv *kv;
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, &err), 0);
    opts.timeout_ms = 1000;
    struct mst_ckpt *ckpt = NULL;
    assert_int_equal(mst_ckpt_open(&opts, &world, kv, &ckpt, &err), -EINVAL);
    assert_non_null(strstr(err.text, "URI"));
    char path[512];
    FILE *file;
    snprintf(path, sizeof path, "%s/file", fixture_root);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    snprintf(path, sizeof path, "%s/file/below", fixture_root);
    opts.uri = path;
    assert_int_equal(mst_ckpt_open(&opts, &world, kv, &ckpt, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, "/file/below"));
    opts.uri = "ftp://host/x";
    assert_int_equal(mst_ckpt_open(&opts, &world, kv, &ckpt, &err), -ENOTSUP);
    assert_null(ckpt);
    mst_ckpt_close(NULL);
    mst_kv_close(kv);
    world_fini(&world);
}

static int setup_big(void **state)
{
    fixture_big_rows = FIXTURE_MANY_ROWS;
    return fixture_setup(state);
}

static int teardown_big(void **state)
{
    fixture_big_rows = FIXTURE_FEW_ROWS;
    return fixture_teardown(state);
}

/* A disk that does not answer: a save is under way until the test lets it go on. */
static sem_t is_stuck, may_go_on;
static atomic_bool sticks;

static int stick_tap(void *arg, const struct mst_aio_op *op)
{
    (void)arg;
    if (op->kind == MST_AIO_RENAME && atomic_exchange(&sticks, false)) {
        assert_int_equal(sem_post(&is_stuck), 0);
        assert_int_equal(sem_wait(&may_go_on), 0);
    }
    return 1;
}

/* Whatever of the pool is there when the save comes, for these tensors or for others. */
static void prepare_and_save(struct fixture_rank *rank)
{
    struct mst_state state = fixture_state(&rank->model, "cursor"), fewer = state;
    fewer.tensor_count = 2;
    fixture_fill(&rank->model, 1);
    assert_int_equal(mst_ckpt_prepare(rank->ckpt, &fewer), 0);
    assert_int_equal(mst_ckpt_prepare(rank->ckpt, &state), 0);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 1, &state, soon()), 0);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
    assert_int_equal(mst_ckpt_prepare(rank->ckpt, &fewer), 0);
    assert_int_equal(mst_ckpt_prepare(rank->ckpt, &state), 0);
    fixture_load_newest(rank);
}

static void test_prepare(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 3, prepare_and_save, NULL);
    for (uint32_t r = 0; r < 3; r++)
        assert_true(ranks[r].result == 0 && ranks[r].matches);
}

static void prepare_badly(struct fixture_rank *rank)
{
    struct mst_state state = fixture_state(&rank->model, ""), unset = {0};
    assert_int_equal(mst_ckpt_prepare(rank->ckpt, &unset), -EINVAL);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "MST_STATE_INIT"));
    rank->model.tensors[1].name = rank->model.tensors[0].name;
    assert_int_equal(mst_ckpt_prepare(rank->ckpt, &state), -EINVAL);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "model/embedding"));
    rank->model.tensors[1].name = "model/w1";
    rank->result = mst_ckpt_prepare(rank->ckpt, &state);
    assert_string_equal(mst_ckpt_error(rank->ckpt), "");
}

static void test_prepare_says_what_is_wrong(void **state)
{
    (void)state;
    struct fixture_rank rank;
    fixture_run(&rank, 1, prepare_badly, NULL);
    assert_int_equal(rank.result, 0);
}

static void use_while_it_saves(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "cursor");
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    fixture_fill(&rank->model, 1);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 1, &state, soon()), 0);
    assert_int_equal(sem_wait(&is_stuck), 0);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 2, &state, mst_now_ns()), -ETIMEDOUT);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "step 2 is not saved"));
    assert_int_equal(mst_ckpt_prepare(rank->ckpt, &state), -EAGAIN);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, mst_now_ns()), -ETIMEDOUT);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "the last save has not ended"));
    assert_int_equal(mst_ckpt_load(rank->ckpt, &state, &loaded, mst_now_ns(), &rank->err),
                     -ETIMEDOUT);
    assert_non_null(strstr(rank->err.text, "a save is still in flight"));
    assert_int_equal(sem_post(&may_go_on), 0);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 3, &state, soon()), 0);
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
}

static void test_nothing_is_mixed_with_a_save_in_flight(void **state)
{
    (void)state;
    assert_int_equal(sem_init(&is_stuck, 0, 0), 0);
    assert_int_equal(sem_init(&may_go_on, 0, 0), 0);
    struct fixture_rank rank;
    sticks = true;
    mst_aio_set_tap(stick_tap, NULL);
    fixture_run(&rank, 1, use_while_it_saves, NULL);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(rank.result, 0);
    assert_int_equal(rank.status.failed_count, 0);
    assert_true(fixture_has("step_1") && fixture_has("step_3"));
    assert_false(fixture_has("step_2"));
}

/* Rank 1's root is another: what it names step 1 has other values in it. */
static void load_from_two_roots(struct fixture_rank *rank)
{
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    char uri[400];
    mst_ckpt_close(rank->ckpt);
    snprintf(uri, sizeof uri, "%s/%u", fixture_root, rank->world.rank);
    opts.uri = uri;
    opts.read_only = 1;
    assert_int_equal(mst_ckpt_open(&opts, &rank->world, rank->kv, &rank->ckpt, &rank->err), 0);
    fixture_load_newest(rank);
}

static void test_ranks_with_different_roots(void **state)
{
    static const uint64_t first[] = {1, 0};
    char root[sizeof fixture_uri];
    (void)state;
    memcpy(root, fixture_uri, sizeof root);
    for (int i = 0; i < 2; i++) {
        snprintf(fixture_uri, sizeof fixture_uri, "%.250s/%d", fixture_root, i);
        fixture_save(2, first);
    }
    memcpy(fixture_uri, root, sizeof root);
    struct fixture_rank ranks[2];
    fixture_run(ranks, 2, load_from_two_roots, NULL);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].result, -EINVAL);
        assert_non_null(strstr(ranks[r].err.text, "rank 1 finds another step_1 than rank 0"));
    }
}

static void load_twice(struct fixture_rank *rank)
{
    struct mst_tensor other = rank->model.tensors[1];
    rank->model.tensors[1] = rank->model.tensors[0];
    fixture_load_newest(rank);
    rank->model.tensors[1] = other;
}

static void test_tensor_asked_for_twice(void **state)
{
    static const uint64_t first[] = {1, 0};
    (void)state;
    fixture_save(1, first);
    struct fixture_rank rank;
    fixture_run(&rank, 1, load_twice, NULL);
    assert_int_equal(rank.result, -EINVAL);
    assert_non_null(strstr(rank.err.text, "model/embedding is asked for twice"));
}

/* Ranks that train on other data, or from another place in it, save nothing that anyone could go on
 * from; where their copies of the same data lie is their own. */
static void save_other_cursor(struct fixture_rank *rank)
{
    uint8_t cursor[64] = {1};
    cursor[rank->world.rank == 1 ? *(const size_t *)rank->arg : 0] = 1;
    struct mst_state state = fixture_state(&rank->model, "");
    state.cursor = (struct mst_cspan){.data = cursor, .size_bytes = sizeof cursor};
    assert_int_equal(mst_ckpt_save(rank->ckpt, 4, &state, soon()), 0);
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
}

static void test_other_cursors(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    size_t at = MST_CKPT_CURSOR_ALIKE - 1;
    fixture_run(ranks, 2, save_other_cursor, &at);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].result, -EINVAL);
        assert_non_null(
            strstr(ranks[r].status.failed_text, "rank 1: passed another cursor than rank 0"));
    }
    at = MST_CKPT_CURSOR_ALIKE;
    fixture_run(ranks, 2, save_other_cursor, &at);
    assert_int_equal(ranks[0].result, 0);
    assert_int_equal(ranks[1].result, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define BIG_CASE(name) cmocka_unit_test_setup_teardown(name, setup_big, teardown_big)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_same_world),
        CASE(test_other_cursors),
        BIG_CASE(test_other_worlds),
        BIG_CASE(test_world_grows),
        CASE(test_fresh_start),
        CASE(test_retention),
        CASE(test_save_after_load),
        CASE(test_step_again),
        CASE(test_flip_in_manifest),
        BIG_CASE(test_flip_in_tensor),
        CASE(test_swapped_files),
        CASE(test_missing_file),
        BIG_CASE(test_truncated_file),
        CASE(test_fifo_in_place_of_a_file),
        CASE(test_mixed_steps),
        BIG_CASE(test_nothing_installed_on_damage),
        CASE(test_other_shape),
        CASE(test_unknown_tensor),
        CASE(test_malformed_on_one_rank),
        CASE(test_gap_between_shards),
        CASE(test_missing_vote),
        CASE(test_failures_are_forgotten),
        CASE(test_late_leader),
        BIG_CASE(test_no_page_faults),
        CASE(test_bad_steps),
        CASE(test_no_tensors),
        CASE(test_odd_cursors),
        CASE(test_odd_names),
        CASE(test_load_with_one_unset),
        CASE(test_lost_step),
        CASE(test_a_save_does_not_wait_for_who_has_ended),
        CASE(test_other_sizes),
        CASE(test_forgotten_sizes),
        CASE(test_kv_closed_after_open),
        CASE(test_abandoned_directories),
        CASE(test_open_faults),
        CASE(test_prepare),
        CASE(test_prepare_says_what_is_wrong),
        CASE(test_nothing_is_mixed_with_a_save_in_flight),
        CASE(test_tensor_asked_for_twice),
        CASE(test_ranks_with_different_roots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

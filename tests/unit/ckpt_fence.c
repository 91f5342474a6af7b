/* Jobs that share a root: what one that has lost it can still do, and what a reader does. */
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/lease.h"
#include "muster/ckpt/tier.h"
#include "muster/core/aio/aio.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

static const uint64_t first[] = {1, 0};

/* ---- a life that comes in between ------------------------------------------------------------ */

static void take_over(const char *job, const uint64_t *steps)
{
    fixture_job = job;
    fixture_save(1, steps);
    fixture_job = "fixture";
}

static void save_after_loss(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "");
    const uint64_t none[] = {0};
    take_over("fixture", none);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 2, &state, soon()), 0);
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
}

static void test_save_after_loss(void **state)
{
    (void)state;
    fixture_save(1, first);
    struct fixture_rank rank;
    fixture_run(&rank, 1, save_after_loss, NULL);
    assert_int_equal(rank.result, -ESTALE);
    assert_non_null(strstr(rank.status.failed_text, "taken over as epoch 3"));
    assert_non_null(strstr(rank.status.failed_text, "another job"));
    assert_false(fixture_has("step_2"));
    assert_false(fixture_has_temp("step_2"));
}

/* The root is lost after the writer has looked, right before its rename: `steps` are saved by the
 * next life meanwhile, whose broom has overlooked what is being renamed. */
static const uint64_t *steps_between;
static atomic_bool is_armed;
static bool is_swept;

static void rename_in_root(const char *from, const char *to)
{
    char a[512], b[512];
    snprintf(a, sizeof a, "%s/%s", fixture_root, from);
    snprintf(b, sizeof b, "%s/%s", fixture_root, to);
    assert_int_equal(rename(a, b), 0);
}

static int tap(void *arg, const struct mst_aio_op *op)
{
    (void)arg;
    if (op->kind != MST_AIO_RENAME || !strstr(op->path, "step_2.tmp") ||
        !atomic_exchange(&is_armed, false))
        return 1;
    if (!is_swept)
        rename_in_root(op->path, "overlooked");
    take_over("fixture", steps_between);
    if (!is_swept)
        rename_in_root("overlooked", op->path);
    return 1;
}

static void save_in_between(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "cursor");
    fixture_fill(&rank->model, 99);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 2, &state, soon()), 0);
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
}

static void lose_in_between(const uint64_t *steps, mst_aio_tap_fn fn)
{
    struct fixture_rank rank;
    fixture_save(1, first);
    steps_between = steps;
    is_armed = true;
    mst_aio_set_tap(fn, NULL);
    fixture_run(&rank, 1, save_in_between, NULL);
    mst_aio_set_tap(NULL, NULL);
    assert_false(is_armed);
    assert_int_equal(rank.result, -ESTALE);
    assert_int_equal(rank.status.committed_step, MST_CKPT_NONE);
}

static void expect_manifest(uint64_t step, int code)
{
    const struct tier_opts opts = {.uri = fixture_uri, .aio = "threads", .read_only = true};
    struct tier *tier;
    assert_int_equal(tier_open(&opts, &tier, NULL), 0);
    assert_int_equal(tier_read_owner(tier, soon(), NULL), 0);
    struct manifest manifest = {0};
    struct mst_err err = {0};
    assert_int_equal(tier_read_manifest(tier, step, &manifest, soon(), &err), code);
    assert_true(code == 0 || strstr(err.text, "step_2 does not count: epoch 2"));
    manifest_fini(&manifest);
    tier_close(tier);
}

/* Its step is there, whole, and no reader counts it; the next commit removes it. */
static void test_published_after_loss(void **state)
{
    static const uint64_t none[] = {0}, third[] = {3, 0};
    (void)state;
    lose_in_between(none, tap);
    assert_true(fixture_has("step_2"));
    expect_manifest(2, -ESTALE);
    struct fixture_rank rank;
    assert_int_equal(fixture_load(1, &rank), 1);
    assert_int_equal(rank.loaded.skipped_count, 0);
    fixture_save(1, third);
    assert_false(fixture_has("step_2"));
    assert_true(fixture_has("step_1") && fixture_has("step_3"));
}

/* The broom was faster. */
static void test_swept_while_published(void **state)
{
    static const uint64_t none[] = {0};
    (void)state;
    is_swept = true;
    lose_in_between(none, tap);
    is_swept = false;
    assert_false(fixture_has("step_2"));
}

/* It must not push out the step of the one that has the root now. */
static void test_published_over_the_next(void **state)
{
    static const uint64_t second[] = {2, 0};
    (void)state;
    lose_in_between(second, tap);
    expect_manifest(2, 0);
    struct fixture_rank rank;
    assert_int_equal(fixture_load(1, &rank), 2);
    assert_true(rank.matches);
    assert_false(fixture_has_temp("step_2"));
}

/* Whose the root is cannot be told behind the rename: what has come out by it may be the next
 * owner's, and is put back. */
static int hide_tap(void *arg, const struct mst_aio_op *op)
{
    (void)arg;
    char path[512];
    snprintf(path, sizeof path, "%s/OWNER.4", fixture_root);
    if (op->kind == MST_AIO_RENAME && strstr(op->path, "step_2.tmp") &&
        atomic_exchange(&is_armed, false))
        assert_int_equal(symlink("OWNER.4", path), 0); /* a loop */
    return 1;
}

static void test_not_known_behind_the_rename(void **state)
{
    static const uint64_t second[] = {2, 0};
    (void)state;
    fixture_save(1, first);
    fixture_save(1, second);
    struct fixture_rank rank;
    is_armed = true;
    mst_aio_set_tap(hide_tap, NULL);
    fixture_run(&rank, 1, save_in_between, NULL);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(rank.result, -ELOOP);
    assert_non_null(strstr(rank.status.failed_text, "whose the root is"));
    assert_false(fixture_has_temp("step_2"));
    char path[512];
    snprintf(path, sizeof path, "%s/OWNER.4", fixture_root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_load(1, &rank), 2);
    assert_true(rank.matches);
}

/* The loser dies between the exchange and its way back: the step of the owner after it, which has
 * come out by that, is committed, and goes back to its place when the root is next taken. */
static int exchanges_left;

static bool is_exchange_of(const struct mst_aio_op *op, const char *temp)
{
    return op->kind == MST_AIO_RENAME && op->flags == RENAME_EXCHANGE && strstr(op->path, temp);
}

static int die_tap(void *arg, const struct mst_aio_op *op)
{
    if (is_exchange_of(op, "step_2.tmp.e2") && exchanges_left-- == 0)
        return -EIO;
    return tap(arg, op);
}

static void test_died_behind_the_exchange(void **state)
{
    static const uint64_t second[] = {2, 0}, none[] = {0};
    (void)state;
    exchanges_left = 1;
    lose_in_between(second, die_tap);
    assert_true(fixture_has_temp("step_2"));
    take_over("fixture", none);
    expect_manifest(2, 0);
    struct fixture_rank rank;
    assert_int_equal(fixture_load(1, &rank), 2);
    assert_true(rank.matches);
    assert_false(fixture_has_temp("step_2"));
}

/* The last fsync of a publication fails: what was there before is neither lost nor replaced. */
static int fail_sync_tap(void *arg, const struct mst_aio_op *op)
{
    (void)arg;
    if (is_exchange_of(op, "step_2.tmp") && exchanges_left-- == 1)
        is_armed = true;
    return op->kind == MST_AIO_FSYNC && atomic_exchange(&is_armed, false) ? -EIO : 1;
}

static void test_not_durable_behind_the_exchange(void **state)
{
    static const uint64_t second[] = {2, 0};
    (void)state;
    fixture_save(1, second);
    exchanges_left = 1;
    struct fixture_rank rank;
    mst_aio_set_tap(fail_sync_tap, NULL);
    fixture_run(&rank, 1, save_in_between, NULL);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(rank.result, -EIO);
    assert_non_null(strstr(rank.status.failed_text, "publish step_2"));
    assert_false(fixture_has_temp("step_2"));
    assert_int_equal(fixture_load(1, &rank), 2);
    assert_true(rank.matches);
}

/* The root is lost behind the exchange, and the next life commits the same step before this one's
 * goes back: what comes out of step_2 then is that life's, and stays. */
static int lose_behind_tap(void *arg, const struct mst_aio_op *op)
{
    static const uint64_t second[] = {2, 0};
    (void)arg;
    if (is_exchange_of(op, "step_2.tmp") && exchanges_left-- == 1)
        is_armed = true;
    if (op->kind == MST_AIO_FSYNC && atomic_exchange(&is_armed, false))
        take_over("fixture", second);
    return 1;
}

static void test_lost_behind_the_exchange(void **state)
{
    static const uint64_t second[] = {2, 0};
    (void)state;
    fixture_save(1, second);
    exchanges_left = 1;
    struct fixture_rank rank;
    mst_aio_set_tap(lose_behind_tap, NULL);
    fixture_run(&rank, 1, save_in_between, NULL);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(rank.result, -ESTALE);
    uint64_t epoch = 0;
    int root_fd = open(fixture_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(root_read_epoch(root_fd, "step_2", 2, &epoch), 0);
    close(root_fd);
    assert_int_equal(epoch, 3);
    assert_int_equal(fixture_load(1, &rank), 2);
    assert_false(fixture_has_temp("step_2"));
}

/* Of a step that replaced nothing there is nothing to go back to: it has failed, and whoever looks
 * finds it whole. */
static int fail_first_sync_tap(void *arg, const struct mst_aio_op *op)
{
    (void)arg;
    if (op->kind == MST_AIO_RENAME && strstr(op->path, "step_2.tmp"))
        is_armed = true;
    return op->kind == MST_AIO_FSYNC && atomic_exchange(&is_armed, false) ? -EIO : 1;
}

static void test_not_durable_behind_the_rename(void **state)
{
    (void)state;
    fixture_save(1, first);
    struct fixture_rank rank;
    mst_aio_set_tap(fail_first_sync_tap, NULL);
    fixture_run(&rank, 1, save_in_between, NULL);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(rank.result, -EIO);
    assert_int_equal(rank.status.failed_step, 2);
    assert_int_equal(rank.status.committed_step, MST_CKPT_NONE);
    assert_non_null(strstr(rank.status.failed_text, "publish step_2"));
    assert_false(fixture_has_temp("step_2"));
    fixture_run(&rank, 1, fixture_load_newest, NULL);
    assert_int_equal(rank.result, 0);
    assert_int_equal(rank.loaded.step, 2);
    assert_int_equal(rank.loaded.skipped_count, 0);
}

/* ---- two jobs -------------------------------------------------------------------------------- */

static void open_another(struct fixture_rank *rank)
{
    struct fixture_rank other;
    fixture_job = "other";
    fixture_run(&other, 1, fixture_load_newest, NULL);
    fixture_job = "fixture";
    assert_int_equal(other.result, -EEXIST);
    assert_non_null(strstr(other.err.text, "another job (job fixture on "));
    rank->arg = (void *)(uintptr_t)first;
    fixture_save_steps(rank);
}

static void test_another_job(void **state)
{
    (void)state;
    struct fixture_rank rank;
    fixture_run(&rank, 1, open_another, NULL);
    assert_int_equal(rank.result, 0);
    fixture_job = "other";
    assert_int_equal(fixture_load(1, &rank), 1);
    fixture_job = "fixture";
}

/* Only when it begins: a job whose root was taken does not take it back at its next restart. */
static void open_by_force(struct fixture_rank *rank)
{
    struct fixture_rank other;
    fixture_job = "other";
    fixture_take_root = true;
    fixture_generation = 1;
    fixture_run(&other, 1, fixture_load_newest, NULL);
    assert_int_equal(other.result, -EEXIST);
    fixture_generation = 0;
    fixture_run(&other, 1, fixture_load_newest, NULL);
    assert_int_equal(other.result, -ENOENT);
    fixture_take_root = false;
    fixture_job = "fixture";
    rank->arg = (void *)(uintptr_t)first;
    fixture_save_steps(rank);
}

static void test_by_force(void **state)
{
    (void)state;
    struct fixture_rank rank;
    fixture_run(&rank, 1, open_by_force, NULL);
    assert_int_equal(rank.result, -ESTALE);
}

/* ---- readers --------------------------------------------------------------------------------- */

static struct mst_ckpt *open_to_read(struct mst_err *err)
{
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    opts.uri = fixture_uri;
    opts.read_only = 1;
    struct mst_ckpt *ckpt = NULL;
    (void)mst_ckpt_open(&opts, NULL, NULL, &ckpt, err);
    return ckpt;
}

static void look_alone(struct fixture_model *model, uint64_t *ret_step)
{
    const struct mst_state state = fixture_state(model, "");
    struct mst_err err = {0};
    struct mst_ckpt *ckpt = open_to_read(&err);
    assert_non_null(ckpt);
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    assert_int_equal(mst_ckpt_load(ckpt, &state, &loaded, soon(), &err), 0);
    assert_int_equal(mst_ckpt_load(ckpt, &state, &loaded, soon(), &err), 0);
    assert_int_equal(mst_ckpt_save(ckpt, 9, &state, soon()), -EROFS);
    assert_int_equal(mst_ckpt_prepare(ckpt, &state), -EROFS);
    assert_non_null(strstr(mst_ckpt_error(ckpt), "read_only"));
    assert_int_equal(mst_ckpt_drain(ckpt, soon()), 0);
    mst_ckpt_close(ckpt);
    *ret_step = loaded.step;
}

/* A save is in flight, of which the temporary directory is there: the reader leaves it alone. */
static int look_tap(void *arg, const struct mst_aio_op *op)
{
    uint64_t *seen = arg;
    if (op->kind == MST_AIO_RENAME && strstr(op->path, "step_2.tmp") &&
        atomic_exchange(&is_armed, false)) {
        struct fixture_model model;
        fixture_open_model(&model, 0, 1);
        look_alone(&model, seen);
        assert_true(fixture_is(&model, 1));
        fixture_close_model(&model);
    }
    return 1;
}

static void test_reader_beside_a_save(void **state)
{
    static const uint64_t second[] = {2, 0};
    uint64_t seen = 0;
    (void)state;
    fixture_save(1, first);
    is_armed = true;
    mst_aio_set_tap(look_tap, &seen);
    fixture_save(1, second);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(seen, 1);
    assert_true(fixture_has("OWNER.2"));
    assert_false(fixture_has("OWNER.3"));
    struct fixture_rank rank;
    assert_int_equal(fixture_load(1, &rank), 2);
}

static void test_reader_makes_nothing(void **state)
{
    (void)state;
    snprintf(fixture_uri, sizeof fixture_uri, "%s/absent", fixture_root);
    struct mst_err err = {0};
    assert_null(open_to_read(&err));
    assert_int_equal(err.code, -ENOENT);
    assert_false(fixture_has("absent"));
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    struct mst_ckpt *ckpt = NULL;
    opts.uri = fixture_root;
    assert_int_equal(mst_ckpt_open(&opts, NULL, NULL, &ckpt, &err), -EINVAL);
    assert_non_null(strstr(err.text, "opts.read_only"));
}

/* ---- a root without an owner ----------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
    char a[512], b[512], bytes[16384];
    snprintf(a, sizeof a, "%s/root_without_owner/%s", MUSTER_TEST_DATA, from);
    snprintf(b, sizeof b, "%s/%s", fixture_root, to);
    FILE *in = fopen(a, "r"), *out = fopen(b, "w");
    assert_non_null(in);
    assert_non_null(out);
    size_t size = fread(bytes, 1, sizeof bytes, in);
    assert_true(size > 0 && size < sizeof bytes);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void copy_step(const char *step)
{
    static const char *const names[] = {"MANIFEST.json", "rank_0.h5", "rank_1.h5"};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture_root, step);
    assert_int_equal(mkdir(path, 0777), 0);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", step, names[i]);
        copy_file(path, path);
    }
}

/* Just as the builds before roots had owners write it, but for the times that HDF5 puts into each
 * file, E4M3 as a float of HDF5's: 10 s + i and 16 s + i of step s. */
static void load_and_go_on(struct fixture_rank *rank)
{
    float weights[6];
    uint8_t scale[8];
    struct mst_tensor tensors[2] = {
        {.name = "model/w", .dtype = MST_F32, .dim_count = 2, .shape = {3, 2}},
        {.name = "scale", .dtype = MST_F8E4M3, .dim_count = 1, .shape = {8}}};
    tensors[0].data = (struct mst_span){weights, sizeof weights, MST_MEM_HOST};
    tensors[1].data = (struct mst_span){scale, sizeof scale, MST_MEM_HOST};
    struct mst_state state = MST_STATE_INIT;
    state.tensors = tensors;
    state.tensor_count = 2;
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    assert_int_equal(mst_ckpt_load(rank->ckpt, &state, &loaded, soon(), &rank->err), 0);
    assert_int_equal(loaded.step, 5);
    assert_int_equal(loaded.saved_world_size, 2);
    assert_memory_equal(loaded.cursor, "cursor", 6);
    for (int i = 0; i < 6; i++)
        assert_true(weights[i] == (float)(50 + i));
    for (int i = 0; i < 8; i++)
        assert_int_equal(scale[i], 80 + i);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 7, &state, soon()), 0);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
}

static void test_root_without_owner(void **state)
{
    (void)state;
    copy_step("step_3");
    copy_step("step_5");
    copy_file("LATEST", "LATEST");
    struct fixture_rank ranks[3];
    fixture_run(ranks, 3, load_and_go_on, NULL);
    assert_true(fixture_has("OWNER.1"));
    assert_true(fixture_has("step_3") && fixture_has("step_7"));
    expect_manifest(5, 0);
}

/* Who knows of no owners and goes on all the same is an owner that has lost the root. */
static void test_old_program_goes_on(void **state)
{
    static const uint64_t none[] = {0};
    (void)state;
    copy_step("step_3");
    fixture_save(1, none);
    copy_step("step_5");
    const struct tier_opts opts = {.uri = fixture_uri, .aio = "threads", .read_only = true};
    struct tier *tier;
    assert_int_equal(tier_open(&opts, &tier, NULL), 0);
    assert_int_equal(tier_read_owner(tier, soon(), NULL), 0);
    uint64_t *steps;
    size_t count;
    assert_int_equal(tier_list(tier, &steps, &count, soon(), NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(steps[0], 3);
    free(steps);
    tier_close(tier);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_save_after_loss),
        CASE(test_published_after_loss),
        CASE(test_published_over_the_next),
        CASE(test_not_known_behind_the_rename),
        CASE(test_swept_while_published),
        CASE(test_died_behind_the_exchange),
        CASE(test_not_durable_behind_the_exchange),
        CASE(test_lost_behind_the_exchange),
        CASE(test_not_durable_behind_the_rename),
        CASE(test_another_job),
        CASE(test_by_force),
        CASE(test_reader_beside_a_save),
        CASE(test_reader_makes_nothing),
        CASE(test_root_without_owner),
        CASE(test_old_program_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

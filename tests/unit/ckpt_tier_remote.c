/* Checkpoints in a store of objects, which here is a folder. */
#include "soon.h"
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/remote_keys.h"
#include "muster/core/blob/blob.h"

#include <errno.h>
#include <stdatomic.h>

/* What the store does with the next manifest. */
static int (*on_manifest)(struct mst_blob *blob, const char *key, const void *data, size_t size);
static bool puts_over; /* it ignores MST_BLOB_NEW */

int __real_mst_blob_put(struct mst_blob *blob, const char *key, struct mst_cspan data,
                        uint32_t flags, uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_put(struct mst_blob *blob, const char *key, struct mst_cspan data,
                        uint32_t flags, uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_put(struct mst_blob *blob, const char *key, struct mst_cspan data,
                        uint32_t flags, uint64_t deadline_ns, struct mst_err *err)
{
    int (*before)(struct mst_blob *, const char *, const void *, size_t) = on_manifest;
    int rc = 0;
    if (puts_over && strncmp(key, "OWNER.", 6) == 0)
        flags = 0;
    if (before && strstr(key, "MANIFEST")) {
        on_manifest = NULL;
        rc = before(blob, key, data.data, data.size_bytes);
    }
    if (rc < 0)
        return mst_err_set(err, rc, "%s: as the test wants it", key);
    return __real_mst_blob_put(blob, key, data, flags, deadline_ns, err);
}

static atomic_int stats_lost;     /* so many manifests cannot be looked at */
static atomic_bool is_away;       /* it does not answer */
static atomic_bool takes_no_file; /* of rank 1 */
static atomic_int files_put;

int __real_mst_blob_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                         uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                         uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                         uint64_t deadline_ns, struct mst_err *err)
{
    if (is_away || (strstr(key, "MANIFEST") && atomic_fetch_sub(&stats_lost, 1) > 0))
        return mst_err_set(err, -ECONNREFUSED, "%s: nobody answers", key);
    return __real_mst_blob_stat(blob, key, ret_info, deadline_ns, err);
}

int __real_mst_blob_put_file(struct mst_blob *blob, const char *key, const char *path,
                             uint32_t flags, uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_put_file(struct mst_blob *blob, const char *key, const char *path,
                             uint32_t flags, uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_put_file(struct mst_blob *blob, const char *key, const char *path,
                             uint32_t flags, uint64_t deadline_ns, struct mst_err *err)
{
    files_put += strstr(key, "step_3/") == NULL;
    if (takes_no_file && strstr(key, "rank_1"))
        return mst_err_set(err, -ECONNREFUSED, "%s: nobody answers", key);
    return __real_mst_blob_put_file(blob, key, path, flags, deadline_ns, err);
}

static struct remote_keys list_keys(void)
{
    struct mst_blob *blob;
    assert_int_equal(mst_blob_open(fixture_uri, NULL, &blob, NULL), 0);
    struct remote_keys keys = {0};
    assert_int_equal(remote_keys_list(blob, "", soon(), &keys, NULL), 0);
    mst_blob_close(blob);
    return keys;
}

/* How many objects there are of a step. */
static size_t count_objects(uint64_t step)
{
    struct remote_keys keys = list_keys();
    size_t count = 0;
    for (size_t i = 0; i < keys.count; i++)
        count += keys.keys[i].step == step;
    remote_keys_fini(&keys);
    return count;
}

/* The key of a rank's file; there is one commit. */
static void find_file(uint64_t step, const char *name, char key[256])
{
    struct remote_keys keys = list_keys();
    key[0] = '\0';
    for (size_t i = 0; i < keys.count; i++)
        if (keys.keys[i].step == step && strstr(keys.keys[i].text, name))
            snprintf(key, 256, "%s", keys.keys[i].text);
    remote_keys_fini(&keys);
    assert_true(key[0]);
}

static void put_object(const char *key, const char *text)
{
    struct mst_blob *blob;
    assert_int_equal(mst_blob_open(fixture_uri, NULL, &blob, NULL), 0);
    assert_int_equal(__real_mst_blob_put(blob, key,
                                         (struct mst_cspan){text, strlen(text), MST_MEM_HOST}, 0,
                                         soon(), NULL),
                     0);
    mst_blob_close(blob);
}

static void test_worlds(void **state)
{
    static const uint64_t steps[] = {7, 0};
    static const uint32_t worlds[] = {1, 2, 3, 5};
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 0);
    assert_int_equal(ranks[1].result, -ENOENT);
    fixture_save(4, steps);
    assert_int_equal(count_objects(7), 5);
    for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++)
        assert_int_equal(fixture_load(worlds[i], ranks), 7);
    assert_int_equal(ranks[0].loaded.saved_world_size, 4);
}

static void test_retention(void **state)
{
    static const uint64_t steps[] = {1, 2, 3, 4, 0};
    (void)state;
    fixture_keep = 2;
    fixture_save(2, steps);
    fixture_keep = 0;
    assert_int_equal(count_objects(1), 0);
    assert_int_equal(count_objects(2), 0);
    assert_int_equal(count_objects(3), 3);
    assert_int_equal(count_objects(4), 3);
}

/* A step of the past is replaced, and what it was made of goes. */
static void test_step_again(void **state)
{
    static const uint64_t steps[] = {5, 0};
    (void)state;
    fixture_save(2, steps);
    char before[256];
    find_file(5, "rank_0.h5", before);
    fixture_flip("step_5/MANIFEST.json", 100);
    fixture_save(2, steps);
    char after[256];
    find_file(5, "rank_0.h5", after);
    assert_string_not_equal(before, after);
    assert_int_equal(count_objects(5), 3);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 5);
}

static void expect_descent(const char *name, bool is_gone, const char *text)
{
    static const uint64_t steps[] = {1, 2, 0};
    fixture_big_rows = FIXTURE_MANY_ROWS;
    fixture_save(3, steps);
    char key[256];
    find_file(2, name, key);
    char path[600];
    snprintf(path, sizeof path, "%s/%s", fixture_root, key);
    if (is_gone)
        assert_int_equal(unlink(path), 0);
    else
        fixture_flip(key, strstr(name, "rank") ? 1000000 : 1000);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 1);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].loaded.skipped_count, 1);
        if (!strstr(ranks[r].err.text, text))
            print_error("%s\n", ranks[r].err.text);
        assert_non_null(strstr(ranks[r].err.text, text));
    }
}

static void test_damaged_manifest(void **state)
{
    (void)state;
    expect_descent("MANIFEST.json", false, "step_2/MANIFEST.json: checksum");
}

static void test_missing_file(void **state)
{
    (void)state;
    expect_descent("rank_1.h5", true, "rank_1.h5: tensor");
}

static void test_damaged_file(void **state)
{
    (void)state;
    expect_descent("rank_1.h5", false, "rank_1.h5: tensor model/big block");
}

/* Files of lower epochs that no manifest speaks of go when the root is opened; what a manifest
 * speaks of stays, and so does what is not ours. */
static void test_sweep(void **state)
{
    static const uint64_t steps[] = {4, 0};
    (void)state;
    fixture_save(2, steps);
    put_object("step_4/1.1.00000000000000aa/rank_0.h5", "dead");
    put_object("step_9/e1.00000000000000aa/rank_0.h5", "dead");
    put_object("step_9/e3.00000000000000bb/rank_1.h5", "alive");
    put_object("step_9/notes", "not ours");
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 4);
    assert_int_equal(count_objects(4), 3);
    assert_int_equal(count_objects(9), 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fixture_load(2, ranks), 4);
    assert_int_equal(count_objects(4), 3);
    assert_int_equal(count_objects(9), 0);
    assert_true(fixture_has("step_9/notes"));
}

/* ---- two jobs -------------------------------------------------------------------------------- */

static int commit_before_us(struct mst_blob *blob, const char *key, const void *data, size_t size)
{
    return __real_mst_blob_put(blob, key, (struct mst_cspan){data, size / 2, MST_MEM_HOST}, 0,
                               soon(), NULL);
}

static void test_manifest_race(void **state)
{
    static const uint64_t first[] = {3, 0}, second[] = {6, 0};
    (void)state;
    fixture_save(2, first);
    on_manifest = commit_before_us;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, fixture_save_steps, (void *)(uintptr_t)second);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].result, -EEXIST);
        assert_int_equal(ranks[r].status.failed_step, 6);
        assert_non_null(strstr(ranks[r].status.failed_text, "another job has committed"));
    }
    assert_int_equal(count_objects(6), 1);
    assert_int_equal(fixture_load(2, ranks), 3);
}

/* The next life has the root, and has committed the same step anew, while our put was on its way.
 */
static int commit_next_life(struct mst_blob *blob, const char *key, const void *data, size_t size)
{
    static const uint64_t steps[] = {5, 0};
    (void)blob, (void)key, (void)data, (void)size;
    fixture_save(2, steps);
    return 0;
}

static void test_next_life_came_first(void **state)
{
    static const uint64_t steps[] = {5, 0};
    (void)state;
    fixture_save(2, steps);
    fixture_flip("step_5/MANIFEST.json", 100); /* of the past for both */
    on_manifest = commit_next_life;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, fixture_save_steps, (void *)(uintptr_t)steps);
    assert_int_equal(ranks[0].result, -ESTALE);
    assert_int_equal(fixture_load(2, ranks), 5);
    assert_int_equal(ranks[0].loaded.skipped_count, 0);
    assert_int_equal(count_objects(5), 3);
}

/* The put went through, its answer was lost, and the try after it finds the manifest there. */
static int lose_answer(struct mst_blob *blob, const char *key, const void *data, size_t size)
{
    int rc = __real_mst_blob_put(blob, key, (struct mst_cspan){data, size, MST_MEM_HOST}, 0, soon(),
                                 NULL);
    return rc < 0 ? rc : -EEXIST;
}

static void test_lost_answer(void **state)
{
    static const uint64_t steps[] = {6, 0};
    (void)state;
    on_manifest = lose_answer;
    fixture_save(2, steps);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 6);
}

/* The put went through, and that is never known: the step is abandoned, and whole. */
static int time_out(struct mst_blob *blob, const char *key, const void *data, size_t size)
{
    int rc = __real_mst_blob_put(blob, key, (struct mst_cspan){data, size, MST_MEM_HOST}, 0, soon(),
                                 NULL);
    return rc < 0 ? rc : -ETIMEDOUT;
}

static void test_late_manifest(void **state)
{
    static const uint64_t steps[] = {6, 0};
    (void)state;
    on_manifest = time_out;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, fixture_save_steps, (void *)(uintptr_t)steps);
    assert_int_equal(ranks[1].result, -ETIMEDOUT);
    assert_int_equal(fixture_load(2, ranks), 6);
}

/* The answer was lost, and whose manifest it is cannot be read: its files may be needed. */
static void test_unknown_manifest(void **state)
{
    static const uint64_t steps[] = {6, 0};
    (void)state;
    on_manifest = lose_answer;
    stats_lost = 1;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, fixture_save_steps, (void *)(uintptr_t)steps);
    stats_lost = 0;
    assert_int_equal(ranks[1].result, -ECONNREFUSED);
    assert_int_equal(count_objects(6), 3);
    assert_int_equal(fixture_load(2, ranks), 6);
}

/* The store goes away when the manifest is there: the step is committed, and retention asks
 * once. */
static int go_away(struct mst_blob *blob, const char *key, const void *data, size_t size)
{
    (void)blob, (void)key, (void)data, (void)size;
    stats_lost = 1000;
    return 0;
}

static void test_away_before_retention(void **state)
{
    static const uint64_t before[] = {1, 2, 3, 0}, last[] = {4, 0};
    (void)state;
    fixture_save(2, before);
    on_manifest = go_away;
    fixture_save(2, last);
    assert_int_equal(stats_lost, 999);
    stats_lost = 0;
    assert_int_equal(count_objects(1), 3);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(2, ranks), 4);
}

/* ---- what a failed step leaves --------------------------------------------------------------- */

static int save_one(struct fixture_rank *rank, uint64_t step)
{
    const uint64_t steps[] = {step, 0};
    rank->arg = (void *)(uintptr_t)steps;
    fixture_save_steps(rank);
    return rank->result;
}

static void save_then_fail(struct fixture_rank *rank)
{
    assert_int_equal(save_one(rank, 1), 0);
    if (rank->world.rank == 0)
        rank->model.tensors[0].shape[0]++;
    (void)save_one(rank, 2);
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
}

/* Rank 0 has nothing to write, and removes what the others wrote all the same. */
static void test_abandon_without_file(void **state)
{
    (void)state;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 3, save_then_fail, NULL);
    assert_int_equal(ranks[1].result, -EINVAL);
    assert_int_equal(count_objects(1), 4);
    assert_int_equal(count_objects(2), 0);
}

static void save_while_away(struct fixture_rank *rank)
{
    is_away = true;
    assert_int_equal(save_one(rank, 1), -ECONNREFUSED);
    fixture_look(rank);
    assert_non_null(strstr(rank->status.failed_text, "the store does not answer"));
    assert_int_equal(save_one(rank, 2), -ECONNREFUSED);
    fixture_look(rank);
    assert_non_null(strstr(rank->status.failed_text, "still away"));
    is_away = false;
    assert_int_equal(save_one(rank, 3), 0);
}

/* A store that does not answer gets no file from any rank, the first time, too: an upload would
 * hold the snapshot, and with it the training, for as long as it is tried. */
static void test_store_away(void **state)
{
    (void)state;
    files_put = 0;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, save_while_away, NULL);
    assert_int_equal(files_put, 0);
    assert_int_equal(ranks[1].status.committed_step, 3);
}

static void save_while_uploads_fail(struct fixture_rank *rank)
{
    takes_no_file = true;
    assert_int_equal(save_one(rank, 1), -ECONNREFUSED);
    takes_no_file = false;
    is_away = true;
    assert_int_equal(save_one(rank, 2), -ECONNREFUSED);
    fixture_look(rank);
    assert_non_null(strstr(rank->status.failed_text, "still away"));
    is_away = false;
    assert_int_equal(save_one(rank, 3), 0);
}

/* One rank's upload failed: all ask for less long the next time. */
static void test_upload_fails(void **state)
{
    (void)state;
    files_put = 0;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, save_while_uploads_fail, NULL);
    assert_int_equal(files_put, 2); /* of step 1 */
    assert_int_equal(ranks[1].status.committed_step, 3);
}

/* ---- places that cannot be used -------------------------------------------------------------- */

static void test_bad_uris(void **state)
{
    static const char *const uris[] = {"gopher://x/y", "http://127.0.0.1:9/ckpt"};
    (void)state;
    for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
        snprintf(fixture_uri, sizeof fixture_uri, "%s", uris[i]);
        struct fixture_rank ranks[FIXTURE_RANKS_MAX];
        fixture_run(ranks, 2, fixture_load_newest, NULL);
        assert_int_equal(ranks[0].result, -ENOTSUP);
        assert_int_equal(ranks[1].result, -ENOTSUP);
        assert_true(ranks[1].err.text[0]);
    }
}

static void test_store_puts_over(void **state)
{
    (void)state;
    puts_over = true;
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, 2, fixture_load_newest, NULL);
    puts_over = false;
    assert_int_equal(ranks[0].result, -ENOTSUP);
    assert_int_equal(ranks[1].result, -ENOTSUP);
    assert_non_null(strstr(ranks[1].err.text, "ignores If-None-Match"));
    assert_non_null(strstr(ranks[1].err.text, "OWNER.1 was put over itself"));
}

static int setup(void **state)
{
    fixture_remote = true;
    fixture_big_rows = FIXTURE_FEW_ROWS;
    return fixture_setup(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_worlds),
        CASE(test_retention),
        CASE(test_step_again),
        CASE(test_missing_file),
        CASE(test_damaged_manifest),
        CASE(test_damaged_file),
        CASE(test_sweep),
        CASE(test_manifest_race),
        CASE(test_next_life_came_first),
        CASE(test_lost_answer),
        CASE(test_late_manifest),
        CASE(test_unknown_manifest),
        CASE(test_abandon_without_file),
        CASE(test_store_away),
        CASE(test_upload_fails),
        CASE(test_away_before_retention),
        CASE(test_bad_uris),
        CASE(test_store_puts_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which place a URI names. */
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/tier.h"
#include "muster/ckpt/writer.h"

#include <errno.h>

static const char *open_kind(const char *format, bool read_only)
{
    char uri[400];
    struct tier_opts opts = {.uri = uri, .aio = "threads", .read_only = read_only};
    snprintf(uri, sizeof uri, format, fixture_root);
    struct tier *tier = NULL;
    struct mst_err err = {0};
    if (tier_open(&opts, &tier, &err) < 0) {
        assert_true(err.text[0]);
        return mst_err_meaning(err.code);
    }
    const char *name = tier->ops->name;
    tier_close(tier);
    return name;
}

static void test_uris(void **state)
{
    (void)state;
    assert_string_equal(open_kind("%s", false), "dir");
    assert_string_equal(open_kind("file://%s", false), "dir");
    assert_string_equal(open_kind("file://%s?staged=0", false), "dir");
    assert_string_equal(open_kind("file://%s?staged=1", false), "remote");
    assert_string_equal(open_kind("webhdfs://127.0.0.1:9%s", true), "remote");
    assert_string_equal(open_kind("gopher://host%s", false), mst_err_meaning(-ENOTSUP));
    assert_string_equal(open_kind("file://%%zz%s", false), mst_err_meaning(-EINVAL));
}

static void test_a_reader_makes_nothing(void **state)
{
    (void)state;
    assert_string_equal(open_kind("%s/absent", true), mst_err_meaning(-ENOENT));
    assert_false(fixture_has("absent"));
    assert_string_equal(open_kind("%s/absent", false), "dir");
    assert_true(fixture_has("absent"));
}

static void test_staging_dir(void **state)
{
    struct tier_opts opts = {.uri = "file:///nowhere?staged=1", .staging_dir = "/dev/null/x"};
    (void)state;
    struct tier *tier = NULL;
    struct mst_err err = {0};
    assert_int_equal(tier_open(&opts, &tier, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, "/dev/null"));
    tier_close(NULL);
}

/* What retention has removed meanwhile is not damaged. */
static void test_gone(void **state)
{
    static const uint64_t steps[] = {1, 2, 0};
    struct tier_opts opts = {.uri = fixture_uri, .aio = "threads", .read_only = true};
    (void)state;
    fixture_save(1, steps);
    struct tier *tier;
    assert_int_equal(tier_open(&opts, &tier, NULL), 0);
    assert_false(tier_is_gone(tier, 1, soon()));
    assert_false(tier_is_gone(tier, 2, soon()));
    assert_true(tier_is_gone(tier, 3, soon()));
    char path[512];
    snprintf(path, sizeof path, "%s/step_1/MANIFEST.json", fixture_root);
    assert_int_equal(unlink(path), 0);
    assert_false(tier_is_gone(tier, 1, soon())); /* it is damaged */
    tier_close(tier);
}

/* What a vote says must be there when the manifest is to speak of it. */
static void test_files_are_looked_at(void **state)
{
    static const char claim[] = "e1.00000000000000af";
    const struct manifest_file files[2] = {{.size_bytes = 1}, {.size_bytes = 1}};
    const struct tier_opts opts = {.uri = fixture_root, .aio = "threads"};
    const struct tier_save save = {.step = 4, .claim = claim};
    char path[512];
    (void)state;
    struct tier *tier = NULL;
    struct mst_err err = {0};
    assert_int_equal(tier_open(&opts, &tier, &err), 0);
    snprintf(path, sizeof path, "%s/step_4.tmp.%s", fixture_root, claim);
    assert_int_equal(tier->ops->check(tier, &save, files, 2, soon(), &err), -ENOENT);
    assert_int_equal(mkdir(path, 0777), 0);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(tier->ops->check(tier, &save, files, 2, soon(), &err), -EBADMSG);
        assert_non_null(strstr(err.text, r ? "rank_1.h5" : "rank_0.h5"));
        assert_non_null(strstr(err.text, "does not exist: is the root one folder that all nodes"));
        snprintf(path, sizeof path, "%s/step_4.tmp.%s/rank_%d.h5", fixture_root, claim, r);
        FILE *file = fopen(path, "w");
        assert_int_equal(fputc('x', file), 'x');
        fclose(file);
    }
    assert_int_equal(tier->ops->check(tier, &save, files, 2, soon(), &err), 0);
    assert_int_equal(truncate(path, 2), 0);
    assert_int_equal(tier->ops->check(tier, &save, files, 2, soon(), &err), -EBADMSG);
    assert_non_null(strstr(err.text, "rank_1.h5 has not the 1 bytes"));
    tier_close(tier);
}

/* It was renamed, or something was mounted over it: nobody finds what is saved there. */
static void test_a_root_that_has_lost_its_name_is_told(void **state)
{
    const struct tier_opts opts = {.uri = fixture_root, .aio = "threads"};
    const struct tier_save save = {.step = 4, .claim = "e1.00000000000000af"};
    char path[512], moved[512];
    (void)state;
    struct tier *tier = NULL;
    struct mst_err err = {0};
    assert_int_equal(tier_open(&opts, &tier, &err), 0);
    snprintf(path, sizeof path, "%s/step_4.tmp.%s", fixture_root, save.claim);
    snprintf(moved, sizeof moved, "%s-moved", fixture_root);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(tier->ops->check(tier, &save, NULL, 0, soon(), &err), 0);
    assert_int_equal(rename(fixture_root, moved), 0);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(tier->ops->check(tier, &save, NULL, 0, soon(), &err), -ENOENT);
        assert_non_null(strstr(err.text, fixture_root));
        assert_non_null(strstr(err.text, "put it back"));
        assert_int_equal(again ? rmdir(fixture_root) : mkdir(fixture_root, 0777), 0);
    }
    assert_int_equal(rename(moved, fixture_root), 0);
    assert_int_equal(tier->ops->check(tier, &save, NULL, 0, soon(), &err), 0);
    tier_close(tier);
}

static void test_a_root_that_is_removed_is_told(void **state)
{
    char root[300];
    (void)state;
    snprintf(root, sizeof root, "%s/removed", fixture_root);
    const struct tier_opts opts = {.uri = root, .aio = "threads"};
    const struct tier_save save = {.step = 4, .claim = "e1.00000000000000af"};
    struct writer_job job = {.name = "rank_0.h5"};
    struct tier *tier = NULL;
    struct mst_err err = {0};
    assert_int_equal(mkdir(root, 0777), 0);
    assert_int_equal(tier_open(&opts, &tier, &err), 0);
    assert_int_equal(rmdir(root), 0);
    assert_int_equal(tier->ops->write(tier, &save, &job, soon(), &err), -ENOENT);
    assert_non_null(strstr(err.text, "/removed was removed under way"));
    assert_int_equal(tier->ops->check(tier, &save, NULL, 0, soon(), &err), -ENOENT);
    assert_non_null(strstr(err.text, "/removed was removed under way"));
    tier_close(tier);
}

/* What the others may have given up on is not published. */
static void test_nothing_is_published_too_late(void **state)
{
    const struct tier_opts opts = {.uri = fixture_root, .aio = "threads"};
    const struct tier_save save = {.step = 4, .claim = "e1.00000000000000af"};
    char path[512];
    (void)state;
    struct tier *tier = NULL;
    struct mst_err err = {0};
    assert_int_equal(tier_open(&opts, &tier, &err), 0);
    assert_int_equal(tier->ops->publish(tier, &save, "{}", 2, soon(), &err), -ENOENT);
    assert_non_null(strstr(err.text, "step_4.tmp.e1.00000000000000af: does not exist"));
    snprintf(path, sizeof path, "%s/step_4.tmp.%s", fixture_root, save.claim);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(tier->ops->publish(tier, &save, "{}", 2, mst_now_ns(), &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "not published: the time of the save is over (timeout_ms)"));
    assert_false(fixture_has("step_4"));
    tier->ops->abandon(tier, &save, soon());
    assert_false(fixture_has_temp("step_4"));
    tier_close(tier);
}

static bool is_full;

int __real_owner_file_create(int root_fd, uint64_t epoch, const char *text);
int __wrap_owner_file_create(int root_fd, uint64_t epoch, const char *text);
int __wrap_owner_file_create(int root_fd, uint64_t epoch, const char *text)
{
    return is_full ? -ENOSPC : __real_owner_file_create(root_fd, epoch, text);
}

/* A root is taken all the same if there was an owner before. */
static void test_taken_on_a_full_disk(void **state)
{
    static const char text[OWNER_BYTES];
    const struct tier_opts opts = {.uri = fixture_root, .aio = "threads"};
    (void)state;
    struct tier *first = NULL, *next = NULL;
    struct mst_err err = {0};
    assert_int_equal(tier_open(&opts, &first, &err), 0);
    assert_int_equal(tier_open(&opts, &next, &err), 0);
    is_full = true;
    assert_int_equal(first->ops->create_owner(first, 1, text, soon(), &err), -ENOSPC);
    assert_non_null(strstr(err.text, "OWNER.1: no room left"));
    is_full = false;
    assert_int_equal(first->ops->create_owner(first, 1, text, soon(), &err), 0);
    is_full = true;
    assert_int_equal(next->ops->create_owner(next, 2, text, soon(), &err), 0);
    is_full = false;
    assert_true(fixture_has("OWNER.2"));
    assert_false(fixture_has("OWNER.1"));
    tier_close(first);
    tier_close(next);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_uris),
                                       CASE(test_a_reader_makes_nothing),
                                       CASE(test_staging_dir),
                                       CASE(test_files_are_looked_at),
                                       CASE(test_gone),
                                       CASE(test_a_root_that_has_lost_its_name_is_told),
                                       CASE(test_a_root_that_is_removed_is_told),
                                       CASE(test_nothing_is_published_too_late),
                                       CASE(test_taken_on_a_full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "unit/ckpt_fixture.h"

#include "muster/ckpt/manifest.h"
#include "muster/ckpt/root.h"
#include "muster/core/aio/aio.h"

#include <errno.h>
#include <stdatomic.h>

static struct mst_aio *aio;
static int root_fd;

static int setup(void **state)
{
    struct mst_aio_opts opts = {.backend = "threads"};
    (void)fixture_setup(state);
    assert_int_equal(mst_aio_create(&opts, &aio, NULL), 0);
    assert_int_equal(root_open(fixture_root, &root_fd, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    close(root_fd);
    mst_aio_destroy(aio);
    return fixture_teardown(state);
}

static void make_dir(const char *name)
{
    assert_int_equal(mkdirat(root_fd, name, 0777), 0);
}

static void write_file(const char *path, const char *text)
{
    int fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_list(void **state)
{
    static const char *const names[] = {"step_9",
                                        "step_10",
                                        "step_010",
                                        "step_",
                                        "step_-1",
                                        "step_3.tmp.0.1",
                                        "x",
                                        "step_18446744073709551615",
                                        "step_9223372036854775808"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        make_dir(names[i]);
    uint64_t *steps;
    size_t count;
    assert_int_equal(root_list(root_fd, root_parse_step, &steps, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(steps[0], 10);
    assert_int_equal(steps[1], 9);
    free(steps);
}

static atomic_int calls_left = -1; /* before one that fails; -1: none does */

static bool fails(void)
{
    if (atomic_load(&calls_left) < 0 || atomic_fetch_sub(&calls_left, 1) > 0)
        return false;
    errno = EIO;
    return true;
}

struct dirent *__real_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir)
{
    return fails() ? NULL : __real_readdir(dir);
}

int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return fails() ? -1 : __real_renameat(from_fd, from, to_fd, to);
}

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return fails() ? -1 : __real_renameat2(from_fd, from, to_fd, to, flags);
}

static ino_t synced[8]; /* by the thread that is watched: the threads of aio sync too */
static size_t synced_count;
static pthread_t watched;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    if (pthread_equal(pthread_self(), watched) && synced_count < sizeof synced / sizeof *synced)
        synced[synced_count++] = st.st_ino;
    return fails() ? -1 : __real_fsync(fd);
}

static void expect_synced(size_t index, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture_root, name);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(synced[index], st.st_ino);
}

/* Each is durable in the one above: a checkpoint in a root that is lost would be lost, too. */
static void test_open_makes_parents(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/a//b/c/", fixture_root);
    synced_count = 0;
    watched = pthread_self();
    int fd;
    assert_int_equal(root_open(path, &fd, NULL), 0);
    assert_true(fixture_has("a/b/c"));
    assert_int_equal(synced_count, 3);
    expect_synced(0, ".");
    expect_synced(1, "a");
    expect_synced(2, "a/b");
    close(fd);
}

static bool is_read_only;

int __real_faccessat(int dir_fd, const char *path, int mode, int flags);
int __wrap_faccessat(int dir_fd, const char *path, int mode, int flags);
int __wrap_faccessat(int dir_fd, const char *path, int mode, int flags)
{
    errno = EROFS;
    return is_read_only ? -1 : __real_faccessat(dir_fd, path, mode, flags);
}

static void expect_no_root(const char *name, int code, const char *what)
{
    char path[512], text[600];
    int fd = -1;
    struct mst_err err = {0};
    snprintf(path, sizeof path, "%s/%s", fixture_root, name);
    snprintf(text, sizeof text, "checkpoint directory %s: %s", path, what);
    assert_int_equal(root_open(path, &fd, &err), code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, text));
    assert_int_equal(fd, -1);
}

static void test_open_names_what_is_no_root(void **state)
{
    (void)state;
    write_file("file", "x");
    expect_no_root("file", -ENOTDIR, mst_err_meaning(ENOTDIR));
    expect_no_root("file/root", -ENOTDIR, "cannot make it: ");
    is_read_only = true;
    expect_no_root("root", -EROFS, "not writable: ");
    is_read_only = false;
}

static void test_read_manifest_faults(void **state)
{
    (void)state;
    make_dir("step_4");
    struct manifest manifest;
    struct mst_err err = {0};
    assert_int_equal(root_read_manifest(root_fd, 4, &manifest, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "step_4/MANIFEST.json: does not exist"));
    write_file("step_4/MANIFEST.json", "");
    assert_int_equal(root_read_manifest(root_fd, 4, &manifest, &err), -EBADMSG);
    write_file("step_4/MANIFEST.json", "{\"crc32c\":\"00000000\",}");
    assert_int_equal(root_read_manifest(root_fd, 4, &manifest, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "step_4/MANIFEST.json: checksum"));
}

/* Whoever opens a FIFO to read waits for a writer, unless he looks first. */
static void test_no_regular_files(void **state)
{
    (void)state;
    make_dir("step_4");
    assert_int_equal(mkfifoat(root_fd, "step_4/MANIFEST.json", 0600), 0);
    struct manifest manifest;
    struct mst_err err = {0};
    assert_int_equal(root_read_manifest(root_fd, 4, &manifest, &err), -EBADMSG);
    assert_string_equal(err.text, "step_4/MANIFEST.json: is no regular file");
    assert_int_equal(root_open_file(root_fd, "step_4", 0), -EBADMSG);
    write_file("file", "x");
    assert_int_equal(symlinkat("file", root_fd, "link"), 0);
    int fd = root_open_file(root_fd, "link", 0);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    close(fd);
}

/* What somebody else has put there under a name of ours is not written through. */
static void test_links_are_not_written_through(void **state)
{
    (void)state;
    write_file("precious", "x");
    make_dir("folder");
    assert_int_equal(symlinkat("precious", root_fd, "LATEST.tmp"), 0);
    assert_int_equal(symlinkat("folder", root_fd, "step_4.tmp.0.1"), 0);
    assert_int_equal(root_point_latest(aio, root_fd, 4), 0);
    assert_true(root_make_temp(aio, root_fd, "step_4.tmp.0.1") < 0);
    assert_int_equal(symlinkat("precious", root_fd, "MANIFEST.json"), 0);
    assert_int_equal(root_write_file(aio, root_fd, "MANIFEST.json", "text", 4), -EEXIST);
    struct stat st;
    assert_int_equal(fstatat(root_fd, "precious", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_size, 1);
}

/* The manifest of another step, copied or renamed by hand. */
static void test_manifest_of_another_step(void **state)
{
    struct manifest_file file = {.size_bytes = 4096};
    struct manifest manifest = {.step = 5, .world_size = 1, .files = &file};
    (void)state;
    char *text;
    size_t size;
    assert_int_equal(manifest_encode(&manifest, &text, &size), 0);
    make_dir("step_4");
    write_file("step_4/MANIFEST.json", text);
    free(text);
    struct manifest back;
    struct mst_err err = {0};
    assert_int_equal(root_read_manifest(root_fd, 4, &back, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "belongs to step 5"));
}

static void test_publish_new_and_again(void **state)
{
    (void)state;
    for (uint32_t attempt = 1; attempt <= 2; attempt++) {
        char temp[ROOT_NAME_MAX];
        char claim[ROOT_NAME_MAX];
        root_claim_name(claim, attempt, 0xaf);
        root_temp_name(temp, 7, claim);
        int fd = root_make_temp(aio, root_fd, temp);
        assert_true(fd >= 0);
        assert_int_equal(root_write_file(aio, fd, attempt == 1 ? "old" : "new", "text", 4), 0);
        bool replaced = attempt == 1;
        assert_int_equal(root_publish(aio, root_fd, fd, temp, 7, &replaced), 0);
        assert_int_equal(replaced, attempt == 2);
        close(fd);
    }
    static const char temp[] = "step_7.tmp.e2.00000000000000af";
    assert_true(fixture_has("step_7/new"));
    assert_true(fixture_has("step_7.tmp.e2.00000000000000af/old"));
    assert_int_equal(root_publish_back(aio, root_fd, temp, 7), 0);
    assert_true(fixture_has("step_7/old"));
    assert_int_equal(root_remove(aio, root_fd, temp), 0);
    assert_false(fixture_has(temp));
}

static void test_remove(void **state)
{
    (void)state;
    make_dir("step_1");
    write_file("step_1/a", "a");
    make_dir("step_2");
    make_dir("step_2/below");
    assert_int_equal(root_remove_step(aio, root_fd, 1, "step_1.tmp.0.1", NULL), 0);
    assert_false(fixture_has("step_1"));
    assert_false(fixture_has("step_1.tmp.0.1"));
    assert_int_equal(root_remove(aio, root_fd, "step_1"), 0);
    assert_true(root_remove(aio, root_fd, "step_2") < 0); /* not a directory of ours */
    assert_true(fixture_has("step_2/below"));
    assert_int_equal(root_remove_step(aio, root_fd, 3, "step_3.tmp.0.1", NULL), 0);
}

static bool is_second(void *arg)
{
    return ++*(int *)arg == 2;
}

/* Stops in front of a file, and goes on there when it is called again. */
static void test_remove_in_pieces(void **state)
{
    static const char temp[] = "step_1.tmp.0.1";
    (void)state;
    make_dir("step_1");
    write_file("step_1/MANIFEST.json", "{}");
    write_file("step_1/rank_0.h5", "x");
    write_file("step_1/rank_1.h5", "x");
    int asked = 0;
    const struct root_pause pause = {is_second, &asked};
    while (root_remove_step(aio, root_fd, 1, temp, &pause) == -EAGAIN) {
        assert_int_equal(asked, 2);
        assert_false(fixture_has("step_1"));
        assert_true(fixture_has(temp));
        assert_false(fixture_has("step_1.tmp.0.1/MANIFEST.json"));
    }
    assert_true(asked > 2);
    assert_false(fixture_has(temp));
}

/* As it lies in a store, of which somebody made a copy here. */
static void test_remove_copy(void **state)
{
    (void)state;
    make_dir("step_1");
    write_file("step_1/MANIFEST.json", "{}");
    make_dir("step_1/0.1.00000000000000aa");
    write_file("step_1/0.1.00000000000000aa/rank_0.h5", "x");
    assert_int_equal(root_remove_step(aio, root_fd, 1, "step_1.tmp.0.1", NULL), 0);
    assert_false(fixture_has("step_1.tmp.0.1"));
}

static void test_latest(void **state)
{
    (void)state;
    assert_int_equal(root_point_latest(aio, root_fd, 3), 0);
    assert_int_equal(root_point_latest(aio, root_fd, 12), 0);
    char path[512];
    snprintf(path, sizeof path, "%s/LATEST", fixture_root);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char text[16] = "";
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_string_equal(text, "step_12\n");
    assert_false(fixture_has("LATEST.tmp"));
}

/* A link called like a temporary directory does not lead the broom elsewhere. */
static void test_links_are_not_followed(void **state)
{
    (void)state;
    make_dir("precious");
    write_file("precious/file", "x");
    assert_int_equal(symlinkat("precious", root_fd, "step_1.tmp.0.1"), 0);
    (void)root_remove_abandoned(aio, root_fd, 0, 0xaa);
    assert_true(fixture_has("precious/file"));
}

static void test_claims(void **state)
{
    static const char *const others[] = {"",
                                         "3.1",
                                         "3.1.af",
                                         "03.1.00000000000000af",
                                         "rank",
                                         "e3.af",
                                         "e03.00000000000000af",
                                         "e3.00000000000000af/",
                                         "e-3.00000000000000af",
                                         "3.1.00000000000000af/",
                                         "-3.1.00000000000000af"};
    struct manifest manifest = {.step = 40, .commit = "e3.00000000000000af"};
    (void)state;
    char name[ROOT_NAME_MAX];
    root_claim_name(name, 3, 0xaf);
    assert_string_equal(name, manifest.commit);
    uint64_t epoch = 7, token = 7;
    assert_true(root_parse_claim(name, &epoch, &token));
    assert_int_equal(epoch, 3);
    assert_int_equal(token, 0xaf);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(root_parse_claim(others[i], &epoch, &token));
    assert_true(root_parse_claim("3.1.00000000000000af", &epoch, &token));
    assert_int_equal(epoch, 0);
    assert_int_equal(token, 0);
    char path[ROOT_PATH_MAX];
    root_file_path(path, &manifest, 7);
    assert_string_equal(path, "step_40/e3.00000000000000af/rank_7.h5");
    manifest.commit[0] = '\0';
    root_file_path(path, &manifest, 7);
    assert_string_equal(path, "step_40/rank_7.h5");
}

/* What lower epochs left goes, and what was written before there were owners; all else stays. */
static void test_remove_abandoned(void **state)
{
    static const char *const dead[] = {"step_3.tmp.0.1", "step_3.tmp.7.1",
                                       "step_3.tmp.e2.00000000000000af"};
    static const char *const alive[] = {"step_3.tmp.e3.00000000000000af",
                                        "step_3.tmp.e4.00000000000000af",
                                        "step_3.tmp.x",
                                        "step_3.tmp.01.1",
                                        "step_3.tmp.e02.00000000000000af",
                                        "step_03.tmp.0.1"};
    (void)state;
    for (size_t i = 0; i < sizeof dead / sizeof *dead; i++)
        make_dir(dead[i]);
    for (size_t i = 0; i < sizeof alive / sizeof *alive; i++)
        make_dir(alive[i]);
    write_file("OWNER.tmp.00000000000000af", "of a taker that died");
    write_file("OWNER.tmp.af", "x");
    assert_int_equal(root_remove_abandoned(aio, root_fd, 3, 0xaa), 0);
    for (size_t i = 0; i < sizeof dead / sizeof *dead; i++)
        assert_false(fixture_has(dead[i]));
    for (size_t i = 0; i < sizeof alive / sizeof *alive; i++)
        assert_true(fixture_has(alive[i]));
    assert_false(fixture_has("OWNER.tmp.00000000000000af"));
    assert_true(fixture_has("OWNER.tmp.af"));
}

/* What could not be listed is not taken for nothing. */
static void test_listing_that_breaks_off(void **state)
{
    uint64_t *numbers;
    size_t count;
    (void)state;
    make_dir("step_1");
    calls_left = 0;
    assert_int_equal(root_list(root_fd, root_parse_step, &numbers, &count), -EIO);
    calls_left = 1;
    assert_int_equal(root_put_back(root_fd, 3, 0xaa), -EIO);
    calls_left = 2;
    assert_int_equal(root_remove_abandoned(aio, root_fd, 3, 0xaa), -EIO);
    calls_left = 0;
    assert_int_equal(root_remove(aio, root_fd, "step_1"), -EIO);
    assert_true(fixture_has("step_1"));
    calls_left = -1;
}

static void write_manifest(const char *folder, uint64_t step, uint64_t epoch)
{
    struct manifest_file file = {.size_bytes = 4096};
    struct manifest manifest = {
        .step = step, .world_size = 1, .files = &file, .epoch = epoch, .token = 0xaf};
    char path[ROOT_PATH_MAX], *text;
    size_t size;
    make_dir(folder);
    snprintf(path, sizeof path, "%s/%s", folder, MANIFEST_NAME);
    assert_int_equal(manifest_encode(&manifest, &text, &size), 0);
    write_file(path, text);
    free(text);
}

/* A step of epoch 3 that one of epoch 2 has exchanged for its own: wherever putting it back ends,
 * that is told, nothing is lost, and the next one puts it back. */
static void test_putting_back_fails_anywhere(void **state)
{
    bool failed = true;
    (void)state;
    for (int n = 0; failed; n++) {
        uint64_t epoch = 0;
        write_manifest("step_3.tmp.e2.00000000000000bf", 3, 3);
        write_manifest("step_3", 3, 2);
        calls_left = n;
        int rc = root_put_back(root_fd, 4, 0xaa);
        failed = calls_left < 0;
        assert_int_equal(rc, failed ? -EIO : 0);
        calls_left = -1;
        assert_int_equal(root_put_back(root_fd, 5, 0xab), 0);
        assert_int_equal(root_read_epoch(root_fd, "step_3", 3, &epoch), 0);
        assert_int_equal(epoch, 3);
        assert_int_equal(root_remove(aio, root_fd, "step_3"), 0);
        assert_int_equal(root_remove_abandoned(aio, root_fd, 5, 0xac), 0);
    }
}

static void test_list_owners(void **state)
{
    static const char *const names[] = {"OWNER.2",
                                        "OWNER.10",
                                        "OWNER.01",
                                        "OWNER.tmp.x",
                                        "OWNER.",
                                        "OWNER.9007199254740992",
                                        "OWNER.18446744073709551615"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        write_file(names[i], "x");
    uint64_t *epochs;
    size_t count;
    assert_int_equal(root_list(root_fd, root_parse_owner, &epochs, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(epochs[0], 10);
    assert_int_equal(epochs[1], 2);
    free(epochs);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_list),
        CASE(test_open_makes_parents),
        CASE(test_open_names_what_is_no_root),
        CASE(test_read_manifest_faults),
        CASE(test_no_regular_files),
        CASE(test_links_are_not_written_through),
        CASE(test_manifest_of_another_step),
        CASE(test_publish_new_and_again),
        CASE(test_remove),
        CASE(test_remove_in_pieces),
        CASE(test_remove_copy),
        CASE(test_latest),
        CASE(test_links_are_not_followed),
        CASE(test_claims),
        CASE(test_remove_abandoned),
        CASE(test_listing_that_breaks_off),
        CASE(test_putting_back_fails_anywhere),
        CASE(test_list_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

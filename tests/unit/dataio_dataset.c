#include "muster/core/blob/blob.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/dataio/dataset.h"
#include "muster/dataio/mirror.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sources.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static struct feed *feed;

static struct dataset *open_dataset(const char *uris)
{
    struct dataset *dataset = NULL;
    struct mst_err err = {0};
    if (dataset_open(uris, feed, &dataset, &err))
        fail_msg("%s", err.text);
    return dataset;
}

static void refuse(const char *uris, int rc, const char *why)
{
    struct dataset *dataset = NULL;
    struct mst_err err = {0};
    assert_int_equal(dataset_open(uris, feed, &dataset, &err), rc);
    assert_null(dataset);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
}

static void check(const struct dataset *dataset, size_t i, const char *name, const char *mirrors)
{
    const struct dataset_source *source = &dataset->sources[i];
    char text[1000] = "";
    assert_true(i < dataset->source_count);
    assert_string_equal(source->name, name);
    for (size_t m = 0; m < source->mirror_count; m++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s ", source->mirrors[m]);
    }
    assert_string_equal(text, mirrors);
}

static void test_a_list_is_the_mirrors_of_one_file(void **state)
{
    (void)state;
    struct dataset *dataset = open_dataset("s3://b/x.txt,/mnt/y.txt");
    assert_int_equal(dataset->source_count, 1);
    check(dataset, 0, "x.txt", "s3://b/x.txt /mnt/y.txt ");
    dataset_close(dataset);
    refuse("a,,b", -EINVAL, "empty URI");
    refuse("", -EINVAL, "empty URI");
    refuse("a,b/", -EINVAL, "cannot be mirrors");
    refuse("a,b.dataset.json", -EINVAL, "cannot be mirrors");
    refuse("a.bin,b/a.bin.gz", -EINVAL, "b/a.bin.gz is gzip, and a.bin, of which it is to be a");
    refuse("a.bin,s3://b/a.dz?endpoint=h", -EINVAL, "s3://b/a.dz is gzip");
    refuse("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", -EINVAL, "at most 16 mirrors");
    refuse("s3://b/%4", -EINVAL, "not a URI");
}

static uint64_t listed_until_ns;
static uint32_t listed_timeout_ms;

int __real_mst_blob_open(const char *uri, const struct mst_blob_opts *opts,
                         struct mst_blob **ret_blob, struct mst_err *err);
int __wrap_mst_blob_open(const char *uri, const struct mst_blob_opts *opts,
                         struct mst_blob **ret_blob, struct mst_err *err);
int __wrap_mst_blob_open(const char *uri, const struct mst_blob_opts *opts,
                         struct mst_blob **ret_blob, struct mst_err *err)
{
    listed_timeout_ms = opts->timeout_ms;
    return __real_mst_blob_open(uri, opts, ret_blob, err);
}

int __real_mst_blob_list(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each,
                         void *arg, uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_list(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each,
                         void *arg, uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_list(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each,
                         void *arg, uint64_t deadline_ns, struct mst_err *err)
{
    listed_until_ns = deadline_ns;
    return __real_mst_blob_list(blob, prefix, each, arg, deadline_ns, err);
}

/* A folder of millions takes thousands of requests: each has its time, and all have as long as it
 * takes. */
static void test_a_listing_has_no_deadline(void **state)
{
    (void)state;
    static const struct feed_opts opts = {.aio = "threads", .timeout_ms = 7000};
    struct feed *own;
    assert_int_equal(feed_create(&opts, &own, NULL), 0);
    assert_int_equal(mkdir(scratch_path("long"), 0700), 0);
    scratch_write("long/a", "x", 1);
    struct dataset *dataset;
    assert_int_equal(dataset_open(scratch_path("long/"), own, &dataset, NULL), 0);
    dataset_close(dataset);
    feed_destroy(own);
    assert_true(listed_until_ns == MST_NEVER);
    assert_int_equal(listed_timeout_ms, 7000);
}

static void test_a_folder_is_all_its_files(void **state)
{
    (void)state;
    char uris[400], mirrors[400];
    uint64_t start_ns = mst_now_ns();
    assert_int_equal(mkdir(scratch_path("d"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("d/sub"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("empty"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("empty/_temporary"), 0700), 0);
    scratch_write("empty/_temporary/part-0.txt", "x", 1);
    assert_int_equal(mkdir(scratch_path("d/sub/.ipynb_checkpoints"), 0700), 0);
    scratch_write("d/sub/.ipynb_checkpoints/a b.txt", "x", 1);
    assert_int_equal(mkdir(scratch_path("d/..2026"), 0700), 0);
    scratch_write("d/..2026/c.txt", "c", 1);
    assert_int_equal(symlink("..2026", scratch_path("d/..data")), 0);
    assert_int_equal(symlink("..data/c.txt", scratch_path("d/c.txt")), 0);
    scratch_write("d/b.txt", "b", 1);
    scratch_write("d/sub/a b.txt", "a", 1);
    scratch_write("d/.hidden", "", 0);
    scratch_write("d/_DONE", "", 0);
    scratch_write("d/b.idx", "", 0);
    snprintf(uris, sizeof uris, "gopher://nowhere/,%s,http://h/e/?q", scratch_path("d/"));
    struct dataset *dataset = open_dataset(uris);
    assert_int_equal(dataset->source_count, 3);
    assert_int_equal(dataset->hidden_count, 5);
    snprintf(mirrors, sizeof mirrors, "gopher://nowhere/b.txt %sb.txt http://h/e/b.txt?q ",
             scratch_path("d/"));
    check(dataset, 0, "b.txt", mirrors);
    snprintf(mirrors, sizeof mirrors,
             "gopher://nowhere/sub/a%%20b.txt %ssub/a b.txt http://h/e/sub/a%%20b.txt?q ",
             scratch_path("d/"));
    check(dataset, 2, "a b.txt", mirrors);
    assert_string_equal(dataset->sources[1].name, "c.txt");
    dataset_close(dataset);
    refuse(scratch_path("empty/"), -EINVAL, "no file there");
    refuse(scratch_path("empty/"), -EINVAL, "1 names that begin with . or _");
    dataset = open_dataset(scratch_path("empty/_temporary/")); /* what the user names is meant */
    assert_int_equal(dataset->source_count, 1);
    dataset_close(dataset);
    refuse("http://127.0.0.1:1/x/", -ENOTSUP, "list");
    refuse("webhdfs://127.0.0.1:1/x/,http://127.0.0.1:1/x/", -ENOTSUP, "list");
    refuse("webhdfs://127.0.0.1:1/x/,http://127.0.0.1:1/x/", -ENOTSUP, "webhdfs://127.0.0.1:1");
    assert_true(mst_now_ns() - start_ns < 20 * MST_NS_PER_S); /* who is away holds nothing up */
}

static void test_a_dataset_file_names_all(void **state)
{
    (void)state;
    static const char text[] =
        "{\"version\": 1, \"sources\": [{\"name\": \"a.txt\"}, {\"mirrors\": [\"s3://x/b.gz?q\", "
        "\"../b.gz\", \"/c\"]}, {\"name\": \"long/d.bin\", \"mirrors\": [\"http://h/5\"]}]}";
    char uris[700], mirrors[700];
    scratch_write("x.dataset.json", text, sizeof text - 1);
    snprintf(uris, sizeof uris, "%s,%s", scratch_path("missing.dataset.json"),
             scratch_path("x.dataset.json"));
    struct dataset *dataset = open_dataset(uris);
    assert_int_equal(dataset->source_count, 3);
    snprintf(mirrors, sizeof mirrors, "%s/a.txt %s/a.txt ", scratch_dir, scratch_dir);
    check(dataset, 0, "a.txt", mirrors);
    snprintf(mirrors, sizeof mirrors, "s3://x/b.gz?q %s/../b.gz %s/../b.gz /c ", scratch_dir,
             scratch_dir);
    check(dataset, 1, "b.gz", mirrors);
    check(dataset, 2, "d.bin", "http://h/5 ");
    dataset_close(dataset);
    refuse(scratch_path("missing.dataset.json"), -ENOENT, "missing.dataset.json");
}

static void test_damaged_dataset_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "line 1"},
        {"{}", "version"},
        {"[]", "dataset"},
        {"{\"version\": 2, \"sources\": []}", "version is not 1"},
        {"{\"version\": 1, \"sources\": []}", "not a list of sources"},
        {"{\"version\": 1, \"sources\": [1]}", "bject"},
        {"{\"version\": 1, \"sources\": [{}]}", "neither name nor mirrors"},
        {"{\"version\": 1, \"sources\": [{\"name\": \"\"}]}", "neither name nor mirrors"},
        {"{\"version\": 1, \"sources\": [{\"name\": \"a\", \"mirors\": [\"b\"]}]}", "mirors"},
        {"{\"version\": 1, \"sources\": [{\"mirrors\": []}]}", "not a list of URIs"},
        {"{\"version\": 1, \"sources\": [{\"mirrors\": [1]}]}", "not a string"},
        {"{\"version\": 1, \"sources\": [{\"mirrors\": [\"\"]}]}", "is empty"},
        {"{\"version\": 1, \"sources\": [{\"mirrors\": [\"s3://b/%\"]}]}", "not a URI"},
        {"{\"version\": 1, \"sources\": [{\"name\": \"p2\", \"mirrors\": [\"p2.gz\"]}]}",
         "p2.gz is gzip"},
        {"{\"version\": 1, \"sources\": [{\"name\": \"a\"}], \"x\": 1}", "x"},
        {"{\"version\": 1, \"version\": 1, \"sources\": [{\"name\": \"a\"}]}", "duplicate"},
        {"{\"version\": 1, \"sources\": [{\"name\": \"a\"}]} x", "end of file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_write("bad.dataset.json", cases[i].text, strlen(cases[i].text));
        refuse(scratch_path("bad.dataset.json"), -EBADMSG, cases[i].why);
        refuse(scratch_path("bad.dataset.json"), -EBADMSG, "bad.dataset.json");
    }
}

static void test_companions_lie_beside_every_mirror(void **state)
{
    (void)state;
    struct dataset *dataset = open_dataset("s3://b/x.bin?q,/y.bin");
    struct dataset_source companion;
    assert_int_equal(dataset_companion(&dataset->sources[0], 4, ".idx", &companion, NULL), 0);
    assert_string_equal(companion.name, "x.idx");
    assert_int_equal(companion.mirror_count, 2);
    assert_string_equal(companion.mirrors[0], "s3://b/x.idx?q");
    assert_string_equal(companion.mirrors[1], "/y.idx");
    dataset_source_fini(&companion);
    dataset_close(dataset);
}

static int setup(void **state)
{
    feed = sources_feed("auto");
    return scratch_setup(state);
}

static int teardown(void **state)
{
    feed_destroy(feed);
    return scratch_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_is_the_mirrors_of_one_file),
        cmocka_unit_test(test_a_folder_is_all_its_files),
        cmocka_unit_test(test_a_listing_has_no_deadline),
        cmocka_unit_test(test_a_dataset_file_names_all),
        cmocka_unit_test(test_damaged_dataset_files),
        cmocka_unit_test(test_companions_lie_beside_every_mirror),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

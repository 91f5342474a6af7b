#include "soon.h"
#include "unit/ckpt_fixture.h"

#include "failing_memory.h"
#include "muster/ckpt/manifest.h"
#include "muster/ckpt/remote_keys.h"
#include "muster/core/blob/blob.h"

#include <errno.h>

#define COMMIT "e4.00000000000000aa"

static struct mst_blob *blob;

static int setup(void **state)
{
    int rc = fixture_setup(state);
    assert_int_equal(mst_blob_open(fixture_uri, NULL, &blob, NULL), 0);
    return rc;
}

static int teardown(void **state)
{
    mst_blob_close(blob);
    return fixture_teardown(state);
}

static void put(const char *key)
{
    assert_int_equal(
        mst_blob_put(blob, key, (struct mst_cspan){"x", 1, MST_MEM_HOST}, 0, soon(), NULL), 0);
}

static void test_ours(void **state)
{
    (void)state;
    put("step_20/MANIFEST.json");
    put("step_20/" COMMIT "/rank_0.h5");
    put("step_20/" COMMIT "/rank_1.h5");
    put("step_3/7.2.00000000000000ff/rank_0.h5");
    struct remote_keys keys = {0};
    assert_int_equal(remote_keys_list(blob, "", soon(), &keys, NULL), 0);
    assert_int_equal(keys.count, 4);
    assert_string_equal(keys.keys[0].commit, "");
    assert_int_equal(keys.keys[0].step, 20);
    assert_string_equal(keys.keys[1].text, "step_20/" COMMIT "/rank_0.h5");
    assert_string_equal(keys.keys[1].commit, COMMIT);
    assert_int_equal(keys.keys[1].epoch, 4);
    assert_int_equal(keys.keys[1].size_bytes, 1);
    assert_int_equal(keys.keys[1].step, 20);
    assert_int_equal(keys.keys[3].step, 3);
    assert_int_equal(keys.keys[3].epoch, 0); /* there were no owners yet */
    remote_keys_fini(&keys);
    assert_int_equal(remote_keys_list(blob, "step_3", soon(), &keys, NULL), 0);
    assert_int_equal(keys.count, 1);
    remote_keys_fini(&keys);
}

static void test_check(void **state)
{
    const struct manifest_file files[2] = {{.size_bytes = 1}, {.size_bytes = 1}};
    (void)state;
    put("step_20/" COMMIT "/rank_1.h5");
    put("step_20/" COMMIT "/rank_00.h5");
    put("step_20/" COMMIT "/rank_2.h5");
    struct remote_keys keys = {0};
    struct mst_err err = {0};
    assert_int_equal(remote_keys_list(blob, "step_20", soon(), &keys, NULL), 0);
    assert_int_equal(remote_keys_check(&keys, files, 2, &err), -EBADMSG);
    assert_string_equal(err.text, "rank_0.h5, which was written, is not there");
    remote_keys_fini(&keys);
    put("step_20/" COMMIT "/rank_0.h5");
    assert_int_equal(remote_keys_list(blob, "step_20", soon(), &keys, NULL), 0);
    assert_int_equal(remote_keys_check(&keys, files, 2, &err), 0);
    const struct manifest_file longer[2] = {{.size_bytes = 1}, {.size_bytes = 2}};
    assert_int_equal(remote_keys_check(&keys, longer, 2, &err), -EBADMSG);
    assert_string_equal(err.text, "rank_1.h5 has 1 bytes, not the 2 that were written");
    remote_keys_fini(&keys);
}

static bool reaping_breaks; /* behind the read, which has ended */
static int64_t other_result = 1;

int __real_mst_blob_reap(struct mst_blob *from, struct mst_blob_done *done, size_t cap, size_t min,
                         uint64_t deadline_ns);
int __wrap_mst_blob_reap(struct mst_blob *from, struct mst_blob_done *done, size_t cap, size_t min,
                         uint64_t deadline_ns);
int __wrap_mst_blob_reap(struct mst_blob *from, struct mst_blob_done *done, size_t cap, size_t min,
                         uint64_t deadline_ns)
{
    struct mst_blob_done ended[8];
    if (!reaping_breaks) {
        int count = __real_mst_blob_reap(from, done, cap, min, deadline_ns);
        done->result = other_result;
        return count;
    }
    (void)__real_mst_blob_reap(from, ended, 1, min, deadline_ns);
    return -EIO;
}

static void test_read(void **state)
{
    const struct remote_object object = {.key = "x/y", .size_max = 1};
    (void)state;
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(remote_keys_read(blob, &object, &text, &size, soon(), NULL), -ENOENT);
    put("x/y");
    reaping_breaks = true; /* which says nothing of the object */
    assert_int_equal(remote_keys_read(blob, &object, &text, &size, soon(), NULL), -EIO);
    reaping_breaks = false;
    struct mst_err err = {0};
    other_result = 0; /* somebody has cut it since it was looked at */
    assert_int_equal(remote_keys_read(blob, &object, &text, &size, soon(), &err), -EBADMSG);
    assert_string_equal(err.text, "x/y: it ends too early");
    other_result = -EACCES;
    assert_int_equal(remote_keys_read(blob, &object, &text, &size, soon(), &err), -EACCES);
    other_result = 1;
    assert_int_equal(remote_keys_read(blob, &object, &text, &size, soon(), NULL), 0);
    assert_int_equal(size, 1);
    assert_memory_equal(text, "x", 1);
    free(text);
    const struct remote_object smaller = {.key = "x/y", .size_max = 0};
    assert_int_equal(remote_keys_read(blob, &smaller, &text, &size, soon(), NULL), -EBADMSG);
}

static void test_not_ours(void **state)
{
    static const char *const others[] = {
        "MANIFEST.json",         "notes",
        "step_01/MANIFEST.json", "step_1/MANIFEST.json/x",
        "step_2/rank_0.h5",      ("step_2/" COMMIT "/deeper/rank_0.h5"),
        "step_2/1.1/rank_0.h5",  "step_-2/MANIFEST.json"};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        put(others[i]);
    struct remote_keys keys = {0};
    assert_int_equal(remote_keys_list(blob, "", soon(), &keys, NULL), 0);
    assert_int_equal(keys.count, 0);
    remote_keys_fini(&keys);
    assert_int_equal(remote_keys_list(blob, "step_9", soon(), &keys, NULL), 0);
    assert_int_equal(keys.count, 0);
    remote_keys_fini(&keys);
}

static void test_no_memory(void **state)
{
    int rc = -ENOMEM;
    (void)state;
    put("step_20/MANIFEST.json");
    put("step_21/MANIFEST.json");
    struct remote_keys keys = {0};
    size_t n = 0;
    for (; rc != 0; n++) {
        fail_allocations_after(n);
        rc = remote_keys_list(blob, "", soon(), &keys, NULL);
        allow_allocations();
        assert_true(rc == 0 || rc == -ENOMEM);
    }
    assert_int_equal(keys.count, 2);
    assert_true(n > 2);
    remote_keys_fini(&keys);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_ours), CASE(test_check), CASE(test_read),
                                       CASE(test_not_ours), CASE(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "soon.h"
#include "unit/ckpt_fixture.h"

#include "failing_memory.h"
#include "muster/ckpt/remote_keys.h"
#include "muster/core/blob/blob.h"

#include <errno.h>

#define COMMIT "1.1.00000000000000aa"

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
    assert_string_equal(keys.keys[0].text, "step_20/" COMMIT "/rank_0.h5");
    assert_string_equal(keys.keys[0].commit, COMMIT);
    assert_int_equal(keys.keys[0].generation, 1);
    assert_int_equal(keys.keys[0].step, 20);
    assert_string_equal(keys.keys[2].commit, "");
    assert_int_equal(keys.keys[3].step, 3);
    assert_int_equal(keys.keys[3].generation, 7);
    remote_keys_fini(&keys);
    assert_int_equal(remote_keys_list(blob, "step_3", soon(), &keys, NULL), 0);
    assert_int_equal(keys.count, 1);
    remote_keys_fini(&keys);
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
    const struct CMUnitTest tests[] = {CASE(test_ours), CASE(test_not_ours), CASE(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

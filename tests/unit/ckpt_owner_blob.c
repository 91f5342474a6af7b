/* The record of an owner as an object of a store. */
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/owner_blob.h"
#include "muster/ckpt/tier.h"
#include "muster/core/blob/blob.h"

#include <errno.h>

static struct mst_blob *blob;
static char text[OWNER_BYTES];

static int setup(void **state)
{
    int rc = fixture_setup(state);
    memset(text, 'a', sizeof text);
    return mst_blob_open(fixture_uri, NULL, &blob, NULL) < 0 ? -1 : rc;
}

static int teardown(void **state)
{
    mst_blob_close(blob);
    return fixture_teardown(state);
}

static void put(const char *key, size_t size)
{
    assert_int_equal(
        mst_blob_put(blob, key, (struct mst_cspan){text, size, MST_MEM_HOST}, 0, soon(), NULL), 0);
}

static void test_list(void **state)
{
    (void)state;
    put("OWNER.2", 1);
    put("OWNER.10", 1);
    put("OWNER.x", 1);
    put("OWNER.3/x", 1);
    put("step_1/OWNER.7", 1);
    put("A", 1);
    uint64_t *epochs = NULL;
    size_t count = 0;
    assert_int_equal(owner_blob_list(blob, &epochs, &count, soon(), NULL), 0);
    assert_int_equal(count, 2);
    assert_int_equal(epochs[0], 10);
    assert_int_equal(epochs[1], 2);
    free(epochs);
}

static void test_made_once(void **state)
{
    (void)state;
    assert_int_equal(owner_blob_put(blob, 3, text, MST_BLOB_NEW, soon(), NULL), 0);
    /* As if the answer to the first try had been lost. */
    assert_int_equal(owner_blob_put(blob, 3, text, MST_BLOB_NEW, soon(), NULL), 0);
    memset(text, 'b', sizeof text);
    assert_int_equal(owner_blob_put(blob, 3, text, MST_BLOB_NEW, soon(), NULL), -EEXIST);
    struct tier_owner found;
    assert_int_equal(owner_blob_read(blob, 3, &found, soon(), NULL), 0);
    assert_int_equal(found.text[0], 'a');
    assert_int_equal(found.size_bytes, OWNER_BYTES);
    assert_int_equal(found.lock, OWNER_UNKNOWN);
    assert_int_equal(owner_blob_put(blob, 3, text, 0, soon(), NULL), 0);
    assert_int_equal(owner_blob_read(blob, 3, &found, soon(), NULL), 0);
    assert_int_equal(found.text[0], 'b');
    owner_blob_remove(blob, 3, soon());
    assert_int_equal(owner_blob_read(blob, 3, &found, soon(), NULL), -ENOENT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_list), CASE(test_made_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

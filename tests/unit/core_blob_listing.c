#include "muster/core/blob/listing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct last {
    char key[16];
    size_t count;
};

static int in_order(void *arg, const char *key, const struct mst_blob_info *info)
{
    struct last *last = arg;
    assert_true(strcmp(last->key, key) < 0);
    assert_int_equal(info->size_bytes, strtoul(key + 1, NULL, 10));
    snprintf(last->key, sizeof last->key, "%s", key);
    return ++last->count == 300 ? 9 : 0;
}

static void sorts_what_was_added(void **state)
{
    (void)state;
    struct blob_listing listing = {0};
    for (unsigned i = 0; i < 500; i++) {
        struct mst_blob_info info = {.size_bytes = i * 37 % 500};
        char key[16];
        snprintf(key, sizeof key, "k%05u", i * 37 % 500);
        assert_int_equal(blob_listing_add(&listing, key, &info), 0);
    }
    struct last last = {0};
    assert_int_equal(blob_listing_tell(&listing, in_order, &last), 9);
    assert_int_equal(last.count, 300);
    assert_string_equal(last.key, "k00299");
    blob_listing_fini(&listing);
    assert_int_equal(blob_listing_tell(&listing, in_order, &last), 0);
}

static void visits_each_folder_once(void **state)
{
    (void)state;
    struct blob_listing listing = {0};
    assert_null(blob_listing_next(&listing));
    for (int i = 0; i < 100; i++)
        assert_int_equal(blob_listing_visit(&listing, "f"), 0);
    for (int i = 0; i < 99; i++) {
        char *folder = blob_listing_next(&listing);
        assert_string_equal(folder, "f");
        free(folder);
    }
    assert_int_equal(blob_listing_visit(&listing, "g"), 0);
    blob_listing_fini(&listing); /* with two that were not visited */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_what_was_added),
        cmocka_unit_test(visits_each_folder_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

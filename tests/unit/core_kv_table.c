#include "muster/core/kv/table.h"

#include "muster/core/kv/kv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_memory.h"

static int set(struct kv_table *table, uint32_t generation, const char *key, const void *value,
               size_t size_bytes)
{
    struct kv_request request = {.verb = KV_SET,
                                 .key = key,
                                 .key_bytes = strlen(key),
                                 .value = value,
                                 .value_bytes = size_bytes};
    struct kv_reply reply;
    return kv_table_call(table, generation, &request, &reply);
}

static int ask(struct kv_table *table, uint32_t generation, enum kv_verb verb, const char *key,
               uint64_t version, struct kv_reply *ret_reply)
{
    struct kv_request request = {
        .verb = verb, .id = 5, .key = key, .key_bytes = strlen(key), .version = version};
    return kv_table_call(table, generation, &request, ret_reply);
}

static void many_keys_grow_the_table(void **state)
{
    (void)state;
    struct kv_table table;
    assert_int_equal(kv_table_init(&table), 0);
    size_t bucket_count = table.bucket_count;
    char key[16];
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(set(&table, 1, key, &i, sizeof i), 0);
    }
    assert_true(table.bucket_count > bucket_count);
    assert_int_equal(table.entry_count, 5000);
    struct kv_reply reply;
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(ask(&table, 1, KV_GET, key, 0, &reply), 0);
        assert_int_equal(reply.id, 5);
        assert_int_equal(reply.value_bytes, sizeof i);
        assert_memory_equal(reply.value, &i, sizeof i);
    }
    assert_int_equal(ask(&table, 1, KV_DELETE_PREFIX, "key-", 0, &reply), 0);
    assert_int_equal(table.entry_count, 0);
    assert_int_equal(table.size_bytes, 0);
    kv_table_fini(&table);
    kv_table_fini(&table);
}

static void versions_rise(void **state)
{
    (void)state;
    struct kv_table table;
    assert_int_equal(kv_table_init(&table), 0);
    struct kv_reply reply;
    assert_int_equal(ask(&table, 1, KV_WATCH, "a", 0, &reply), -EAGAIN);
    assert_int_equal(set(&table, 1, "a", "1", 1), 0);
    assert_int_equal(ask(&table, 1, KV_WATCH, "a", 0, &reply), 0);
    uint64_t version = reply.version;
    assert_int_equal(ask(&table, 1, KV_WATCH, "a", version, &reply), -EAGAIN);
    assert_int_equal(set(&table, 1, "b", "1", 1), 0);
    assert_int_equal(ask(&table, 1, KV_WATCH, "a", version, &reply), -EAGAIN);
    /* Deleted and made again is a change like any other. */
    assert_int_equal(ask(&table, 1, KV_DELETE_PREFIX, "a", 0, &reply), 0);
    assert_int_equal(ask(&table, 1, KV_WATCH, "a", version, &reply), -EAGAIN);
    assert_int_equal(set(&table, 1, "a", "1", 1), 0);
    assert_int_equal(ask(&table, 1, KV_WATCH, "a", version, &reply), 0);
    assert_true(reply.version > version);
    kv_table_fini(&table);
}

static void advance_drops_older_generations(void **state)
{
    (void)state;
    struct kv_table table;
    assert_int_equal(kv_table_init(&table), 0);
    for (uint32_t generation = 0; generation < 5; generation++)
        assert_int_equal(set(&table, generation, "a", &generation, 4), 0);
    kv_table_advance(&table, 3);
    assert_int_equal(table.entry_count, 2);
    struct kv_reply reply;
    assert_int_equal(ask(&table, 2, KV_WAIT, "a", 0, &reply), -ESTALE);
    assert_int_equal(set(&table, 2, "a", "x", 1), -ESTALE);
    assert_int_equal(ask(&table, 3, KV_GET, "a", 0, &reply), 0);
    kv_table_advance(&table, 1); /* never back */
    assert_int_equal(set(&table, 2, "a", "x", 1), -ESTALE);
    kv_table_fini(&table);
}

static int cas(struct kv_table *table, const char *expected, const char *value)
{
    struct kv_reply reply;
    struct kv_request request = {.verb = KV_CAS,
                                 .key = "key",
                                 .key_bytes = 3,
                                 .expected = (const uint8_t *)expected,
                                 .expected_bytes = strlen(expected),
                                 .value = (const uint8_t *)value,
                                 .value_bytes = strlen(value)};
    return kv_table_call(table, 1, &request, &reply);
}

/* No value is what nothing has, and nothing else: an empty one is no match for it. */
static void cas_expects_a_value_or_none(void **state)
{
    (void)state;
    struct kv_table table;
    assert_int_equal(kv_table_init(&table), 0);
    assert_int_equal(cas(&table, "a", "b"), -EEXIST);
    assert_int_equal(table.entry_count, 0);
    assert_int_equal(cas(&table, "", "a"), 0);
    assert_int_equal(cas(&table, "", "b"), -EEXIST);
    assert_int_equal(cas(&table, "ab", "b"), -EEXIST);
    assert_int_equal(cas(&table, "a", ""), 0);
    assert_int_equal(cas(&table, "", "b"), -EEXIST);
    kv_table_fini(&table);
}

/* What is overwritten is given back, so that a key set for ever costs no more in the end. */
static void a_new_value_costs_what_it_has(void **state)
{
    (void)state;
    struct kv_table table;
    struct kv_reply reply;
    assert_int_equal(kv_table_init(&table), 0);
    assert_int_equal(set(&table, 1, "key", "abcd", 4), 0);
    size_t size_bytes = table.size_bytes;
    assert_int_equal(set(&table, 1, "key", "abcdef", 6), 0);
    assert_int_equal(table.size_bytes, size_bytes + 2);
    assert_int_equal(set(&table, 1, "key", "", 0), 0);
    assert_int_equal(table.size_bytes, size_bytes - 4);
    assert_int_equal(ask(&table, 1, KV_DELETE_PREFIX, "", 0, &reply), 0);
    assert_int_equal(table.size_bytes, 0);
    kv_table_fini(&table);
}

static void budget_holds(void **state)
{
    (void)state;
    int rc = 0, count = 0;
    uint8_t *value = calloc(1, MST_KV_VALUE_MAX);
    assert_non_null(value);
    struct kv_table table;
    assert_int_equal(kv_table_init(&table), 0);
    const size_t pretended = KV_TABLE_BYTES_MAX - 3 * (size_t)MST_KV_VALUE_MAX;
    table.size_bytes = pretended;
    for (; rc == 0 && count < 10; count++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", count);
        rc = set(&table, 1, key, value, MST_KV_VALUE_MAX);
    }
    assert_int_equal(rc, -ENOMEM);
    assert_int_equal(count, 3);
    struct kv_reply reply;
    assert_int_equal(ask(&table, 1, KV_GET, "2", 0, &reply), -ENOENT);
    assert_int_equal(ask(&table, 1, KV_GET, "1", 0, &reply), 0);
    free(value);
    table.size_bytes -= pretended;
    kv_table_fini(&table);
}

/* A budget that is nearly used up stays one: what a key costs beside its bytes counts, too. */
static void budget_is_never_passed(void **state)
{
    (void)state;
    struct kv_table table;
    assert_int_equal(kv_table_init(&table), 0);
    const size_t pretended = KV_TABLE_BYTES_MAX - 200;
    table.size_bytes = pretended;
    int rc = 0;
    for (int i = 0; rc == 0 && i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%d", i);
        rc = set(&table, 1, key, "x", 1);
        assert_true(table.size_bytes <= KV_TABLE_BYTES_MAX);
    }
    assert_int_equal(rc, -ENOMEM);
    table.size_bytes -= pretended;
    kv_table_fini(&table);
}

/* Whichever allocation fails, the table is as it was; what does not need one goes on. */
static void out_of_memory_changes_nothing(void **state)
{
    (void)state;
    fail_allocations_after(0);
    struct kv_table table;
    assert_int_equal(kv_table_init(&table), -ENOMEM);
    allow_allocations();
    kv_table_fini(&table);
    assert_int_equal(kv_table_init(&table), 0);
    assert_int_equal(set(&table, 1, "old", "value", 5), 0);
    int rc = -ENOMEM;
    for (size_t n = 0; rc; n++) {
        uint64_t version = table.version;
        size_t size_bytes = table.size_bytes;
        fail_allocations_after(n);
        rc = set(&table, 1, "new", "x", 1);
        allow_allocations();
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_true(rc == 0 || (table.version == version && table.size_bytes == size_bytes &&
                                table.entry_count == 1));
    }
    struct kv_reply reply;
    assert_int_equal(ask(&table, 1, KV_GET, "new", 0, &reply), 0);
    fail_allocations_after(0);
    assert_int_equal(set(&table, 1, "old", "other", 5), -ENOMEM);
    assert_int_equal(ask(&table, 1, KV_GET, "old", 0, &reply), 0);
    assert_memory_equal(reply.value, "value", 5);
    allow_allocations();
    kv_table_fini(&table);
}

/* Growing the buckets is only an optimisation. */
static void full_buckets_do_without_memory(void **state)
{
    (void)state;
    struct kv_table table;
    assert_int_equal(kv_table_init(&table), 0);
    size_t bucket_count = table.bucket_count;
    char key[16];
    for (size_t i = 0; i <= bucket_count; i++) {
        (void)snprintf(key, sizeof key, "%zu", i);
        fail_allocations_after(i < bucket_count ? 100 : 2); /* its value and its entry */
        assert_int_equal(set(&table, 1, key, "v", 1), 0);
        allow_allocations();
    }
    assert_int_equal(table.bucket_count, bucket_count);
    struct kv_reply reply;
    assert_int_equal(ask(&table, 1, KV_GET, key, 0, &reply), 0);
    kv_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_keys_grow_the_table),
        cmocka_unit_test(versions_rise),
        cmocka_unit_test(advance_drops_older_generations),
        cmocka_unit_test(cas_expects_a_value_or_none),
        cmocka_unit_test(a_new_value_costs_what_it_has),
        cmocka_unit_test(budget_holds),
        cmocka_unit_test(budget_is_never_passed),
        cmocka_unit_test(out_of_memory_changes_nothing),
        cmocka_unit_test(full_buckets_do_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

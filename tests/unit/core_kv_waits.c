#include "muster/core/kv/waits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct kv_request wait_for(const char *key)
{
    return (struct kv_request){.verb = KV_WAIT, .key = key, .key_bytes = strlen(key)};
}

static size_t count_waits(const struct kv_waits *waits, uint32_t generation, const char *key)
{
    struct kv_request request = wait_for(key);
    size_t count = 0;
    for (struct kv_wait *wait = kv_waits_first(waits, generation, &request); wait;
         wait = kv_waits_next(wait))
        count++;
    return count;
}

static void finds_waits_by_key_and_generation(void **state)
{
    (void)state;
    static struct kv_waits waits;
    static struct kv_wait many[4096];
    for (int i = 0; i < 4096; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%d", i % 512);
        struct kv_request request = wait_for(key); /* the key is copied: its buffer is used again */
        kv_waits_add(&waits, &many[i], (uint32_t)(i / 2048), &request);
    }
    assert_int_equal(count_waits(&waits, 0, "key-0"), 4);
    assert_int_equal(count_waits(&waits, 1, "key-511"), 4);
    assert_int_equal(count_waits(&waits, 2, "key-0"), 0);
    assert_int_equal(count_waits(&waits, 0, "key-512"), 0);
    for (int i = 0; i < 4096; i += 1024) {
        kv_wait_end(&many[i]);
        kv_wait_end(&many[i]);
    }
    assert_int_equal(count_waits(&waits, 0, "key-0"), 2);
    assert_int_equal(count_waits(&waits, 0, "key-1"), 4);
    for (int i = 0; i < 4096; i++)
        kv_wait_end(&many[i]);
    for (size_t i = 0; i < KV_WAIT_BUCKETS; i++)
        assert_null(waits.buckets[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_waits_by_key_and_generation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

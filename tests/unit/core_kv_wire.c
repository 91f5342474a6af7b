#include "muster/core/kv/kv.h"
#include "muster/core/kv/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static size_t put(uint8_t *bytes, const struct kv_request *request)
{
    uint8_t *at = bytes + KV_REQUEST_HEAD_BYTES;
    kv_request_encode(request, bytes);
    memcpy(at, request->key, request->key_bytes);
    at += request->key_bytes;
    if (request->expected_bytes)
        memcpy(at, request->expected, request->expected_bytes);
    at += request->expected_bytes;
    if (request->value_bytes)
        memcpy(at, request->value, request->value_bytes);
    return (size_t)(at - bytes) + request->value_bytes;
}

static const struct kv_request samples[] = {
    {.verb = KV_SET,
     .id = 1,
     .key = "a",
     .key_bytes = 1,
     .value = (const uint8_t *)"x\0y",
     .value_bytes = 3},
    {.verb = KV_SET, .id = UINT64_MAX, .key = "empty", .key_bytes = 5},
    {.verb = KV_GET, .id = 2, .key = "a b~", .key_bytes = 4},
    {.verb = KV_WAIT, .id = 3, .key = "k", .key_bytes = 1},
    {.verb = KV_ADD, .id = 4, .key = "n", .key_bytes = 1, .delta = INT64_MIN},
    {.verb = KV_ADD, .id = 4, .key = "n", .key_bytes = 1, .delta = -1},
    {.verb = KV_CAS,
     .id = 5,
     .key = "leader",
     .key_bytes = 6,
     .expected = (const uint8_t *)"old",
     .expected_bytes = 3,
     .value = (const uint8_t *)"new!",
     .value_bytes = 4},
    {.verb = KV_DELETE_PREFIX, .id = 6, .key = "", .key_bytes = 0},
    {.verb = KV_WATCH, .id = 7, .key = "w", .key_bytes = 1, .version = UINT64_MAX},
    {.verb = KV_GATHER, .id = 8, .key = "g", .key_bytes = 1, .index = 7, .count = 1U << 20},
};
#define SAMPLE_COUNT (sizeof samples / sizeof *samples)

static void requests_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        const struct kv_request *in = &samples[i];
        uint8_t bytes[128];
        size_t size = put(bytes, in);
        assert_int_equal(kv_request_check(in), 0);
        struct kv_request out;
        assert_int_equal(kv_request_decode((uint8_t)in->verb, bytes, size, &out), 0);
        assert_int_equal(out.verb, in->verb);
        assert_int_equal(out.id, in->id);
        assert_int_equal(out.delta, in->delta);
        assert_int_equal(out.version, in->version);
        assert_int_equal(out.key_bytes, in->key_bytes);
        assert_memory_equal(out.key, in->key, in->key_bytes);
        assert_int_equal(out.expected_bytes, in->expected_bytes);
        assert_int_equal(out.value_bytes, in->value_bytes);
        if (in->value_bytes)
            assert_memory_equal(out.value, in->value, in->value_bytes);
        if (in->expected_bytes)
            assert_memory_equal(out.expected, in->expected, in->expected_bytes);
    }
}

/* Cut anywhere in its head, key or expected part a request is bad: its own sizes do not fit. */
static void cut_requests_are_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        uint8_t bytes[128];
        size_t size = put(bytes, &samples[i]) - samples[i].value_bytes;
        struct kv_request out;
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(kv_request_decode((uint8_t)samples[i].verb, bytes, cut, &out),
                             -EBADMSG);
    }
}

static void verbs_have_only_their_fields(void **state)
{
    (void)state;
    const struct kv_request *cas = &samples[6], *set = &samples[0], *watch = &samples[8];
    uint8_t bytes[128];
    size_t size = put(bytes, cas);
    struct kv_request out;
    for (unsigned verb = 0; verb < 256; verb++)
        if (verb != KV_CAS)
            assert_int_equal(kv_request_decode((uint8_t)verb, bytes, size, &out), -EBADMSG);
    size = put(bytes, set);
    assert_int_equal(kv_request_decode(KV_GET, bytes, size, &out), -EBADMSG);
    assert_int_equal(kv_request_decode(KV_DELETE_PREFIX, bytes, size, &out), -EBADMSG);
    size = put(bytes, watch);
    assert_int_equal(kv_request_decode(KV_WAIT, bytes, size, &out), -EBADMSG);
    size = put(bytes, &samples[7]);
    assert_int_equal(kv_request_decode(KV_GET, bytes, size, &out), -EBADMSG);
    size = put(bytes, set);
    bytes[22] = 1;
    assert_int_equal(kv_request_decode(KV_SET, bytes, size, &out), 0);
    assert_true(out.is_repeat);
    for (unsigned flags = 2; flags < 256; flags++) {
        bytes[22] = (uint8_t)flags;
        assert_int_equal(kv_request_decode(KV_SET, bytes, size, &out), -EBADMSG);
    }
    bytes[22] = 0, bytes[23] = 1;
    assert_int_equal(kv_request_decode(KV_SET, bytes, size, &out), -EBADMSG);
    size = put(bytes, set);
    bytes[KV_REQUEST_HEAD_BYTES] = 0x7f;
    assert_int_equal(kv_request_decode(KV_SET, bytes, size, &out), -EBADMSG);
}

static void parts_have_their_place(void **state)
{
    (void)state;
    struct kv_request out, in = {.verb = KV_GATHER, .key = "g", .key_bytes = 1, .count = 2};
    uint8_t bytes[64];
    in.index = 1;
    size_t size = put(bytes, &in);
    assert_int_equal(kv_request_decode(KV_GATHER, bytes, size, &out), 0);
    assert_int_equal(out.index, 1);
    assert_int_equal(out.count, 2);
    in.index = 2;
    assert_int_equal(kv_request_check(&in), -EINVAL);
    in.index = 0, in.count = KV_PARTS_MAX + 1;
    assert_int_equal(kv_request_check(&in), -EINVAL);
    in.count = 1, in.verb = KV_SET;
    assert_int_equal(kv_request_check(&in), -EINVAL);
}

static void limits_hold(void **state)
{
    (void)state;
    static const uint8_t value[1];
    char key[MST_KV_KEY_MAX + 1];
    memset(key, 'k', sizeof key);
    struct kv_request request = {.verb = KV_SET,
                                 .key = key,
                                 .key_bytes = MST_KV_KEY_MAX,
                                 .value = value,
                                 .value_bytes = MST_KV_VALUE_MAX};
    assert_int_equal(kv_request_check(&request), 0);
    request.key_bytes++;
    assert_int_equal(kv_request_check(&request), -EINVAL);
    request.key_bytes--;
    request.value_bytes++;
    assert_int_equal(kv_request_check(&request), -EINVAL);
    request.verb = KV_CAS;
    request.value_bytes = MST_KV_VALUE_MAX - 5;
    request.expected_bytes = 5;
    assert_int_equal(kv_request_check(&request), 0);
    request.expected_bytes++;
    assert_int_equal(kv_request_check(&request), -EINVAL);
    request.expected_bytes = SIZE_MAX;
    assert_int_equal(kv_request_check(&request), -EINVAL);
}

static void replies_round_trip(void **state)
{
    (void)state;
    struct kv_reply in = {.id = 77, .result = -ESTALE, .version = UINT64_MAX, .number = -3};
    uint8_t bytes[KV_REPLY_HEAD_BYTES + 3];
    kv_reply_encode(&in, bytes);
    memcpy(bytes + KV_REPLY_HEAD_BYTES, "xyz", 3);
    struct kv_reply out;
    assert_int_equal(kv_reply_decode(bytes, sizeof bytes, &out), 0);
    assert_int_equal(out.id, 77);
    assert_int_equal(out.result, -ESTALE);
    assert_int_equal(out.version, UINT64_MAX);
    assert_int_equal(out.number, -3);
    assert_int_equal(out.value_bytes, 3);
    assert_memory_equal(out.value, "xyz", 3);
    for (size_t cut = 0; cut < KV_REPLY_HEAD_BYTES; cut++)
        assert_int_equal(kv_reply_decode(bytes, cut, &out), -EBADMSG);
    memcpy(bytes + 8, "\xff\x0f", 2);
    assert_int_equal(kv_reply_decode(bytes, sizeof bytes, &out), 0);
    assert_int_equal(out.result, -4095);
    bytes[9] = 0x10; /* errno 4096 and more */
    assert_int_equal(kv_reply_decode(bytes, sizeof bytes, &out), -EBADMSG);
    bytes[9] = 0;
    bytes[12] = 1;
    assert_int_equal(kv_reply_decode(bytes, sizeof bytes, &out), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_round_trip),
        cmocka_unit_test(cut_requests_are_bad),
        cmocka_unit_test(verbs_have_only_their_fields),
        cmocka_unit_test(parts_have_their_place),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(replies_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* pure */
#include "muster/core/kv/wire.h"

#include "muster/core/bytes.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"

#include <errno.h>

#define REPEAT 1

static bool is_printable(const char *key, size_t key_bytes)
{
    for (size_t i = 0; i < key_bytes; i++)
        if (key[i] < 0x20 || key[i] > 0x7e)
            return false;
    return true;
}

int kv_request_check(const struct kv_request *request)
{
    enum kv_verb verb = request->verb;
    bool has_value = verb == KV_SET || verb == KV_CAS || verb == KV_GATHER;
    if (verb < KV_SET || verb >= KV_VERB_END)
        return -EINVAL;
    if (request->key_bytes > MST_KV_KEY_MAX || !is_printable(request->key, request->key_bytes))
        return -EINVAL;
    if (request->key_bytes == 0 && verb != KV_DELETE_PREFIX)
        return -EINVAL;
    if (request->value_bytes > (has_value ? MST_KV_VALUE_MAX : 0))
        return -EINVAL;
    if (request->expected_bytes > (verb == KV_CAS ? MST_KV_VALUE_MAX - request->value_bytes : 0))
        return -EINVAL;
    if ((request->delta && verb != KV_ADD) || (request->version && verb != KV_WATCH))
        return -EINVAL;
    if (verb == KV_GATHER ? request->index >= request->count || request->count > KV_PARTS_MAX
                          : request->index || request->count)
        return -EINVAL;
    return 0;
}

void kv_request_encode(const struct kv_request *request, uint8_t head[KV_REQUEST_HEAD_BYTES])
{
    uint64_t argument = request->verb == KV_ADD ? (uint64_t)request->delta
                        : request->verb == KV_GATHER
                            ? (uint64_t)request->count << 32 | request->index
                            : request->version;
    mst_put_le64(head, request->id);
    mst_put_le64(head + 8, argument);
    mst_put_le32(head + 16, (uint32_t)request->expected_bytes);
    mst_put_le16(head + 20, (uint16_t)request->key_bytes);
    mst_put_le16(head + 22, request->is_repeat ? REPEAT : 0);
}

int kv_request_decode(uint8_t verb, const uint8_t *bytes, size_t size_bytes,
                      struct kv_request *ret_request)
{
    if (size_bytes < KV_REQUEST_HEAD_BYTES || mst_get_le16(bytes + 22) > REPEAT)
        return -EBADMSG;
    size_t left = size_bytes - KV_REQUEST_HEAD_BYTES;
    size_t expected_bytes = mst_get_le32(bytes + 16);
    size_t key_bytes = mst_get_le16(bytes + 20);
    if (key_bytes > left || expected_bytes > left - key_bytes)
        return -EBADMSG;
    const uint8_t *key = bytes + KV_REQUEST_HEAD_BYTES;
    uint64_t argument = mst_get_le64(bytes + 8);
    struct kv_request request = {
        .verb = (enum kv_verb)verb,
        .id = mst_get_le64(bytes),
        .key = (const char *)key,
        .key_bytes = key_bytes,
        .expected = key + key_bytes,
        .expected_bytes = expected_bytes,
        .value = key + key_bytes + expected_bytes,
        .value_bytes = left - key_bytes - expected_bytes,
        .delta = verb == KV_ADD ? (int64_t)argument : 0,
        .version = verb == KV_ADD || verb == KV_GATHER ? 0 : argument,
        .index = verb == KV_GATHER ? (uint32_t)argument : 0,
        .count = verb == KV_GATHER ? (uint32_t)(argument >> 32) : 0,
        .is_repeat = mst_get_le16(bytes + 22) == REPEAT,
    };
    if (kv_request_check(&request))
        return -EBADMSG;
    *ret_request = request;
    return 0;
}

void kv_reply_encode(const struct kv_reply *reply, uint8_t head[KV_REPLY_HEAD_BYTES])
{
    mst_put_le64(head, reply->id);
    mst_put_le32(head + 8, (uint32_t)-reply->result);
    mst_put_le32(head + 12, 0);
    mst_put_le64(head + 16, reply->version);
    mst_put_le64(head + 24, (uint64_t)reply->number);
}

int kv_reply_decode(const uint8_t *bytes, size_t size_bytes, struct kv_reply *ret_reply)
{
    if (size_bytes < KV_REPLY_HEAD_BYTES || size_bytes - KV_REPLY_HEAD_BYTES > MST_KV_VALUE_MAX)
        return -EBADMSG;
    uint32_t error = mst_get_le32(bytes + 8);
    if (error > MST_ERRNO_MAX || mst_get_le32(bytes + 12) != 0)
        return -EBADMSG;
    *ret_reply = (struct kv_reply){
        .id = mst_get_le64(bytes),
        .result = -(int)error,
        .version = mst_get_le64(bytes + 16),
        .number = (int64_t)mst_get_le64(bytes + 24),
        .value = bytes + KV_REPLY_HEAD_BYTES,
        .value_bytes = size_bytes - KV_REPLY_HEAD_BYTES,
    };
    return 0;
}

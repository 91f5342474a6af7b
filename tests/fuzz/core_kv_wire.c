/* What kv's codec decodes, it encodes to the same bytes. The first byte is the frame's type. */
#include "muster/core/kv/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_request(uint8_t verb, const uint8_t *bytes, size_t size_bytes)
{
    struct kv_request request;
    if (kv_request_decode(verb, bytes, size_bytes, &request))
        return;
    uint8_t head[KV_REQUEST_HEAD_BYTES];
    kv_request_encode(&request, head);
    if (memcmp(head, bytes, sizeof head) != 0 || kv_request_check(&request) != 0)
        abort();
    if (request.value + request.value_bytes != bytes + size_bytes)
        abort();
}

static void try_reply(const uint8_t *bytes, size_t size_bytes)
{
    struct kv_reply reply;
    if (kv_reply_decode(bytes, size_bytes, &reply))
        return;
    uint8_t head[KV_REPLY_HEAD_BYTES];
    kv_reply_encode(&reply, head);
    if (memcmp(head, bytes, sizeof head) != 0 ||
        reply.value + reply.value_bytes != bytes + size_bytes)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == KV_FRAME_REPLY)
        try_reply(data + 1, size - 1);
    else
        try_request(data[0], data + 1, size - 1);
    return 0;
}

/* How kv's calls travel: the request and the reply as values, and their codec. One request and one
 * reply are the payload of one frame each (core/kv/sock.h).
 *
 * request: id u64 | argument u64 | expected size u32 | key size u16 | flags u16 | key | expected |
 *          value; the frame's type is the verb, the argument is add's delta, watch's version, or
 *          gather's index (low half) and count; flags: 1 = sent again over a new connection
 * reply:   id u64 | errno u32 | zero u32 | version u64 | number u64 | value */
/* pure */
#ifndef MUSTER_CORE_KV_WIRE_H
#define MUSTER_CORE_KV_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_REQUEST_HEAD_BYTES 24
#define KV_REPLY_HEAD_BYTES 32
#define KV_FRAME_REPLY 32
#define KV_PARTS_MAX (UINT32_C(1) << 20)

/* Also the frame types of requests; zero is none. */
enum kv_verb {
    KV_SET = 1,
    KV_GET,
    KV_WAIT,
    KV_ADD,
    KV_CAS,
    KV_DELETE_PREFIX,
    KV_WATCH,
    KV_GATHER,
    KV_VERB_END
};

/* Key and values are borrowed: from the caller, or from the bytes that were decoded. */
struct kv_request {
    enum kv_verb verb;
    uint64_t id;
    const char *key; /* not terminated; a prefix for KV_DELETE_PREFIX */
    size_t key_bytes;
    const uint8_t *value; /* of set, cas and gather */
    size_t value_bytes;
    const uint8_t *expected; /* of cas */
    size_t expected_bytes;
    int64_t delta;    /* of add */
    uint64_t version; /* of watch: answer once the key's is over this */
    uint32_t index;   /* of gather: which part of `count` the value is */
    uint32_t count;
    bool is_repeat; /* sent before, over a connection that is lost */
};

struct kv_reply {
    uint64_t id;
    int result; /* 0 or -errno */
    uint64_t version;
    int64_t number; /* of add: the counter's new value; of gather: parts still missing */
    const uint8_t *value;
    size_t value_bytes;
};

/* 0; -EINVAL if a size is over its limit (core/kv/kv.h), the key has a byte that is not printable
 * ASCII or is empty (a prefix may be), or a field is set that the verb does not have. */
int kv_request_check(const struct kv_request *request);

/* The head alone: key, expected and value follow it on the wire. `request` has been checked. */
void kv_request_encode(const struct kv_request *request, uint8_t head[KV_REQUEST_HEAD_BYTES]);

/* 0; -EBADMSG if the bytes are no request of this verb, or one that kv_request_check refuses. */
int kv_request_decode(uint8_t verb, const uint8_t *bytes, size_t size_bytes,
                      struct kv_request *ret_request);

/* The head alone: the value follows it. */
void kv_reply_encode(const struct kv_reply *reply, uint8_t head[KV_REPLY_HEAD_BYTES]);

/* 0; -EBADMSG. */
int kv_reply_decode(const uint8_t *bytes, size_t size_bytes, struct kv_reply *ret_reply);

#endif

#include "muster/core/kv/waits.h"

#include "muster/core/kv/table.h"

#include <assert.h>
#include <string.h>

void kv_waits_add(struct kv_waits *waits, struct kv_wait *wait, uint32_t generation,
                  const struct kv_request *request)
{
    assert(!wait->link && request->key_bytes <= sizeof wait->key);
    wait->generation = generation;
    wait->hash = kv_key_hash(generation, request->key, request->key_bytes);
    memcpy(wait->key, request->key, request->key_bytes);
    wait->request = *request;
    wait->request.key = wait->key;
    wait->link = &waits->buckets[wait->hash % KV_WAIT_BUCKETS];
    wait->next = *wait->link;
    if (wait->next) {
        assert(wait->next->link == wait->link);
        wait->next->link = &wait->next;
    }
    *wait->link = wait;
}

void kv_wait_end(struct kv_wait *wait)
{
    if (!wait->link)
        return;
    assert(*wait->link == wait && (!wait->next || wait->next->link == &wait->next));
    *wait->link = wait->next;
    if (wait->next)
        wait->next->link = wait->link;
    wait->link = NULL;
    wait->next = NULL;
}

static bool matches(const struct kv_wait *wait, uint32_t hash, uint32_t generation,
                    const struct kv_request *request)
{
    return wait->hash == hash && wait->generation == generation &&
           wait->request.key_bytes == request->key_bytes &&
           memcmp(wait->key, request->key, request->key_bytes) == 0;
}

static struct kv_wait *skip_others(struct kv_wait *wait, uint32_t hash, uint32_t generation,
                                   const struct kv_request *request)
{
    while (wait && !matches(wait, hash, generation, request))
        wait = wait->next;
    return wait;
}

struct kv_wait *kv_waits_first(const struct kv_waits *waits, uint32_t generation,
                               const struct kv_request *request)
{
    uint32_t hash = kv_key_hash(generation, request->key, request->key_bytes);
    return skip_others(waits->buckets[hash % KV_WAIT_BUCKETS], hash, generation, request);
}

struct kv_wait *kv_waits_next(const struct kv_wait *wait)
{
    return skip_others(wait->next, wait->hash, wait->generation, &wait->request);
}

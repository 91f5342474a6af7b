/* Waits that the key-value server has not answered yet, found by their key. A connection has one at
 * most: a new request ends the wait before it, which its caller has given up. */
#ifndef MUSTER_CORE_KV_WAITS_H
#define MUSTER_CORE_KV_WAITS_H

#include "muster/core/kv/kv.h"
#include "muster/core/kv/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_WAIT_BUCKETS 1024

struct kv_wait {
    struct kv_wait *next, **link; /* link is NULL while it waits for nothing */
    uint32_t hash;
    uint32_t generation;
    struct kv_request request; /* its key points at `key` */
    char key[MST_KV_KEY_MAX];
};

struct kv_waits {
    struct kv_wait *buckets[KV_WAIT_BUCKETS];
};

/* Starts `wait` for a checked KV_WAIT or KV_WATCH; its key is copied. */
void kv_waits_add(struct kv_waits *waits, struct kv_wait *wait, uint32_t generation,
                  const struct kv_request *request);

/* Ends it; nothing happens if it waits for nothing. */
void kv_wait_end(struct kv_wait *wait);

/* The waits for the key of `request`, one after the other, until NULL. Ask for the next before the
 * one at hand is ended. */
struct kv_wait *kv_waits_first(const struct kv_waits *waits, uint32_t generation,
                               const struct kv_request *request);
struct kv_wait *kv_waits_next(const struct kv_wait *wait);

#endif

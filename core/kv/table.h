/* The table itself: keys of all generations, their values and versions, and what each verb does to
 * them. It never waits: a call that would have to answers -EAGAIN, and its owner, a lock and a
 * condition variable (core/kv/local.c) or a poll loop (core/kv/server.c), repeats the call when the
 * key has changed. One thread at a time. */
#ifndef MUSTER_CORE_KV_TABLE_H
#define MUSTER_CORE_KV_TABLE_H

#include "muster/core/kv/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_TABLE_BYTES_MAX ((size_t)1 << 30) /* keys and values of all generations together */

struct kv_entry;

struct kv_table {
    struct kv_entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t entry_count;
    size_t size_bytes;
    uint64_t version;    /* of the last change */
    uint32_t generation; /* older ones are over */
    uint8_t *unfinished; /* what get was last told of a key whose parts are not all there */
};

/* 0; -ENOMEM. */
int kv_table_init(struct kv_table *table);
void kv_table_fini(struct kv_table *table);

/* Does `request` (checked) for a member of `generation`. The reply's value is borrowed from the
 * table until its next call. Returns the reply's result: 0; -EAGAIN wait and watch, not yet;
 * -ENOENT get; -EEXIST cas, and gather of a part that is another already; -EINVAL add to what is no
 * counter, or past its range, gather with another count, and any other change of what is gathered;
 * -ENOSPC all parts together are over MST_KV_VALUE_MAX; -ESTALE; -ENOMEM. */
int kv_table_call(struct kv_table *table, uint32_t generation, const struct kv_request *request,
                  struct kv_reply *ret_reply);

/* Drops the keys of generations older than `generation`; calls in them are -ESTALE from now on. */
void kv_table_advance(struct kv_table *table, uint32_t generation);

/* Whether this verb changes the table: done twice it may mean another thing than once. */
bool kv_verb_changes(enum kv_verb verb);

/* Whether this answer can end waits on the request's key. */
bool kv_reply_wakes(const struct kv_request *request, const struct kv_reply *reply);

/* Where `key` belongs in a hash table of the caller's own. */
uint32_t kv_key_hash(uint32_t generation, const char *key, size_t key_bytes);

#endif

#include "muster/core/kv/table.h"

#include "muster/core/bytes.h"
#include "muster/core/kv/parts.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64
#define COUNTER_BYTES 8

struct kv_entry {
    struct kv_entry *next;
    uint64_t version;
    uint32_t hash;
    uint32_t generation;
    bool is_counter;        /* its value is an int64, little-endian */
    bool is_gathered;       /* its value is parts, or will be: */
    struct kv_parts *parts; /* those that have come, until all have */
    uint8_t *value;
    size_t value_bytes;
    size_t key_bytes;
    char key[];
};

/* FNV-1a, 32 bits. Peers that could choose colliding keys know the job secret. */
uint32_t kv_key_hash(uint32_t generation, const char *key, size_t key_bytes)
{
    uint32_t hash = UINT32_C(2166136261) ^ generation;
    for (size_t i = 0; i < key_bytes; i++)
        hash = (hash ^ (uint8_t)key[i]) * UINT32_C(16777619);
    return hash;
}

bool kv_verb_changes(enum kv_verb verb)
{
    return verb == KV_SET || verb == KV_ADD || verb == KV_CAS || verb == KV_GATHER ||
           verb == KV_DELETE_PREFIX;
}

bool kv_reply_wakes(const struct kv_request *request, const struct kv_reply *reply)
{
    if (reply->result || request->verb == KV_DELETE_PREFIX)
        return false;
    return request->verb == KV_GATHER ? reply->number == 0 : kv_verb_changes(request->verb);
}

/* ---- entries --------------------------------------------------------------------------------- */

/* What a table is between two calls; a bug that breaks it would lose keys in silence. */
static void check(const struct kv_table *table)
{
    assert((table->bucket_count & (table->bucket_count - 1)) == 0);
    assert(table->size_bytes >= table->entry_count * sizeof(struct kv_entry));
    assert(table->size_bytes <= KV_TABLE_BYTES_MAX);
}

int kv_table_init(struct kv_table *table)
{
    *table = (struct kv_table){.bucket_count = BUCKETS_MIN};
    table->buckets = calloc(BUCKETS_MIN, sizeof(struct kv_entry *));
    return table->buckets ? 0 : -ENOMEM;
}

static size_t entry_size(const struct kv_entry *entry)
{
    return sizeof *entry + entry->key_bytes + entry->value_bytes +
           (entry->parts ? kv_parts_bytes(entry->parts) : 0);
}

/* Unlinks and frees the entry that `link` points at. */
static void remove_at(struct kv_table *table, struct kv_entry **link)
{
    struct kv_entry *entry = *link;
    assert(table->entry_count > 0 && table->size_bytes >= entry_size(entry));
    *link = entry->next;
    table->entry_count--;
    table->size_bytes -= entry_size(entry);
    kv_parts_destroy(entry->parts);
    free(entry->value);
    free(entry);
}

static bool has_prefix(const struct kv_entry *entry, const char *prefix, size_t prefix_bytes)
{
    return entry->key_bytes >= prefix_bytes && memcmp(entry->key, prefix, prefix_bytes) == 0;
}

/* Removes the keys with this prefix of the generations first … last. */
static void remove_range(struct kv_table *table, uint32_t first, uint32_t last, const char *prefix,
                         size_t prefix_bytes)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct kv_entry **link = &table->buckets[i];
        while (*link) {
            struct kv_entry *entry = *link;
            if (entry->generation >= first && entry->generation <= last &&
                has_prefix(entry, prefix, prefix_bytes))
                remove_at(table, link);
            else
                link = &entry->next;
        }
    }
    check(table);
}

void kv_table_fini(struct kv_table *table)
{
    if (table->buckets)
        remove_range(table, 0, UINT32_MAX, "", 0);
    assert(table->entry_count == 0 && table->size_bytes == 0);
    free(table->buckets);
    free(table->unfinished);
    *table = (struct kv_table){0};
}

void kv_table_advance(struct kv_table *table, uint32_t generation)
{
    if (generation <= table->generation)
        return;
    remove_range(table, 0, generation - 1, "", 0);
    table->generation = generation;
}

/* Doubles the buckets. Without memory the chains just grow longer. */
static void grow(struct kv_table *table)
{
    size_t count = table->bucket_count * 2, moved = 0;
    struct kv_entry **buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return;
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (struct kv_entry *entry = table->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            struct kv_entry **bucket = &buckets[entry->hash & (count - 1)];
            entry->next = *bucket;
            *bucket = entry;
            moved++;
        }
    }
    assert(moved == table->entry_count);
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
}

static struct kv_entry *find(struct kv_table *table, uint32_t generation,
                             const struct kv_request *request)
{
    uint32_t hash = kv_key_hash(generation, request->key, request->key_bytes);
    size_t mask = table->bucket_count - 1;
    for (struct kv_entry *entry = table->buckets[hash & mask]; entry; entry = entry->next) {
        assert((entry->hash & mask) == (hash & mask));
        if (entry->hash == hash && entry->generation == generation &&
            entry->key_bytes == request->key_bytes &&
            memcmp(entry->key, request->key, request->key_bytes) == 0)
            return entry;
    }
    return NULL;
}

/* A new entry without a value, not yet visible: NULL, or for link_entry. */
static struct kv_entry *make_entry(uint32_t generation, const struct kv_request *request)
{
    struct kv_entry *entry = calloc(1, sizeof *entry + request->key_bytes);
    if (!entry)
        return NULL;
    entry->generation = generation;
    entry->hash = kv_key_hash(generation, request->key, request->key_bytes);
    entry->key_bytes = request->key_bytes;
    memcpy(entry->key, request->key, request->key_bytes);
    return entry;
}

static void link_entry(struct kv_table *table, struct kv_entry *entry)
{
    if (table->entry_count >= table->bucket_count)
        grow(table);
    struct kv_entry **bucket = &table->buckets[entry->hash & (table->bucket_count - 1)];
    entry->next = *bucket;
    *bucket = entry;
    table->entry_count++;
    table->size_bytes += entry_size(entry);
}

struct new_value {
    const void *data;
    size_t size_bytes;
    bool is_counter;
};

/* Gives the key a new value: all of it, or -ENOMEM and nothing. `entry` is what find said. */
static int store(struct kv_table *table, uint32_t generation, const struct kv_request *request,
                 struct kv_entry *entry, const struct new_value *value)
{
    if (entry && entry->is_gathered)
        return -EINVAL;
    size_t more_bytes = value->size_bytes + (entry ? 0 : sizeof *entry + request->key_bytes);
    check(table);
    if (more_bytes > KV_TABLE_BYTES_MAX - table->size_bytes)
        return -ENOMEM;
    uint8_t *copy = malloc(value->size_bytes ? value->size_bytes : 1);
    if (!copy)
        return -ENOMEM;
    if (!entry) {
        entry = make_entry(generation, request);
        if (!entry) {
            free(copy);
            return -ENOMEM;
        }
        link_entry(table, entry);
    }
    if (value->size_bytes > 0)
        memcpy(copy, value->data, value->size_bytes);
    free(entry->value);
    table->size_bytes += value->size_bytes - entry->value_bytes;
    entry->value = copy;
    entry->value_bytes = value->size_bytes;
    entry->is_counter = value->is_counter;
    entry->version = ++table->version;
    check(table);
    return 0;
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static int read_value(const struct kv_entry *entry, struct kv_reply *reply)
{
    reply->value = entry->value;
    reply->value_bytes = entry->value_bytes;
    reply->version = entry->version;
    return 0;
}

static int add(struct kv_table *table, uint32_t generation, const struct kv_request *request,
               struct kv_entry *entry, struct kv_reply *reply)
{
    int64_t before = 0, sum;
    if (entry && !entry->is_counter)
        return -EINVAL;
    if (entry) {
        assert(entry->value_bytes == COUNTER_BYTES);
        before = (int64_t)mst_get_le64(entry->value);
    }
    if (__builtin_add_overflow(before, request->delta, &sum))
        return -EINVAL;
    uint8_t bytes[COUNTER_BYTES];
    mst_put_le64(bytes, (uint64_t)sum);
    struct new_value value = {.data = bytes, .size_bytes = sizeof bytes, .is_counter = true};
    int rc = store(table, generation, request, entry, &value);
    if (rc == 0)
        reply->number = sum;
    return rc;
}

static int set(struct kv_table *table, uint32_t generation, const struct kv_request *request,
               struct kv_entry *entry)
{
    struct new_value value = {.data = request->value, .size_bytes = request->value_bytes};
    return store(table, generation, request, entry, &value);
}

static bool holds(const struct kv_entry *entry, const uint8_t *value, size_t value_bytes)
{
    if (!entry)
        return value_bytes == 0;
    return value_bytes > 0 && entry->value_bytes == value_bytes &&
           memcmp(entry->value, value, value_bytes) == 0;
}

static int cas(struct kv_table *table, uint32_t generation, const struct kv_request *request,
               struct kv_entry *entry)
{
    if (!holds(entry, request->expected, request->expected_bytes))
        return -EEXIST;
    return set(table, generation, request, entry);
}

/* What has come of a value whose parts are not all there. */
static int read_unfinished(struct kv_table *table, const struct kv_entry *entry,
                           struct kv_reply *reply)
{
    reply->value_bytes = kv_parts_packed_bytes(entry->parts);
    free(table->unfinished);
    table->unfinished = malloc(reply->value_bytes);
    if (!table->unfinished) {
        reply->value_bytes = 0;
        return -ENOMEM;
    }
    kv_parts_pack(entry->parts, table->unfinished);
    reply->value = table->unfinished;
    reply->version = entry->version;
    return 0;
}

static int get(struct kv_table *table, const struct kv_entry *entry, struct kv_reply *reply)
{
    if (!entry)
        return -ENOENT;
    return entry->parts ? read_unfinished(table, entry, reply) : read_value(entry, reply);
}

/* All parts are there: they become the value. Until there is memory for that one is missing. */
static int finish(struct kv_table *table, struct kv_entry *entry, uint32_t last)
{
    size_t value_bytes = kv_parts_packed_bytes(entry->parts);
    uint8_t *value = malloc(value_bytes);
    if (!value) {
        table->size_bytes -= entry_size(entry);
        kv_parts_remove(entry->parts, last);
        table->size_bytes += entry_size(entry);
        return -ENOMEM;
    }
    kv_parts_pack(entry->parts, value);
    table->size_bytes -= entry_size(entry);
    kv_parts_destroy(entry->parts);
    entry->parts = NULL;
    entry->value = value;
    entry->value_bytes = value_bytes;
    table->size_bytes += entry_size(entry);
    return 0;
}

/* An entry for `count` parts, none of which is there yet. */
static struct kv_entry *make_gathered(struct kv_table *table, uint32_t generation,
                                      const struct kv_request *request)
{
    struct kv_entry *entry = make_entry(generation, request);
    if (entry)
        entry->parts = kv_parts_create(request->count);
    if (!entry || !entry->parts) {
        free(entry);
        return NULL;
    }
    entry->is_gathered = true;
    link_entry(table, entry);
    return entry;
}

static int add_part(struct kv_table *table, struct kv_entry *entry,
                    const struct kv_request *request, struct kv_reply *reply)
{
    size_t before = entry_size(entry);
    int rc = kv_parts_add(entry->parts, request->index, request->value, request->value_bytes);
    if (rc)
        return rc;
    table->size_bytes += entry_size(entry) - before;
    reply->number = kv_parts_missing(entry->parts);
    if (reply->number == 0)
        rc = finish(table, entry, request->index);
    entry->version = ++table->version;
    check(table);
    return rc;
}

static int gather(struct kv_table *table, uint32_t generation, const struct kv_request *request,
                  struct kv_entry *entry, struct kv_reply *reply)
{
    size_t more_bytes = request->value_bytes;
    if (!entry)
        more_bytes += sizeof *entry + request->key_bytes + kv_parts_bytes_of(request->count);
    if (entry && !entry->is_gathered)
        return -EINVAL;
    if (entry && !entry->parts)
        return kv_parts_compare(entry->value, entry->value_bytes, request);
    if (more_bytes > KV_TABLE_BYTES_MAX - table->size_bytes)
        return -ENOMEM;
    if (!entry)
        entry = make_gathered(table, generation, request);
    if (!entry)
        return -ENOMEM;
    if (kv_parts_count(entry->parts) != request->count)
        return -EINVAL;
    return add_part(table, entry, request, reply);
}

static int dispatch(struct kv_table *table, uint32_t generation, const struct kv_request *request,
                    struct kv_reply *reply)
{
    struct kv_entry *entry = find(table, generation, request);
    bool is_whole = entry && !entry->parts;
    switch (request->verb) {
    case KV_SET: return set(table, generation, request, entry);
    case KV_GET: return get(table, entry, reply);
    case KV_WAIT: return is_whole ? read_value(entry, reply) : -EAGAIN;
    case KV_WATCH:
        return is_whole && entry->version > request->version ? read_value(entry, reply) : -EAGAIN;
    case KV_GATHER: return gather(table, generation, request, entry, reply);
    case KV_ADD: return add(table, generation, request, entry, reply);
    case KV_CAS: return cas(table, generation, request, entry);
    case KV_DELETE_PREFIX:
        remove_range(table, generation, generation, request->key, request->key_bytes);
        return 0;
    case KV_VERB_END: break;
    }
    return -EINVAL;
}

int kv_table_call(struct kv_table *table, uint32_t generation, const struct kv_request *request,
                  struct kv_reply *ret_reply)
{
    assert(kv_request_check(request) == 0);
    *ret_reply = (struct kv_reply){.id = request->id};
    if (generation < table->generation)
        ret_reply->result = -ESTALE;
    else
        ret_reply->result = dispatch(table, generation, request, ret_reply);
    return ret_reply->result;
}

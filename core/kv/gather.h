/* Gather: `count` members each bring a part of one value, and whoever wants reads all of it at
 * once, in one request, however many they are. For libraries of Muster; a program has kv.h.
 *
 *   each member: mst_kv_gather_put(kv, key, part, …)
 *   each reader: mst_kv_gather_wait(kv, key, count, …) → use parts → mst_kv_gathered_free
 *
 * A key that is gathered is not set, added to or compared. */
#ifndef MUSTER_CORE_KV_GATHER_H
#define MUSTER_CORE_KV_GATHER_H

#include "muster/core/span.h"

#include <stddef.h>
#include <stdint.h>

struct mst_err;
struct mst_kv;

struct mst_kv_part {
    uint32_t index, count; /* index < count, which all members say alike; at most 2^20 */
    const void *value;
    size_t size_bytes; /* all parts and 4 bytes more each are at most MST_KV_VALUE_MAX */
};

/* What was gathered, `count` parts in order. Those that are absent have data NULL. */
struct mst_kv_gathered {
    uint32_t count;
    struct mst_cspan *parts;
    void *bytes;
};

/* Brings a part; done again it changes nothing. 0; -EEXIST another part is there already: somebody
 * else takes itself for this member; -EINVAL the others say another count; -ENOSPC too large; as
 * every call of kv.h. */
int mst_kv_gather_put(struct mst_kv *kv, const char *key, const struct mst_kv_part *part,
                      uint64_t deadline_ns);

/* Waits until all parts are there. 0, and *ret_gathered is the caller's to free; -EPROTO the key
 * holds something else; -ETIMEDOUT and as every call of kv.h. */
int mst_kv_gather_wait(struct mst_kv *kv, const char *key, uint32_t count,
                       struct mst_kv_gathered *ret_gathered, uint64_t deadline_ns);

/* The same of what is there now. -ENOENT nothing is. */
int mst_kv_gather_peek(struct mst_kv *kv, const char *key, uint32_t count,
                       struct mst_kv_gathered *ret_gathered, uint64_t deadline_ns);

/* Frees what it owns; a zeroed one is allowed. */
void mst_kv_gathered_free(struct mst_kv_gathered *gathered);

/* For who waited in vain for others: adds to `err`, which may be NULL, what the handle knows of
 * that. At rank 0 of another launcher's world, which serves the keys: who was refused, and why. At
 * another rank of it: that rank 0 is lost. */
void mst_kv_explain(struct mst_kv *kv, struct mst_err *err);

#endif

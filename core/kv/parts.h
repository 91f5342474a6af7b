/* Parts: a value that many members make together, one part each, and that is whole once all have
 * come. Packed it is the sizes of all parts, u32 each (UINT32_MAX: absent), then their bytes. One
 * thread at a time. */
#ifndef MUSTER_CORE_KV_PARTS_H
#define MUSTER_CORE_KV_PARTS_H

#include "muster/core/kv/wire.h"
#include "muster/core/span.h"

#include <stddef.h>
#include <stdint.h>

struct kv_parts;

/* NULL: no memory. */
struct kv_parts *kv_parts_create(uint32_t count);

/* NULL is allowed. */
void kv_parts_destroy(struct kv_parts *parts);

/* Copies a part. 0, also if the same is there already; -EEXIST another is; -ENOSPC packed they
 * would be over MST_KV_VALUE_MAX; -ENOMEM. */
int kv_parts_add(struct kv_parts *parts, uint32_t index, const uint8_t *value, size_t value_bytes);

/* Takes a part that is there away again. */
void kv_parts_remove(struct kv_parts *parts, uint32_t index);

uint32_t kv_parts_count(const struct kv_parts *parts);
uint32_t kv_parts_missing(const struct kv_parts *parts);

/* What parts take in memory, and would without any of them. */
size_t kv_parts_bytes(const struct kv_parts *parts);
size_t kv_parts_bytes_of(uint32_t count);

size_t kv_parts_packed_bytes(const struct kv_parts *parts);
void kv_parts_pack(const struct kv_parts *parts, uint8_t *bytes);

/* Whether the whole value has the part that the request brings: 0; -EEXIST it has another; -EINVAL
 * its count is another. */
int kv_parts_compare(const uint8_t *bytes, size_t size_bytes, const struct kv_request *request);

/* Where the `count` parts of a packed value lie; those that are absent have data NULL. 0;
 * -EBADMSG. */
int kv_parts_unpack(const uint8_t *bytes, size_t size_bytes, uint32_t count,
                    struct mst_cspan *ret_parts);

#endif

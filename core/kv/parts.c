#include "muster/core/kv/parts.h"

#include "muster/core/bytes.h"
#include "muster/core/kv/kv.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ABSENT UINT32_MAX
#define SIZE_BYTES 4

struct part {
    uint8_t *bytes; /* NULL: absent */
    uint32_t size_bytes;
};

struct kv_parts {
    uint32_t count, missing;
    size_t value_bytes; /* of those that are there */
    struct part parts[];
};

struct kv_parts *kv_parts_create(uint32_t count)
{
    assert(count > 0 && count <= KV_PARTS_MAX);
    struct kv_parts *parts = calloc(1, kv_parts_bytes_of(count));
    if (parts)
        parts->count = parts->missing = count;
    return parts;
}

void kv_parts_destroy(struct kv_parts *parts)
{
    for (uint32_t i = 0; parts && i < parts->count; i++)
        free(parts->parts[i].bytes);
    free(parts);
}

/* An empty part may have no address. */
static bool holds(const void *part, size_t part_bytes, const void *value, size_t value_bytes)
{
    return part_bytes == value_bytes && (value_bytes == 0 || memcmp(part, value, value_bytes) == 0);
}

int kv_parts_add(struct kv_parts *parts, uint32_t index, const uint8_t *value, size_t value_bytes)
{
    assert(index < parts->count);
    struct part *part = &parts->parts[index];
    if (part->bytes)
        return holds(part->bytes, part->size_bytes, value, value_bytes) ? 0 : -EEXIST;
    if (value_bytes + kv_parts_packed_bytes(parts) > MST_KV_VALUE_MAX)
        return -ENOSPC;
    part->bytes = malloc(value_bytes > 0 ? value_bytes : 1);
    if (!part->bytes)
        return -ENOMEM;
    if (value_bytes > 0)
        memcpy(part->bytes, value, value_bytes);
    part->size_bytes = (uint32_t)value_bytes;
    parts->value_bytes += value_bytes;
    parts->missing--;
    return 0;
}

void kv_parts_remove(struct kv_parts *parts, uint32_t index)
{
    struct part *part = &parts->parts[index];
    assert(part->bytes);
    free(part->bytes);
    parts->value_bytes -= part->size_bytes;
    parts->missing++;
    *part = (struct part){0};
}

uint32_t kv_parts_count(const struct kv_parts *parts)
{
    return parts->count;
}

uint32_t kv_parts_missing(const struct kv_parts *parts)
{
    return parts->missing;
}

size_t kv_parts_bytes_of(uint32_t count)
{
    return sizeof(struct kv_parts) + count * sizeof(struct part);
}

size_t kv_parts_bytes(const struct kv_parts *parts)
{
    return kv_parts_bytes_of(parts->count) + parts->value_bytes;
}

size_t kv_parts_packed_bytes(const struct kv_parts *parts)
{
    return (size_t)parts->count * SIZE_BYTES + parts->value_bytes;
}

void kv_parts_pack(const struct kv_parts *parts, uint8_t *bytes)
{
    uint8_t *at = bytes + (size_t)parts->count * SIZE_BYTES;
    for (uint32_t i = 0; i < parts->count; i++) {
        const struct part *part = &parts->parts[i];
        mst_put_le32(bytes + (size_t)i * SIZE_BYTES, part->bytes ? part->size_bytes : ABSENT);
        if (part->bytes)
            memcpy(at, part->bytes, part->size_bytes);
        at += part->size_bytes;
    }
    assert(at == bytes + kv_parts_packed_bytes(parts));
}

int kv_parts_compare(const uint8_t *bytes, size_t size_bytes, const struct kv_request *request)
{
    struct mst_cspan *parts = calloc(request->count, sizeof *parts);
    if (!parts)
        return -ENOMEM;
    int rc = kv_parts_unpack(bytes, size_bytes, request->count, parts) ? -EINVAL : 0;
    const struct mst_cspan *part = &parts[request->index];
    if (rc == 0 && !holds(part->data, part->size_bytes, request->value, request->value_bytes))
        rc = -EEXIST;
    free(parts);
    return rc;
}

int kv_parts_unpack(const uint8_t *bytes, size_t size_bytes, uint32_t count,
                    struct mst_cspan *ret_parts)
{
    size_t used = (size_t)count * SIZE_BYTES;
    if (size_bytes < used)
        return -EBADMSG;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t part_bytes = mst_get_le32(bytes + (size_t)i * SIZE_BYTES);
        ret_parts[i] = (struct mst_cspan){.mem = MST_MEM_HOST};
        if (part_bytes == ABSENT)
            continue;
        if (part_bytes > size_bytes - used)
            return -EBADMSG;
        ret_parts[i].data = bytes + used;
        ret_parts[i].size_bytes = part_bytes;
        used += part_bytes;
    }
    return used == size_bytes ? 0 : -EBADMSG;
}

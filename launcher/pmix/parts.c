/* pure */
#include "muster/launcher/pmix/parts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* Source: Fowler, Noll, Vo: FNV-1a of 64 bits. */
#define FNV_FIRST UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

uint32_t parts_node_of(const struct parts_layout *layout, uint32_t rank)
{
    uint32_t node = 0;
    for (uint64_t first = 0; node < layout->node_count; node++) {
        first += layout->sizes[node];
        if (rank < first)
            break;
    }
    return node;
}

static int compare(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static uint64_t mix(uint64_t name, uint32_t rank)
{
    for (int shift = 0; shift < 32; shift += 8)
        name = (name ^ (rank >> shift & 255)) * FNV_PRIME;
    return name;
}

int parts_find(const struct parts_layout *layout, uint32_t node, uint32_t *ranks, uint32_t count,
               struct parts *ret_parts)
{
    struct parts parts = {.name = FNV_FIRST};
    uint32_t last = UINT32_MAX; /* the node of the rank before */
    bool is_in = false;
    qsort(ranks, count, sizeof *ranks, compare);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && ranks[i] == ranks[i - 1])
            continue;
        uint32_t at = parts_node_of(layout, ranks[i]);
        if (at == layout->node_count)
            return -EINVAL;
        parts.count += at != last;
        parts.index += at != last && at < node;
        is_in = is_in || at == node;
        parts.name = mix(parts.name, ranks[i]);
        last = at;
    }
    if (!is_in)
        return -ENOENT;
    *ret_parts = parts;
    return 0;
}

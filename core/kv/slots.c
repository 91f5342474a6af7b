#include "muster/core/kv/slots.h"

#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SLOTS_MIN 64

void kv_slots_init(struct kv_slots *slots)
{
    *slots = (struct kv_slots){.first_free = KV_SLOTS_MAX};
}

void kv_slots_fini(struct kv_slots *slots)
{
    free(slots->slots);
    kv_slots_init(slots);
}

/* Doubles the places. */
static int grow(struct kv_slots *slots)
{
    assert(slots->used == slots->count && slots->first_free == KV_SLOTS_MAX);
    size_t count = slots->count ? mst_least((size_t)slots->count * 2, KV_SLOTS_MAX) : SLOTS_MIN;
    if (count == slots->count)
        return -ENOMEM;
    struct kv_slot *grown = realloc(slots->slots, count * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    for (size_t i = count; i > slots->count; i--) {
        grown[i - 1] = (struct kv_slot){.next_free = slots->first_free};
        slots->first_free = (uint32_t)(i - 1);
    }
    slots->slots = grown;
    slots->count = (uint32_t)count;
    return 0;
}

int kv_slots_add(struct kv_slots *slots, void *item, uint64_t *ret_id)
{
    assert(item);
    if (slots->first_free == KV_SLOTS_MAX && grow(slots))
        return -ENOMEM;
    uint32_t place = slots->first_free;
    struct kv_slot *slot = &slots->slots[place];
    assert(!slot->item);
    slots->first_free = slot->next_free;
    slots->used++;
    slot->item = item;
    slot->id = ++slots->last_serial << KV_SLOT_BITS | place;
    *ret_id = slot->id;
    return 0;
}

void *kv_slots_find(const struct kv_slots *slots, uint64_t id)
{
    uint64_t place = id % KV_SLOTS_MAX;
    if (place >= slots->count || slots->slots[place].id != id)
        return NULL;
    return slots->slots[place].item;
}

void kv_slots_remove(struct kv_slots *slots, uint64_t id)
{
    assert(kv_slots_find(slots, id) && slots->used > 0);
    uint32_t place = (uint32_t)(id % KV_SLOTS_MAX);
    slots->slots[place] = (struct kv_slot){.next_free = slots->first_free};
    slots->first_free = place;
    slots->used--;
}

void *kv_slots_at(const struct kv_slots *slots, uint32_t place)
{
    assert(place < slots->count);
    return slots->slots[place].item;
}

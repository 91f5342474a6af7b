/* Numbered places: what an event names is found by its number, and a number that is gone names
 * nobody, though its place has been taken again. Grows as needed. One thread at a time. */
#ifndef MUSTER_CORE_KV_SLOTS_H
#define MUSTER_CORE_KV_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#define KV_SLOT_BITS 24 /* of a number: its place; the others count */
#define KV_SLOTS_MAX (UINT32_C(1) << KV_SLOT_BITS)

struct kv_slot {
    void *item; /* NULL: free */
    uint64_t id;
    uint32_t next_free;
};

struct kv_slots {
    struct kv_slot *slots;
    uint32_t count;      /* places there are */
    uint32_t used;       /* of them */
    uint32_t first_free; /* KV_SLOTS_MAX: none */
    uint64_t last_serial;
};

void kv_slots_init(struct kv_slots *slots);

/* Frees the places, not the items. */
void kv_slots_fini(struct kv_slots *slots);

/* A number for `item`, never 0 and never given before. 0; -ENOMEM. */
int kv_slots_add(struct kv_slots *slots, void *item, uint64_t *ret_id);

/* The item with this number, or NULL. */
void *kv_slots_find(const struct kv_slots *slots, uint64_t id);

/* Frees the place of a number that is there. */
void kv_slots_remove(struct kv_slots *slots, uint64_t id);

/* The item at a place from 0 to count - 1, or NULL: to look at all of them. */
void *kv_slots_at(const struct kv_slots *slots, uint32_t place);

#endif

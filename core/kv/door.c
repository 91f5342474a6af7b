/* pure */
#include "muster/core/kv/door.h"

#include <assert.h>
#include <stddef.h>

static void enter(struct mst_door *door, struct mst_guest *guest, uint32_t bucket, uint64_t now_ns)
{
    assert(!door->last || door->last->since_ns <= now_ns);
    *guest = (struct mst_guest){.earlier = door->last, .since_ns = now_ns, .bucket = bucket};
    if (door->last)
        door->last->later = guest;
    else
        door->first = guest;
    door->last = guest;
    door->count++;
    door->counts[guest->bucket]++;
}

void mst_door_enter(struct mst_door *door, struct mst_guest *guest, uint32_t address_hash,
                    uint64_t now_ns)
{
    enter(door, guest, address_hash % MST_DOOR_BUCKETS, now_ns);
}

void mst_door_come_again(struct mst_door *door, struct mst_guest *guest, uint64_t now_ns)
{
    mst_door_leave(door, guest);
    enter(door, guest, guest->bucket, now_ns);
}

void mst_door_leave(struct mst_door *door, struct mst_guest *guest)
{
    assert(door->count > 0 && door->counts[guest->bucket] > 0);
    assert(guest->earlier ? guest->earlier->later == guest : door->first == guest);
    assert(guest->later ? guest->later->earlier == guest : door->last == guest);
    if (guest->earlier)
        guest->earlier->later = guest->later;
    else
        door->first = guest->later;
    if (guest->later)
        guest->later->earlier = guest->earlier;
    else
        door->last = guest->earlier;
    door->count--;
    door->counts[guest->bucket]--;
}

struct mst_guest *mst_door_victim(const struct mst_door *door)
{
    uint32_t fullest = 0;
    for (uint32_t i = 1; i < MST_DOOR_BUCKETS; i++)
        if (door->counts[i] > door->counts[fullest])
            fullest = i;
    struct mst_guest *guest = door->first;
    while (guest && guest->bucket != fullest)
        guest = guest->later;
    return guest;
}

/* The door: connections that have not proved themselves yet. They are few, and leave within a
 * deadline, so that strangers can hold neither descriptors nor memory that the job needs. When the
 * door is full, whoever waits longest among those of the address that holds most places makes room:
 * one stranger who comes often stands in his own way first. */
/* pure */
#ifndef MUSTER_CORE_KV_DOOR_H
#define MUSTER_CORE_KV_DOOR_H

#include <stdint.h>

#define MST_DOOR_BUCKETS 64 /* addresses that share one are counted as one */
#define MST_DOOR_MIN_MS 200 /* nobody has to make room before */

struct mst_guest {
    struct mst_guest *earlier, *later;
    uint64_t since_ns;
    uint32_t bucket;
};

struct mst_door {
    struct mst_guest *first, *last; /* in the order in which they came */
    uint32_t count;
    uint32_t counts[MST_DOOR_BUCKETS];
};

/* Lets `guest` stand at the door; `address_hash` is of where it comes from. */
void mst_door_enter(struct mst_door *door, struct mst_guest *guest, uint32_t address_hash,
                    uint64_t now_ns);

/* It has done the next step, and waits from now on. */
void mst_door_come_again(struct mst_door *door, struct mst_guest *guest, uint64_t now_ns);

/* Takes it away: let in, or sent off. */
void mst_door_leave(struct mst_door *door, struct mst_guest *guest);

/* Who has to make room, or NULL if nobody is there. */
struct mst_guest *mst_door_victim(const struct mst_door *door);

#endif

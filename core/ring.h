/* Bounded rings of pointers on C11 atomics: how an object's thread is handed work and hands it
 * back.
 *
 *   mst_spsc_init(&ring, 64) → mst_spsc_push … mst_spsc_pop → mst_spsc_fini(&ring)
 *
 * spsc: one pushing and one popping thread. mpsc: any number of pushing threads, one popping
 * thread. Neither blocks; whoever needs to sleep pairs the ring with an eventfd or a condition
 * variable. Nothing is allocated after init. */
#ifndef MUSTER_CORE_RING_H
#define MUSTER_CORE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mst_spsc {
    size_t mask;
    void **items;
    _Alignas(64) atomic_size_t head; /* next to pop; written by the popping thread */
    _Alignas(64) atomic_size_t tail; /* next to push; written by the pushing thread */
};

struct mst_mpsc_cell;

struct mst_mpsc {
    size_t mask;
    struct mst_mpsc_cell *cells;
    _Alignas(64) atomic_size_t tail; /* claimed by pushing threads */
    _Alignas(64) size_t head;        /* the popping thread's own */
};

/* Room for `capacity` items, rounded up to a power of two; capacity >= 1. 0 or -ENOMEM. */
int mst_spsc_init(struct mst_spsc *ring, size_t capacity);
void mst_spsc_fini(struct mst_spsc *ring);

/* False when the ring is full. `item` is not NULL. */
bool mst_spsc_push(struct mst_spsc *ring, void *item);

/* NULL when the ring is empty. */
void *mst_spsc_pop(struct mst_spsc *ring);

/* As above. Source of the mpsc ring: Vyukov, bounded MPMC queue, with one consumer. */
int mst_mpsc_init(struct mst_mpsc *ring, size_t capacity);
void mst_mpsc_fini(struct mst_mpsc *ring);
bool mst_mpsc_push(struct mst_mpsc *ring, void *item);
void *mst_mpsc_pop(struct mst_mpsc *ring);

#endif

#include "core/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

/* The power of two that holds `capacity`, at least `least`; 0 if there is none. */
static size_t round_up(size_t capacity, size_t least)
{
    assert(capacity >= 1);
    if (capacity > SIZE_MAX / 2 + 1)
        return 0;
    size_t size = least;
    while (size < capacity)
        size *= 2;
    return size;
}

int mst_spsc_init(struct mst_spsc *ring, size_t capacity)
{
    size_t size = round_up(capacity, 1);
    void **items = size ? calloc(size, sizeof *items) : NULL;
    if (!items)
        return -ENOMEM;
    ring->mask = size - 1;
    ring->items = items;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    return 0;
}

void mst_spsc_fini(struct mst_spsc *ring)
{
    free(ring->items);
    ring->items = NULL;
}

bool mst_spsc_push(struct mst_spsc *ring, void *item)
{
    assert(item);
    /* relaxed: only this thread writes tail */
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    /* pairs with the release in mst_spsc_pop: the slot was read before it is written again */
    size_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (tail - head > ring->mask)
        return false;
    ring->items[tail & ring->mask] = item;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

void *mst_spsc_pop(struct mst_spsc *ring)
{
    /* relaxed: only this thread writes head */
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    /* pairs with the release in mst_spsc_push: the item is there when tail says so */
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head == tail)
        return NULL;
    void *item = ring->items[head & ring->mask];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return item;
}

/* A cell's turn says whose move it is: position p may be pushed at turn p, popped at p + 1, and
 * pushed again, one lap later, at p + size. */
struct mst_mpsc_cell {
    atomic_size_t turn;
    void *item;
};

int mst_mpsc_init(struct mst_mpsc *ring, size_t capacity)
{
    /* with a single cell, "to be popped" and "free one lap later" would be the same turn */
    size_t size = round_up(capacity, 2);
    struct mst_mpsc_cell *cells = size ? calloc(size, sizeof *cells) : NULL;
    if (!cells)
        return -ENOMEM;
    for (size_t i = 0; i < size; i++)
        atomic_init(&cells[i].turn, i);
    ring->mask = size - 1;
    ring->cells = cells;
    ring->head = 0;
    atomic_init(&ring->tail, 0);
    return 0;
}

void mst_mpsc_fini(struct mst_mpsc *ring)
{
    free(ring->cells);
    ring->cells = NULL;
}

/* Claims the cell at tail, or NULL if its last item has not been popped. */
static struct mst_mpsc_cell *claim(struct mst_mpsc *ring, size_t *ret_position)
{
    /* relaxed, here and below: tail only deals out positions; the turns order the items */
    size_t position = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    for (;;) {
        struct mst_mpsc_cell *cell = &ring->cells[position & ring->mask];
        /* pairs with the release in mst_mpsc_pop: the item was read before it is written again */
        size_t turn = atomic_load_explicit(&cell->turn, memory_order_acquire);
        if (turn != position && turn - position > SIZE_MAX / 2)
            return NULL;
        if (turn != position) {
            position = atomic_load_explicit(&ring->tail, memory_order_relaxed);
            continue;
        }
        if (atomic_compare_exchange_weak_explicit(&ring->tail, &position, position + 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            *ret_position = position;
            return cell;
        }
    }
}

bool mst_mpsc_push(struct mst_mpsc *ring, void *item)
{
    assert(item);
    size_t position;
    struct mst_mpsc_cell *cell = claim(ring, &position);
    if (!cell)
        return false;
    cell->item = item;
    atomic_store_explicit(&cell->turn, position + 1, memory_order_release);
    return true;
}

void *mst_mpsc_pop(struct mst_mpsc *ring)
{
    struct mst_mpsc_cell *cell = &ring->cells[ring->head & ring->mask];
    /* pairs with the release in mst_mpsc_push: the item is there when its turn says so */
    if (atomic_load_explicit(&cell->turn, memory_order_acquire) != ring->head + 1)
        return NULL;
    void *item = cell->item;
    atomic_store_explicit(&cell->turn, ring->head + ring->mask + 1, memory_order_release);
    ring->head++;
    return item;
}

/* What feed.c, which opens files, and feed_reads.c, which reads them, share. */
#ifndef MUSTER_DATAIO_FEED_STATE_H
#define MUSTER_DATAIO_FEED_STATE_H

#include "muster/core/err.h"
#include "muster/dataio/feed.h"
#include "muster/dataio/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct copy {
    char *shown; /* its URI, without the query */
    char *name;  /* in the store */
    struct store *store;
    struct store_item *item; /* NULL: not looked at, or not reached */
    bool refused;            /* this copy is wrong, whatever the store's health */
};

struct feed_file {
    struct feed *feed;
    uint64_t size_bytes;
    bool sized; /* a copy was looked at */
    size_t copy_count;
    struct copy copies[];
};

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_FLYING, SLOT_ENDED };

/* A read under way. */
struct slot {
    enum slot_state state;
    struct feed_read read;
    uint32_t tried; /* a bit for each copy */
    size_t copy;    /* where it is now */
    int64_t result;
    struct mst_err err; /* what has gone wrong so far */
    struct slot *next;  /* in the queue, or of the free ones */
};

struct feed {
    struct store *stores; /* the last of them is the local one */
    struct store *local;
    char aio[16];
    uint64_t window_bytes;
    uint32_t timeout_ms;
    struct slot slots[FEED_DEPTH];
    struct slot *free, *queue;
    size_t in_flight, ended;
};

/* Finds the copy in its store, and whether it may be one. May block. 0, and it has an item;
 * -EBADMSG it is refused for its size; -ENOENT it is refused because it is not there; -errno. */
int feed_look(struct feed_file *file, struct copy *copy, struct mst_err *err);

/* Adds what is wrong with one more copy to a text that names them all. */
void feed_add_fault(const struct feed_file *file, struct mst_err *sum, int rc, const char *text);

/* Forgets all reads. */
void feed_free_slots(struct feed *feed);

/* Ends what is in flight there. */
void feed_cancel_store(struct store *store);

#endif

/* Fetch: the read-ahead window, for datasets that memory does not hold.
 *
 * Batches are read in order into a ring of memory and handed out in order; a batch's memory is
 * taken back when the consumer has released it. The engine has no lock and no thread: whoever calls
 * step and seek is its one thread, and publishes what step returned. */
#ifndef MUSTER_DATAIO_FETCH_H
#define MUSTER_DATAIO_FETCH_H

#include "muster/dataio/dataio.h"
#include "muster/dataio/index.h"
#include "muster/dataio/order.h"

#include <stdint.h>

struct fetch;

struct fetch_opts {
    struct index *index;
    struct feed *feed; /* of the index; the engine's alone */
    struct order order;
    uint64_t budget_bytes;
    uint32_t global_batch, rank, world_size;
};

struct fetch_progress {
    uint64_t ready_count; /* batches read since the last seek */
    uint64_t bytes_read;
    bool busy; /* step can do more without a further release */
};

/* The part of a global batch that a rank gets: first of its positions, relative, and how many. */
uint32_t fetch_part(uint32_t global_batch, uint32_t rank, uint32_t world_size, uint32_t *ret_first);

/* 0; -ENOMEM, also when the budget does not hold two batches, saying how much is needed. */
int fetch_create(const struct fetch_opts *opts, struct fetch **ret_fetch, struct mst_err *err);

/* Ends reads in flight. NULL is allowed. */
void fetch_destroy(struct fetch *fetch);

/* Forgets all batches, ends reads in flight, and goes on at a global batch's first position. */
void fetch_seek(struct fetch *fetch, uint64_t position);

/* Takes back the first `released_count` batches since the last seek, starts what fits, and waits
 * for at least one read if any is in flight, but no more than a second. 0; -EIO, -EBADMSG … a read
 * failed, -ENOMEM a batch is larger than half the budget: told once all batches before are ready. A
 * failed engine stays so until the next seek. */
int fetch_step(struct fetch *fetch, uint64_t released_count, struct fetch_progress *ret_progress,
               struct mst_err *err);

/* The samples of batch `number` (0 = first since the last seek), which is ready and not released.
 * May be called beside step by the consumer. */
const struct mst_sample *fetch_samples(const struct fetch *fetch, uint64_t number);

#endif

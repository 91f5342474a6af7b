/* aio_backend: what a back end of core/aio does, and what it need not care about.
 *
 * The facade owns the slots (at most `depth`), the tap, and the continuing of short, interrupted
 * and refused attempts, so a back end only ever makes one attempt at a time per slot. All functions
 * of one back end are called by one thread at a time, not always the same one. */
#ifndef MUSTER_CORE_AIO_BACKEND_H
#define MUSTER_CORE_AIO_BACKEND_H

#include "muster/core/aio/aio.h"

#include "muster/core/least.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One system call moves at most this much; a multiple of every block size. */
#define AIO_ATTEMPT_BYTES_MAX ((size_t)1 << 30)

struct aio_slot {
    struct mst_aio_op op;
    size_t done_bytes; /* of READ and WRITE: what earlier attempts moved */
    int64_t result;    /* of the attempt, set by the back end; then of the op, set by the facade */
    struct aio_slot *next; /* in whichever list holds the slot */
};

struct aio_backend {
    const char *name;

    /* Makes room for `depth` attempts under way. 0; -ENOTSUP this kernel or container denies what
     * the back end needs, or -ENOMEM, both with a text. */
    int (*create)(uint32_t depth, void **ret_impl, struct mst_err *err);

    /* Frees everything. Nothing is under way. NULL is allowed. */
    void (*destroy)(void *impl);

    /* Starts one attempt at slot->op, after its first done_bytes. True: it is under way and the
     * slot belongs to the back end until collect returns it. False: it has already ended and
     * slot->result is set. Does not wait for the device. Cannot fail otherwise. */
    bool (*start)(void *impl, struct aio_slot *slot);

    /* Tells the system of the attempts started since the last flush. Optional (NULL: start does).
     * What the system does not take now is taken by the next flush or collect. */
    void (*flush)(void *impl);

    /* Returns slots whose attempt ended, at most `cap`: waits until there are `want` (<= what is
     * under way; 0 does not wait) or the deadline. May return fewer at any time, also 0. */
    size_t (*collect)(void *impl, struct aio_slot **ret_slots, size_t cap, size_t want,
                      uint64_t deadline_ns);
};

extern const struct aio_backend aio_uring;
extern const struct aio_backend aio_threads;

/* Where the next attempt of a READ or WRITE goes on. */
static inline void *aio_slot_data(const struct aio_slot *slot)
{
    return (unsigned char *)slot->op.data + slot->done_bytes;
}

static inline uint64_t aio_slot_offset(const struct aio_slot *slot)
{
    return slot->op.offset + slot->done_bytes;
}

static inline size_t aio_slot_bytes(const struct aio_slot *slot)
{
    return mst_least(slot->op.size_bytes - slot->done_bytes, AIO_ATTEMPT_BYTES_MAX);
}

/* Makes one attempt by plain, blocking system calls: the work of the pool's threads, and of
 * io_uring for operations that the kernel's ring lacks. Returns a count or -errno. */
int64_t aio_attempt(const struct aio_slot *slot);

#endif

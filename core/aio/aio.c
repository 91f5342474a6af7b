/* aio: slots, the tap, and the rule of when an operation has ended. */
#include "muster/core/aio/aio.h"

#include "muster/core/aio/backend.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_DEFAULT 64u
#define DEPTH_MAX 4096u
#define BLOCK_BYTES 4096u /* no device asks O_DIRECT for more */

/* In the order in which "auto" tries them. */
static const struct aio_backend *const backends[] = {&aio_uring, &aio_threads, NULL};

struct mst_aio {
    const struct aio_backend *backend;
    void *impl;
    uint32_t depth;
    size_t in_flight;       /* taken and not reaped: finished ones too */
    size_t finished_count;  /* length of the list `finished` */
    struct aio_slot *slots; /* depth of them */
    struct aio_slot *free;
    struct aio_slot *finished, **finished_end; /* first in, first out */
    struct aio_slot **collected;               /* room for depth pointers */
};

static struct {
    _Atomic(mst_aio_tap_fn) fn;
    void *arg;
} tap;

void mst_aio_set_tap(mst_aio_tap_fn fn, void *arg)
{
    tap.arg = arg;
    /* Pairs with the acquire in begin: whoever sees the function sees its argument. */
    atomic_store_explicit(&tap.fn, fn, memory_order_release);
}

/* ---- creation -------------------------------------------------------------------------------- */

static int alloc_slots(struct mst_aio *aio, struct mst_err *err)
{
    aio->slots = calloc(aio->depth, sizeof *aio->slots);
    aio->collected = calloc(aio->depth, sizeof(struct aio_slot *));
    if (!aio->slots || !aio->collected)
        return mst_err_set(err, -ENOMEM, "aio: no memory for %u operations", aio->depth);
    for (uint32_t i = 0; i < aio->depth; i++) {
        aio->slots[i].next = aio->free;
        aio->free = &aio->slots[i];
    }
    aio->finished_end = &aio->finished;
    return 0;
}

static int open_forced(struct mst_aio *aio, const char *name, struct mst_err *err)
{
    for (size_t i = 0; backends[i]; i++) {
        if (strcmp(backends[i]->name, name) != 0)
            continue;
        aio->backend = backends[i];
        return backends[i]->create(aio->depth, &aio->impl, err);
    }
    return mst_err_set(err, -EINVAL, "aio back end \"%s\": use auto, uring or threads", name);
}

static int open_probed(struct mst_aio *aio, struct mst_err *err)
{
    int rc = -ENOTSUP;
    for (size_t i = 0; rc && backends[i]; i++) {
        aio->backend = backends[i];
        rc = backends[i]->create(aio->depth, &aio->impl, err);
    }
    if (!rc && err)
        *err = (struct mst_err){0}; /* nobody needs to hear why the first choice was not used */
    return rc;
}

static int open_backend(struct mst_aio *aio, const char *name, struct mst_err *err)
{
    if (!name || !*name || strcmp(name, "auto") == 0)
        return open_probed(aio, err);
    return open_forced(aio, name, err);
}

int mst_aio_create(const struct mst_aio_opts *opts, struct mst_aio **ret_aio, struct mst_err *err)
{
    if (opts->depth > DEPTH_MAX)
        return mst_err_set(err, -EINVAL, "aio: depth %u: at most %u", opts->depth, DEPTH_MAX);
    struct mst_aio *aio = calloc(1, sizeof *aio);
    if (!aio)
        return mst_err_set(err, -ENOMEM, "aio: no memory");
    aio->depth = opts->depth ? opts->depth : DEPTH_DEFAULT;
    int rc = alloc_slots(aio, err);
    if (rc)
        goto fail;
    rc = open_backend(aio, opts->backend, err);
    if (rc)
        goto fail;
    *ret_aio = aio;
    return 0;
fail:
    mst_aio_destroy(aio);
    return rc;
}

const char *mst_aio_backend(const struct mst_aio *aio)
{
    return aio->backend->name;
}

size_t mst_aio_in_flight(const struct mst_aio *aio)
{
    return aio->in_flight;
}

/* ---- one operation --------------------------------------------------------------------------- */

/* A short attempt at an O_DIRECT file may stop inside a block, where the next cannot begin. The
 * largest step that the operation's own offset shows to be good enough is used. */
static void step_back(struct aio_slot *slot)
{
    uint64_t bits = slot->op.offset | BLOCK_BYTES;
    uint64_t block = bits & (~bits + 1);
    slot->done_bytes -= slot->done_bytes % block;
}

static bool at_end_of_file(const struct aio_slot *slot)
{
    struct stat st;
    if (fstat(slot->op.fd, &st) || !S_ISREG(st.st_mode))
        return false;
    return aio_slot_offset(slot) >= (uint64_t)st.st_size;
}

static bool end_op(struct aio_slot *slot, int64_t result)
{
    slot->result = result;
    return true;
}

/* After an attempt that moved less than it was asked to. */
static bool settle_short(struct aio_slot *slot, size_t moved_bytes)
{
    size_t before = slot->done_bytes;
    slot->done_bytes += moved_bytes;
    if (moved_bytes == 0)
        return end_op(slot, slot->op.kind == MST_AIO_READ ? (int64_t)before : -EIO);
    int flags = fcntl(slot->op.fd, F_GETFL);
    if (flags < 0 || !(flags & O_DIRECT))
        return false;
    if (slot->op.kind == MST_AIO_READ && at_end_of_file(slot))
        return end_op(slot, (int64_t)slot->done_bytes);
    step_back(slot);
    return slot->done_bytes > before ? false : end_op(slot, -EIO);
}

/* Digests an attempt's result. True: the operation has ended with slot->result. False: it needs
 * another attempt. */
static bool settle(struct aio_slot *slot)
{
    bool moves = slot->op.kind == MST_AIO_READ || slot->op.kind == MST_AIO_WRITE;
    size_t asked_bytes = aio_slot_bytes(slot);
    if (slot->result == -EINTR || slot->result == -EAGAIN)
        return false;
    if (slot->result < 0)
        return true;
    if (!moves)
        return end_op(slot, 0);
    if ((size_t)slot->result < asked_bytes)
        return settle_short(slot, (size_t)slot->result);
    slot->done_bytes += asked_bytes;
    if (slot->done_bytes < slot->op.size_bytes)
        return false;
    return end_op(slot, (int64_t)slot->done_bytes);
}

/* Whether each slot is under way, finished or free. */
static bool all_accounted_for(const struct mst_aio *aio)
{
    return aio->finished_count <= aio->in_flight && aio->in_flight <= aio->depth &&
           (aio->finished != NULL) == (aio->finished_count > 0) &&
           (aio->free != NULL) == (aio->in_flight < aio->depth);
}

static void push_finished(struct mst_aio *aio, struct aio_slot *slot)
{
    slot->next = NULL;
    *aio->finished_end = slot;
    aio->finished_end = &slot->next;
    aio->finished_count++;
}

static struct aio_slot *pop_finished(struct mst_aio *aio)
{
    struct aio_slot *slot = aio->finished;
    aio->finished = slot->next;
    if (!aio->finished)
        aio->finished_end = &aio->finished;
    aio->finished_count--;
    return slot;
}

static void attempt(struct mst_aio *aio, struct aio_slot *slot)
{
    do {
        if (aio->backend->start(aio->impl, slot))
            return;
    } while (!settle(slot));
    push_finished(aio, slot);
}

static void begin(struct mst_aio *aio, struct aio_slot *slot)
{
    /* Pairs with the release in mst_aio_set_tap. */
    mst_aio_tap_fn fn = atomic_load_explicit(&tap.fn, memory_order_acquire);
    int rc = fn ? fn(tap.arg, &slot->op) : 1;
    if (rc == 1) {
        attempt(aio, slot);
        return;
    }
    slot->result = rc;
    push_finished(aio, slot);
}

/* ---- batches --------------------------------------------------------------------------------- */

static void flush(struct mst_aio *aio)
{
    if (aio->backend->flush)
        aio->backend->flush(aio->impl);
}

int mst_aio_submit(struct mst_aio *aio, const struct mst_aio_op *ops, size_t count)
{
    size_t taken = 0;
    while (taken < count && aio->free) {
        struct aio_slot *slot = aio->free;
        aio->free = slot->next;
        *slot = (struct aio_slot){.op = ops[taken++]};
        aio->in_flight++;
        begin(aio, slot);
    }
    flush(aio);
    assert(all_accounted_for(aio));
    return (int)taken;
}

/* Takes in what has ended, waiting for `want` attempts or the deadline. */
static void collect(struct mst_aio *aio, size_t want, uint64_t deadline_ns)
{
    size_t count = aio->backend->collect(aio->impl, aio->collected, aio->depth, want, deadline_ns);
    bool again = false;
    for (size_t i = 0; i < count; i++) {
        struct aio_slot *slot = aio->collected[i];
        if (settle(slot)) {
            push_finished(aio, slot);
        } else {
            attempt(aio, slot);
            again = true;
        }
    }
    if (again)
        flush(aio);
}

static size_t hand_over(struct mst_aio *aio, struct mst_aio_done *done, size_t cap)
{
    size_t count = 0;
    while (count < cap && aio->finished) {
        struct aio_slot *slot = pop_finished(aio);
        done[count++] = (struct mst_aio_done){.user = slot->op.user, .result = slot->result};
        slot->next = aio->free;
        aio->free = slot;
        aio->in_flight--;
    }
    assert(all_accounted_for(aio));
    return count;
}

int mst_aio_reap(struct mst_aio *aio, struct mst_aio_done *done, size_t cap, size_t min,
                 uint64_t deadline_ns)
{
    min = mst_least(mst_least(min, cap), aio->in_flight);
    if (aio->finished_count < aio->in_flight)
        collect(aio, 0, 0);
    while (aio->finished_count < min) {
        if (mst_deadline_passed(deadline_ns))
            return -ETIMEDOUT;
        collect(aio, min - aio->finished_count, deadline_ns);
    }
    return (int)hand_over(aio, done, cap);
}

int64_t mst_aio_do(struct mst_aio *aio, const struct mst_aio_op *op, uint64_t deadline_ns)
{
    assert(aio->in_flight == 0);
    (void)mst_aio_submit(aio, op, 1); /* with nothing in flight there is a free slot */
    struct mst_aio_done done = {0};
    int rc = mst_aio_reap(aio, &done, 1, 1, deadline_ns);
    return rc < 0 ? rc : done.result;
}

void mst_aio_destroy(struct mst_aio *aio)
{
    if (!aio)
        return;
    while (aio->finished_count < aio->in_flight)
        collect(aio, aio->in_flight - aio->finished_count, MST_NEVER);
    if (aio->impl)
        aio->backend->destroy(aio->impl);
    free(aio->collected);
    free(aio->slots);
    free(aio);
}

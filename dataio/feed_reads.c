/* The feed's reads under way: where each goes, and what becomes of it. */
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/dataio/feed.h"
#include "muster/dataio/feed_state.h"
#include "muster/dataio/mirror.h"
#include "muster/dataio/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Stores cannot be waited for together, so while several are busy each gets a look in turn. */
#define TURN_NS (2 * MST_NS_PER_MS)

/* ---- one read -------------------------------------------------------------------------------- */

static struct copy *copy_of(const struct slot *slot)
{
    return &slot->read.file->copies[slot->copy];
}

static void enqueue(struct feed *feed, struct slot *slot)
{
    struct slot **end = &feed->queue;
    while (*end)
        end = &(*end)->next;
    *end = slot;
    slot->next = NULL;
    slot->state = SLOT_QUEUED;
    copy_of(slot)->store->queued++;
}

/* The first read that waits for the store, or NULL. */
static struct slot *dequeue(struct feed *feed, struct store *store)
{
    struct slot **link = &feed->queue, *slot;
    while (*link && copy_of(*link)->store != store)
        link = &(*link)->next;
    slot = *link;
    if (slot) {
        *link = slot->next;
        store->queued--;
    }
    return slot;
}

static size_t choose_copy(const struct slot *slot)
{
    const struct feed_file *file = slot->read.file;
    if (file->copy_count == 1)
        return slot->tried;
    struct mirror_choice choices[MIRROR_COUNT_MAX];
    for (size_t i = 0; i < file->copy_count; i++)
        choices[i] = (struct mirror_choice){.health = &file->copies[i].store->health,
                                            .tried = slot->tried >> i & 1,
                                            .refused = file->copies[i].refused};
    return mirror_choose(choices, file->copy_count);
}

/* Asks a place that was down for a byte of a copy there, so that no read has to wait for it. */
static void probe(struct copy *copy)
{
    struct store *store = copy->store;
    struct store_read read = {
        .item = copy->item, .data = &store->probe_byte, .size_bytes = 1, .user = store};
    if (!copy->item || !mirror_wants_probe(&store->health, mst_now_ns()))
        return;
    if (store->ops->submit(store, &read, 1) != 1) {
        mirror_failed(&store->health, mst_now_ns());
        return;
    }
    store->health.probed = true;
    store->probe = copy->item;
    store->in_flight++;
}

static void end_probe(struct store *store, int64_t result)
{
    store->probe = NULL;
    if (result < 0)
        mirror_failed(&store->health, mst_now_ns());
    else
        mirror_succeeded(&store->health);
}

/* Sends the read to a copy that it has not tried; without one it has failed. */
static void route(struct feed *feed, struct slot *slot)
{
    struct feed_file *file = slot->read.file;
    for (size_t i = 0; file->copy_count > 1 && i < file->copy_count; i++)
        if (file->copies[i].store->health.failures)
            probe(&file->copies[i]);
    struct mst_err fault;
    size_t next;
    while ((next = choose_copy(slot)) < file->copy_count) {
        struct copy *copy = &file->copies[next];
        slot->tried |= 1u << next;
        slot->copy = next;
        int rc = copy->item ? 0 : feed_look(file, copy, &fault);
        if (rc == 0) {
            enqueue(feed, slot);
            return;
        }
        feed_add_fault(file, &slot->err, rc, fault.text);
    }
    slot->state = SLOT_ENDED;
    slot->result = slot->err.code;
    feed->ended++;
}

/* What is wrong with the object is no fault of the place, and will not pass. */
static void fail_read(struct feed *feed, struct slot *slot, const struct mst_err *fault)
{
    struct copy *copy = copy_of(slot);
    if (fault->code == -ENOENT || fault->code == -ESTALE || fault->code == -EBADMSG)
        copy->refused = true;
    else
        mirror_failed(&copy->store->health, mst_now_ns());
    feed_add_fault(slot->read.file, &slot->err, fault->code, fault->text);
    route(feed, slot);
}

static uint64_t wanted_bytes(const struct feed_read *read)
{
    uint64_t size_bytes = read->file->size_bytes;
    uint64_t left = read->offset < size_bytes ? size_bytes - read->offset : 0;
    return mst_least(left, read->size_bytes);
}

/* What a store's answer is: 0, or what is wrong with it. */
static int judge(const struct slot *slot, int64_t result, struct mst_err *fault)
{
    const struct feed_read *read = &slot->read;
    const struct copy *copy = copy_of(slot);
    const char *text = result < 0 ? copy->store->ops->failure(copy->store) : NULL;
    if (text)
        return mst_err_set(fault, (int)result, "%s", text);
    if (result < 0)
        return mst_err_set(fault, (int)result, "%s: reading at byte %" PRIu64 ": %s", copy->shown,
                           read->offset, mst_err_meaning((int)result));
    if ((uint64_t)result < wanted_bytes(read))
        return mst_err_set(fault, -EBADMSG,
                           "%s: became shorter while in use: has nothing at byte %" PRIu64
                           ", and had %" PRIu64 " bytes",
                           copy->shown, read->offset + (uint64_t)result, read->file->size_bytes);
    return 0;
}

static void settle(struct feed *feed, struct slot *slot, int64_t result)
{
    struct mst_err fault;
    if (judge(slot, result, &fault)) {
        fail_read(feed, slot, &fault);
        return;
    }
    mirror_succeeded(&copy_of(slot)->store->health);
    slot->state = SLOT_ENDED;
    slot->result = result;
    feed->ended++;
}

/* ---- all reads under way --------------------------------------------------------------------- */

/* Whether each read under way is in one place, queued or in flight at a store or ended, and each
 * slot without one is free. */
static bool all_accounted_for(const struct feed *feed)
{
    size_t count = feed->ended;
    for (const struct store *store = feed->stores; store; store = store->next)
        count += store->queued + store->in_flight - (store->probe != NULL);
    return count == feed->in_flight && (feed->free != NULL) == (count < FEED_DEPTH);
}

static void start_queued(struct feed *feed, struct store *store)
{
    struct store_read reads[FEED_DEPTH];
    size_t count = 0;
    for (struct slot *slot = feed->queue; slot; slot = slot->next)
        if (copy_of(slot)->store == store)
            reads[count++] = (struct store_read){.item = copy_of(slot)->item,
                                                 .offset = slot->read.offset,
                                                 .data = slot->read.data,
                                                 .size_bytes = slot->read.size_bytes,
                                                 .direct = slot->read.direct,
                                                 .user = slot};
    int started = store->ops->submit(store, reads, count);
    for (int i = 0; i < started; i++) {
        dequeue(feed, store)->state = SLOT_FLYING;
        store->in_flight++;
    }
    for (struct slot *slot; started < 0 && (slot = dequeue(feed, store));)
        settle(feed, slot, started);
    assert(store->in_flight || !store->queued);
}

static void start_all(struct feed *feed)
{
    for (struct store *store = feed->stores; store; store = store->next)
        if (store->queued)
            start_queued(feed, store);
}

/* The store itself broke, so none of its reads will come back. */
static void lose(struct feed *feed, struct store *store, int rc)
{
    const char *place = store->root ? store->root : "local files";
    feed_cancel_store(store);
    struct mst_err fault;
    mst_err_set(&fault, rc, "%.*s: reading broke off: %s", (int)strcspn(place, "?"), place,
                mst_err_meaning(rc)); /* a query may hold a secret */
    for (size_t i = 0; i < FEED_DEPTH; i++)
        if (feed->slots[i].state == SLOT_FLYING && copy_of(&feed->slots[i])->store == store)
            fail_read(feed, &feed->slots[i], &fault);
}

static void collect(struct feed *feed, struct store *store, uint64_t until_ns)
{
    size_t min = until_ns > 0;
    struct store_done done[FEED_DEPTH];
    int count;
    do {
        count = store->ops->reap(store, done, FEED_DEPTH, min, until_ns);
        for (int i = 0; i < count; i++) {
            store->in_flight--;
            if (done[i].user == store)
                end_probe(store, done[i].result);
            else
                settle(feed, done[i].user, done[i].result);
        }
        min = 0;
    } while (count > 0 && store->in_flight);
    if (count < 0 && count != -ETIMEDOUT)
        lose(feed, store, count);
}

/* Waits for something to end, if anything is in flight; `until_ns` 0 only looks. */
static void await(struct feed *feed, uint64_t until_ns)
{
    size_t busy = 0;
    for (struct store *store = feed->stores; store; store = store->next)
        busy += store->in_flight > 0;
    if (busy > 1 && until_ns > mst_now_ns() + TURN_NS)
        until_ns = mst_now_ns() + TURN_NS;
    for (struct store *store = feed->stores; store; store = store->next)
        if (store->in_flight)
            collect(feed, store, until_ns);
}

size_t feed_submit(struct feed *feed, const struct feed_read *reads, size_t count)
{
    size_t taken = 0;
    for (; taken < count && feed->free; taken++) {
        struct slot *slot = feed->free;
        feed->free = slot->next;
        *slot = (struct slot){.read = reads[taken]};
        feed->in_flight++;
        route(feed, slot);
    }
    start_all(feed);
    assert(all_accounted_for(feed));
    return taken;
}

static int deliver(struct feed *feed, struct feed_done *done, size_t cap)
{
    size_t count = 0;
    for (size_t i = 0; i < FEED_DEPTH && count < cap && feed->ended; i++) {
        struct slot *slot = &feed->slots[i];
        if (slot->state != SLOT_ENDED)
            continue;
        done[count++] = (struct feed_done){
            .user = slot->read.user, .result = slot->result, .err = &slot->err};
        slot->state = SLOT_FREE;
        slot->next = feed->free;
        feed->free = slot;
        feed->ended--;
        feed->in_flight--;
    }
    assert(all_accounted_for(feed));
    return (int)count;
}

int feed_reap(struct feed *feed, struct feed_done *done, size_t cap, size_t min,
              uint64_t deadline_ns)
{
    min = mst_least(mst_least(min, cap), feed->in_flight);
    start_all(feed);
    if (feed->ended < cap)
        await(feed, 0);
    while (feed->ended < min) {
        if (mst_deadline_passed(deadline_ns))
            return -ETIMEDOUT;
        start_all(feed);
        await(feed, deadline_ns);
    }
    return deliver(feed, done, cap);
}

size_t feed_in_flight(const struct feed *feed)
{
    return feed->in_flight;
}

void feed_cancel(struct feed *feed)
{
    for (struct store *store = feed->stores; store; store = store->next) {
        feed_cancel_store(store);
        store->queued = 0;
    }
    feed_free_slots(feed);
    assert(all_accounted_for(feed));
}

static int check_whole(const struct feed_read *read, const struct feed_done *done,
                       struct mst_err *err)
{
    if (done->result < 0)
        return mst_err_set(err, (int)done->result, "%s", done->err->text);
    if ((uint64_t)done->result < read->size_bytes)
        return mst_err_set(err, -EBADMSG, "%s: ends at byte %" PRIu64, read->file->copies[0].shown,
                           read->offset + (uint64_t)done->result);
    return 0;
}

/* Reads that feed_read_all has told the feed of, and room for more. */
struct batch {
    struct feed_read reads[FEED_DEPTH];
    struct feed_read *idle[FEED_DEPTH];
    size_t idle_count;
};

/* Whether there is more to tell. */
static bool submit_some(struct feed *feed, struct batch *batch, feed_next_fn next, void *arg)
{
    struct feed_read reads[FEED_DEPTH];
    size_t count = 0;
    bool more = true;
    while (batch->idle_count && (more = next(arg, &reads[count]))) {
        struct feed_read *read = batch->idle[--batch->idle_count];
        reads[count].user = read;
        *read = reads[count++];
    }
    size_t taken = feed_submit(feed, reads, count);
    assert(taken == count); /* as many were idle */
    return more;
}

static int reap_some(struct feed *feed, struct batch *batch, struct mst_err *err)
{
    struct feed_done done[FEED_DEPTH];
    int count = feed_reap(feed, done, FEED_DEPTH, 1, MST_NEVER); /* one is under way */
    int rc = 0;
    for (int i = 0; i < count; i++) {
        batch->idle[batch->idle_count++] = done[i].user;
        rc = rc ? rc : check_whole(done[i].user, &done[i], err);
    }
    return rc;
}

int feed_read_all(struct feed *feed, feed_next_fn next, void *arg, struct mst_err *err)
{
    assert(feed->in_flight == 0);
    struct batch batch = {0};
    for (; batch.idle_count < FEED_DEPTH; batch.idle_count++)
        batch.idle[batch.idle_count] = &batch.reads[batch.idle_count];
    bool more = true;
    int rc = 0;
    do {
        more = more && submit_some(feed, &batch, next, arg);
        if (feed->in_flight)
            rc = reap_some(feed, &batch, err);
    } while (rc == 0 && (more || feed->in_flight));
    if (feed->in_flight)
        feed_cancel(feed);
    return rc;
}

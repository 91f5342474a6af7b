#include "dataio/feed.h"

#include "core/clock.h"
#include "core/err.h"
#include "core/uri.h"
#include "dataio/mirror.h"
#include "dataio/store.h"
#include "dataio/uris.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMOTE_DEPTH 16u /* connections to one place */
#define WINDOW_BYTES_DEFAULT (UINT64_C(64) << 20)
#define TIMEOUT_MS_ALONE 60000u /* of a place that nothing stands in for */
#define TIMEOUT_MS_MIRRORED 5000u
/* Stores cannot be waited for together, so while several are busy each gets a look in turn. */
#define TURN_NS (2 * MST_NS_PER_MS)

struct copy {
    char *uri;
    char *name; /* in the store */
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

/* ---- create and destroy ---- */

static void free_slots(struct feed *feed)
{
    feed->free = feed->queue = NULL;
    feed->in_flight = feed->ended = 0;
    for (size_t i = FEED_DEPTH; i-- > 0;) {
        feed->slots[i].state = SLOT_FREE;
        feed->slots[i].next = feed->free;
        feed->free = &feed->slots[i];
    }
}

int feed_create(const struct feed_opts *opts, struct feed **ret_reader, struct mst_err *err)
{
    struct feed *feed = calloc(1, sizeof *feed);
    int rc;

    if (!feed)
        return mst_err_set(err, -ENOMEM, "no memory for reading");
    feed->window_bytes = opts->window_bytes ? opts->window_bytes : WINDOW_BYTES_DEFAULT;
    feed->timeout_ms = opts->timeout_ms ? opts->timeout_ms : TIMEOUT_MS_MIRRORED;
    (void)snprintf(feed->aio, sizeof feed->aio, "%s", opts->aio ? opts->aio : "auto");
    free_slots(feed);
    rc = store_local_create(opts->aio, FEED_DEPTH, &feed->local, err);
    if (rc) {
        free(feed);
        return rc;
    }
    feed->stores = feed->local;
    *ret_reader = feed;
    return 0;
}

void feed_destroy(struct feed *feed)
{
    while (feed && feed->stores) {
        struct store *store = feed->stores;
        feed->stores = store->next;
        store->ops->close(store);
    }
    free(feed);
}

uint64_t feed_window_bytes(const struct feed *feed)
{
    return feed->window_bytes;
}

const char *feed_aio(const struct feed *feed)
{
    return feed->aio;
}

/* ---- stores and copies ---- */

/* The store of the folder that holds a remote object, and the object's name there. */
static int find_remote(struct feed *feed, const char *uri, uint32_t timeout_ms,
                       struct store **ret_store, char name[URI_BYTES_MAX], struct mst_err *err)
{
    char folder[URI_BYTES_MAX];
    struct store *store = feed->stores;
    int rc = uris_split(uri, folder, name);

    if (rc)
        return mst_err_set(err, rc, "%.100s: not a URI, or too long", uri);
    while (store && (store == feed->local || store->timeout_ms != timeout_ms ||
                     strcmp(store->root, folder) != 0))
        store = store->next;
    if (!store) {
        rc = store_remote_create(folder, REMOTE_DEPTH, timeout_ms, &store, err);
        if (rc)
            return rc;
        store->timeout_ms = timeout_ms;
        store->next = feed->stores;
        feed->stores = store;
    }
    *ret_store = store;
    return 0;
}

static int init_copy(struct feed_file *file, struct copy *copy, const char *uri,
                     struct mst_err *err)
{
    struct feed *feed = file->feed;
    uint32_t timeout_ms = file->copy_count > 1 ? feed->timeout_ms : TIMEOUT_MS_ALONE;
    char name[URI_BYTES_MAX];
    int rc;

    copy->store = feed->local;
    rc = uris_is_local(uri) ? mst_uri_file_path(uri, name, sizeof name, err)
                            : find_remote(feed, uri, timeout_ms, &copy->store, name, err);
    if (rc)
        return rc;
    copy->uri = strdup(uri);
    copy->name = strdup(name);
    return copy->uri && copy->name ? 0 : mst_err_set(err, -ENOMEM, "%s: no memory", uri);
}

static const char *sized_copy(const struct feed_file *file)
{
    size_t i = 0;

    while (i + 1 < file->copy_count && !file->copies[i].item)
        i++;
    return file->copies[i].uri;
}

/* Finds the copy in its store, and whether it may be one. */
static int look(struct feed_file *file, struct copy *copy, struct mst_err *err)
{
    struct store *store = copy->store;
    struct store_item *item;
    int rc = store->ops->open_item(store, copy->name, &item, err);

    if (rc && rc != -ENOENT)
        mirror_failed(&store->health, mst_now_ns());
    else
        mirror_succeeded(&store->health);
    if (rc)
        return rc;
    copy->refused = file->sized && item->size_bytes != file->size_bytes;
    if (copy->refused) {
        rc = mst_err_set(err, -EBADMSG,
                         "%s has %" PRIu64 " bytes, its mirror %s has %" PRIu64
                         ": they must hold the same bytes",
                         sized_copy(file), file->size_bytes, copy->uri, item->size_bytes);
        store->ops->close_item(item);
        return rc;
    }
    file->size_bytes = item->size_bytes;
    file->sized = true;
    copy->item = item;
    return 0;
}

/* Adds what is wrong with one more copy to a text that names them all. */
static void add_fault(const struct feed_file *file, struct mst_err *sum, int code, const char *text)
{
    int share = (int)(sizeof sum->text - 40) / (int)file->copy_count;
    size_t used = sum->code ? strlen(sum->text) : 0;

    if (file->copy_count == 1)
        (void)mst_err_set(sum, code, "%s", text);
    else if (!used)
        (void)mst_err_set(sum, code, "all %zu mirrors failed: %.*s", file->copy_count, share, text);
    else
        (void)snprintf(sum->text + used, sizeof sum->text - used, "; %.*s", share, text);
}

/* Looks at those copies whose places rest, or at those whose do not. */
static int look_at_some(struct feed_file *file, bool resting, uint32_t *looked, struct mst_err *sum)
{
    struct mst_err fault;

    for (size_t i = 0; i < file->copy_count; i++) {
        struct copy *copy = &file->copies[i];
        int rc;
        if (*looked >> i & 1 || mirror_rests(&copy->store->health, mst_now_ns()) != resting)
            continue;
        *looked |= 1u << i;
        rc = look(file, copy, &fault);
        if (copy->refused)
            return mst_err_set(sum, rc, "%s", fault.text);
        if (rc)
            add_fault(file, sum, rc, fault.text);
    }
    return 0;
}

/* A place that rests is only asked if there is no other. */
static int look_at_all(struct feed_file *file, struct mst_err *err)
{
    struct mst_err sum = {0};
    uint32_t looked = 0;
    int rc = look_at_some(file, false, &looked, &sum);

    if (rc == 0 && !file->sized)
        rc = look_at_some(file, true, &looked, &sum);
    return rc == 0 && file->sized ? 0 : mst_err_set(err, sum.code, "%s", sum.text);
}

/* ---- files ---- */

static struct feed_file *alloc_file(struct feed *feed, size_t copy_count)
{
    struct feed_file *file = calloc(1, sizeof *file + copy_count * sizeof file->copies[0]);

    if (file) {
        file->feed = feed;
        file->copy_count = copy_count;
    }
    return file;
}

int feed_open(struct feed *feed, char *const *uris, size_t uri_count, struct feed_file **ret_file,
              struct mst_err *err)
{
    struct feed_file *file = alloc_file(feed, uri_count);
    int rc = file ? 0 : mst_err_set(err, -ENOMEM, "%s: no memory", uris[0]);

    assert(uri_count >= 1 && uri_count <= MIRROR_COUNT_MAX);
    for (size_t i = 0; rc == 0 && i < uri_count; i++)
        rc = init_copy(file, &file->copies[i], uris[i], err);
    if (rc == 0)
        rc = look_at_all(file, err);
    if (rc) {
        feed_close(file);
        return rc;
    }
    *ret_file = file;
    return 0;
}

int feed_adopt(struct feed *feed, const char *label, int fd, struct feed_file **ret_file,
               struct mst_err *err)
{
    struct feed_file *file = alloc_file(feed, 1);
    struct store_item *item;
    int rc = store_local_adopt(feed->local, label, fd, &item, err);

    if (rc) {
        free(file);
        return rc;
    }
    if (file)
        file->copies[0] = (struct copy){.uri = strdup(label), .store = feed->local, .item = item};
    if (!file || !file->copies[0].uri) {
        feed->local->ops->close_item(item);
        free(file);
        return mst_err_set(err, -ENOMEM, "%s: no memory", label);
    }
    file->size_bytes = item->size_bytes;
    file->sized = true;
    *ret_file = file;
    return 0;
}

static void cancel_store(struct store *store)
{
    if (store->in_flight)
        store->ops->cancel(store);
    store->in_flight = 0;
    store->probe = NULL;
    store->health.probed = false;
}

void feed_close(struct feed_file *file)
{
    for (size_t i = 0; file && i < file->copy_count; i++) {
        struct copy *copy = &file->copies[i];
        if (copy->item && copy->store->probe == copy->item)
            cancel_store(copy->store);
        if (copy->item)
            copy->store->ops->close_item(copy->item);
        free(copy->uri);
        free(copy->name);
    }
    free(file);
}

struct feed *feed_of(const struct feed_file *file)
{
    return file->feed;
}

uint64_t feed_size(const struct feed_file *file)
{
    return file->size_bytes;
}

uint32_t feed_grain(const struct feed_file *file)
{
    return file->copies[0].store->ops->grain;
}

/* ---- one read ---- */

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
    struct mirror_choice choices[MIRROR_COUNT_MAX];

    if (file->copy_count == 1)
        return slot->tried;
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
    struct mst_err fault;
    size_t next;

    for (size_t i = 0; file->copy_count > 1 && i < file->copy_count; i++)
        if (file->copies[i].store->health.failures)
            probe(&file->copies[i]);
    while ((next = choose_copy(slot)) < file->copy_count) {
        struct copy *copy = &file->copies[next];
        int rc;
        slot->tried |= 1u << next;
        slot->copy = next;
        rc = copy->item ? 0 : look(file, copy, &fault);
        if (rc == 0) {
            enqueue(feed, slot);
            return;
        }
        add_fault(file, &slot->err, rc, fault.text);
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
    add_fault(slot->read.file, &slot->err, fault->code, fault->text);
    route(feed, slot);
}

static uint64_t wanted_bytes(const struct feed_read *read)
{
    uint64_t size_bytes = read->file->size_bytes;
    uint64_t left = read->offset < size_bytes ? size_bytes - read->offset : 0;

    return left < read->size_bytes ? left : read->size_bytes;
}

/* What a store's answer is: 0, or what is wrong with it. */
static int judge(const struct slot *slot, int64_t result, struct mst_err *fault)
{
    const struct feed_read *read = &slot->read;
    const struct copy *copy = copy_of(slot);

    if (result < 0 && copy->store->ops->failure)
        return mst_err_set(fault, (int)result, "%s", copy->store->ops->failure(copy->store));
    if (result < 0)
        return mst_err_set(fault, (int)result, "%s: reading at byte %" PRIu64 ": %s", copy->uri,
                           read->offset, strerror((int)-result));
    if ((uint64_t)result < wanted_bytes(read))
        return mst_err_set(fault, -EBADMSG,
                           "%s: became shorter while in use: ends at byte %" PRIu64
                           ", not %" PRIu64,
                           copy->uri, read->offset + (uint64_t)result, read->file->size_bytes);
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

/* ---- all reads under way ---- */

static void start_queued(struct feed *feed, struct store *store)
{
    struct store_read reads[FEED_DEPTH];
    struct slot *slot;
    size_t count = 0;
    int started;

    for (slot = feed->queue; slot; slot = slot->next)
        if (copy_of(slot)->store == store)
            reads[count++] = (struct store_read){.item = copy_of(slot)->item,
                                                 .offset = slot->read.offset,
                                                 .data = slot->read.data,
                                                 .size_bytes = slot->read.size_bytes,
                                                 .direct = slot->read.direct,
                                                 .user = slot};
    started = store->ops->submit(store, reads, count);
    for (int i = 0; i < started; i++) {
        dequeue(feed, store)->state = SLOT_FLYING;
        store->in_flight++;
    }
    while (started < 0 && (slot = dequeue(feed, store)))
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
static void lose(struct feed *feed, struct store *store, int code)
{
    cancel_store(store);
    for (size_t i = 0; i < FEED_DEPTH; i++)
        if (feed->slots[i].state == SLOT_FLYING && copy_of(&feed->slots[i])->store == store)
            settle(feed, &feed->slots[i], code);
}

static void collect(struct feed *feed, struct store *store, uint64_t until_ns)
{
    struct store_done done[FEED_DEPTH];
    size_t min = until_ns > 0;
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
    return (int)count;
}

int feed_reap(struct feed *feed, struct feed_done *done, size_t cap, size_t min,
              uint64_t deadline_ns)
{
    min = min < cap ? min : cap;
    min = min < feed->in_flight ? min : feed->in_flight;
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
        cancel_store(store);
        store->queued = 0;
    }
    free_slots(feed);
}

static int check_whole(const struct feed_read *read, const struct feed_done *done,
                       struct mst_err *err)
{
    if (done->result < 0)
        return mst_err_set(err, (int)done->result, "%s", done->err->text);
    if ((uint64_t)done->result < read->size_bytes)
        return mst_err_set(err, -EBADMSG, "%s: ends at byte %" PRIu64, read->file->copies[0].uri,
                           read->offset + (uint64_t)done->result);
    return 0;
}

int feed_read_all(struct feed *feed, const struct feed_read *reads, size_t count,
                  struct mst_err *err)
{
    struct feed_done done;
    int rc = 0;

    assert(feed->in_flight == 0 && count <= FEED_DEPTH);
    for (size_t i = 0; i < count; i++) {
        struct feed_read read = reads[i];
        read.user = (void *)(uintptr_t)&reads[i]; /* only read from */
        (void)feed_submit(feed, &read, 1);        /* there is room */
    }
    while (rc == 0 && feed->in_flight) {
        (void)feed_reap(feed, &done, 1, 1, MST_NEVER); /* one is under way */
        rc = check_whole(done.user, &done, err);
    }
    if (feed->in_flight)
        feed_cancel(feed);
    return rc;
}

#include "muster/dataio/feed.h"

#include "muster/core/blob/blob.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/uri.h"
#include "muster/dataio/feed_state.h"
#include "muster/dataio/mirror.h"
#include "muster/dataio/store.h"
#include "muster/dataio/uris.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMOTE_DEPTH 32u /* connections to one place */
#define WINDOW_BYTES_DEFAULT (UINT64_C(64) << 20)
#define TIMEOUT_MS_ALONE 60000u /* of a place that nothing stands in for */
#define TIMEOUT_MS_MIRRORED 5000u

/* ---- create and destroy ---------------------------------------------------------------------- */

void feed_free_slots(struct feed *feed)
{
    feed->free = feed->queue = NULL;
    feed->in_flight = feed->ended = 0;
    for (size_t i = FEED_DEPTH; i-- > 0;) {
        feed->slots[i].state = SLOT_FREE;
        feed->slots[i].next = feed->free;
        feed->free = &feed->slots[i];
    }
}

int feed_create(const struct feed_opts *opts, struct feed **ret_feed, struct mst_err *err)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return mst_err_set(err, -ENOMEM, "no memory for reading");
    feed->window_bytes = opts->window_bytes ? opts->window_bytes : WINDOW_BYTES_DEFAULT;
    feed->timeout_ms = opts->timeout_ms;
    /* A longer name than any back end's is cut, and no back end's either. */
    (void)snprintf(feed->aio, sizeof feed->aio, "%s", opts->aio ? opts->aio : "auto");
    feed_free_slots(feed);
    int rc = store_local_create(opts->aio, FEED_DEPTH, &feed->local, err);
    if (rc) {
        free(feed);
        return rc;
    }
    feed->stores = feed->local;
    *ret_feed = feed;
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

uint32_t feed_timeout_ms(const struct feed *feed)
{
    return feed->timeout_ms;
}

/* ---- stores and copies ----------------------------------------------------------------------- */

/* The store that holds a remote object, and the object's name there. */
static int find_remote(struct feed *feed, const char *uri, bool alone, struct store **ret_store,
                       char name[URI_BYTES_MAX], struct mst_err *err)
{
    struct store *store = feed->stores;
    char folder[URI_BYTES_MAX];
    int rc = uris_place(uri, folder, name);
    if (rc)
        return mst_err_set(err, rc, "%.100s: not a URI, or too long", uri);
    while (store &&
           (store == feed->local || store->alone != alone || strcmp(store->root, folder) != 0))
        store = store->next;
    if (!store) {
        uint32_t own_ms = alone ? TIMEOUT_MS_ALONE : TIMEOUT_MS_MIRRORED;
        struct mst_blob_opts opts = {.depth = REMOTE_DEPTH,
                                     .timeout_ms = feed->timeout_ms ? feed->timeout_ms : own_ms,
                                     .fail_fast = !alone};
        rc = store_remote_create(folder, &opts, &store, err);
        if (rc)
            return rc;
        store->alone = alone;
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
    bool alone = file->copy_count == 1;
    copy->store = feed->local;
    char name[URI_BYTES_MAX];
    int rc = uris_is_local(uri) ? mst_uri_file_path(uri, name, sizeof name, err)
                                : find_remote(feed, uri, alone, &copy->store, name, err);
    if (rc)
        return rc;
    copy->shown = strndup(uri, uris_shown_bytes(uri));
    copy->name = strdup(name);
    return copy->shown && copy->name ? 0 : mst_err_set(err, -ENOMEM, "no memory for a file's name");
}

/* A remote copy of a file that is opened soon. */
struct foreseen {
    struct store *store; /* NULL: it has been looked at */
    char *name;
    const struct mst_blob_info *listed;
};

/* Looks at all that lie where the first does. */
static void foresee_place(struct foreseen *list, size_t count)
{
    struct store *store = list->store;
    struct store_name names[FEED_FORESEEN_MAX * MIRROR_COUNT_MAX];
    size_t name_count = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].store == store) {
            names[name_count++] = (struct store_name){list[i].name, list[i].listed};
            list[i].store = NULL;
        }
    if (name_count > 1 && !mirror_rests(&store->health, mst_now_ns()))
        store->ops->foresee(store, names, name_count);
}

/* How many there are: bad names are told when they are opened. */
static size_t find_foreseen(struct feed *feed, const struct feed_name *names, size_t count,
                            struct foreseen *list)
{
    size_t found = 0;
    char name[URI_BYTES_MAX];
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < names[i].uri_count; k++) {
            const char *uri = names[i].uris[k];
            struct foreseen *next = &list[found];
            if (uris_is_local(uri) ||
                find_remote(feed, uri, names[i].uri_count == 1, &next->store, name, NULL))
                continue;
            next->name = strdup(name);
            next->listed = k == names[i].listed_uri ? names[i].listed : NULL;
            found += next->name != NULL;
        }
    return found;
}

void feed_foresee(struct feed *feed, const struct feed_name *names, size_t count)
{
    assert(count <= FEED_FORESEEN_MAX);
    struct foreseen *list = calloc(FEED_FORESEEN_MAX * MIRROR_COUNT_MAX, sizeof *list);
    size_t found = list ? find_foreseen(feed, names, count, list) : 0;
    for (size_t i = 0; i < found; i++)
        if (list[i].store)
            foresee_place(&list[i], found - i);
    for (size_t i = 0; i < found; i++)
        free(list[i].name);
    free(list);
}

static const char *sized_copy(const struct feed_file *file)
{
    size_t i = 0;
    while (i + 1 < file->copy_count && !file->copies[i].item)
        i++;
    return file->copies[i].shown;
}

/* Any size may be what a server claims. */
static int check_size(const struct feed_file *file, const struct copy *copy, uint64_t size_bytes,
                      struct mst_err *err)
{
    if (size_bytes > FEED_BYTES_MAX)
        return mst_err_set(err, -EBADMSG, "%s: no file has %" PRIu64 " bytes: ask its server",
                           copy->shown, size_bytes);
    if (file->sized && size_bytes != file->size_bytes)
        return mst_err_set(err, -EBADMSG,
                           "%s has %" PRIu64 " bytes, its mirror %s has %" PRIu64
                           ": they must hold the same bytes",
                           sized_copy(file), file->size_bytes, copy->shown, size_bytes);
    return 0;
}

int feed_look(struct feed_file *file, struct copy *copy, struct mst_err *err)
{
    struct store *store = copy->store;
    struct store_item *item;
    int rc = store->ops->open_item(store, copy->name, &item, err);
    if (rc && rc != -ENOENT)
        mirror_failed(&store->health, mst_now_ns());
    else
        mirror_succeeded(&store->health);
    if (rc) {
        copy->refused = rc == -ENOENT;
        return rc;
    }
    rc = check_size(file, copy, item->size_bytes, err);
    copy->refused = rc < 0;
    if (rc) {
        store->ops->close_item(item);
        return rc;
    }
    file->size_bytes = item->size_bytes;
    file->sized = true;
    copy->item = item;
    return 0;
}

void feed_add_fault(const struct feed_file *file, struct mst_err *sum, int rc, const char *text)
{
    int share = (int)(sizeof sum->text - 40) / (int)file->copy_count;
    size_t used = sum->code ? strlen(sum->text) : 0;
    if (file->copy_count == 1)
        mst_err_set(sum, rc, "%s", text);
    else if (!used)
        mst_err_set(sum, rc, "all %zu mirrors failed: %.*s", file->copy_count, share, text);
    else
        (void)snprintf(sum->text + used, sizeof sum->text - used, "; %.*s", share, text); /* cut */
}

/* Looks at those copies whose places rest, or at those whose do not. */
static int look_at_some(struct feed_file *file, bool resting, uint32_t *looked, struct mst_err *sum)
{
    struct mst_err fault;
    for (size_t i = 0; i < file->copy_count; i++) {
        struct copy *copy = &file->copies[i];
        if (*looked >> i & 1 || mirror_rests(&copy->store->health, mst_now_ns()) != resting)
            continue;
        *looked |= 1u << i;
        int rc = feed_look(file, copy, &fault);
        if (rc == -EBADMSG && copy->refused)
            return mst_err_set(sum, rc, "%s", fault.text);
        if (rc)
            feed_add_fault(file, sum, rc, fault.text);
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

/* ---- files ----------------------------------------------------------------------------------- */

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
    int rc = file ? 0 : mst_err_set(err, -ENOMEM, "no memory to open a file");
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

int feed_begin(struct feed *feed, const char *label, const char *dir, struct feed_file **ret_file,
               struct feed_room *ret_room, struct mst_err *err)
{
    struct feed_file *file = alloc_file(feed, 1);
    char *shown = strdup(label);
    struct store_item *item = NULL;
    int rc = file && shown ? 0 : mst_err_set(err, -ENOMEM, "no memory");
    if (rc == 0)
        rc = store_local_begin(feed->local, dir, &item, &ret_room->fd, &ret_room->offset, err);
    if (rc) {
        free(file);
        free(shown);
        return mst_err_wrap(err, "%s", label);
    }
    file->copies[0] = (struct copy){.shown = shown, .store = feed->local, .item = item};
    file->sized = true;
    *ret_file = file;
    return 0;
}

const char *feed_place(const struct feed *feed)
{
    return store_local_place(feed->local);
}

int feed_check(const struct feed_file *file, uint64_t size_bytes)
{
    return store_local_check(file->copies[0].item, size_bytes);
}

void feed_end(struct feed_file *file, uint64_t size_bytes)
{
    store_local_end(file->copies[0].item, size_bytes);
    file->size_bytes = size_bytes;
}

void feed_cancel_store(struct store *store)
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
            feed_cancel_store(copy->store);
        if (copy->item)
            copy->store->ops->close_item(copy->item);
        free(copy->shown);
        free(copy->name);
    }
    free(file);
}

bool feed_is_scratch(const struct feed_file *file)
{
    return !file->copies[0].name; /* nothing else opens it */
}

struct feed *feed_of(const struct feed_file *file)
{
    return file->feed;
}

uint64_t feed_size(const struct feed_file *file)
{
    return file->size_bytes;
}

uint64_t feed_version(const struct feed_file *file)
{
    return file->copies[0].item ? file->copies[0].item->version : 0;
}

uint32_t feed_grain(const struct feed_file *file)
{
    return file->copies[0].store->ops->grain;
}

uint64_t feed_bulk_bytes(const struct feed_file *file)
{
    return file->copies[0].store->bulk_bytes;
}

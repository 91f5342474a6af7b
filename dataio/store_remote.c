/* A remote store: the objects below one URI, through core/blob. */
#include "muster/core/blob/blob.h"
#include "muster/core/clock.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/dataio/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct remote_store {
    struct store store;
    struct mst_blob *blob; /* NULL: not connected */
    struct mst_blob_opts opts;
    struct mst_err failure;      /* of the last try to connect */
    struct mst_blob_look *looks; /* at what is opened soon */
    size_t look_count;
    bool lists_well; /* an object was what the listing says of it */
};

struct remote_item {
    struct store_item item;
    struct mst_blob_info info; /* its version is the one that all reads must get */
    char *key;
};

static struct remote_store *remote_of(struct store *store)
{
    return (struct remote_store *)store;
}

static int connect_store(struct remote_store *remote, struct mst_err *err)
{
    return remote->blob ? 0 : mst_blob_open(remote->store.root, &remote->opts, &remote->blob, err);
}

static void forget_looks(struct remote_store *remote)
{
    for (size_t i = 0; i < remote->look_count; i++)
        free((char *)(uintptr_t)remote->looks[i].key); /* ours */
    free(remote->looks);
    remote->looks = NULL;
    remote->look_count = 0;
}

static bool is_listed_well(const struct mst_blob_look *look, const struct mst_blob_info *listed)
{
    return look->rc == 0 && look->info.size_bytes == listed->size_bytes &&
           strcmp(look->info.version, listed->version) == 0;
}

/* Looks at some that lie side by side. Each has a deadline of its own. */
static void look_at(struct remote_store *remote, size_t first, size_t end)
{
    mst_blob_stat_all(remote->blob, remote->looks + first, end - first, MST_NEVER);
}

/* What is listed need not be asked for, unless the first that is turns out otherwise. */
static void take_listed(struct remote_store *remote, const struct store_name *names, size_t first)
{
    if (!remote->lists_well && first < remote->look_count) {
        look_at(remote, first, first + 1);
        remote->lists_well = is_listed_well(&remote->looks[first], names[first].listed);
        first++;
    }
    if (!remote->lists_well)
        look_at(remote, first, remote->look_count);
    for (size_t i = first; remote->lists_well && i < remote->look_count; i++)
        remote->looks[i].info = *names[i].listed;
}

static int compare_names(const void *a, const void *b)
{
    const struct store_name *left = a, *right = b;
    return (left->listed != NULL) - (right->listed != NULL);
}

/* What goes wrong is told by open_item. */
static void foresee(struct store *store, struct store_name *names, size_t count)
{
    struct remote_store *remote = remote_of(store);
    struct mst_err fault;
    size_t unlisted = 0;
    forget_looks(remote);
    if (connect_store(remote, &fault) || !(remote->looks = calloc(count, sizeof *remote->looks)))
        return;
    qsort(names, count, sizeof *names, compare_names);
    while (remote->look_count < count) {
        char *key = strdup(names[remote->look_count].name);
        if (!key)
            break;
        unlisted += !names[remote->look_count].listed;
        remote->looks[remote->look_count++].key = key;
    }
    look_at(remote, 0, unlisted);
    take_listed(remote, names, unlisted);
}

/* Each look serves once: what is opened again may have changed. */
static int look(struct remote_store *remote, const char *name, struct mst_blob_info *ret_info,
                struct mst_err *err)
{
    size_t i = 0;
    while (i < remote->look_count &&
           (remote->looks[i].rc == -EAGAIN || strcmp(remote->looks[i].key, name) != 0))
        i++;
    if (i == remote->look_count)
        return mst_blob_stat(remote->blob, name, ret_info, mst_deadline_ms(remote->opts.timeout_ms),
                             err);
    struct mst_blob_look *found = &remote->looks[i];
    int rc = found->rc;
    found->rc = -EAGAIN;
    if (rc)
        return mst_err_set(err, rc, "%s", found->err.text);
    *ret_info = found->info;
    return 0;
}

static void close_item(struct store_item *item)
{
    free(((struct remote_item *)item)->key);
    free(item);
}

static int open_item(struct store *store, const char *name, struct store_item **ret_item,
                     struct mst_err *err)
{
    struct remote_store *remote = remote_of(store);
    struct remote_item *item = calloc(1, sizeof *item);
    int rc = connect_store(remote, err);
    if (item)
        item->key = strdup(name);
    if (rc == 0 && (!item || !item->key))
        rc = mst_err_set(err, -ENOMEM, "%s: no memory", name);
    if (rc == 0)
        rc = look(remote, name, &item->info, err);
    remote->opts.answered = remote->opts.answered || rc == 0 || rc == -ENOENT;
    if (rc) {
        if (item)
            close_item(&item->item);
        return rc;
    }
    item->item = (struct store_item){.store = store, .size_bytes = item->info.size_bytes};
    if (*item->info.version)
        item->item.version = mst_mix64(
            mst_crc32c(0, item->info.version, strlen(item->info.version)));
    *ret_item = &item->item;
    return 0;
}

static int submit(struct store *store, const struct store_read *reads, size_t count)
{
    struct remote_store *remote = remote_of(store);
    int rc = connect_store(remote, &remote->failure), taken = 0;
    while (rc == 0 && (size_t)taken < count) {
        const struct remote_item *item = (const struct remote_item *)reads[taken].item;
        struct mst_blob_read read = {.key = item->key,
                                     .offset = reads[taken].offset,
                                     .data = reads[taken].data,
                                     .size_bytes = reads[taken].size_bytes,
                                     .version = *item->info.version ? item->info.version : NULL,
                                     .object_bytes = item->info.size_bytes,
                                     .user = reads[taken].user};
        int started = mst_blob_submit(remote->blob, &read, 1);
        if (started <= 0)
            rc = started < 0 ? started : -EAGAIN;
        else
            taken++;
    }
    return taken > 0 || rc == -EAGAIN ? taken : rc;
}

/* One at a time: the text of a failure is that of the last read that came back. */
static int reap(struct store *store, struct store_done *done, size_t cap, size_t min,
                uint64_t deadline_ns)
{
    struct mst_blob_done ended;
    int count = mst_blob_reap(remote_of(store)->blob, &ended, cap ? 1 : 0, min ? 1 : 0,
                              deadline_ns);
    if (count > 0)
        *done = (struct store_done){.user = ended.user, .result = ended.result};
    return count;
}

static void cancel(struct store *store)
{
    mst_blob_close(remote_of(store)->blob);
    remote_of(store)->blob = NULL;
}

static void close_store(struct store *store)
{
    cancel(store);
    forget_looks(remote_of(store));
    free(store->root);
    free(store);
}

static const char *failure(const struct store *store)
{
    const struct remote_store *remote = (const struct remote_store *)store;
    return remote->blob ? mst_blob_error(remote->blob) : remote->failure.text;
}

static const struct store_ops remote_ops = {
    .grain = 1,
    .foresee = foresee,
    .open_item = open_item,
    .close_item = close_item,
    .submit = submit,
    .reap = reap,
    .cancel = cancel,
    .close = close_store,
    .failure = failure,
};

int store_remote_create(const char *root, const struct mst_blob_opts *opts,
                        struct store **ret_store, struct mst_err *err)
{
    struct remote_store *remote = calloc(1, sizeof *remote);
    if (remote)
        remote->store.root = strdup(root);
    if (!remote || !remote->store.root) {
        free(remote);
        return mst_err_set(err, -ENOMEM, "%s: no memory", root);
    }
    remote->store.ops = &remote_ops;
    remote->store.bulk_bytes = mst_blob_bulk_bytes(root);
    remote->opts = *opts;
    *ret_store = &remote->store;
    return 0;
}

/* The local store: files by path, through core/aio.
 *
 * An item is open from when it is found until others need its descriptors: of those that are open
 * the one that was read longest ago, and has no read under way, is closed, and opened again by its
 * next read. What has no path, the contents in the scratch file, stays open. */
#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/least.h"
#include "muster/core/rng.h"
#include "muster/dataio/scratch.h"
#include "muster/dataio/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRAIN 4096u
#define BULK_BYTES (UINT64_C(2) << 20) /* several side by side are a disk's full speed */
#define BULK 64u
#define OPEN_MAX_MOST 256u
#define OPEN_SHARE 4u /* of the descriptors that the process may have */

/* A read that was taken. */
struct local_read {
    struct local_item *item;
    void *user;
    uint64_t wanted_bytes;   /* of the item, from its offset on */
    struct local_read *next; /* of the free ones, or of those that have failed */
    struct mst_err err;      /* why it has failed */
};

struct local_store {
    struct store store;
    struct mst_aio *aio;
    struct scratch scratch;
    uint32_t depth;
    struct local_read *reads; /* depth of them */
    struct local_read *free, *failed;
    struct mst_err last;
    size_t open_count, open_max; /* items with a path that are open */
    struct local_item *newest, *oldest;
};

struct local_item {
    struct store_item item;
    char *path;    /* NULL: in the scratch file */
    uint64_t base; /* where it begins in its file */
    struct stat stat;
    int fd;                           /* through the page cache; -1: closed */
    int direct_fd;                    /* past it; -1: not asked for yet; `fd` where there is none */
    size_t in_flight;                 /* reads under way */
    struct local_item *newer, *older; /* of those that are open */
};

static struct local_store *local_of(struct store *store)
{
    return (struct local_store *)store;
}

/* ---- which items are open -------------------------------------------------------------------- */

static void unlink_open(struct local_store *local, struct local_item *item)
{
    *(item->newer ? &item->newer->older : &local->newest) = item->older;
    *(item->older ? &item->older->newer : &local->oldest) = item->newer;
    item->newer = item->older = NULL;
    local->open_count--;
}

static void link_newest(struct local_store *local, struct local_item *item)
{
    item->older = local->newest;
    *(local->newest ? &local->newest->newer : &local->oldest) = item;
    local->newest = item;
    local->open_count++;
}

static void close_fds(struct local_item *item)
{
    if (item->direct_fd >= 0 && item->direct_fd != item->fd)
        close(item->direct_fd);
    if (item->path && item->fd >= 0)
        close(item->fd);
    item->fd = item->direct_fd = -1;
}

/* Whether one could be closed. */
static bool close_oldest(struct local_store *local)
{
    struct local_item *item = local->oldest;
    while (item && item->in_flight)
        item = item->newer;
    if (!item)
        return false;
    unlink_open(local, item);
    close_fds(item);
    return true;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* One that is not used now gives its descriptor. */
static int open_path(struct local_store *local, const char *path, int flags)
{
    int fd;
    do
        fd = open(path, flags | O_RDONLY | O_CLOEXEC);
    while (fd < 0 && (errno == EMFILE || errno == ENFILE) && close_oldest(local));
    return fd < 0 ? -errno : fd;
}

/* Not blocking: the name may be that of a pipe, which is then refused. */
static int open_regular(struct local_store *local, const char *path, int *ret_fd,
                        struct stat *ret_stat, struct mst_err *err)
{
    int fd = open_path(local, path, O_NONBLOCK), rc = fd < 0 ? fd : 0;
    if (rc == 0 && (fstat(fd, ret_stat) || fcntl(fd, F_SETFL, 0)))
        rc = -errno;
    if (rc)
        mst_err_set(err, rc, "%s: %s%s", path, mst_err_meaning(rc),
                    rc == -EMFILE ? ": raise ulimit -n" : "");
    else if (!S_ISREG(ret_stat->st_mode))
        rc = mst_err_set(err, -EINVAL, "%s: not a regular file; a folder's name ends in /", path);
    if (rc == 0)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    return rc;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Not of the inode, which a copy on another machine has another one of. */
static uint64_t version_of(const struct stat *stat)
{
    uint64_t time = mst_mix64((uint64_t)stat->st_mtim.tv_sec) ^ (uint64_t)stat->st_mtim.tv_nsec;
    return mst_mix64(time) ^ (uint64_t)stat->st_size;
}

static void make_room(struct local_store *local)
{
    while (local->open_count >= local->open_max && close_oldest(local))
        continue;
}

static int check_same(const struct local_item *item, const struct stat *stat, struct mst_err *err)
{
    if (is_same(stat, &item->stat))
        return 0;
    if (stat->st_size < item->stat.st_size)
        return mst_err_set(err, -EBADMSG,
                           "%s: became shorter while in use: ends at byte %lld, not %lld",
                           item->path, (long long)stat->st_size, (long long)item->stat.st_size);
    return mst_err_set(err, -ESTALE,
                       "%s: another file, or written to, since the dataset was opened: put the old "
                       "one back, or open the dataset anew",
                       item->path);
}

/* Makes the item the newest of those that are open. */
static int keep_open(struct local_store *local, struct local_item *item, struct mst_err *err)
{
    if (!item->path)
        return 0;
    if (item->fd >= 0) {
        unlink_open(local, item);
        link_newest(local, item);
        return 0;
    }
    make_room(local);
    struct stat stat;
    int fd, rc = open_regular(local, item->path, &fd, &stat, err);
    if (rc)
        return rc;
    rc = check_same(item, &stat, err);
    if (rc) {
        close(fd);
        return rc;
    }
    item->fd = fd;
    link_newest(local, item);
    return 0;
}

static void close_item(struct store_item *store_item)
{
    struct local_item *item = (struct local_item *)store_item;
    struct local_store *local = local_of(store_item->store);
    assert(item->in_flight == 0);
    if (item->path && item->fd >= 0)
        unlink_open(local, item);
    close_fds(item);
    if (!item->path)
        scratch_release(&local->scratch);
    free(item->path);
    free(item);
}

static struct local_item *alloc_item(struct local_store *local)
{
    struct local_item *item = calloc(1, sizeof *item);
    if (item) {
        item->item.store = &local->store;
        item->fd = item->direct_fd = -1;
    }
    return item;
}

static int open_item(struct store *store, const char *name, struct store_item **ret_item,
                     struct mst_err *err)
{
    struct local_store *local = local_of(store);
    struct local_item *item = alloc_item(local);
    char *path = mst_file_absolute(name);
    int rc = item && path ? 0 : mst_err_set(err, -ENOMEM, "%s: no memory", name);
    make_room(local);
    if (rc == 0)
        rc = open_regular(local, name, &item->fd, &item->stat, err);
    if (rc) {
        free(path);
        free(item);
        return rc;
    }
    item->path = path;
    item->item.size_bytes = (uint64_t)item->stat.st_size;
    item->item.version = version_of(&item->stat);
    link_newest(local, item);
    *ret_item = &item->item;
    return 0;
}

/* ---- contents in the scratch file ------------------------------------------------------------ */

int store_local_begin(struct store *store, const char *dir, struct store_item **ret_item,
                      int *ret_fd, uint64_t *ret_offset, struct mst_err *err)
{
    struct local_store *local = local_of(store);
    struct local_item *item = alloc_item(local);
    int rc = item ? scratch_begin(&local->scratch, dir, err)
                  : mst_err_set(err, -ENOMEM, "no memory for a file");
    if (rc) {
        free(item);
        return rc;
    }
    item->fd = *ret_fd = local->scratch.file.fd;
    item->base = *ret_offset = local->scratch.end;
    *ret_item = &item->item;
    return 0;
}

const char *store_local_place(struct store *store)
{
    return local_of(store)->scratch.file.where;
}

int store_local_check(const struct store_item *item, uint64_t size_bytes)
{
    const struct local_item *local_item = (const struct local_item *)item;
    return scratch_check(&local_of(item->store)->scratch, local_item->base + size_bytes);
}

void store_local_end(struct store_item *item, uint64_t size_bytes)
{
    item->size_bytes = size_bytes;
    scratch_end(&local_of(item->store)->scratch, size_bytes);
}

/* ---- reads ----------------------------------------------------------------------------------- */

static bool is_aligned(const struct store_read *read)
{
    return ((read->offset | read->size_bytes | (uintptr_t)read->data) & (GRAIN - 1)) == 0;
}

/* The buffered descriptor serves where the file system refuses the other, and for once where there
 * is no room for it. */
static int fd_for(struct local_store *local, struct local_item *item, bool direct)
{
    if (!direct)
        return item->fd;
    if (item->direct_fd < 0) {
        char path[32];
        /* By the descriptor: an inflated file has no name, and a name may have changed its file. */
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", item->fd); /* fits */
        int fd = open_path(local, path, O_DIRECT);
        if (fd == -EMFILE || fd == -ENFILE)
            return item->fd;
        item->direct_fd = fd < 0 ? item->fd : fd;
    }
    return item->direct_fd;
}

/* What the item has of the bytes from `offset` on, at most `size_bytes`. */
static uint64_t bytes_there(const struct local_item *item, uint64_t offset, uint64_t size_bytes)
{
    uint64_t size = item->item.size_bytes;
    return mst_least(offset < size ? size - offset : 0, size_bytes);
}

/* A read of whole blocks may reach into the contents behind the item's; they are not told. */
static struct mst_aio_op make_op(struct local_store *local, struct local_read *slot,
                                 const struct store_read *read)
{
    struct local_item *item = slot->item;
    bool direct = read->direct && is_aligned(read);
    return (struct mst_aio_op){.kind = MST_AIO_READ,
                               .fd = fd_for(local, item, direct),
                               .data = read->data,
                               .size_bytes = item->path || direct ? read->size_bytes
                                                                  : (size_t)slot->wanted_bytes,
                               .offset = item->base + read->offset,
                               .user = slot};
}

static struct local_read *take_slot(struct local_store *local, const struct store_read *read)
{
    struct local_read *slot = local->free;
    struct local_item *item = (struct local_item *)read->item;
    local->free = slot->next;
    *slot = (struct local_read){.item = item,
                                .user = read->user,
                                .wanted_bytes = bytes_there(item, read->offset, read->size_bytes)};
    item->in_flight++;
    return slot;
}

static void give_back(struct local_store *local, struct local_read *slot)
{
    slot->item->in_flight--;
    slot->next = local->free;
    local->free = slot;
}

static void fail_later(struct local_store *local, struct local_read *slot)
{
    slot->next = local->failed;
    local->failed = slot;
}

static int submit(struct store *store, const struct store_read *reads, size_t count)
{
    struct local_store *local = local_of(store);
    struct mst_aio_op ops[BULK];
    int taken = 0, op_count = 0;
    for (; (size_t)taken < mst_least(count, BULK) && local->free; taken++) {
        struct local_read *slot = take_slot(local, &reads[taken]);
        if (keep_open(local, slot->item, &slot->err) == 0)
            ops[op_count++] = make_op(local, slot, &reads[taken]);
        else
            fail_later(local, slot);
    }
    int started = mst_aio_submit(local->aio, ops, (size_t)op_count);
    assert(started == op_count); /* there are as many slots as aio takes reads */
    return taken;
}

/* Bytes that were written before they were read came with another time, which is seen behind them.
 * A time has some milliseconds to a tick: two writes within one are not told apart. */
static bool was_written_to(struct local_read *slot)
{
    struct stat stat;
    const struct local_item *item = slot->item;
    return item->path && fstat(item->fd, &stat) == 0 && check_same(item, &stat, &slot->err);
}

static int reap_failed(struct local_store *local, struct store_done *done)
{
    struct local_read *slot = local->failed;
    local->failed = slot->next;
    local->last = slot->err;
    *done = (struct store_done){.user = slot->user, .result = slot->err.code};
    give_back(local, slot);
    return 1;
}

static int reap(struct store *store, struct store_done *done, size_t cap, size_t min,
                uint64_t deadline_ns)
{
    struct local_store *local = local_of(store);
    struct mst_aio_done ended[BULK];
    local->last = (struct mst_err){0};
    if (local->failed && cap)
        return reap_failed(local, done);
    int count = mst_aio_reap(local->aio, ended, mst_least(cap, BULK), min, deadline_ns), told = 0;
    for (int i = 0; i < count; i++) {
        struct local_read *slot = ended[i].user;
        int64_t result = ended[i].result;
        if (result > 0 && (uint64_t)result > slot->wanted_bytes)
            result = (int64_t)slot->wanted_bytes;
        if (result >= 0 && was_written_to(slot)) {
            fail_later(local, slot);
            continue;
        }
        done[told++] = (struct store_done){.user = slot->user, .result = result};
        give_back(local, slot);
    }
    if (told == 0 && local->failed && cap)
        return reap_failed(local, done);
    return count < 0 ? count : told;
}

static void cancel(struct store *store)
{
    struct local_store *local = local_of(store);
    struct store_done done[BULK];
    while (local->failed || mst_aio_in_flight(local->aio))
        (void)reap(store, done, BULK, 1, MST_NEVER); /* results of no use */
}

static const char *failure(const struct store *store)
{
    const struct local_store *local = (const struct local_store *)store;
    return local->last.code ? local->last.text : NULL;
}

/* ---- create and destroy ---------------------------------------------------------------------- */

static void close_store(struct store *store)
{
    struct local_store *local = local_of(store);
    mst_aio_destroy(local->aio);
    free(local->reads);
    free(local);
}

static const struct store_ops local_ops = {
    .grain = GRAIN,
    .open_item = open_item,
    .close_item = close_item,
    .submit = submit,
    .reap = reap,
    .cancel = cancel,
    .close = close_store,
    .failure = failure,
};

static size_t open_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / OPEN_SHARE > OPEN_MAX_MOST)
        return OPEN_MAX_MOST;
    return limit.rlim_cur > OPEN_SHARE ? (size_t)limit.rlim_cur / OPEN_SHARE : 1;
}

int store_local_create(const char *aio, uint32_t depth, struct store **ret_store,
                       struct mst_err *err)
{
    struct local_store *local = calloc(1, sizeof *local);
    struct mst_aio_opts opts = {.depth = depth, .backend = aio};
    if (local)
        local->reads = calloc(depth, sizeof *local->reads);
    if (!local || !local->reads) {
        free(local);
        return mst_err_set(err, -ENOMEM, "no memory for reading files");
    }
    local->store.ops = &local_ops;
    local->store.bulk_bytes = BULK_BYTES;
    local->scratch = (struct scratch)SCRATCH_INIT;
    local->open_max = open_max();
    for (uint32_t i = 0; i < depth; i++) {
        local->reads[i].next = local->free;
        local->free = &local->reads[i];
    }
    int rc = mst_aio_create(&opts, &local->aio, err);
    if (rc) {
        close_store(&local->store);
        return rc;
    }
    *ret_store = &local->store;
    return 0;
}

/* The local store: files by path, through core/aio. */
#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/dataio/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRAIN 4096u
#define BULK 64u

struct local_store {
    struct store store;
    struct mst_aio *aio;
};

struct local_item {
    struct store_item item;
    int fd;        /* through the page cache */
    int direct_fd; /* past it; -1: not asked for yet; `fd` where there is none */
};

static struct local_store *local_of(struct store *store)
{
    return (struct local_store *)store;
}

static int open_regular(const char *path, int *ret_fd, struct mst_err *err)
{
    /* Not blocking: the name may be that of a pipe, which is then refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = fd < 0 ? -errno : 0;
    struct stat st;
    if (rc == 0 && (fstat(fd, &st) || fcntl(fd, F_SETFL, 0)))
        rc = -errno;
    if (rc)
        mst_err_set(err, rc, "%s: %s%s", path, mst_err_meaning(rc),
                    rc == -EMFILE ? ": every source stays open, raise ulimit -n" : "");
    else if (!S_ISREG(st.st_mode))
        rc = mst_err_set(err, -EINVAL, "%s: not a regular file; a folder's name ends in /", path);
    if (rc == 0)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    return rc;
}

static void close_item(struct store_item *item)
{
    struct local_item *local = (struct local_item *)item;
    if (local->direct_fd >= 0 && local->direct_fd != local->fd)
        close(local->direct_fd);
    close(local->fd);
    free(local);
}

int store_local_adopt(struct store *store, const char *path, int fd, struct store_item **ret_item,
                      struct mst_err *err)
{
    struct local_item *local = malloc(sizeof *local);
    struct stat st;
    int rc = 0;
    if (!local)
        rc = mst_err_set(err, -ENOMEM, "%s: no memory", path);
    else if (fstat(fd, &st))
        rc = mst_err_set(err, -errno, "%s: %s", path, mst_err_meaning(errno));
    if (rc) {
        free(local);
        close(fd);
        return rc;
    }
    *local = (struct local_item){.fd = fd, .direct_fd = -1};
    local->item = (struct store_item){.store = store, .size_bytes = (uint64_t)st.st_size};
    *ret_item = &local->item;
    return 0;
}

static int open_item(struct store *store, const char *name, struct store_item **ret_item,
                     struct mst_err *err)
{
    int fd, rc = open_regular(name, &fd, err);
    return rc ? rc : store_local_adopt(store, name, fd, ret_item, err);
}

static bool is_aligned(const struct store_read *read)
{
    return ((read->offset | read->size_bytes | (uintptr_t)read->data) & (GRAIN - 1)) == 0;
}

/* The buffered descriptor serves where the file system refuses the other. */
static int fd_for(struct local_item *local, const struct store_read *read)
{
    if (!read->direct || !is_aligned(read))
        return local->fd;
    if (local->direct_fd < 0) {
        char path[32];
        /* By the descriptor: an inflated file has no name, and a name may have changed its file. */
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", local->fd); /* fits */
        local->direct_fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (local->direct_fd < 0)
            local->direct_fd = local->fd;
    }
    return local->direct_fd;
}

static int submit(struct store *store, const struct store_read *reads, size_t count)
{
    struct mst_aio_op ops[BULK];
    count = mst_least(count, BULK);
    for (size_t i = 0; i < count; i++)
        ops[i] = (struct mst_aio_op){.kind = MST_AIO_READ,
                                     .fd = fd_for((struct local_item *)reads[i].item, &reads[i]),
                                     .data = reads[i].data,
                                     .size_bytes = reads[i].size_bytes,
                                     .offset = reads[i].offset,
                                     .user = reads[i].user};
    return mst_aio_submit(local_of(store)->aio, ops, count);
}

static int reap(struct store *store, struct store_done *done, size_t cap, size_t min,
                uint64_t deadline_ns)
{
    struct mst_aio_done ended[BULK];
    int count = mst_aio_reap(local_of(store)->aio, ended, mst_least(cap, BULK), min, deadline_ns);
    for (int i = 0; i < count; i++)
        done[i] = (struct store_done){.user = ended[i].user, .result = ended[i].result};
    return count;
}

static void cancel(struct store *store)
{
    struct mst_aio *aio = local_of(store)->aio;
    struct mst_aio_done done[BULK];
    while (mst_aio_in_flight(aio))
        (void)mst_aio_reap(aio, done, BULK, 1, MST_NEVER); /* results of no use */
}

static void close_store(struct store *store)
{
    mst_aio_destroy(local_of(store)->aio);
    free(store);
}

static const struct store_ops local_ops = {
    .grain = GRAIN,
    .open_item = open_item,
    .close_item = close_item,
    .submit = submit,
    .reap = reap,
    .cancel = cancel,
    .close = close_store,
};

int store_local_create(const char *aio, uint32_t depth, struct store **ret_store,
                       struct mst_err *err)
{
    struct local_store *local = calloc(1, sizeof *local);
    struct mst_aio_opts opts = {.depth = depth, .backend = aio};
    if (!local)
        return mst_err_set(err, -ENOMEM, "no memory for reading files");
    local->store.ops = &local_ops;
    int rc = mst_aio_create(&opts, &local->aio, err);
    if (rc) {
        free(local);
        return rc;
    }
    *ret_store = &local->store;
    return 0;
}

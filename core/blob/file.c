/* file: the reference back end, over the local file system and aio. */
#include "muster/core/file.h"
#include "muster/core/aio/aio.h"
#include "muster/core/blob/backend.h"
#include "muster/core/blob/listing.h"
#include "muster/core/least.h"
#include "muster/core/uri.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A read on its way: in aio's hands while it is not `ended`. */
struct file_read {
    bool busy, ended;
    int fd;
    void *user;
    int64_t result;
    char key[BLOB_KEY_MAX];
};

struct file_store {
    struct mst_blob blob;
    struct mst_aio *aio;
    char root[BLOB_KEY_MAX];
    uint32_t depth;
    struct file_read *reads; /* depth of them */
};

static struct file_store *store_of(struct mst_blob *blob)
{
    return (struct file_store *)blob;
}

static int fail_path(struct mst_err *err, int rc, const char *path, const char *what)
{
    return mst_err_set(err, rc, "%s: %s: %s", path, what, mst_err_meaning(rc));
}

static void path_of(const struct file_store *store, const char *key, char path[BLOB_PATH_MAX])
{
    int rc = blob_join(store->root, key, path, BLOB_PATH_MAX);
    assert(rc == 0); /* a root and a key always fit */
}

static void info_of(const struct stat *stat, struct mst_blob_info *info)
{
    info->size_bytes = (uint64_t)stat->st_size;
    /* Four numbers of 64 bits fit. */
    (void)snprintf(info->version, sizeof info->version, "%lld-%lld.%09ld-%llu",
                   (long long)stat->st_size, (long long)stat->st_mtim.tv_sec, stat->st_mtim.tv_nsec,
                   (unsigned long long)stat->st_ino);
}

static void file_close(struct mst_blob *blob)
{
    struct file_store *store = store_of(blob);
    mst_aio_destroy(store->aio);
    for (uint32_t i = 0; store->reads && i < store->depth; i++)
        if (store->reads[i].busy && store->reads[i].fd >= 0)
            (void)close(store->reads[i].fd); /* read only */
    free(store->reads);
    free(store);
}

static int file_open(const struct mst_uri *uri, const struct mst_blob_opts *opts,
                     struct mst_blob **ret_blob, struct mst_err *err)
{
    if (uri->authority[0] && strcmp(uri->authority, "localhost") != 0)
        return mst_err_set(err, -EINVAL, "file://%s names a host; a local file is file:///path",
                           uri->authority);
    struct file_store *store = calloc(1, sizeof *store);
    if (!store)
        return mst_err_set(err, -ENOMEM, "no memory for a store");
    store->blob.backend = &blob_file_backend;
    store->depth = opts->depth;
    (void)snprintf(store->root, sizeof store->root, "%s", uri->path); /* fits */
    store->reads = calloc(opts->depth, sizeof *store->reads);
    const struct mst_aio_opts aio_opts = {.depth = opts->depth, .backend = opts->aio};
    int rc = store->reads ? mst_aio_create(&aio_opts, &store->aio, err)
                          : mst_err_set(err, -ENOMEM, "no memory for %u reads", opts->depth);
    if (rc < 0) {
        file_close(&store->blob);
        return rc;
    }
    *ret_blob = &store->blob;
    return 0;
}

static int file_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                     uint64_t deadline_ns, struct mst_err *err)
{
    (void)deadline_ns; /* the local file system does not wait for anybody */
    char path[BLOB_PATH_MAX];
    path_of(store_of(blob), key, path);
    struct stat found;
    if (stat(path, &found) < 0)
        return fail_path(err, -errno, path, "cannot be looked at");
    if (S_ISDIR(found.st_mode))
        return mst_err_set(err, -ENOENT, "%s: a folder, not an object", path);
    info_of(&found, ret_info);
    return 0;
}

/* What vanished meanwhile is not there; a link whose target has gone still is, and is missed. */
static int judge_absent(const char *path, int rc, struct mst_err *err)
{
    struct stat link;
    if (rc == -ENOENT && lstat(path, &link) < 0)
        return 0;
    if (rc == -ENOENT)
        return mst_err_set(
            err, rc, "%s: a link to what is not there: put that back, or remove the link", path);
    return fail_path(err, rc, path, "cannot be looked at");
}

/* Adds what is at `key`: an object, or a folder to visit. */
static int add_entry(const struct file_store *store, struct blob_listing *listing, const char *key,
                     struct mst_err *err)
{
    char path[BLOB_PATH_MAX];
    path_of(store, key, path);
    struct stat found;
    if (stat(path, &found) < 0)
        return judge_absent(path, -errno, err);
    int rc = 0;
    struct mst_blob_info info;
    info_of(&found, &info);
    if (S_ISDIR(found.st_mode))
        rc = blob_listing_visit(listing, key);
    else if (S_ISREG(found.st_mode))
        rc = blob_listing_add(listing, key, &info);
    return rc < 0 ? fail_path(err, rc, path, "cannot be listed") : 0;
}

static int list_folder(struct file_store *store, struct blob_listing *listing, const char *folder,
                       struct mst_err *err)
{
    char path[BLOB_PATH_MAX];
    path_of(store, folder, path);
    DIR *dir = opendir(path);
    if (!dir && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (!dir)
        return fail_path(err, -errno, path, "cannot be listed");
    int rc = 0;
    const struct dirent *entry;
    while (rc == 0 && (errno = 0, entry = readdir(dir))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            strncmp(name, BLOB_TEMP_PREFIX, strlen(BLOB_TEMP_PREFIX)) == 0 ||
            blob_skips(&store->blob, name))
            continue;
        char key[BLOB_KEY_MAX];
        rc = blob_join(folder, name, key, sizeof key);
        if (rc == 0)
            rc = add_entry(store, listing, key, err);
        else
            rc = fail_path(err, rc, path, "holds a name that is too long");
    }
    if (rc == 0 && errno)
        rc = fail_path(err, -errno, path, "cannot be listed");
    (void)closedir(dir); /* read only */
    return rc;
}

static int file_list(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each, void *arg,
                     uint64_t deadline_ns, struct mst_err *err)
{
    (void)deadline_ns; /* see file_stat */
    struct file_store *store = store_of(blob);
    struct blob_listing listing = {0};
    int rc = blob_listing_visit(&listing, prefix);
    char *folder;
    while (rc == 0 && (folder = blob_listing_next(&listing))) {
        rc = list_folder(store, &listing, folder, err);
        free(folder);
    }
    if (rc == 0)
        rc = blob_listing_tell(&listing, each, arg);
    blob_listing_fini(&listing);
    return rc;
}

/* Makes the folders above `path`. */
static int make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdir(path, 0777) < 0 && errno != EEXIST ? -errno : 0;
        *slash = '/';
        if (rc)
            return rc;
    }
    return 0;
}

static int copy_file(int to, int from, uint64_t size_bytes)
{
    char chunk[1 << 16];
    int64_t got = 0;
    for (uint64_t at = 0; at < size_bytes; at += (uint64_t)got) {
        got = mst_file_pread(from, chunk, mst_least(size_bytes - at, sizeof chunk), at);
        if (got <= 0)
            return got < 0 ? (int)got : -EIO;
        int rc = mst_file_pwrite(to, chunk, (size_t)got, at);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_source(const char *path, const struct blob_source *source)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    int rc = source->data ? mst_file_pwrite(fd, source->data, source->size_bytes, 0)
                          : copy_file(fd, source->fd, source->size_bytes);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    return rc;
}

static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[BLOB_PATH_MAX]; /* room for a path, and so for its folder */
    (void)snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
                   slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) < 0 ? -errno : 0;
    (void)close(fd); /* read only */
    return rc;
}

/* Gives the finished file its name. A link never replaces, on any file system. */
static int publish(const char *temp, const char *path, uint32_t flags)
{
    int rc = 0;
    if (flags & MST_BLOB_NEW)
        rc = link(temp, path) < 0 ? -errno : 0;
    else if (rename(temp, path) < 0)
        rc = -errno;
    if (rc < 0 || flags & MST_BLOB_NEW)
        (void)unlink(temp); /* what is left is never listed */
    return rc < 0 ? rc : sync_folder(path);
}

static void temp_path(const char *path, char temp[BLOB_PATH_MAX + 64])
{
    static atomic_uint counter;
    const char *slash = strrchr(path, '/');
    int folder_bytes = slash ? (int)(slash - path) + 1 : 0;
    /* It fits. Relaxed: only that no two puts get the same number counts. */
    (void)snprintf(temp, BLOB_PATH_MAX + 64, "%.*s" BLOB_TEMP_PREFIX "%ld-%u", folder_bytes, path,
                   (long)getpid(), atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed));
}

static int file_put(struct mst_blob *blob, const char *key, const struct blob_source *source,
                    uint32_t flags, uint64_t deadline_ns, struct mst_err *err)
{
    (void)deadline_ns; /* see file_stat */
    char path[BLOB_PATH_MAX], temp[BLOB_PATH_MAX + 64];
    path_of(store_of(blob), key, path);
    temp_path(path, temp);
    int rc = make_parents(path);
    if (rc < 0)
        return fail_path(err, rc, path, "cannot make its folder");
    rc = write_source(temp, source);
    if (rc < 0) {
        (void)unlink(temp); /* the write's error is the one to tell */
        return fail_path(err, rc, path, "cannot be written");
    }
    rc = publish(temp, path, flags);
    return rc < 0 ? fail_path(err, rc, path, "cannot be published") : 0;
}

static int file_remove(struct mst_blob *blob, const char *key, uint64_t deadline_ns,
                       struct mst_err *err)
{
    (void)deadline_ns; /* see file_stat */
    char path[BLOB_PATH_MAX];
    path_of(store_of(blob), key, path);
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    return fail_path(err, -errno, path, "cannot be removed");
}

/* Opens the file of a read, if it is the version that is wanted. The fd or -errno. */
static int open_version(const char *path, const char *version)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat found;
    int rc = fstat(fd, &found) < 0 ? -errno : S_ISDIR(found.st_mode) ? -ENOENT : 0;
    if (rc == 0 && version) {
        struct mst_blob_info info;
        info_of(&found, &info);
        rc = strcmp(info.version, version) == 0 ? 0 : -ESTALE;
    }
    if (rc == 0)
        return fd;
    (void)close(fd); /* read only */
    return rc;
}

static struct file_read *free_read(struct file_store *store)
{
    for (uint32_t i = 0; i < store->depth; i++)
        if (!store->reads[i].busy)
            return &store->reads[i];
    return NULL;
}

static void end_read(struct file_store *store, struct file_read *read, int64_t result)
{
    assert(read->busy && !read->ended);
    read->ended = true;
    read->result = result;
    if (read->fd >= 0)
        (void)close(read->fd); /* read only */
    read->fd = -1;
    if (result < 0)
        mst_err_set(&store->blob.last, (int)result, "%s/%s: %s", store->root, read->key,
                    mst_err_meaning((int)result));
}

static void start_read(struct file_store *store, struct file_read *slot,
                       const struct mst_blob_read *read)
{
    char path[BLOB_PATH_MAX];
    path_of(store, read->key, path);
    slot->busy = true;
    slot->ended = false;
    slot->user = read->user;
    (void)snprintf(slot->key, sizeof slot->key, "%s", read->key); /* fits: a key was checked */
    slot->fd = open_version(path, read->version);
    if (slot->fd < 0) {
        end_read(store, slot, slot->fd);
        return;
    }
    const struct mst_aio_op op = {.kind = MST_AIO_READ,
                                  .fd = slot->fd,
                                  .data = read->data,
                                  .size_bytes = read->size_bytes,
                                  .offset = read->offset,
                                  .user = slot};
    int taken = mst_aio_submit(store->aio, &op, 1);
    if (taken != 1)
        end_read(store, slot, taken < 0 ? taken : -EAGAIN);
}

static int file_submit(struct mst_blob *blob, const struct mst_blob_read *reads, size_t count)
{
    struct file_store *store = store_of(blob);
    size_t taken = 0;
    struct file_read *slot;
    for (; taken < count && (slot = free_read(store)); taken++)
        start_read(store, slot, &reads[taken]);
    return (int)taken;
}

/* Takes completions out of aio's hands: waits for the first one until `until_ns`. */
static int settle(struct file_store *store, size_t min, uint64_t until_ns)
{
    struct mst_aio_done done[16];
    int got = mst_aio_reap(store->aio, done, sizeof done / sizeof *done, min, until_ns);
    for (int i = 0; i < got; i++)
        end_read(store, done[i].user, done[i].result);
    return got;
}

static size_t collect(struct file_store *store, struct mst_blob_done *done, size_t cap)
{
    size_t count = 0;
    for (uint32_t i = 0; i < store->depth && count < cap; i++) {
        struct file_read *read = &store->reads[i];
        if (!read->busy || !read->ended)
            continue;
        done[count++] = (struct mst_blob_done){.user = read->user, .result = read->result};
        read->busy = false;
    }
    return count;
}

static size_t count_reads(const struct file_store *store, bool ended_only)
{
    size_t count = 0;
    for (uint32_t i = 0; i < store->depth; i++)
        count += store->reads[i].busy && (store->reads[i].ended || !ended_only);
    return count;
}

static int file_reap(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                     uint64_t deadline_ns)
{
    struct file_store *store = store_of(blob);
    min = mst_least(min, count_reads(store, false));
    int rc = settle(store, 0, 0);
    while (rc >= 0 && count_reads(store, true) < min)
        rc = settle(store, 1, deadline_ns);
    if (rc < 0)
        return rc;
    return (int)collect(store, done, cap);
}

const struct blob_backend blob_file_backend = {
    .scheme = "file",
    .open = file_open,
    .close = file_close,
    .stat = file_stat,
    .list = file_list,
    .put = file_put,
    .remove = file_remove,
    .submit = file_submit,
    .reap = file_reap,
};

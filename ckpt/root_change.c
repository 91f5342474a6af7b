/* What changes the root: each durable step is one op of core/aio, but for what is put back when the
 * root is taken. Single ops are awaited without a deadline: they borrow their paths until they have
 * ended. */
#include "muster/ckpt/root.h"

#include "muster/ckpt/manifest.h"
#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int do_path(struct mst_aio *aio, enum mst_aio_kind kind, int fd, const char *path,
                   const char *path2, unsigned flags)
{
    struct mst_aio_op op = {.kind = kind, .fd = fd, .path = path, .path2 = path2, .flags = flags};
    return (int)mst_aio_do(aio, &op, MST_NEVER);
}

static int sync_fd(struct mst_aio *aio, int fd)
{
    return do_path(aio, MST_AIO_FSYNC, fd, NULL, NULL, 0);
}

int root_make_temp(struct mst_aio *aio, int root_fd, const char *temp)
{
    int rc = do_path(aio, MST_AIO_MKDIR, root_fd, temp, NULL, 0);
    if (rc < 0 && rc != -EEXIST)
        return rc;
    int fd = openat(root_fd, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int root_write_file(struct mst_aio *aio, int dir_fd, const char *name, const void *data,
                    size_t size_bytes)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    struct mst_aio_op op = {
        .kind = MST_AIO_WRITE, .fd = fd, .data = (void *)(uintptr_t)data, .size_bytes = size_bytes};
    int64_t n = mst_aio_do(aio, &op, MST_NEVER);
    int rc = n < 0 ? (int)n : n == (int64_t)size_bytes ? 0 : -EIO;
    if (rc == 0)
        rc = sync_fd(aio, fd);
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    return rc;
}

/* Readers see step_<n> before and after, whole each time: a fresh name is taken without replacing,
 * an old one by exchange. File systems without these flags answer -EINVAL; a plain rename never
 * replaces a directory that holds something. */
static int rename_to_step(struct mst_aio *aio, int root_fd, const char *temp, const char *name,
                          bool *ret_replaced)
{
    int rc = do_path(aio, MST_AIO_RENAME, root_fd, temp, name, RENAME_NOREPLACE);
    if (rc == -EEXIST) {
        rc = do_path(aio, MST_AIO_RENAME, root_fd, temp, name, RENAME_EXCHANGE);
        *ret_replaced = rc == 0;
    }
    return rc == -EINVAL ? do_path(aio, MST_AIO_RENAME, root_fd, temp, name, 0) : rc;
}

int root_publish(struct mst_aio *aio, int root_fd, int temp_fd, const char *temp, uint64_t step,
                 bool *ret_replaced)
{
    char name[ROOT_NAME_MAX];
    root_step_name(name, step);
    *ret_replaced = false;
    int rc = sync_fd(aio, temp_fd);
    if (rc == 0)
        rc = rename_to_step(aio, root_fd, temp, name, ret_replaced);
    return rc < 0 ? rc : sync_fd(aio, root_fd);
}

int root_publish_back(struct mst_aio *aio, int root_fd, const char *temp, uint64_t step)
{
    char name[ROOT_NAME_MAX];
    root_step_name(name, step);
    int rc = do_path(aio, MST_AIO_RENAME, root_fd, temp, name, RENAME_EXCHANGE);
    return rc < 0 ? rc : sync_fd(aio, root_fd);
}

int root_point_latest(struct mst_aio *aio, int root_fd, uint64_t step)
{
    char name[ROOT_NAME_MAX];
    root_step_name(name, step);
    char line[ROOT_NAME_MAX + 1];
    int size = snprintf(line, sizeof line, "%s\n", name);
    int rc = do_path(aio, MST_AIO_UNLINK, root_fd, "LATEST.tmp", NULL, 0); /* whatever it is */
    if (rc == 0 || rc == -ENOENT)
        rc = root_write_file(aio, root_fd, "LATEST.tmp", line, (size_t)size);
    return rc < 0 ? rc : do_path(aio, MST_AIO_RENAME, root_fd, "LATEST.tmp", "LATEST", 0);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

typedef int (*remove_fn)(struct mst_aio *aio, int dir_fd, const char *name);

static bool is_due(const struct root_pause *pause)
{
    return pause && pause->is_due(pause->arg);
}

static int remove_all(struct mst_aio *aio, DIR *dir, remove_fn remove_one,
                      const struct root_pause *pause)
{
    struct dirent *entry;
    int rc = do_path(aio, MST_AIO_UNLINK, dirfd(dir), MANIFEST_NAME, NULL, 0);
    rc = rc == -ENOENT ? 0 : rc;
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        if (is_due(pause))
            return -EAGAIN;
        int removed = is_dot(entry->d_name) ? 0 : remove_one(aio, dirfd(dir), entry->d_name);
        if (rc == 0)
            rc = removed;
    }
    return rc < 0 ? rc : -errno;
}

static int remove_folder(struct mst_aio *aio, int dir_fd, const char *name, remove_fn remove_one,
                         const struct root_pause *pause)
{
    DIR *dir = root_open_folder(dir_fd, name);
    if (!dir)
        return errno == ENOENT ? 0 : -errno;
    int rc = remove_all(aio, dir, remove_one, pause);
    closedir(dir);
    return rc < 0 ? rc : do_path(aio, MST_AIO_UNLINK, dir_fd, name, NULL, AT_REMOVEDIR);
}

static int remove_file(struct mst_aio *aio, int dir_fd, const char *name)
{
    return do_path(aio, MST_AIO_UNLINK, dir_fd, name, NULL, 0);
}

/* A step that was copied from a store has its files in a folder. */
static int remove_file_or_commit(struct mst_aio *aio, int dir_fd, const char *name)
{
    int rc = remove_file(aio, dir_fd, name);
    uint64_t epoch, token;
    if (rc == -EISDIR && root_parse_claim(name, &epoch, &token))
        rc = remove_folder(aio, dir_fd, name, remove_file, NULL);
    return rc;
}

int root_remove(struct mst_aio *aio, int root_fd, const char *name)
{
    return remove_folder(aio, root_fd, name, remove_file_or_commit, NULL);
}

int root_remove_step(struct mst_aio *aio, int root_fd, uint64_t step, const char *temp,
                     const struct root_pause *pause)
{
    char name[ROOT_NAME_MAX];
    root_step_name(name, step);
    int rc = do_path(aio, MST_AIO_RENAME, root_fd, name, temp, 0);
    return rc < 0 && rc != -ENOENT
               ? rc
               : remove_folder(aio, root_fd, temp, remove_file_or_commit, pause);
}

/* "<generation>.<attempt>" */
static bool is_attempt_without_owner(const char *name)
{
    char *end, canonical[ROOT_NAME_MAX];
    uint32_t generation = (uint32_t)strtoul(name, &end, 10);
    uint32_t attempt = *end == '.' ? (uint32_t)strtoul(end + 1, NULL, 10) : 0;
    snprintf(canonical, sizeof canonical, "%" PRIu32 ".%" PRIu32, generation, attempt);
    return strcmp(name, canonical) == 0;
}

/* A temporary directory, as its name says. */
struct temp {
    uint64_t step, epoch;
};

/* Exactly what root_temp_name prints: what somebody else called so is not ours to remove. */
static bool parse_temp(const char *name, struct temp *ret_temp)
{
    if (strncmp(name, "step_", 5) != 0)
        return false;
    char *end;
    struct temp temp = {.step = strtoull(name + 5, &end, 10)};
    if (strncmp(end, ".tmp.", 5) != 0 || strlen(end) >= ROOT_NAME_MAX - 32)
        return false;
    const char *claim = end + 5;
    char canonical[ROOT_NAME_MAX];
    root_temp_name(canonical, temp.step, claim);
    uint64_t token;
    if (strcmp(name, canonical) != 0 ||
        !(is_attempt_without_owner(claim) || root_parse_claim(claim, &temp.epoch, &token)))
        return false;
    *ret_temp = temp;
    return true;
}

/* Whether what lies there was published by a later owner than the one of the name, and is not there
 * again. */
static bool is_displaced(int root_fd, const char *name, const struct temp *temp)
{
    char step[ROOT_NAME_MAX];
    root_step_name(step, temp->step);
    uint64_t displaced, standing;
    if (root_read_epoch(root_fd, name, temp->step, &displaced) < 0 || displaced <= temp->epoch)
        return false;
    return root_read_epoch(root_fd, step, temp->step, &standing) < 0 || standing < displaced;
}

/* `name` becomes a name that only the caller knows, of the same step and epoch: whoever made it may
 * live, and takes its exchange back itself. Then what is displaced goes to its place, and what was
 * there lies under that name. */
static int put_back(int root_fd, const char *name, const struct temp *temp, uint64_t token,
                    char own[ROOT_NAME_MAX])
{
    char claim[ROOT_NAME_MAX], step[ROOT_NAME_MAX];
    root_claim_name(claim, temp->epoch, token);
    root_temp_name(own, temp->step, claim);
    root_step_name(step, temp->step);
    if (renameat(root_fd, name, root_fd, own) < 0)
        return -errno;
    if (!is_displaced(root_fd, own, temp))
        return 0;
    int rc = renameat2(root_fd, own, root_fd, step, RENAME_NOREPLACE);
    if (rc < 0 && errno == EEXIST)
        rc = renameat2(root_fd, own, root_fd, step, RENAME_EXCHANGE);
    return rc < 0 || fsync(root_fd) < 0 ? -errno : 0;
}

static bool is_owner_temp(const char *name)
{
    char canonical[ROOT_NAME_MAX];
    if (strncmp(name, "OWNER.tmp.", 10) != 0)
        return false;
    root_owner_temp_name(canonical, strtoull(name + 10, NULL, 16));
    return strcmp(name, canonical) == 0;
}

/* A walk over what lower epochs left. */
struct broom {
    struct mst_aio *aio; /* NULL: nothing is removed */
    int root_fd;
    uint64_t epoch, token;
};

/* 0, also if it is no such name; -errno. */
static int sweep_one(const struct broom *broom, const char *name)
{
    int root_fd = broom->root_fd;
    if (broom->aio && is_owner_temp(name))
        return remove_file(broom->aio, root_fd, name);
    struct temp temp;
    char own[ROOT_NAME_MAX];
    if (!parse_temp(name, &temp) || temp.epoch >= broom->epoch)
        return 0;
    if (!broom->aio && !is_displaced(root_fd, name, &temp))
        return 0;
    int rc = put_back(root_fd, name, &temp, broom->token, own);
    if (rc == 0 && broom->aio)
        rc = root_remove(broom->aio, root_fd, own);
    return rc == -ENOENT ? 0 : rc; /* whoever made it was faster */
}

static int sweep(const struct broom *broom)
{
    DIR *dir = root_open_folder(broom->root_fd, ".");
    if (!dir)
        return -errno;
    int rc = 0;
    struct dirent *entry;
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        int swept = sweep_one(broom, entry->d_name);
        rc = rc == 0 ? swept : rc;
    }
    rc = rc == 0 ? -errno : rc;
    closedir(dir);
    return rc;
}

int root_put_back(int root_fd, uint64_t epoch, uint64_t token)
{
    return sweep(&(struct broom){NULL, root_fd, epoch, token});
}

int root_remove_abandoned(struct mst_aio *aio, int root_fd, uint64_t epoch, uint64_t token)
{
    return sweep(&(struct broom){aio, root_fd, epoch, token});
}

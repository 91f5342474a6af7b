/* A directory that all nodes see. Files are written under a temporary name and read around the page
 * cache, by core/aio; root.h knows the names and the order that makes them durable. */
#include "muster/ckpt/lease.h"
#include "muster/ckpt/owner_file.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/writer.h"
#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/least.h"
#include "muster/core/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct tier_dir {
    struct tier tier;
    struct mst_aio *aio;
    int root_fd;
    char *path;                      /* by which it was opened, from "/" on */
    struct mst_process_fd owner;     /* the record that this tier made, and holds locked */
    uint64_t kept_step;              /* that could not go back: abandon leaves it; MST_CKPT_NONE */
    const struct manifest *manifest; /* being read */
    int *fds;                        /* of its files; -1: not open yet */
};

static struct tier_dir *dir_of(struct tier *tier)
{
    return (struct tier_dir *)tier;
}

static void dir_close(struct tier *tier)
{
    struct tier_dir *dir = dir_of(tier);
    mst_aio_destroy(dir->aio);
    mst_process_close_fd(&dir->owner);
    if (dir->root_fd >= 0)
        close(dir->root_fd);
    free(dir->path);
    free(dir);
}

/* ---- owners ---------------------------------------------------------------------------------- */

static int list(struct tier *tier, root_parse_fn parse, uint64_t **ret_numbers, size_t *ret_count,
                struct mst_err *err)
{
    int rc = root_list(dir_of(tier)->root_fd, parse, ret_numbers, ret_count);
    return rc < 0 ? mst_err_set(err, rc, "cannot list the root: %s", mst_err_meaning(rc)) : 0;
}

static int dir_list_owners(struct tier *tier, uint64_t **ret_epochs, size_t *ret_count,
                           uint64_t deadline_ns, struct mst_err *err)
{
    (void)deadline_ns;
    return list(tier, root_parse_owner, ret_epochs, ret_count, err);
}

static int dir_read_owner(struct tier *tier, uint64_t epoch, struct tier_owner *ret_owner,
                          uint64_t deadline_ns, struct mst_err *err)
{
    (void)deadline_ns;
    int rc = owner_file_read(dir_of(tier)->root_fd, epoch, ret_owner);
    return rc < 0 ? mst_err_set(err, rc, "%s", root_fault(rc)) : 0;
}

static int dir_create_owner(struct tier *tier, uint64_t epoch, const char *text,
                            uint64_t deadline_ns, struct mst_err *err)
{
    struct tier_dir *dir = dir_of(tier);
    (void)deadline_ns;
    assert(dir->owner.fd < 0);
    int fd = owner_file_create(dir->root_fd, epoch, text);
    if (fd == -ENOSPC || fd == -EDQUOT) { /* a training whose saves fail goes on, all the same */
        int adopted = owner_file_adopt(dir->root_fd, epoch, text);
        fd = adopted == -ENOENT || adopted == -EBADMSG ? fd : adopted;
    }
    if (fd < 0)
        return mst_err_set(err, fd, "OWNER.%" PRIu64 ": %s", epoch, mst_err_meaning(fd));
    mst_process_keep_fd(&dir->owner, fd);
    return 0;
}

static int dir_rewrite_owner(struct tier *tier, uint64_t epoch, const char *text,
                             uint64_t deadline_ns, struct mst_err *err)
{
    (void)deadline_ns;
    int rc = owner_file_rewrite(dir_of(tier)->owner.fd, text);
    return rc < 0 ? mst_err_set(err, rc, "OWNER.%" PRIu64 ": %s", epoch, mst_err_meaning(rc)) : 0;
}

static void dir_remove_owner(struct tier *tier, uint64_t epoch, uint64_t deadline_ns)
{
    (void)deadline_ns;
    owner_file_remove(dir_of(tier)->root_fd, epoch);
}

/* ---- saving ---------------------------------------------------------------------------------- */

static int dir_sweep(struct tier *tier, uint64_t epoch, uint64_t deadline_ns, struct mst_err *err)
{
    struct tier_dir *dir = dir_of(tier);
    (void)deadline_ns;
    (void)err;
    (void)root_remove_abandoned(dir->aio, dir->root_fd, epoch,
                                tier->owner.token); /* a name is never reused */
    return 0;
}

static int dir_put_back(struct tier *tier, struct mst_err *err)
{
    int rc = root_put_back(dir_of(tier)->root_fd, tier->owner.epoch, tier->owner.token);
    return rc < 0 ? mst_err_set(err, rc, "a step that was exchanged cannot be put back: %s",
                                mst_err_meaning(rc))
                  : 0;
}

static void name_temp(const struct tier_save *save, char temp[ROOT_NAME_MAX])
{
    root_temp_name(temp, save->step, save->claim);
}

static int write_new(struct tier_dir *dir, int temp_fd, struct writer_job *job,
                     uint64_t deadline_ns, struct mst_err *err)
{
    job->fd = writer_open_direct(temp_fd, job->name, O_WRONLY | O_CREAT | O_EXCL);
    if (job->fd < 0)
        return mst_err_set(err, job->fd, "%s: open: %s", job->name, mst_err_meaning(job->fd));
    int rc = writer_write(dir->aio, job, deadline_ns, err);
    if (close(job->fd) < 0 && rc == 0)
        rc = mst_err_set(err, -errno, "%s: close: %s", job->name, mst_err_meaning(errno));
    return rc;
}

/* What is published under another name is not found by the one that the job was given. */
static int check_place(const struct tier_dir *dir, struct mst_err *err)
{
    struct stat named, opened = {.st_nlink = 1};
    int rc = stat(dir->path, &named) < 0 ? -errno : 0;
    bool is_gone = rc == -ENOENT || rc == -ENOTDIR;
    int known = fstat(dir->root_fd, &opened);
    if (rc == 0 && known == 0)
        is_gone = named.st_dev != opened.st_dev || named.st_ino != opened.st_ino;
    if (!is_gone)
        return 0;
    if (opened.st_nlink == 0)
        return mst_err_set(err, -ENOENT,
                           "%.150s was removed under way, with what was saved there: start the job "
                           "again",
                           dir->path);
    return mst_err_set(err, -ENOENT,
                       "%.150s is no longer the directory that was opened: what is saved there "
                       "would not be found: put it back",
                       dir->path);
}

static int dir_write(struct tier *tier, const struct tier_save *save, struct writer_job *job,
                     uint64_t deadline_ns, struct mst_err *err)
{
    struct tier_dir *dir = dir_of(tier);
    char temp[ROOT_NAME_MAX];
    name_temp(save, temp);
    int temp_fd = root_make_temp(dir->aio, dir->root_fd, temp);
    if (temp_fd == -ENOENT && check_place(dir, err) < 0)
        return -ENOENT;
    if (temp_fd < 0)
        return mst_err_set(err, temp_fd, "%s: %s", temp, mst_err_meaning(temp_fd));
    int rc = write_new(dir, temp_fd, job, deadline_ns, err);
    if (rc == -ENOSPC || rc == -EDQUOT)
        (void)unlinkat(temp_fd, job->name, 0); /* a second try needs the name, and the room */
    close(temp_fd);
    return rc;
}

static int check_file(int temp_fd, uint32_t rank, uint64_t size_bytes, struct mst_err *err)
{
    char name[ROOT_NAME_MAX];
    root_file_name(name, rank);
    int fd = root_open_file(temp_fd, name, O_NOFOLLOW);
    if (fd < 0)
        return mst_err_set(err, -EBADMSG,
                           "%s, which was written, %s: is the root one folder that all nodes see?",
                           name, root_fault(fd));
    struct stat st;
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    close(fd);
    if (rc == 0 && (uint64_t)st.st_size == size_bytes)
        return 0;
    return mst_err_set(err, -EBADMSG, "%s has not the %" PRIu64 " bytes that were written", name,
                       size_bytes);
}

static int dir_check(struct tier *tier, const struct tier_save *save,
                     const struct manifest_file *files, uint32_t count, uint64_t deadline_ns,
                     struct mst_err *err)
{
    (void)deadline_ns;
    char temp[ROOT_NAME_MAX];
    name_temp(save, temp);
    int rc = check_place(dir_of(tier), err);
    if (rc < 0)
        return rc;
    int temp_fd = openat(dir_of(tier)->root_fd, temp,
                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (temp_fd < 0)
        return mst_err_set(err, -errno, "%s: %s", temp, mst_err_meaning(errno));
    for (uint32_t r = 0; r < count && rc == 0; r++)
        rc = check_file(temp_fd, r, files[r].size_bytes, err);
    close(temp_fd);
    return rc < 0 ? mst_err_wrap(err, "%s", temp) : 0;
}

/* What came out of an exchange may be the step of whoever has taken the root meanwhile, or all that
 * is durable: unless the save is good it goes back, or stays where it is. */
static void settle(struct tier_dir *dir, const struct tier_save *save, const char *temp, bool good)
{
    if (good)
        (void)root_remove(dir->aio, dir->root_fd, temp); /* the next sweep removes it too */
    else if (root_publish_back(dir->aio, dir->root_fd, temp, save->step) < 0)
        dir->kept_step = save->step;
}

static int dir_publish(struct tier *tier, const struct tier_save *save, const char *text,
                       size_t size_bytes, uint64_t deadline_ns, struct mst_err *err)
{
    struct tier_dir *dir = dir_of(tier);
    char temp[ROOT_NAME_MAX];
    name_temp(save, temp);
    int temp_fd = openat(dir->root_fd, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (temp_fd < 0)
        return mst_err_set(err, -errno, "%s: %s", temp, mst_err_meaning(errno));
    int rc = root_write_file(dir->aio, temp_fd, MANIFEST_NAME, text, size_bytes);
    if (rc < 0)
        mst_err_set(err, rc, "%s: %s", MANIFEST_NAME, mst_err_meaning(rc));
    else if (mst_deadline_passed(deadline_ns)) /* other ranks may have given up */
        rc = mst_err_set(err, -ETIMEDOUT,
                         "not published: the time of the save is over (timeout_ms)");
    bool replaced = false;
    if (rc == 0 &&
        (rc = root_publish(dir->aio, dir->root_fd, temp_fd, temp, save->step, &replaced)) < 0)
        mst_err_set(err, rc, "publish step_%" PRIu64 " from %s: %s", save->step, temp,
                    mst_err_meaning(rc));
    close(temp_fd);
    if (rc == 0)
        rc = lease_check(save->lease, tier, deadline_ns, err);
    if (replaced)
        settle(dir, save, temp, rc == 0);
    return rc;
}

static void dir_abandon(struct tier *tier, const struct tier_save *save, uint64_t deadline_ns)
{
    struct tier_dir *dir = dir_of(tier);
    (void)deadline_ns;
    char temp[ROOT_NAME_MAX];
    name_temp(save, temp);
    if (dir->kept_step != save->step)
        (void)root_remove(dir->aio, dir->root_fd, temp); /* what stays is swept */
}

static void dir_point_latest(struct tier *tier, uint64_t step)
{
    struct tier_dir *dir = dir_of(tier);
    (void)root_point_latest(dir->aio, dir->root_fd, step); /* only a hint */
}

static int dir_remove_step(struct tier *tier, const struct tier_save *save, uint64_t step,
                           const struct root_pause *pause, uint64_t deadline_ns)
{
    struct tier_dir *dir = dir_of(tier);
    (void)deadline_ns;
    char temp[ROOT_NAME_MAX];
    root_temp_name(temp, step, save->claim);
    return root_remove_step(dir->aio, dir->root_fd, step, temp, pause);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int dir_list(struct tier *tier, uint64_t **ret_steps, size_t *ret_count,
                    uint64_t deadline_ns, struct mst_err *err)
{
    (void)deadline_ns;
    return list(tier, root_parse_step, ret_steps, ret_count, err);
}

static int dir_read_manifest(struct tier *tier, uint64_t step, struct manifest *ret_manifest,
                             uint64_t deadline_ns, struct mst_err *err)
{
    (void)deadline_ns;
    return root_read_manifest(dir_of(tier)->root_fd, step, ret_manifest, err);
}

static int dir_begin(struct tier *tier, const struct manifest *manifest)
{
    struct tier_dir *dir = dir_of(tier);
    assert(!dir->fds && mst_aio_in_flight(dir->aio) == 0);
    dir->fds = malloc(manifest->world_size * sizeof *dir->fds);
    if (!dir->fds)
        return -ENOMEM;
    for (uint32_t r = 0; r < manifest->world_size; r++)
        dir->fds[r] = -1;
    dir->manifest = manifest;
    return 0;
}

static void dir_end(struct tier *tier)
{
    struct tier_dir *dir = dir_of(tier);
    struct mst_aio_done done;
    while (mst_aio_in_flight(dir->aio) > 0)
        (void)mst_aio_reap(dir->aio, &done, 1, 1, MST_NEVER); /* buffers are borrowed */
    for (uint32_t r = 0; dir->fds && r < dir->manifest->world_size; r++)
        if (dir->fds[r] >= 0)
            close(dir->fds[r]);
    free(dir->fds);
    dir->fds = NULL;
}

/* What the disk does not give is damage, as a wrong checksum is; running out of descriptors is not.
 */
static int open_file(struct tier_dir *dir, uint32_t file, const char *path, struct mst_err *err)
{
    if (dir->fds[file] >= 0)
        return 0;
    int fd = writer_open_to_read(dir->root_fd, path);
    if (fd == -EMFILE || fd == -ENFILE)
        return mst_err_set(err, fd, "%s: %s: raise the limit (ulimit -n)", path,
                           mst_err_meaning(fd));
    if (fd < 0)
        return mst_err_set(err, -EBADMSG, "%s: %s", path, root_fault(fd));
    uint64_t expected = dir->manifest->files[file].size_bytes;
    struct stat st;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != expected) {
        close(fd);
        return mst_err_set(err, -EBADMSG, "%s: not of the %" PRIu64 " bytes that the manifest says",
                           path, expected);
    }
    dir->fds[file] = fd;
    return 0;
}

static int dir_submit(struct tier *tier, struct tier_read *read, struct mst_err *err)
{
    struct tier_dir *dir = dir_of(tier);
    root_file_path(read->path, dir->manifest, read->file);
    int rc = open_file(dir, read->file, read->path, err);
    if (rc < 0)
        return rc;
    size_t skip = read->offset % TIER_PAGE_BYTES;
    struct mst_aio_op op = {.kind = MST_AIO_READ,
                            .fd = dir->fds[read->file],
                            .data = read->buffer,
                            .size_bytes = mst_round_up(skip + read->size_bytes, TIER_PAGE_BYTES),
                            .offset = read->offset - skip,
                            .user = read};
    assert(op.size_bytes <= read->size_bytes + TIER_SLACK_BYTES);
    read->data = read->buffer + skip;
    int taken = mst_aio_submit(dir->aio, &op, 1);
    assert(taken == 1); /* the aio is deeper than a tier */
    return 0;
}

static int dir_reap(struct tier *tier, struct tier_read **ret_read, uint64_t deadline_ns)
{
    struct mst_aio_done done;
    int rc = mst_aio_reap(dir_of(tier)->aio, &done, 1, 1, deadline_ns);
    if (rc < 0)
        return rc;
    struct tier_read *read = done.user;
    int64_t skip = read->data - read->buffer;
    read->result = done.result < 0 ? -EBADMSG : done.result < skip ? 0 : done.result - skip;
    read->fault = done.result < 0 ? mst_err_meaning((int)done.result) : NULL;
    *ret_read = read;
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static const struct tier_ops dir_ops = {
    .name = "dir",
    .close = dir_close,
    .list_owners = dir_list_owners,
    .read_owner = dir_read_owner,
    .create_owner = dir_create_owner,
    .rewrite_owner = dir_rewrite_owner,
    .remove_owner = dir_remove_owner,
    .put_back = dir_put_back,
    .sweep = dir_sweep,
    .write = dir_write,
    .check = dir_check,
    .publish = dir_publish,
    .abandon = dir_abandon,
    .point_latest = dir_point_latest,
    .remove_step = dir_remove_step,
    .list = dir_list,
    .read_manifest = dir_read_manifest,
    .begin = dir_begin,
    .end = dir_end,
    .submit = dir_submit,
    .reap = dir_reap,
};

/* A reader needs no more than to look. */
static int open_root(const char *path, bool read_only, int *ret_fd, struct mst_err *err)
{
    if (!read_only)
        return root_open(path, ret_fd, err);
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? mst_err_set(err, -errno, "%s: %s", path, mst_err_meaning(errno)) : 0;
}

int tier_dir_open(const struct tier_opts *opts, const char *path, struct tier **ret_tier,
                  struct mst_err *err)
{
    struct tier_dir *dir = calloc(1, sizeof *dir);
    if (!dir)
        return mst_err_set(err, -ENOMEM, "checkpoint directory: no memory");
    *dir = (struct tier_dir){
        .tier.ops = &dir_ops, .root_fd = -1, .owner = {.fd = -1}, .kept_step = MST_CKPT_NONE};
    const struct mst_aio_opts aio_opts = {.backend = opts->aio};
    dir->path = mst_file_absolute(path);
    int rc = dir->path ? open_root(path, opts->read_only, &dir->root_fd, err)
                       : mst_err_set(err, -ENOMEM, "checkpoint directory: no memory");
    if (rc == 0 && !opts->owners_only)
        rc = mst_aio_create(&aio_opts, &dir->aio, err);
    if (rc < 0) {
        dir_close(&dir->tier);
        return rc;
    }
    *ret_tier = &dir->tier;
    return 0;
}

#include "muster/ckpt/owner_file.h"

#include "muster/ckpt/root.h"
#include "muster/ckpt/tier.h"
#include "muster/core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 8

/* Locks belong to the open file, so that two owners in one process see each other's, and a forked
 * child that closes its copy takes nothing away; a child that kept one would hold the lock of a
 * parent that has died. Where there are none, times tell who lives. */
static void lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_OFD_SETLK, &whole); /* as above: nobody else knows the file yet */
}

static enum owner_lock look_at_lock(int fd)
{
    struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &whole) < 0)
        return OWNER_UNKNOWN;
    return whole.l_type == F_UNLCK ? OWNER_UNLOCKED : OWNER_LOCKED;
}

static int write_whole(int fd, const char *text)
{
    int rc = mst_file_pwrite(fd, text, OWNER_BYTES, 0);
    return rc == 0 && fdatasync(fd) < 0 ? -errno : rc;
}

/* A finished file gets its name; a link never replaces, on any file system. Some have none. */
static int give_name(int root_fd, const char *temp, const char *name)
{
    if (linkat(root_fd, temp, root_fd, name, 0) == 0)
        return unlinkat(root_fd, temp, 0) < 0 ? -errno : 0;
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
        return -errno;
    return renameat2(root_fd, temp, root_fd, name, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

static int finish(int root_fd, int fd, const char *temp, uint64_t epoch, const char *text)
{
    char name[ROOT_NAME_MAX];
    root_owner_name(name, epoch);
    lock(fd);
    int rc = write_whole(fd, text);
    if (rc == 0)
        rc = give_name(root_fd, temp, name);
    if (rc == -ENOENT)
        rc = -EEXIST; /* swept by whoever has taken the root since */
    if (rc == 0 && fsync(root_fd) < 0)
        rc = -errno;
    return rc;
}

int owner_file_create(int root_fd, uint64_t epoch, const char *text)
{
    uint64_t unique = 0;
    (void)getrandom(&unique, sizeof unique, 0); /* 8 bytes always come once the system has booted */
    char temp[ROOT_NAME_MAX];
    root_owner_temp_name(temp, unique);
    int fd = openat(root_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    int rc = finish(root_fd, fd, temp, epoch, text);
    if (rc == 0)
        return fd;
    (void)unlinkat(root_fd, temp, 0); /* it may have its name already */
    close(fd);
    return rc;
}

/* From the moment it has its new name whoever wrote it has lost the root. */
static int take_file(int root_fd, int fd, uint64_t epoch, const char *text)
{
    char old[ROOT_NAME_MAX], name[ROOT_NAME_MAX];
    root_owner_name(old, epoch - 1);
    root_owner_name(name, epoch);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size != OWNER_BYTES)
        return -EBADMSG;
    int rc = give_name(root_fd, old, name);
    lock(fd);
    return rc == 0 ? write_whole(fd, text) : rc;
}

int owner_file_adopt(int root_fd, uint64_t epoch, const char *text)
{
    char old[ROOT_NAME_MAX];
    root_owner_name(old, epoch - 1);
    int fd = openat(root_fd, old, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = take_file(root_fd, fd, epoch, text);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

int owner_file_rewrite(int fd, const char *text)
{
    return write_whole(fd, text);
}

static int read_whole(int fd, struct tier_owner *owner)
{
    int64_t size = mst_file_pread(fd, owner->text, OWNER_BYTES, 0);
    owner->size_bytes = size < 0 ? 0 : (size_t)size;
    return size < 0 ? (int)size : 0;
}

/* A record that is being rewritten may be read in halves: it is believed when it stands still. */
static int read_still(int fd, struct tier_owner *owner)
{
    struct tier_owner before = {0};
    int rc = read_whole(fd, owner);
    for (int i = 0; i < TRIES && rc == 0; i++) {
        before = *owner;
        rc = read_whole(fd, owner);
        if (rc == 0 && owner->size_bytes == before.size_bytes &&
            memcmp(owner->text, before.text, owner->size_bytes) == 0)
            break;
    }
    return rc;
}

int owner_file_read(int root_fd, uint64_t epoch, struct tier_owner *ret_owner)
{
    char name[ROOT_NAME_MAX];
    root_owner_name(name, epoch);
    int fd = root_open_file(root_fd, name, 0);
    if (fd < 0)
        return fd;
    struct tier_owner owner;
    int rc = read_still(fd, &owner);
    owner.lock = look_at_lock(fd);
    close(fd);
    if (rc == 0)
        *ret_owner = owner;
    return rc;
}

void owner_file_remove(int root_fd, uint64_t epoch)
{
    char name[ROOT_NAME_MAX];
    root_owner_name(name, epoch);
    (void)unlinkat(root_fd, name, 0); /* the next owner tries again */
}

#include "muster/core/scratch.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIR_DEFAULT "/tmp"

const char *mst_scratch_dir(void)
{
    const char *dir = getenv("TMPDIR");
    return dir && *dir ? dir : DIR_DEFAULT;
}

/* Not every file system makes files without a name: then it has one, for a moment. */
static int make_in(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd < 0 ? -errno : fd;
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/muster-XXXXXX", dir) >= (int)sizeof path)
        return -ENAMETOOLONG;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    (void)unlink(path); /* it is ours: cannot fail but on a broken disk */
    return fd;
}

static int take(struct mst_scratch *ret_scratch, int fd, uint64_t limit_bytes, const char *where)
{
    *ret_scratch = (struct mst_scratch){.fd = fd, .limit_bytes = limit_bytes};
    (void)snprintf(ret_scratch->where, sizeof ret_scratch->where, "%s", where); /* cut */
    return 0;
}

static int take_memory(struct mst_scratch *ret_scratch)
{
    char where[96];
    int fd = memfd_create("muster-scratch", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    (void)snprintf(where, sizeof where, /* it fits */
                   "memory, at most %u MiB, as TMPDIR and " DIR_DEFAULT " take none",
                   (unsigned)(MST_SCRATCH_MEMORY_BYTES >> 20));
    return take(ret_scratch, fd, MST_SCRATCH_MEMORY_BYTES, where);
}

int mst_scratch_open(const char *dir, struct mst_scratch *ret_scratch, struct mst_err *err)
{
    const char *first = dir ? dir : mst_scratch_dir();
    int fd = make_in(first);
    if (fd >= 0)
        return take(ret_scratch, fd, UINT64_MAX, first);
    int rc = fd;
    if (!dir && (fd = make_in(DIR_DEFAULT)) >= 0)
        return take(ret_scratch, fd, UINT64_MAX, DIR_DEFAULT);
    if (!dir && take_memory(ret_scratch) == 0)
        return 0;
    return mst_err_set(err, rc, "no scratch file in %s: %s; name another folder", first,
                       mst_err_meaning(rc));
}

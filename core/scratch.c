#include "muster/core/scratch.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of the memory: relaxed, as nothing is published by it. */
static atomic_uint_least64_t taken_bytes;

const char *mst_scratch_dir(void)
{
    const char *dir = getenv("TMPDIR");
    return dir && *dir ? dir : "/tmp";
}

/* Not every file system makes files without a name: then it has one, for a moment. */
static int open_in(const char *dir)
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

int mst_scratch_open(const char *dir, struct mst_scratch *ret_scratch, struct mst_err *err)
{
    const char *where = dir ? dir : mst_scratch_dir();
    int fd = open_in(where);
    if (fd >= 0) {
        *ret_scratch = (struct mst_scratch){fd, false, where};
        return 0;
    }
    if (dir)
        return mst_err_set(err, fd, "no scratch file in %s: %s; name another folder", dir,
                           mst_err_meaning(fd));
    int rc = fd;
    fd = memfd_create("muster-scratch", MFD_CLOEXEC);
    if (fd < 0)
        return mst_err_set(err, rc,
                           "no scratch file in %s: %s; set TMPDIR to a folder that takes one",
                           where, mst_err_meaning(rc));
    *ret_scratch = (struct mst_scratch){fd, true, "memory"};
    return 0;
}

int mst_scratch_take(const struct mst_scratch *scratch, uint64_t size_bytes, struct mst_err *err)
{
    if (!scratch->in_memory)
        return 0;
    uint64_t before = atomic_fetch_add_explicit(&taken_bytes, size_bytes, memory_order_relaxed);
    if (size_bytes <= MST_SCRATCH_MEMORY_BYTES && before <= MST_SCRATCH_MEMORY_BYTES - size_bytes)
        return 0;
    atomic_fetch_sub_explicit(&taken_bytes, size_bytes, memory_order_relaxed);
    return mst_err_set(err, -ENOSPC,
                       "scratch files fill the %llu MiB of memory that they may, as %s takes none: "
                       "set TMPDIR to a folder with room",
                       (unsigned long long)(MST_SCRATCH_MEMORY_BYTES >> 20), mst_scratch_dir());
}

#include "muster/dataio/scratch.h"

#include "muster/core/blob/env.h"
#include "muster/core/err.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIR_DEFAULT "/tmp"

static int make_in(struct scratch *scratch, const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    scratch->fd = fd;
    scratch->limit = UINT64_MAX;
    (void)snprintf(scratch->place, sizeof scratch->place, "%s", dir); /* cut */
    return 0;
}

static int make_in_memory(struct scratch *scratch)
{
    int fd = memfd_create("muster-scratch", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    scratch->fd = fd;
    scratch->limit = SCRATCH_MEMORY_BYTES_MAX;
    (void)snprintf(scratch->place, sizeof scratch->place, /* fits */
                   "memory, at most %u MiB, as TMPDIR and " DIR_DEFAULT " take none",
                   (unsigned)(SCRATCH_MEMORY_BYTES_MAX >> 20));
    return 0;
}

static int make(struct scratch *scratch, const char *dir, struct mst_err *err)
{
    const char *own = dir ? dir : mst_blob_env_tmpdir();
    const char *first = own ? own : DIR_DEFAULT;
    int rc = make_in(scratch, first);
    if (rc && !dir && own)
        rc = make_in(scratch, DIR_DEFAULT);
    if (rc && !dir)
        rc = make_in_memory(scratch);
    if (rc)
        return mst_err_set(err, rc, "no scratch file in %s: %s; name another folder", first,
                           mst_err_meaning(rc));
    return 0;
}

int scratch_begin(struct scratch *scratch, const char *dir, struct mst_err *err)
{
    int rc = scratch->fd < 0 ? make(scratch, dir, err) : 0;
    scratch->users += rc == 0;
    return rc;
}

void scratch_end(struct scratch *scratch, uint64_t size_bytes)
{
    assert(scratch->users > 0);
    scratch->end += (size_bytes + SCRATCH_GRAIN - 1) / SCRATCH_GRAIN * SCRATCH_GRAIN;
}

int scratch_check(const struct scratch *scratch, uint64_t offset)
{
    return offset <= scratch->limit ? 0 : -ENOSPC;
}

void scratch_release(struct scratch *scratch)
{
    assert(scratch->users > 0);
    if (--scratch->users > 0)
        return;
    close(scratch->fd);
    *scratch = (struct scratch)SCRATCH_INIT;
}

#include "muster/dataio/scratch.h"

#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

int scratch_begin(struct scratch *scratch, const char *dir, struct mst_err *err)
{
    int rc = scratch->file.fd < 0 ? mst_scratch_open(dir, &scratch->file, err) : 0;
    scratch->users += rc == 0;
    return rc;
}

void scratch_end(struct scratch *scratch, uint64_t size_bytes)
{
    assert(scratch->users > 0);
    scratch->end += mst_round_up(size_bytes, SCRATCH_GRAIN);
}

int scratch_check(const struct scratch *scratch, uint64_t offset)
{
    return offset <= scratch->file.limit_bytes ? 0 : -ENOSPC;
}

void scratch_release(struct scratch *scratch)
{
    assert(scratch->users > 0);
    if (--scratch->users > 0)
        return;
    close(scratch->file.fd);
    *scratch = (struct scratch)SCRATCH_INIT;
}

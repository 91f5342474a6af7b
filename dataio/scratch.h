/* Scratch: one file without a name that the contents of all inflated sources share, one after the
 * other. Nothing of it is left when the process ends, however it ends. */
#ifndef MUSTER_DATAIO_SCRATCH_H
#define MUSTER_DATAIO_SCRATCH_H

#include "muster/core/scratch.h"

#include <stddef.h>
#include <stdint.h>

struct mst_err;

#define SCRATCH_GRAIN 4096u /* where contents begin, so that they can be read past the page cache */

struct scratch {
    struct mst_scratch file; /* its fd is -1: there is none */
    size_t users;            /* contents in it */
    uint64_t end;            /* behind the last of them */
};

#define SCRATCH_INIT                                                                               \
    {                                                                                              \
        .file.fd = -1                                                                              \
    }

/* Begins contents at the end, and makes the file before the first, as mst_scratch_open does. 0, and
 * `end` is where they begin; or its errors. */
int scratch_begin(struct scratch *scratch, const char *dir, struct mst_err *err);

/* Contents of `size_bytes` have been written there. */
void scratch_end(struct scratch *scratch, uint64_t size_bytes);

/* Whether contents that end at `offset` fit: 0; -ENOSPC. */
int scratch_check(const struct scratch *scratch, uint64_t offset);

/* Lets go of contents; with the last of them the file goes. */
void scratch_release(struct scratch *scratch);

#endif

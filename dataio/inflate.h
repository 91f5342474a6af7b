/* Inflate: a gzip file (one member or several, dictzip too) as a stream of its contents. */
#ifndef MUSTER_DATAIO_INFLATE_H
#define MUSTER_DATAIO_INFLATE_H

#include <stddef.h>
#include <stdint.h>

struct mst_err;

struct inflate_io {
    /* The next compressed bytes: how many, 0 at the end, or -errno. */
    int64_t (*read)(void *arg, void *data, size_t cap);
    /* Takes the next contents. 0 or -errno. */
    int (*write)(void *arg, const void *data, size_t size_bytes);
    void *arg;
};

/* Moves everything. Every member's checksum and length are verified. Returns the size of the
 * contents; zeros behind the last member count as padding. -EBADMSG truncated, damaged, not gzip,
 * or followed by anything else, saying at which compressed byte, and how much of it; -ENOMEM; or
 * what read and write answered. */
int64_t inflate_gzip(const struct inflate_io *io, struct mst_err *err);

#endif

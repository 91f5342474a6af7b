/* Scratch: a file without a name, for what does not outlive the process. It lies in the folder that
 * the program names, or else in TMPDIR, in /tmp, or, where these take no file (a container whose
 * root is read-only), in memory, of which it may then fill MST_SCRATCH_MEMORY_BYTES. */
#ifndef MUSTER_CORE_SCRATCH_H
#define MUSTER_CORE_SCRATCH_H

#include <stdint.h>

struct mst_err;

#define MST_SCRATCH_MEMORY_BYTES (UINT64_C(64) << 20)

struct mst_scratch {
    int fd;               /* for reading and writing; the caller's to close */
    uint64_t limit_bytes; /* the caller writes no further */
    char where[96];       /* where it is, for texts; cut if it is long */
};

/* TMPDIR, else /tmp. Reads the environment. */
const char *mst_scratch_dir(void);

/* `dir`: the only folder to try, or NULL. 0; errors of open and memfd_create, naming the folder.
 * Safe from any thread. */
int mst_scratch_open(const char *dir, struct mst_scratch *ret_scratch, struct mst_err *err);

#endif

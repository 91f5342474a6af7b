/* Scratch: a file without a name, for what does not outlive the process. It lies in the folder that
 * the program names, or else in TMPDIR, or /tmp where that is not set. Where these take no file (a
 * container whose root is read-only) it lies in memory; all such files of a process together may be
 * filled with MST_SCRATCH_MEMORY_BYTES, and none is counted off when it is closed. */
#ifndef MUSTER_CORE_SCRATCH_H
#define MUSTER_CORE_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

struct mst_err;

#define MST_SCRATCH_MEMORY_BYTES (UINT64_C(256) << 20)

struct mst_scratch {
    int fd;            /* for reading and writing; the caller's to close */
    bool in_memory;    /* mst_scratch_take has a say before it grows */
    const char *where; /* the folder, or "memory"; as long as argument and environment live */
};

/* The folder that scratch files go to when the program names none. Reads the environment. */
const char *mst_scratch_dir(void);

/* `dir`: the only folder to try, or NULL. 0; errors of open and memfd_create with text. Safe from
 * any thread. */
int mst_scratch_open(const char *dir, struct mst_scratch *ret_scratch, struct mst_err *err);

/* Before `size_bytes` more are written into it. 0; -ENOSPC with text: the memory is used up. Safe
 * from any thread. */
int mst_scratch_take(const struct mst_scratch *scratch, uint64_t size_bytes, struct mst_err *err);

#endif

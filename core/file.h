/* Files that somebody names: opened without waiting for whoever else has them open. */
#ifndef MUSTER_CORE_FILE_H
#define MUSTER_CORE_FILE_H

#include <stdio.h>

/* Opens a file to read, as fopen(path, "re"), links followed. NULL and errno: EISDIR; ENOTSUP it
 * is no regular file (a writer of a FIFO might be waited for for ever); as open, fstat and fdopen.
 * Does not block, but on a file system that does not answer. */
FILE *mst_file_read(const char *path);

/* What such an errno means, of either sign: static text. */
const char *mst_file_meaning(int error);

#endif

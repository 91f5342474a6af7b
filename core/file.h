/* Files that somebody names: opened without waiting for whoever else has them open; and fds. */
#ifndef MUSTER_CORE_FILE_H
#define MUSTER_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Opens a file to read, as fopen(path, "re"), links followed. NULL and errno: EISDIR; ENOTSUP it
 * is no regular file (a writer of a FIFO might be waited for for ever); as open, fstat and fdopen.
 * Does not block, but on a file system that does not answer. */
FILE *mst_file_read(const char *path);

/* The first line, without its end, of the file that printf makes the name of: of /sys, /proc and
 * their like, or of a copy of them. False, and *line may be anything: there is none. */
bool mst_file_line(char *line, size_t cap, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As pread, up to `size_bytes` or to the end of the file: short reads are continued. How many;
 * -errno. */
int64_t mst_file_pread(int fd, void *data, size_t size_bytes, uint64_t offset);

/* As pwrite, all of it: short writes are continued. 0; -errno. */
int mst_file_pwrite(int fd, const void *data, size_t size_bytes, uint64_t offset);

/* Closes *fd, of which nothing can be lost, if it is open (not negative); it is -1 then. */
void mst_file_close(int *fd);

/* `path` from "/" on, for later, when the process may be in another folder. To be freed; NULL: no
 * memory. */
char *mst_file_absolute(const char *path);

/* What such an errno means, of either sign: static text. */
const char *mst_file_meaning(int error);

#endif

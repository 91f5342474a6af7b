/* direct: what the disk gives and takes: files read or written without the page cache, from and
 * into huge pages, in blocks of 4 MiB, four at a time a file. Prints seconds; those of a write end
 * once all is durable.
 *
 *   direct read FILE …
 *   direct write MIB FILE …      MIB each; the files are made, and stay */
#include "muster/perf/drivers/stopwatch.h"
#include "muster/perf/limits/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES ((off_t)4 << 20)
#define DEPTH 4 /* threads a file */
#define FILES_MAX 8

struct stripe {
    int fd;
    bool writes;
    off_t first, file_bytes; /* the blocks from `first` on, each DEPTH-th */
    void *block;
    pthread_t thread;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *move_blocks(void *argument)
{
    struct stripe *stripe = argument;
    for (off_t at = stripe->first; at < stripe->file_bytes; at += DEPTH * BLOCK_BYTES) {
        off_t left = stripe->file_bytes - at, whole = left < BLOCK_BYTES ? left : BLOCK_BYTES;
        errno = EIO; /* of one that is short */
        ssize_t moved = stripe->writes ? pwrite(stripe->fd, stripe->block, (size_t)whole, at)
                                       : pread(stripe->fd, stripe->block, (size_t)BLOCK_BYTES, at);
        if (moved != whole)
            die(stripe->writes ? "write" : "read");
    }
    return NULL;
}

/* Opens a file; it has *ret_bytes, or gets them. */
static int open_file(const char *path, bool writes, off_t *ret_bytes)
{
    int fd = open(path,
                  writes ? O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC
                         : O_RDONLY | O_DIRECT | O_CLOEXEC,
                  0666);
    if (fd < 0 || (writes && ftruncate(fd, *ret_bytes) < 0))
        die(path);
    *ret_bytes = lseek(fd, 0, SEEK_END);
    if (!writes && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die(path);
    return fd;
}

static void open_stripes(struct stripe stripes[DEPTH], const char *path, bool writes, off_t bytes)
{
    int fd = open_file(path, writes, &bytes);
    for (int i = 0; i < DEPTH; i++)
        stripes[i] = (struct stripe){.fd = fd,
                                     .writes = writes,
                                     .first = i * BLOCK_BYTES,
                                     .file_bytes = bytes,
                                     .block = pair_memory((size_t)BLOCK_BYTES)};
}

int main(int argc, char **argv)
{
    static struct stripe stripes[FILES_MAX * DEPTH];
    bool writes = argc > 3 && strcmp(argv[1], "write") == 0;
    off_t bytes = writes ? (off_t)strtoull(argv[2], NULL, 10) << 20 : 0;
    char **paths = argv + (writes ? 3 : 2);
    int count = (int)(argv + argc - paths);
    if (argc < 3 || count > FILES_MAX) {
        fputs("usage: direct read FILE … | direct write MIB FILE …\n", stderr);
        return 1;
    }
    for (int i = 0; i < count; i++)
        open_stripes(&stripes[(size_t)i * DEPTH], paths[i], writes, bytes);
    double began_s = stopwatch_s();
    for (int i = 0; i < count * DEPTH; i++)
        if (pthread_create(&stripes[i].thread, NULL, move_blocks, &stripes[i]) != 0)
            die("a thread");
    for (int i = 0; i < count * DEPTH; i++)
        pthread_join(stripes[i].thread, NULL);
    for (int i = 0; writes && i < count; i++)
        if (fdatasync(stripes[(size_t)i * DEPTH].fd) < 0)
            die(paths[i]);
    printf("%.6f\n", stopwatch_s() - began_s);
    return 0;
}

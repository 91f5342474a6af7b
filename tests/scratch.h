/* A directory of a test's own, and files in it. */
#ifndef MUSTER_TESTS_SCRATCH_H
#define MUSTER_TESTS_SCRATCH_H

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_dir[64];

/* As setup and teardown of a cmocka group. */
static inline int scratch_setup(void **state)
{
    (void)state;
    (void)snprintf(scratch_dir, sizeof scratch_dir, "scratch.XXXXXX");
    return mkdtemp(scratch_dir) ? 0 : -1;
}

static inline int scratch_unlink(const char *path, const struct stat *st, int type,
                                 struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline int scratch_teardown(void **state)
{
    (void)state;
    return nftw(scratch_dir, scratch_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

/* The path of `name` in it; one of 16 buffers in turn. */
static inline const char *scratch_path(const char *name)
{
    static char paths[16][320];
    static unsigned next;
    char *path = paths[next++ % 16];
    (void)snprintf(path, sizeof paths[0], "%s/%s", scratch_dir, name);
    return path;
}

/* Writes a file and returns its path. */
static inline const char *scratch_write(const char *name, const void *data, size_t size_bytes)
{
    const char *path = scratch_path(name);
    FILE *file = fopen(path, "we");
    if (!file || fwrite(data, 1, size_bytes, file) != size_bytes || fclose(file))
        abort(); /* no test can go on */
    return path;
}

#endif

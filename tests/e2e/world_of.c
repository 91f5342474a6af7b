/* A program that was linked with libmuster and started by nobody in particular: which world is it?
 *
 *   world_of
 *
 * prints "alone", "rank R of N" or why not, and ends with 0, 0 or 1. What the machine would say to
 * libmuster is answered here, before the C library can: AS_IF_HOSTNAME is its name, and files that
 * are below the folder AS_IF_ROOT stand for those below /. */
#include "muster/muster.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *below_root(const char *path, char full[4096])
{
    const char *root = getenv("AS_IF_ROOT");
    (void)snprintf(full, 4096, "%s%s", root ? root : "", path);
    return access(full, F_OK) == 0 ? full : path;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libc's begin with "__" */
int gethostname(char *name, size_t size)
{
    const char *as_if = getenv("AS_IF_HOSTNAME");
    (void)snprintf(name, size, "%s", as_if ? as_if : "some-host");
    return 0;
}

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    char full[4096];
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "open");
    return real(below_root(path, full), flags, mode);
}

DIR *opendir(const char *path)
{
    static DIR *(*real)(const char *);
    char full[4096];
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "opendir");
    return real(below_root(path, full));
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

int main(void)
{
    struct mst_world *world;
    struct mst_err err = {0};
    if (mst_world_from_env(&world, &err) < 0) {
        printf("%s\n", err.text);
        return 1;
    }
    if (mst_world_get_source(world) == MST_WORLD_SINGLE)
        printf("alone\n");
    else
        printf("rank %u of %u\n", mst_world_rank(world), mst_world_size(world));
    mst_world_destroy(world);
    return 0;
}

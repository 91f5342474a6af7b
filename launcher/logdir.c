#include "muster/launcher/logdir.h"

#include "muster/core/err.h"
#include "muster/core/resolve/resolve.h"
#include "muster/launcher/stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX 1000 /* starts of one node in one millisecond */

/* `path` and its parents; whose there are, are. */
static int make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdir(path, 0777) && errno != EEXIST ? -errno : 0;
        *slash = '/';
        if (rc)
            return rc;
    }
    return mkdir(path, 0777) && errno != EEXIST ? -errno : 0;
}

/* "20260131T235959.123Z-node_0-job": sorted by time, and one component whatever the id is. */
static void name_start(char *name, size_t cap, const char *job_id, uint32_t node)
{
    char stamp[STAMP_BYTES], *to = stamp;
    for (const char *from = stamp_now(stamp); *from; from++) {
        if (*from != '-' && *from != ':')
            *to++ = *from;
    }
    *to = '\0';
    snprintf(name, cap, "%s-node_%u%s%s", stamp, node, *job_id ? "-" : "", job_id); /* may be cut */
    for (char *c = name; *c; c++) {
        if (!strchr(MST_NAME_LETTERS, *c))
            *c = '_';
    }
}

/* The next free name. */
static int make_start(const char *dir, const char *name, char *path, size_t cap)
{
    for (int i = 0; i < NAMES_MAX; i++) {
        char number[16] = "";
        if (i > 0)
            snprintf(number, sizeof number, ".%d", i); /* three digits */
        if ((size_t)snprintf(path, cap, "%s/%s%s", dir, name, number) >= cap)
            return -ENAMETOOLONG;
        if (mkdir(path, 0777) == 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

int logdir_create(const char *dir, const char *job_id, uint32_t node, char **ret_path,
                  struct mst_err *err)
{
    char name[160], path[PATH_MAX];
    char *parents = strdup(dir);
    int rc = parents ? make_folders(parents) : -ENOMEM;
    free(parents);
    name_start(name, sizeof name, job_id, node);
    if (rc == 0)
        rc = make_start(dir, name, path, sizeof path);
    char *copy = rc == 0 ? strdup(path) : NULL;
    if (rc == 0 && !copy)
        rc = -ENOMEM;
    if (rc)
        return mst_err_set(err, rc, "log directory %s: %s", dir, mst_err_meaning(rc));
    *ret_path = copy;
    return 0;
}

int logdir_open(const char *path, uint32_t rank, uint32_t generation, struct mst_err *err)
{
    char file[PATH_MAX + 64];
    snprintf(file, sizeof file, "%s/rank_%u.gen_%u.log", path, rank, generation);
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
    return fd >= 0 ? fd : mst_err_set(err, -errno, "log file %s: %s", file, mst_err_meaning(errno));
}

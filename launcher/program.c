#include "muster/launcher/program.h"

#include "muster/core/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_DEFAULT "/bin:/usr/bin" /* execvp's */

static int try_file(const char *file)
{
    struct stat info;
    if (stat(file, &info))
        return -errno;
    return S_ISREG(info.st_mode) && access(file, X_OK) == 0 ? 0 : -EACCES;
}

/* What may not be executed is passed over, and remembered. */
static int find_in(const char *name, const char *path, char ret_file[PROGRAM_PATH_BYTES])
{
    char file[PROGRAM_PATH_BYTES];
    int rc = -ENOENT;
    for (const char *folder = path; folder; folder = strchr(folder, ':')) {
        folder += folder != path;
        int size = (int)strcspn(folder, ":");
        int used = snprintf(file, sizeof file, "%.*s%s%s", size, folder, size > 0 ? "/" : "", name);
        int tried = used < (int)sizeof file ? try_file(file) : -ENOENT;
        if (tried == 0) {
            memcpy(ret_file, file, (size_t)used + 1);
            return 0;
        }
        if (tried == -EACCES)
            rc = tried;
    }
    return rc;
}

int program_find(const char *name, const char *path, char ret_file[PROGRAM_PATH_BYTES])
{
    if (!*name)
        return -ENOENT;
    if (!strchr(name, '/'))
        return find_in(name, path ? path : PATH_DEFAULT, ret_file);
    if (strlen(name) >= PROGRAM_PATH_BYTES)
        return -ENAMETOOLONG;
    int rc = try_file(name);
    if (rc == 0)
        memcpy(ret_file, name, strlen(name) + 1);
    return rc;
}

bool program_beside(const char *name, char ret_file[PROGRAM_PATH_BYTES])
{
    ssize_t size = readlink("/proc/self/exe", ret_file, PROGRAM_PATH_BYTES);
    char *slash = size > 0 ? memrchr(ret_file, '/', (size_t)size) : NULL;
    size_t room = slash ? PROGRAM_PATH_BYTES - (size_t)(slash + 1 - ret_file) : 0;
    return room > strlen(name) && snprintf(slash + 1, room, "%s", name) > 0;
}

/* A name without a folder is looked for in PATH only, whatever lies in this folder. */
int program_refuse(const char *name, int rc, struct mst_err *err)
{
    bool is_here = rc == -ENOENT && access(name, F_OK) == 0;
    if (rc == -EAGAIN)
        return mst_err_set(err, rc,
                           "cannot start %s: no more processes or threads are allowed here: raise "
                           "ulimit -u, or pids.max of the container's cgroup",
                           name);
    if (rc != -ENOENT || (strchr(name, '/') && !is_here))
        return mst_err_set(err, rc, "cannot start %s: %s", name, mst_err_meaning(rc));
    if (strchr(name, '/'))
        return mst_err_set(err, rc,
                           "cannot start %s: it is there, but what runs it is not: the interpreter "
                           "that its first line names, or the loader of another C library",
                           name);
    if (!is_here)
        return mst_err_set(err, rc, "cannot start %s: it is nowhere in PATH", name);
    return mst_err_set(err, rc,
                       "cannot start %s: it is nowhere in PATH; the one in this folder is ./%s, or "
                       "what an interpreter is given: python3 %s",
                       name, name, name);
}

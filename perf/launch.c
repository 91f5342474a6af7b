#include "perf/launch.h"

#include "core/err.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint32_t launch_default_nproc(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && CPU_COUNT(&allowed) == 1)
        return 1;
    return 2;
}

/* The muster beside this program, so that a build tree uses its own; else the one in PATH. */
static int find_programs(char self[PATH_MAX], char muster[PATH_MAX + 8])
{
    ssize_t length = readlink("/proc/self/exe", self, PATH_MAX - 1);
    if (length < 0)
        return -errno;
    self[length] = '\0';
    int folder = (int)(strrchr(self, '/') - self);
    (void)snprintf(muster, PATH_MAX + 8, "%.*s/muster", folder, self);
    if (access(muster, X_OK) != 0)
        (void)snprintf(muster, PATH_MAX + 8, "muster");
    return 0;
}

int launch_ranks(uint32_t nproc, int argc, char *const *argv, struct mst_err *err)
{
    char self[PATH_MAX], muster[PATH_MAX + 8], count[16];
    int rc = find_programs(self, muster);
    if (rc < 0)
        return mst_err_set(err, rc, "/proc/self/exe: %s", strerror(-rc));
    (void)snprintf(count, sizeof(count), "%" PRIu32, nproc);
    char *prefix[] = {muster, "run", "--nproc", count, "--max-restarts", "0", "--", self};
    size_t prefix_count = sizeof(prefix) / sizeof(prefix[0]);
    char **args = calloc(prefix_count + (size_t)argc, sizeof(*args));
    if (!args)
        return mst_err_set(err, -ENOMEM, "no memory for the arguments of %s", muster);
    memcpy(args, prefix, sizeof(prefix));
    memcpy(args + prefix_count, argv + 1, ((size_t)argc - 1) * sizeof(*args));
    execvp(muster, args);
    rc = mst_err_set(err, -errno, "%s: %s; put it beside this program or in PATH", muster,
                     strerror(errno));
    free(args);
    return rc;
}

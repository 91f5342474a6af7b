#include "muster/core/quota.h"

#include "muster/core/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOUNT "/sys/fs/cgroup" /* version 1 has a link "cpu" there to whatever it is mounted with */

struct tightest {
    bool found;
    struct mst_quota quota;
};

/* A number that ends with `stop`; *text moves behind it. More than 32 bits is over an hour of time
 * in a period, which is a second at most: no machine has so many cores, and no limit it is. */
static bool take_number(const char **text, char stop, uint32_t *ret_value)
{
    char *end;
    unsigned long long value = strtoull(*text, &end, 10);
    if (end == *text || *end != stop || value == 0 || value > UINT32_MAX)
        return false;
    *text = end + 1;
    *ret_value = (uint32_t)value;
    return true;
}

/* "max 100000" or "<quota us> <period us>". */
static bool read_v2(const char *root, const char *cgroup, struct mst_quota *ret_quota)
{
    char line[128];
    const char *text = line;
    return mst_file_line(line, sizeof line, "%s%s/cpu.max", root, cgroup) &&
           take_number(&text, ' ', &ret_quota->quota_us) &&
           take_number(&text, '\0', &ret_quota->period_us);
}

/* A file for either; a quota of -1 is none. */
static bool read_v1(const char *root, const char *cgroup, struct mst_quota *ret_quota)
{
    char line[128];
    const char *quota = line, *period = line;
    return mst_file_line(line, sizeof line, "%s%s/cpu.cfs_quota_us", root, cgroup) &&
           line[0] != '-' && take_number(&quota, '\0', &ret_quota->quota_us) &&
           mst_file_line(line, sizeof line, "%s%s/cpu.cfs_period_us", root, cgroup) &&
           take_number(&period, '\0', &ret_quota->period_us);
}

static bool is_tighter(const struct mst_quota *a, const struct mst_quota *b)
{
    return (uint64_t)a->quota_us * b->period_us < (uint64_t)b->quota_us * a->period_us;
}

typedef bool (*read_fn)(const char *root, const char *cgroup, struct mst_quota *ret_quota);

/* Looks at a cgroup and its parents, up to the mount. */
static void climb(const char *root, const char *mount, const char *path, read_fn read,
                  struct tightest *tightest)
{
    char cgroup[PATH_MAX];
    (void)snprintf(cgroup, sizeof cgroup, "%s%s", mount, path); /* a line is shorter */
    for (;;) {
        struct mst_quota quota;
        if (read(root, cgroup, &quota) &&
            (!tightest->found || is_tighter(&quota, &tightest->quota)))
            *tightest = (struct tightest){true, quota};
        char *slash = strrchr(cgroup, '/');
        if (strlen(cgroup) <= strlen(mount) || !slash)
            return;
        *slash = '\0';
    }
}

/* Whether a list "cpu,cpuacct" names the controller cpu. */
static bool names_cpu(const char *list, size_t size)
{
    while (size > 0) {
        size_t word = strcspn(list, ",:");
        if (word == 3 && strncmp(list, "cpu", 3) == 0)
            return true;
        if (word >= size)
            return false;
        list += word + 1;
        size -= word + 1;
    }
    return false;
}

/* A line of /proc/self/cgroup: "<number>:<controllers>:<path>"; version 2 has no controllers. */
static void look_at(const char *root, const char *line, struct tightest *tightest)
{
    const char *controllers = strchr(line, ':');
    const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return;
    size_t size = (size_t)(path - ++controllers);
    path++;
    if (size == 0)
        climb(root, MOUNT, path, read_v2, tightest);
    else if (names_cpu(controllers, size))
        climb(root, MOUNT "/cpu", path, read_v1, tightest);
}

bool mst_quota_find(const char *root, struct mst_quota *ret_quota)
{
    char full[PATH_MAX], line[2048];
    int size = snprintf(full, sizeof full, "%s/proc/self/cgroup", root);
    FILE *file = size < (int)sizeof full ? fopen(full, "re") : NULL;
    if (!file)
        return false;
    struct tightest tightest = {0};
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        look_at(root, line, &tightest);
    }
    (void)fclose(file); /* only read */
    if (tightest.found)
        *ret_quota = tightest.quota;
    return tightest.found;
}

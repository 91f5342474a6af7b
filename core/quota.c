#include "muster/core/quota.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOUNT "/sys/fs/cgroup"

static bool read_line(const char *root, const char *path, const char *name, char *line, int cap)
{
    char full[PATH_MAX];
    int size = snprintf(full, sizeof full, "%s%s%s", root, path, name);
    FILE *file = size < (int)sizeof full ? fopen(full, "re") : NULL;
    if (!file)
        return false;
    bool ok = fgets(line, cap, file);
    (void)fclose(file); /* only read */
    if (ok)
        line[strcspn(line, "\n")] = '\0';
    return ok;
}

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
static bool read_quota(const char *root, const char *cgroup, struct mst_quota *ret_quota)
{
    char line[128];
    const char *text = line;
    return read_line(root, cgroup, "/cpu.max", line, sizeof line) &&
           take_number(&text, ' ', &ret_quota->quota_us) &&
           take_number(&text, '\0', &ret_quota->period_us);
}

static bool is_tighter(const struct mst_quota *a, const struct mst_quota *b)
{
    return (uint64_t)a->quota_us * b->period_us < (uint64_t)b->quota_us * a->period_us;
}

bool mst_quota_find(const char *root, struct mst_quota *ret_quota)
{
    char line[1024], cgroup[PATH_MAX];
    if (!read_line(root, "/proc/self/cgroup", "", line, sizeof line) || strncmp(line, "0::", 3))
        return false;
    (void)snprintf(cgroup, sizeof cgroup, "%s%s", MOUNT, line + 3); /* a line is shorter */
    bool found = false;
    for (;;) {
        struct mst_quota quota;
        if (read_quota(root, cgroup, &quota) && (!found || is_tighter(&quota, ret_quota))) {
            *ret_quota = quota;
            found = true;
        }
        char *slash = strrchr(cgroup, '/');
        if (strlen(cgroup) <= strlen(MOUNT) || !slash)
            return found;
        *slash = '\0';
    }
}

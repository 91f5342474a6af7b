#include "muster/core/resolve/hardware.h"

#include "muster/core/least.h"

#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_gpu(const char *name)
{
    if (strncmp(name, "nvidia", 6) || name[6] == '\0')
        return false;
    return name[6 + strspn(name + 6, "0123456789")] == '\0';
}

static uint32_t count_devices(const char *dev_dir)
{
    DIR *dir = opendir(dev_dir);
    if (!dir)
        return 0;
    struct dirent *entry;
    uint32_t count = 0;
    while ((entry = readdir(dir)))
        count += is_gpu(entry->d_name);
    (void)closedir(dir); /* only read */
    return count;
}

/* CUDA sees the devices of the list up to the first that is invalid; "" and "-1" hide all. */
static uint32_t count_list(const char *list)
{
    uint32_t count = 0;
    while (*list && *list != '-') {
        count++;
        list += strcspn(list, ",");
        list += *list == ',';
    }
    return count;
}

uint32_t hardware_gpu_count(const char *dev_dir, const char *cuda_visible,
                            const char *nvidia_visible)
{
    uint32_t count = count_devices(dev_dir);
    if (nvidia_visible && (!strcmp(nvidia_visible, "none") || !strcmp(nvidia_visible, "void")))
        return 0;
    if (nvidia_visible && *nvidia_visible && strcmp(nvidia_visible, "all") != 0)
        count = (uint32_t)mst_least(count, count_list(nvidia_visible));
    if (cuda_visible)
        count = (uint32_t)mst_least(count, count_list(cuda_visible));
    return count;
}

/* A kernel with more CPUs than cpu_set_t holds refuses; then all that are online count. */
static uint32_t affinity_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint32_t)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

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

/* "max 100000" or "<quota us> <period us>". */
static uint32_t limit_of(const char *root, const char *cgroup)
{
    char line[128];
    if (!read_line(root, cgroup, "/cpu.max", line, sizeof line))
        return UINT32_MAX;
    char *end;
    unsigned long long quota = strtoull(line, &end, 10);
    unsigned long long period = strtoull(end, NULL, 10);
    if (quota == 0 || period == 0)
        return UINT32_MAX;
    unsigned long long cores = (quota + period - 1) / period;
    return (uint32_t)mst_least(cores, UINT32_MAX);
}

uint32_t hardware_core_count(const char *root)
{
    static const char mount[] = "/sys/fs/cgroup";
    uint32_t count = affinity_count();
    char line[1024], cgroup[PATH_MAX];
    if (!read_line(root, "/proc/self/cgroup", "", line, sizeof line) || strncmp(line, "0::", 3))
        return count;
    (void)snprintf(cgroup, sizeof cgroup, "%s%s", mount, line + 3); /* a line is shorter */
    for (;;) {
        count = (uint32_t)mst_least(count, limit_of(root, cgroup));
        char *slash = strrchr(cgroup, '/');
        if (strlen(cgroup) <= strlen(mount) || !slash)
            break;
        *slash = '\0';
    }
    return count ? count : 1;
}

#include "muster/core/resolve/hardware.h"

#include "muster/core/least.h"
#include "muster/core/quota.h"

#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
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

/* Part of a core is room for one more rank: it is slow, not wrong. */
uint32_t hardware_core_count(const char *root)
{
    uint32_t count = affinity_count();
    struct mst_quota quota;
    if (mst_quota_find(root, &quota))
        count = (uint32_t)mst_least(count, ((uint64_t)quota.quota_us + quota.period_us - 1) /
                                               quota.period_us);
    return count ? count : 1;
}

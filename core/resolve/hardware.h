/* Hardware: how many ranks a node holds when nobody says: one per GPU, else one per core that this
 * container may use. Loads no driver. */
#ifndef MUSTER_CORE_RESOLVE_HARDWARE_H
#define MUSTER_CORE_RESOLVE_HARDWARE_H

#include <stdint.h>

/* GPUs: device files <dev_dir>/nvidia0, 1, …; fewer if CUDA_VISIBLE_DEVICES or
 * NVIDIA_VISIBLE_DEVICES (their values, or NULL) name fewer. 0 if dev_dir cannot be read. */
uint32_t hardware_gpu_count(const char *dev_dir, const char *cuda_visible,
                            const char *nvidia_visible);

/* Cores: the affinity mask, limited by the quota of this process's cgroup and its parents, rounded
 * up. At least 1. `root` as in core/quota.h. */
uint32_t hardware_core_count(const char *root);

#endif

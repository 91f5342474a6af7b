/* The quota of CPU time that cgroups (version 1 and 2) set: containers, and what systemd and Slurm
 * start, may use less than the cores that they see. */
#ifndef MUSTER_CORE_QUOTA_H
#define MUSTER_CORE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

/* So much time of all cores together in each period: 150 000 of 100 000 us are one core and a
 * half. Neither is 0. */
struct mst_quota {
    uint32_t quota_us, period_us;
};

/* The tightest quota of this process's cgroup and its parents, as far as they are mounted where
 * they usually are (/sys/fs/cgroup; the controller cpu of version 1 below it). False,
 * and *ret_quota untouched, if there is none. `root` is put before /proc and /sys; "" outside
 * tests. Reads a few small files; safe from any thread. */
bool mst_quota_find(const char *root, struct mst_quota *ret_quota);

#endif

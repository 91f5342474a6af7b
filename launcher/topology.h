/* Topology: which of this machine's CPUs are threads of one core, which memory each is near to, and
 * which CPUs each GPU is near to. Read from /sys and /proc; loads no driver. */
#ifndef MUSTER_LAUNCHER_TOPOLOGY_H
#define MUSTER_LAUNCHER_TOPOLOGY_H

#include <sched.h>
#include <stdint.h>

#define TOPOLOGY_GPUS_MAX 64

struct topology_cpu {
    uint16_t core; /* the lowest CPU of its core: the same for all threads of one */
    uint16_t node; /* NUMA node; 0 if there are none */
};

struct topology_gpu {
    char bus_id[24];
    cpu_set_t near; /* CPUs of its socket or NUMA node; empty: nobody says */
};

struct topology {
    struct topology_cpu cpus[CPU_SETSIZE];
    uint32_t gpu_count; /* those that a program sees as its device 0, 1, … */
    struct topology_gpu gpus[TOPOLOGY_GPUS_MAX];
};

/* What of /sys cannot be read is left at "each CPU a core of its own, one node, no GPU". GPUs are
 * those whose device file is in this container, by bus number, or as `cuda_visible`
 * (CUDA_VISIBLE_DEVICES, or NULL) lists them; a list that names parts of GPUs (MIG), or what is
 * not there, gives none. `allowed` are the CPUs to look at: if there is none, no CPU's core or node
 * is read. `root` is put before /proc, /sys and /dev; "" outside tests. */
void topology_read(const char *root, const cpu_set_t *allowed, const char *cuda_visible,
                   struct topology *ret_topology);

/* Reads a list as the kernel writes it, "0-3,8,10-11\n", into a set; what is over CPU_SETSIZE is
 * left out. Nothing if it is none. */
void topology_parse_cpus(const char *list, cpu_set_t *ret_cpus);

#endif

#include "muster/launcher/topology.h"

#include "muster/core/file.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES_MAX 1024
#define UUID_BYTES 48

/* A GPU while its place in the list is sought. */
struct found_gpu {
    char bus_id[sizeof((struct topology_gpu){0}).bus_id];
    char uuid[UUID_BYTES];
};

/* ---- lists of CPUs --------------------------------------------------------------------------- */

void topology_parse_cpus(const char *list, cpu_set_t *ret_cpus)
{
    CPU_ZERO(ret_cpus);
    while (isdigit((unsigned char)*list)) {
        char *end;
        unsigned long first = strtoul(list, &end, 10), last = first;
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        for (unsigned long cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
            CPU_SET(cpu, ret_cpus);
        list = *end == ',' ? end + 1 : end;
    }
}

/* False, and nothing, if there is no such file. */
static bool read_cpus(const char *root, const char *path, cpu_set_t *ret_cpus)
{
    char line[4096];
    if (!mst_file_line(line, sizeof line, "%s%s", root, path))
        return false;
    topology_parse_cpus(line, ret_cpus);
    return true;
}

/* ---- cores and nodes ------------------------------------------------------------------------- */

/* The threads of a core name one another: one file tells of all of them. */
static void read_cores(const char *root, const cpu_set_t *allowed, struct topology_cpu *cpus)
{
    cpu_set_t known, threads;
    CPU_ZERO(&known);
    for (uint16_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        char path[96];
        if (!CPU_ISSET(cpu, allowed) || CPU_ISSET(cpu, &known))
            continue;
        (void)snprintf(path, sizeof path,
                       "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
        if (!read_cpus(root, path, &threads))
            continue;
        CPU_OR(&known, &known, &threads);
        uint16_t first = 0;
        while (first < cpu && !CPU_ISSET(first, &threads))
            first++;
        for (size_t thread = 0; thread < CPU_SETSIZE; thread++) {
            if (CPU_ISSET(thread, &threads))
                cpus[thread].core = first;
        }
    }
}

static void read_nodes(const char *root, struct topology_cpu *cpus)
{
    cpu_set_t nodes, of_node;
    if (!read_cpus(root, "/sys/devices/system/node/has_cpu", &nodes))
        return;
    for (uint16_t node = 0; node < NODES_MAX; node++) {
        char path[64];
        if (!CPU_ISSET(node, &nodes))
            continue;
        (void)snprintf(path, sizeof path, "/sys/devices/system/node/node%u/cpulist", node);
        if (!read_cpus(root, path, &of_node))
            continue;
        for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &of_node))
                cpus[cpu].node = node;
        }
    }
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

/* The value of a line "<name>: <value>" of the driver's page about a GPU. */
static bool take_value(const char *line, const char *name, const char **ret_value)
{
    size_t size = strlen(name);
    if (strncmp(line, name, size) != 0 || line[size] != ':')
        return false;
    *ret_value = line + size + 1 + strspn(line + size + 1, " \t");
    return true;
}

/* A GPU of the machine is one of this container if its device file is there. */
static bool read_gpu(const char *root, const char *bus_id, struct found_gpu *ret_gpu)
{
    char path[PATH_MAX], line[256];
    const char *value;
    int size = snprintf(path, sizeof path, "%s/proc/driver/nvidia/gpus/%s/information", root,
                        bus_id);
    FILE *file = size < (int)sizeof path ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    bool is_here = false;
    ret_gpu->uuid[0] = '\0';
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (take_value(line, "GPU UUID", &value)) {
            (void)snprintf(ret_gpu->uuid, sizeof ret_gpu->uuid, "%s",
                           value); /* a cut one is none */
        } else if (take_value(line, "Device Minor", &value)) {
            (void)snprintf(path, sizeof path, "%s/dev/nvidia%u", root,
                           (unsigned)strtoul(value, NULL, 10)); /* it fits */
            is_here = access(path, F_OK) == 0;
        }
    }
    (void)fclose(file);                                                    /* only read */
    (void)snprintf(ret_gpu->bus_id, sizeof ret_gpu->bus_id, "%s", bus_id); /* its length was seen */
    return is_here;
}

static int by_bus_id(const void *a, const void *b)
{
    return strcmp(((const struct found_gpu *)a)->bus_id, ((const struct found_gpu *)b)->bus_id);
}

static uint32_t find_gpus(const char *root, struct found_gpu *gpus)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/proc/driver/nvidia/gpus", root);
    DIR *dir = size < (int)sizeof path ? opendir(path) : NULL;
    if (!dir)
        return 0;
    uint32_t count = 0;
    struct dirent *entry;
    while (count < TOPOLOGY_GPUS_MAX && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < sizeof gpus->bus_id &&
            read_gpu(root, entry->d_name, &gpus[count]))
            count++;
    }
    (void)closedir(dir); /* only read */
    qsort(gpus, count, sizeof *gpus, by_bus_id);
    return count;
}

/* CUDA takes an index, or the beginning of a UUID. TOPOLOGY_GPUS_MAX: none is meant. */
static uint32_t find_named(const struct found_gpu *gpus, uint32_t count, const char *name,
                           size_t name_size)
{
    if (name_size == 0)
        return TOPOLOGY_GPUS_MAX;
    if (strspn(name, "0123456789") == name_size) {
        unsigned long index = strtoul(name, NULL, 10);
        return index < count ? (uint32_t)index : TOPOLOGY_GPUS_MAX;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strncmp(gpus[i].uuid, name, name_size) == 0)
            return i;
    }
    return TOPOLOGY_GPUS_MAX;
}

static void add_gpu(const char *root, const struct found_gpu *gpu, struct topology *topology)
{
    struct topology_gpu *added = &topology->gpus[topology->gpu_count++];
    char path[128];
    (void)snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/local_cpulist", gpu->bus_id);
    (void)snprintf(added->bus_id, sizeof added->bus_id, "%s", gpu->bus_id);
    if (!read_cpus(root, path, &added->near))
        CPU_ZERO(&added->near);
}

static void read_gpus(const char *root, const char *visible, struct topology *topology)
{
    struct found_gpu gpus[TOPOLOGY_GPUS_MAX];
    uint32_t count = find_gpus(root, gpus);
    for (uint32_t i = 0; !visible && i < count; i++)
        add_gpu(root, &gpus[i], topology);
    while (visible && *visible && topology->gpu_count < TOPOLOGY_GPUS_MAX) {
        size_t name_size = strcspn(visible, ",");
        uint32_t index = find_named(gpus, count, visible, name_size);
        if (index == TOPOLOGY_GPUS_MAX) {
            topology->gpu_count = 0;
            return;
        }
        add_gpu(root, &gpus[index], topology);
        visible += name_size + (visible[name_size] == ',');
    }
}

void topology_read(const char *root, const cpu_set_t *allowed, const char *cuda_visible,
                   struct topology *ret_topology)
{
    ret_topology->gpu_count = 0;
    for (uint16_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        ret_topology->cpus[cpu] = (struct topology_cpu){.core = cpu};
    read_cores(root, allowed, ret_topology->cpus);
    if (CPU_COUNT(allowed) > 0)
        read_nodes(root, ret_topology->cpus);
    read_gpus(root, cuda_visible, ret_topology);
}

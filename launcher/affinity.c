#include "muster/launcher/affinity.h"

#include "muster/launcher/topology.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* A CPU and what it is divided by: nodes first, then cores, then threads. */
struct place {
    uint16_t node, core, cpu;
};

static int by_place(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    if (left->node != right->node)
        return left->node < right->node ? -1 : 1;
    if (left->core != right->core)
        return left->core < right->core ? -1 : 1;
    return (left->cpu > right->cpu) - (left->cpu < right->cpu);
}

static uint32_t list_places(const struct topology *topology, const cpu_set_t *cpus,
                            struct place *places)
{
    uint32_t count = 0;
    for (uint16_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        const struct topology_cpu *at = &topology->cpus[cpu];
        if (CPU_ISSET(cpu, cpus))
            places[count++] = (struct place){at->node, at->core, cpu};
    }
    qsort(places, count, sizeof *places, by_place);
    return count;
}

static bool begins_core(const struct place *places, uint32_t i)
{
    return i == 0 || places[i].core != places[i - 1].core;
}

static uint32_t count_cores(const struct place *places, uint32_t count)
{
    uint32_t cores = 0;
    for (uint32_t i = 0; i < count; i++)
        cores += begins_core(places, i);
    return cores;
}

/* Part `part` of `parts` of the CPUs, in whole cores where there are enough. */
static bool divide(const struct topology *topology, const cpu_set_t *cpus, uint32_t part,
                   uint32_t parts, cpu_set_t *ret_share)
{
    struct place places[CPU_SETSIZE];
    assert(part < parts);
    uint32_t count = list_places(topology, cpus, places);
    uint32_t cores = count_cores(places, count);
    if (count < parts)
        return false;
    bool by_core = cores >= parts;
    uint64_t units = by_core ? cores : count, unit = 0;
    CPU_ZERO(ret_share);
    for (uint32_t i = 0; i < count; i++) {
        unit += i > 0 && (!by_core || begins_core(places, i));
        if (unit >= units * part / parts && unit < units * (part + 1) / parts)
            CPU_SET(places[i].cpu, ret_share);
    }
    assert(CPU_COUNT(ret_share) > 0);
    return true;
}

uint32_t affinity_gpu(uint32_t gpu_count, uint32_t local_rank, uint32_t local_size)
{
    if (gpu_count == 0)
        return UINT32_MAX;
    return local_size <= gpu_count ? local_rank
                                   : (uint32_t)((uint64_t)local_rank * gpu_count / local_size);
}

/* What of `allowed` is near to a GPU; all of it if nobody says. */
static void find_near(const struct topology *topology, const cpu_set_t *allowed, uint32_t gpu,
                      cpu_set_t *ret_near)
{
    *ret_near = *allowed;
    if (gpu < topology->gpu_count)
        CPU_AND(ret_near, ret_near, &topology->gpus[gpu].near);
    if (CPU_COUNT(ret_near) == 0)
        *ret_near = *allowed;
}

/* Each two GPUs are near to the same CPUs, or to none in common. */
static bool gpus_part_cpus(const struct topology *topology, const cpu_set_t *allowed)
{
    cpu_set_t one, other, common;
    for (uint32_t i = 0; i < topology->gpu_count; i++) {
        find_near(topology, allowed, i, &one);
        for (uint32_t j = 0; j < i; j++) {
            find_near(topology, allowed, j, &other);
            CPU_AND(&common, &one, &other);
            if (CPU_COUNT(&common) > 0 && !CPU_EQUAL(&one, &other))
                return false;
        }
    }
    return true;
}

bool affinity_share(const struct topology *topology, const cpu_set_t *allowed, uint32_t local_rank,
                    uint32_t local_size, cpu_set_t *ret_share)
{
    uint32_t part = 0, parts = 0;
    cpu_set_t near, other;
    if (!gpus_part_cpus(topology, allowed))
        return divide(topology, allowed, local_rank, local_size, ret_share);
    find_near(topology, allowed, affinity_gpu(topology->gpu_count, local_rank, local_size), &near);
    for (uint32_t rank = 0; rank < local_size; rank++) {
        find_near(topology, allowed, affinity_gpu(topology->gpu_count, rank, local_size), &other);
        if (CPU_EQUAL(&near, &other)) {
            part += rank < local_rank;
            parts++;
        }
    }
    return divide(topology, &near, part, parts, ret_share);
}

const char *affinity_text(const cpu_set_t *cpus, char *text, size_t cap)
{
    size_t size = 0;
    text[0] = '\0';
    for (size_t cpu = 0; cpu < CPU_SETSIZE && size < cap; cpu++) {
        if (!CPU_ISSET(cpu, cpus))
            continue;
        size_t last = cpu;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, cpus))
            last++;
        const char *comma = size ? "," : "";
        size += (size_t)(last == cpu
                             ? snprintf(text + size, cap - size, "%s%zu", comma, cpu)
                             : snprintf(text + size, cap - size, "%s%zu-%zu", comma, cpu, last));
        cpu = last;
    }
    return text;
}

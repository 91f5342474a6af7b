/* Affinity: which CPUs each rank of a node may use.
 *
 * Two ranks that spin for one another on one core wait a time slice where they would wait a
 * microsecond, and the scheduler does put them there for a while; and a rank on the far socket
 * reaches its GPU, and the memory that the GPU reads, over the link between the sockets. */
#ifndef MUSTER_LAUNCHER_AFFINITY_H
#define MUSTER_LAUNCHER_AFFINITY_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct topology;

/* The GPU of rank `local_rank`, as programs choose it: device local_rank, or where ranks share
 * devices, ranks after one another the same. UINT32_MAX: there is no GPU. */
uint32_t affinity_gpu(uint32_t gpu_count, uint32_t local_rank, uint32_t local_size);

/* The CPUs of rank `local_rank` (< local_size) of a node: a share of `allowed`, or of what of it
 * is near to the rank's GPU, which it divides with the ranks whose GPUs are near to the same.
 * GPUs whose CPUs overlap but are not the same are no guide. Shares of the same CPUs do not overlap
 * and differ by one core at most; a core is divided into its threads only if
 * there are more ranks than cores; ranks that follow one another are on one NUMA node as far as
 * they can. False, and *ret_share untouched, if there are fewer CPUs than ranks: then they are
 * better off unbound. */
bool affinity_share(const struct topology *topology, const cpu_set_t *allowed, uint32_t local_rank,
                    uint32_t local_size, cpu_set_t *ret_share);

/* "0-7,64-71", as the kernel writes it; cut at cap. Returns text. */
const char *affinity_text(const cpu_set_t *cpus, char *text, size_t cap);

#endif

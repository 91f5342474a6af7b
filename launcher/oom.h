/* Oom: whether the kernel has killed processes of this job for want of memory, by the counters of
 * the memory cgroups of the agent and of its ranks (core's quota.h says where those are mounted).
 *
 *   init → look from time to time, claim per rank that SIGKILL ended
 *
 * A counter that rose says that somebody of the cgroup was killed so, not who: a rise is claimed by
 * one death, within OOM_CLAIM_NS, as a large process is long in dying. Kernels before 4.13 do not
 * count, and nothing is claimed. No memory beyond the struct; one thread. */
#ifndef MUSTER_LAUNCHER_OOM_H
#define MUSTER_LAUNCHER_OOM_H

#include "muster/launcher/memcg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OOM_CLAIM_NS UINT64_C(10000000000)
#define OOM_PLACES_MAX 8 /* cgroups of one job on one node: almost always one */
#define OOM_DIR_BYTES (MEMCG_PATH_BYTES + 64)

struct oom_place {
    enum memcg_version version;
    char dir[OOM_DIR_BYTES];
    uint64_t kills; /* when looked at last */
};

struct oom {
    const char *root; /* before /proc and /sys; "" outside tests */
    struct oom_place places[OOM_PLACES_MAX];
    size_t place_count;
    size_t rose_at;     /* the place of the last rise */
    uint64_t unclaimed; /* kills that no death has claimed */
    uint64_t rose_ns;   /* when the last of them was seen */
};

/* Of a cgroup; what its files do not tell is MEMCG_UNLIMITED. */
struct oom_sizes {
    uint64_t limit_bytes; /* the tightest of it and its parents, as far as they are to be seen */
    uint64_t peak_bytes;
};

/* Notes what the agent's own counter is at. `root` is borrowed. */
void oom_init(struct oom *oom, const char *root);

/* Reads the counters again, and those of cgroups that `pids` (0 is none) have gone to. Returns how
 * many processes were killed since the last look. */
uint64_t oom_look(struct oom *oom, const pid_t *pids, size_t count, uint64_t now_ns);

/* Whether a process that SIGKILL has just ended was killed so, as far as that can be known: looks,
 * and takes one kill. */
bool oom_claim(struct oom *oom, uint64_t now_ns);

/* A new generation: what nobody has claimed is of the one before. */
void oom_forget(struct oom *oom);

/* Of the cgroup whose counter rose last. */
struct oom_sizes oom_sizes(const struct oom *oom);

#endif

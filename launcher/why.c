#include "muster/launcher/why.h"

#include "muster/launcher/oom.h"
#include "muster/launcher/procs.h"
#include "muster/launcher/ranks.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SIZE_BYTES 24

/* The live rank that has the most memory, by what its own process has; 0: none lives. */
static uint64_t find_largest(const struct ranks *ranks, uint32_t *ret_rank)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        uint64_t size_bytes = ranks->procs[i].pid > 0 ? procs_resident(ranks->procs[i].pid) : 0;
        if (size_bytes <= most)
            continue;
        most = size_bytes;
        *ret_rank = ranks->first_rank + i;
    }
    return most;
}

bool why_oom(struct oom *oom, const struct ranks *ranks, const struct rank_death *death,
             uint64_t now_ns, char text[MSG_TEXT_BYTES])
{
    char limit[SIZE_BYTES], peak[SIZE_BYTES], own[SIZE_BYTES], other[SIZE_BYTES];
    uint32_t rank = 0;
    if (death->code != 128 + SIGKILL || death->ended || !oom_claim(oom, now_ns))
        return false;
    struct oom_sizes sizes = oom_sizes(oom);
    uint64_t largest = find_largest(ranks, &rank);
    bool has_peak = sizes.peak_bytes != MEMCG_UNLIMITED;
    int used = snprintf(
        text, MSG_TEXT_BYTES, "out of memory: killed by the kernel (limit %s%s%s); it had %s",
        memcg_size(sizes.limit_bytes, limit, sizeof limit), has_peak ? ", peak " : "",
        has_peak ? memcg_size(sizes.peak_bytes, peak, sizeof peak) : "",
        memcg_size(death->peak_bytes, own, sizeof own));
    if (largest > 0)
        snprintf(text + used, MSG_TEXT_BYTES - (size_t)used,
                 ", and beside it rank %u has %s: the victim need not be the culprit", rank,
                 memcg_size(largest, other, sizeof other));
    return true;
}

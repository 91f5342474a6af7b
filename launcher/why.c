#include "muster/launcher/why.h"

#include "muster/launcher/errfile.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/oom.h"
#include "muster/launcher/procs.h"
#include "muster/launcher/ranks.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
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

static void tell_oom(const struct oom *oom, const struct ranks *ranks,
                     const struct rank_death *death, char text[MSG_TEXT_BYTES])
{
    char limit[SIZE_BYTES], peak[SIZE_BYTES], own[SIZE_BYTES], other[SIZE_BYTES];
    uint32_t rank = 0;
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
}

/* What the rank itself says of it. */
static void add_message(const struct ranks *ranks, uint32_t local_rank, char text[MSG_TEXT_BYTES])
{
    char *bytes = malloc(ERRFILE_BYTES_MAX), line[MSG_TEXT_BYTES];
    size_t size = bytes ? ranks_read_error(ranks, local_rank, bytes, ERRFILE_BYTES_MAX) : 0;
    size_t used = strlen(text);
    if (size > 0 && errfile_message(bytes, size, line, sizeof line))
        snprintf(text + used, MSG_TEXT_BYTES - used, ": %s", line); /* may be cut */
    free(bytes);
}

void why_of_death(struct oom *oom, const struct ranks *ranks, const struct rank_death *death,
                  uint64_t now_ns, struct why *ret_why)
{
    bool may_be_oom = death->code == 128 + SIGKILL && !death->ended;
    *ret_why = (struct why){.end = 0};
    if (may_be_oom && oom_claim(oom, now_ns)) {
        ret_why->end = EXITCODE_END_NO_MEMORY;
        tell_oom(oom, ranks, death, ret_why->text);
        return;
    }
    exitcode_describe_death(death->killed, death->code, ret_why->text, sizeof ret_why->text);
    add_message(ranks, death->local_rank, ret_why->text);
}

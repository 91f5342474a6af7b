#include "muster/launcher/hung.h"

#include "muster/core/clock.h"
#include "muster/launcher/log.h"
#include "muster/launcher/procs.h"
#include "muster/launcher/ranks.h"

#include <stdio.h>
#include <string.h>

void hung_init(struct hung *hung)
{
    hung->look_ns = MST_NEVER;
    hung->text[0] = '\0';
}

void hung_expect(struct hung *hung, uint64_t now_ns)
{
    if (hung->look_ns != MST_NEVER)
        return;
    memset(hung->seats, 0, sizeof hung->seats);
    hung->look_ns = now_ns + HUNG_EVERY_NS;
}

static void tell(struct hung *hung, uint32_t rank, const struct procs_hang *hang)
{
    const char *where = hang->where[0] ? hang->where : "?";
    log_line(LOG_WARN, "a rank that is to leave hangs in the kernel",
             " of_rank=%u thread=%d state=D in=%s", rank, (int)hang->thread, log_quote(where).text);
    if (!hung->text[0])
        snprintf(hung->text, sizeof hung->text, "rank %u hangs in the kernel, in %s", rank, where);
}

static void judge(struct hung *hung, const struct ranks *ranks, uint32_t local_rank,
                  const struct procs_hang *hang, uint64_t now_ns)
{
    struct hung_seat *seat = &hung->seats[local_rank];
    if (hang->thread != seat->thread || hang->switches != seat->switches) {
        seat->thread = hang->thread;
        seat->switches = hang->switches;
        seat->since_ns = now_ns;
    } else if (hang->thread && !seat->told && now_ns - seat->since_ns >= HUNG_AFTER_NS) {
        seat->told = true;
        tell(hung, ranks->first_rank + local_rank, hang);
    }
}

void hung_look(struct hung *hung, const struct ranks *ranks, uint64_t now_ns)
{
    pid_t pids[MST_PAGE_RANKS_MAX];
    struct procs_hang hangs[MST_PAGE_RANKS_MAX];
    uint32_t count = ranks_pids(ranks, pids);
    hung->look_ns = now_ns + HUNG_EVERY_NS;
    procs_hang(pids, count, hangs);
    for (uint32_t i = 0; i < count; i++)
        judge(hung, ranks, i, &hangs[i], now_ns);
}

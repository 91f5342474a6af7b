#include "muster/launcher/deaths.h"

#include "muster/launcher/exitcode.h"

#include <assert.h>
#include <string.h>

void deaths_init(struct deaths *deaths, struct rank_death *memory)
{
    *deaths = (struct deaths){.held = memory, .due_ns = UINT64_MAX};
}

/* A wrapper reports by its own exit code that SIGTERM killed what it ran. */
static bool is_doubtful(const struct rank_death *death)
{
    return death->code == EXITCODE_DRAINED;
}

void deaths_add(struct deaths *deaths, const struct rank_death *death, uint64_t now_ns)
{
    assert(death->local_rank < MST_PAGE_RANKS_MAX && deaths->count < MST_PAGE_RANKS_MAX);
    if (deaths->count == 0)
        deaths->due_ns = is_doubtful(death) ? now_ns + DEATHS_HOLD_NS : now_ns;
    deaths->held[deaths->count++] = *death;
}

bool deaths_take(struct deaths *deaths, bool known, uint64_t now_ns, struct rank_death *ret_death)
{
    if (deaths->count == 0 || (!known && now_ns < deaths->due_ns))
        return false;
    *ret_death = deaths->held[0];
    deaths->count--;
    memmove(deaths->held, deaths->held + 1, deaths->count * sizeof *deaths->held);
    if (deaths->count == 0)
        deaths->due_ns = UINT64_MAX;
    return true;
}

/* pure */
#include "muster/launcher/restart.h"

#include "muster/core/clock.h"
#include "muster/core/least.h"
#include "muster/core/world/page.h"
#include "muster/launcher/exitcode.h"

#include <assert.h>

#define LONG_LIFE_NS (600000 * MST_NS_PER_MS)
#define EARLY_NS (60000 * MST_NS_PER_MS)
#define LONGER_BY_NS (250 * MST_NS_PER_MS) /* a start's length varies by so much: no progress */
#define PAUSE_NS (1000 * MST_NS_PER_MS)
#define PAUSE_MOST_NS (60000 * MST_NS_PER_MS)

void restart_init(struct restart *restart, uint32_t most, uint64_t seed)
{
    *restart = (struct restart){.most = most};
    mst_rng_init(&restart->jitter, seed, 0);
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static bool is_the_same_fault(const struct restart_life *last, const struct restart_life *life)
{
    return life->rank != MST_PAGE_CAUSE_JOB && life->rank == last->rank &&
           life->code == last->code && life->life_ns < EARLY_NS && last->life_ns < EARLY_NS;
}

static bool counts_steps(const struct restart *restart, const struct restart_life *life)
{
    return life->best_step > 0 || restart->best_step > 0;
}

static bool is_progress(const struct restart *restart, const struct restart_life *life)
{
    if (counts_steps(restart, life))
        return life->best_step > restart->best_step;
    if (life->life_ns >= LONG_LIFE_NS)
        return true;
    return restart->longest_ns > 0 && life->life_ns > restart->longest_ns + LONGER_BY_NS &&
           !is_the_same_fault(&restart->last, life);
}

/* A node that was lost is what no library has met: another try tells whether it meets it again. */
static bool is_final(const struct restart_life *life)
{
    return exitcode_is_final((int)life->code) ||
           (life->verdict && life->rank != MST_PAGE_CAUSE_JOB);
}

static void remember(struct restart *restart, const struct restart_life *life)
{
    restart->best_step = most(restart->best_step, life->best_step);
    restart->longest_ns = most(restart->longest_ns, life->life_ns);
    restart->last = *life;
}

/* Of the second restart without progress, the third, …: a quarter more or less. */
static uint64_t next_pause(struct restart *restart)
{
    uint64_t doublings = mst_least(restart->used - 2, 16);
    uint64_t pause_ns = mst_least(PAUSE_NS << doublings, PAUSE_MOST_NS);
    return pause_ns - pause_ns / 4 + pause_ns / 1000 * mst_rng_below(&restart->jitter, 501);
}

/* Whether it was progress. */
static bool count(struct restart *restart, const struct restart_life *life)
{
    bool progress = is_progress(restart, life);
    remember(restart, life);
    if (progress)
        restart->used = 0;
    return progress;
}

struct restart_decision restart_decide(struct restart *restart, const struct restart_life *life)
{
    bool progress = count(restart, life);
    if (is_final(life))
        return (struct restart_decision){.why = RESTART_FINAL};
    if (restart->used >= restart->most)
        return (struct restart_decision){.why = RESTART_SPENT};
    restart->used++;
    assert(restart->used <= restart->most);
    if (restart->used > 1)
        return (struct restart_decision){RESTART_PAUSED, true, next_pause(restart)};
    enum restart_why got_on = counts_steps(restart, life) ? RESTART_PROGRESS : RESTART_LASTED;
    return (struct restart_decision){progress ? got_on : RESTART_FIRST, true, 0};
}

struct restart_decision restart_excuse(struct restart *restart, const struct restart_life *life)
{
    (void)count(restart, life); /* progress needs no pause here */
    if (is_final(life))
        return (struct restart_decision){.why = RESTART_FINAL};
    return (struct restart_decision){RESTART_REGROUP, true, 0};
}

const char *restart_reason(enum restart_why why)
{
    switch (why) {
    case RESTART_PROGRESS: return "it got further than before";
    case RESTART_LASTED: return "it counts no steps, and lived long or longer than before";
    case RESTART_FIRST: return "no progress: once more";
    case RESTART_PAUSED: return "again no progress: after a pause";
    case RESTART_FINAL: return "a restart cannot help";
    case RESTART_REGROUP: return "nodes come or go";
    default: return "the restart budget is used up";
    }
}

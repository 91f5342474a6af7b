/* pure */
#include "muster/ckpt/retain.h"

#include <assert.h>

/* How many good steps lie in (step, committed]. */
static size_t newer_good(const struct retain_step *steps, size_t count, uint64_t step,
                         uint64_t committed)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += steps[i].good && steps[i].step > step && steps[i].step <= committed;
    return n;
}

size_t retain_plan(struct retain_step *steps, size_t count, uint64_t committed, uint32_t keep)
{
    assert(keep > 0);
    size_t dropped = 0;
    for (size_t i = 0; i < count; i++) {
        steps[i].drop = steps[i].step < committed &&
                        (steps[i].hidden ||
                         newer_good(steps, count, steps[i].step, committed) >= keep);
        dropped += steps[i].drop;
    }
    return dropped;
}

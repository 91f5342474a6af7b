#include "muster/ckpt/pruner.h"

#include "muster/ckpt/ckpt.h"
#include "muster/ckpt/lease.h"
#include "muster/ckpt/retain.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/verdict.h"
#include "muster/ckpt/word.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void pruner_init(struct pruner *pruner)
{
    *pruner = (struct pruner){.committed = MST_CKPT_NONE, .half_removed = MST_CKPT_NONE};
}

void pruner_note(struct pruner *pruner, uint64_t committed_step)
{
    pruner->committed = committed_step;
}

bool pruner_is_due(const struct pruner *pruner)
{
    return pruner->committed != MST_CKPT_NONE;
}

/* Beside the step's votes, and gone with them. */
static void make_key(const struct site *site, uint64_t step, char key[MST_KV_KEY_MAX])
{
    snprintf(key, MST_KV_KEY_MAX, "ckpt/%" PRIu32 "/%" PRIu64 "/pruned", site->number, step);
}

/* Marks what goes. Returns how many; none if the place does not answer. */
static size_t plan(const struct site *site, uint64_t committed, uint64_t deadline_ns,
                   struct retain_step **ret_plan, size_t *ret_count)
{
    struct tier *tier = site->tier;
    uint64_t *steps = NULL;
    size_t count = 0;
    int rc = tier->ops->list(tier, &steps, &count, deadline_ns, NULL);
    struct retain_step *plan = NULL;
    if (rc == 0 && !(plan = calloc(count + 1, sizeof *plan)))
        rc = -ENOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct manifest manifest = {0};
        rc = tier_read_manifest(tier, steps[i], &manifest, deadline_ns, NULL);
        plan[i] = (struct retain_step){.step = steps[i], .good = rc == 0, .hidden = rc == -ESTALE};
        manifest_fini(&manifest);
        if (rc == -EBADMSG || rc == -ESTALE) /* damaged, or not to be counted: an answer */
            rc = 0;
    }
    free(steps);
    *ret_plan = plan;
    *ret_count = count;
    return rc == 0 ? retain_plan(plan, count, committed, site->keep) : 0;
}

/* 0; -EAGAIN. */
static int remove_step(struct pruner *pruner, const struct site *site, uint64_t step,
                       const struct root_pause *pause, uint64_t deadline_ns)
{
    const struct tier_save save = {
        .step = pruner->committed, .rank = site->rank, .claim = site->claim, .lease = site->lease};
    int rc = site->tier->ops->remove_step(site->tier, &save, step, pause, deadline_ns);
    pruner->half_removed = rc == -EAGAIN ? step : MST_CKPT_NONE;
    return rc == -EAGAIN ? rc : 0; /* what stays is tried again after the next commit */
}

/* Neither a hint nor an old checkpoint that stays is a failure. 0; -EAGAIN. */
static int prune(struct pruner *pruner, const struct site *site, const struct root_pause *pause)
{
    struct tier *tier = site->tier;
    uint64_t deadline_ns = mst_now_ns() + site_patience_ns(site);
    if (tier->ops->point_latest && pruner->half_removed == MST_CKPT_NONE)
        tier->ops->point_latest(tier, pruner->committed);
    int rc = 0;
    if (pruner->half_removed != MST_CKPT_NONE)
        rc = remove_step(pruner, site, pruner->half_removed, pause, deadline_ns);
    struct retain_step *steps = NULL;
    size_t count = 0;
    if (rc == 0 && plan(site, pruner->committed, deadline_ns, &steps, &count) > 0 &&
        lease_check(site->lease, tier, deadline_ns, NULL) == 0)
        for (size_t i = 0; i < count && rc == 0; i++)
            if (steps[i].drop)
                rc = remove_step(pruner, site, steps[i].step, pause, deadline_ns);
    free(steps);
    return rc;
}

void pruner_run(struct pruner *pruner, const struct site *site, const struct root_pause *pause)
{
    if (!pruner_is_due(pruner) || prune(pruner, site, pause) < 0)
        return;
    char key[MST_KV_KEY_MAX];
    make_key(site, pruner->committed, key);
    pruner->committed = MST_CKPT_NONE;
    if (site->world_size > 1) /* (void): who waits for it gives up in time */
        (void)verdict_post(site->kv, key, &(struct mst_err){0}, mst_deadline_ms(site->timeout_ms));
}

int pruner_await(const struct site *site, uint64_t committed_step, uint64_t deadline_ns)
{
    char key[MST_KV_KEY_MAX];
    make_key(site, committed_step, key);
    struct mst_err verdict = {0};
    const struct word word = {.kv = site->kv, .page = site->page, .key = key};
    return verdict_await(&word, deadline_ns, &verdict);
}

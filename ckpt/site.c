/* Opening a root, on every rank: rank 0 takes it and tells the others which claim they write by. */
#include "muster/ckpt/site.h"

#include "muster/ckpt/ckpt.h"
#include "muster/ckpt/lease.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/verdict.h"
#include "muster/ckpt/word.h"
#include "muster/core/clock.h"
#include "muster/core/kv/kv.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* How often this rank has opened within its generation: the same number on every rank, for open is
 * collective. */
static int count_open(struct site *site, struct mst_kv *kv, uint64_t deadline_ns,
                      struct mst_err *err)
{
    char key[MST_KV_KEY_MAX];
    snprintf(key, sizeof key, "ckpt/opens/%" PRIu32, site->rank);
    int64_t number = 0;
    int rc = mst_kv_add(kv, key, 1, &number, deadline_ns);
    if (rc < 0)
        return mst_err_set(err, rc, "checkpoint: key-value table: %s", mst_err_meaning(rc));
    site->number = (uint32_t)number;
    return 0;
}

/* Rank 0's claim, which it tells the others when all is open. */
static int take_root(struct site *site, const struct site_opening *opening,
                     const struct tier_opts *tier_opts, struct mst_err *err)
{
    const struct mst_world *world = opening->world;
    bool wanted = opening->opts->take_root || world->tuning.take_root;
    const struct lease_opts opts = {
        .tier = tier_opts, .world = world, .by_force = wanted && world->generation == 0};
    int rc = lease_take(&opts, opening->deadline_ns, &site->lease, err);
    if (rc < 0)
        return rc == -EEXIST ? rc : mst_err_wrap(err, "the checkpoints' root cannot be used");
    const struct owner *owner = lease_owner(site->lease);
    site->tier->owner = *owner;
    site->epoch = owner->epoch;
    site->token = owner->token;
    root_claim_name(site->claim, owner->epoch, owner->token);
    snprintf(site->job_id, sizeof site->job_id, "%s", owner->job_id);
    return site->tier->ops->sweep(site->tier, owner->epoch, opening->deadline_ns, err);
}

static int open_parts(struct site *site, const struct site_opening *opening, struct mst_err *err)
{
    const struct mst_ckpt_opts *opts = opening->opts;
    const char *aio = opening->world->tuning.aio;
    const struct tier_opts tier_opts = {.uri = opts->uri,
                                        .aio = aio[0] ? aio : NULL,
                                        .staging_dir = opts->staging_dir,
                                        .timeout_ms = site->timeout_ms,
                                        .read_only = opts->read_only};
    int rc = opts->uri ? tier_open(&tier_opts, &site->tier, err)
                       : mst_err_set(err, -EINVAL, "no URI of the checkpoints' root: set opts.uri");
    if (rc == 0 && opening->kv)
        rc = mst_kv_clone(opening->kv, opening->deadline_ns, &site->kv, err);
    if (rc == 0 && site->rank == 0 && !opts->read_only)
        rc = take_root(site, opening, &tier_opts, err);
    return rc;
}

/* No rank may write before rank 0 has cleaned up, nor wait for one that could not open. */
static int meet(struct site *site, const struct site_opening *opening, struct mst_err *own,
                struct mst_err *err)
{
    char key[MST_KV_KEY_MAX];
    snprintf(key, sizeof key, "ckpt/%" PRIu32 "/open", site->number);
    if (site->rank == 0) {
        if (own->code == 0)
            snprintf(own->text, sizeof own->text, "%s", site->claim);
        int rc = verdict_post(opening->kv, key, own, opening->deadline_ns);
        if (own->code == 0 && rc < 0)
            return mst_err_set(err, rc, "checkpoint: key-value table: %s", mst_err_meaning(rc));
    } else if (own->code == 0) {
        struct mst_err verdict = {0};
        const struct word word = {.kv = opening->kv, .page = site->page, .key = key};
        int rc = verdict_await(&word, opening->deadline_ns, &verdict);
        if (rc < 0)
            return mst_err_set(err, rc, "rank 0: %s", verdict.text);
        snprintf(site->claim, sizeof site->claim, "%.*s", ROOT_NAME_MAX - 1, verdict.text);
    }
    return own->code < 0 ? mst_err_set(err, own->code, "%s", own->text) : 0;
}

static int open_together(struct site *site, const struct site_opening *opening, struct mst_err *err)
{
    int rc = count_open(site, opening->kv, opening->deadline_ns, err);
    if (rc < 0)
        return rc;
    struct mst_err own = {0};
    if (open_parts(site, opening, &own) == 0)
        own.code = 0;
    return meet(site, opening, &own, err);
}

/* A reader by itself: a table of its own stands for the job's. */
static int open_alone(struct site *site, const struct site_opening *opening, struct mst_err *err)
{
    int rc = mst_kv_dial(opening->world, opening->deadline_ns, &site->kv, err);
    return rc == 0 ? open_parts(site, opening, err) : rc;
}

int site_open(struct site *site, const struct site_opening *opening, struct mst_err *err)
{
    return opening->kv ? open_together(site, opening, err) : open_alone(site, opening, err);
}

uint64_t site_patience_ns(const struct site *site)
{
    return (uint64_t)site->timeout_ms * MST_NS_PER_MS / 4;
}

void site_close(struct site *site)
{
    lease_release(site->lease);
    mst_kv_close(site->kv);
    tier_close(site->tier);
}

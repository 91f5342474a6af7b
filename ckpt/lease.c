/* How a root changes hands.
 *
 *   survey     the newest owner's record is read. Another job's that lives: refused
 *   watch      if that is in doubt: one that does not change for OWNER_FRESH_S is a dead one's
 *   create     OWNER.<epoch + 1>, which only one can. It has the fences of the owner before, and
 *              an open one for that owner itself: from here on that one sees, before it publishes,
 *              that it has lost the root
 *   settle     what an owner before has displaced is put back; the steps are listed, and the
 *              highest that counts closes the open fences: what the owner before publishes from now
 *              on, because it had looked before `create`, does not count
 *   prune      all records but this one and the one before go
 *   renew      every RENEW_MS, by the thread
 *   release    the record says so
 *
 * A taker that dies on the way leaves its fence open, which hides nothing; the next one closes it.
 */
#include "muster/ckpt/lease.h"

#include "muster/ckpt/tier.h"
#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/least.h"
#include "muster/core/thread.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define RENEW_MS 10000
#define LOOKS_MAX 100   /* others may take the root meanwhile, but not so often */
#define ASK_MS 3000     /* a place that does not answer is asked again at the next turn */
#define RELEASE_MS 2000 /* whoever closes is not held for longer */

struct lease {
    struct tier *tier;  /* the thread's, once there is one */
    struct owner owner; /* as it was when the root was taken */
    bool has_root, has_thread;
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool stopping;
    } locked;
};

static uint64_t now_s(void)
{
    return (uint64_t)time(NULL);
}

/* ---- who has it ------------------------------------------------------------------------------ */

/* "job x on node y, renewed 3 s ago" */
static void describe(const struct owner *owner, char *text, size_t cap)
{
    char age[48] = "at a time to come: clocks differ";
    uint64_t now = now_s();
    if (now >= owner->renewed_s)
        snprintf(age, sizeof age, "%" PRIu64 " s ago", now - owner->renewed_s);
    snprintf(text, cap, "%s%.60s on %.40s, renewed %s",
             owner->job_id[0] ? "job " : "a job without an id", owner->job_id, owner->node, age);
}

static int refuse(const struct owner *owner, const char *why, struct mst_err *err)
{
    char text[160];
    describe(owner, text, sizeof text);
    return mst_err_set(err, -EEXIST,
                       "the checkpoints' root belongs to another job (%s)%s: give each its own "
                       "root, or take it: --take-root",
                       text, why);
}

/* The newest owner, as far as it can be read. */
struct survey {
    uint64_t epoch;     /* 0: there is none */
    struct owner owner; /* if its record is damaged, the one before: for its fences */
    bool is_damaged;
    struct mst_err later; /* it is of a later version: which, and what to do */
    enum owner_lock lock;
};

static int read_record(struct tier *tier, uint64_t epoch, struct survey *survey,
                       uint64_t deadline_ns, struct mst_err *err)
{
    struct tier_owner found;
    struct mst_err fault = {0};
    survey->epoch = epoch;
    survey->is_damaged = false;
    survey->later = (struct mst_err){0};
    int rc = tier->ops->read_owner(tier, epoch, &found, deadline_ns, &fault);
    if (rc == 0) {
        survey->lock = found.lock;
        int decoded = owner_decode(found.text, found.size_bytes, &survey->owner, &fault);
        survey->is_damaged = decoded < 0;
        if (decoded == -ENOTSUP)
            mst_err_set(&survey->later, decoded,
                        "OWNER.%" PRIu64 ": %s, or take the root: "
                        "--take-root",
                        epoch, fault.text);
    } else if (rc == -EBADMSG) {
        survey->is_damaged = true;
        survey->lock = OWNER_UNKNOWN;
    } else {
        return mst_err_set(err, rc, "%s", fault.text);
    }
    return 0;
}

/* The fences in a damaged record are gone; most of them are in the one before. */
static int look_behind(struct tier *tier, const uint64_t *older, size_t count, struct owner *owner,
                       uint64_t deadline_ns, struct mst_err *err)
{
    struct survey found = {.is_damaged = true};
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0 && found.is_damaged; i++)
        rc = read_record(tier, older[i], &found, deadline_ns, err);
    if (rc == 0 && !found.is_damaged)
        *owner = found.owner;
    return rc;
}

/* A record that goes while it is read is followed by another. */
static int look(struct tier *tier, struct survey *ret_survey, uint64_t deadline_ns,
                struct mst_err *err)
{
    uint64_t *epochs = NULL;
    size_t count = 0;
    int rc = tier->ops->list_owners(tier, &epochs, &count, deadline_ns, err);
    *ret_survey = (struct survey){0};
    if (rc == 0 && count > 0)
        rc = read_record(tier, epochs[0], ret_survey, deadline_ns, err);
    if (rc == 0 && ret_survey->is_damaged)
        rc = look_behind(tier, epochs + 1, count - 1, &ret_survey->owner, deadline_ns, err);
    free(epochs);
    return rc;
}

/* Whether the record stands still for as long as an owner that lives never lets it: then it is a
 * dead one's. -ENOENT: it has gone meanwhile. */
static int watch(struct lease *lease, const struct survey *survey, uint64_t deadline_ns,
                 struct mst_err *err)
{
    uint64_t end_ns = mst_deadline_ms(OWNER_FRESH_S * 1000);
    if (end_ns > deadline_ns)
        return refuse(&survey->owner,
                      ", which may live: to see whether it still renews takes 30 s, so set a "
                      "timeout_ms over that",
                      err);
    pthread_mutex_lock(&lease->locked.lock);
    while (mst_cond_wait(&lease->locked.changed, &lease->locked.lock, end_ns) == 0)
        continue; /* nobody signals it yet */
    pthread_mutex_unlock(&lease->locked.lock);
    struct survey now = {0};
    int rc = read_record(lease->tier, survey->epoch, &now, deadline_ns, err);
    if (rc == 0 && !now.is_damaged && now.owner.renewed_s != survey->owner.renewed_s)
        return refuse(&now.owner, "", err);
    return rc;
}

/* A damaged record is nobody's, but for its lock; its own is a taker's whose answer was lost. */
static int judge(struct lease *lease, const struct survey *survey, uint64_t deadline_ns,
                 struct mst_err *err)
{
    if (survey->epoch == 0)
        return 0;
    if (survey->later.code < 0)
        return mst_err_set(err, survey->later.code, "%s", survey->later.text);
    if (survey->is_damaged)
        return survey->lock == OWNER_LOCKED
                   ? mst_err_set(err, -EEXIST,
                                 "OWNER.%" PRIu64 " is damaged, but locked by another job that "
                                 "lives: end it, or take the root: --take-root",
                                 survey->epoch)
                   : 0;
    if (owner_is_same_job(&lease->owner, &survey->owner) ||
        survey->owner.token == lease->owner.token)
        return 0;
    switch (owner_life(&survey->owner, survey->lock, lease->owner.node, now_s())) {
    case OWNER_DEAD: return 0;
    case OWNER_ALIVE: return refuse(&survey->owner, "", err);
    default: return watch(lease, survey, deadline_ns, err);
    }
}

/* ---- taking ---------------------------------------------------------------------------------- */

static void introduce(struct owner *owner, const struct mst_world *world)
{
    owner_copy_text(owner->job_id, sizeof owner->job_id, world->job_id);
    owner->job_nonce = world->job_nonce;
    char name[OWNER_NODE_BYTES] = "";
    if (gethostname(name, sizeof name) < 0)
        name[0] = '\0'; /* it is no node that anyone else is on */
    owner_copy_text(owner->node, sizeof owner->node, name);
    (void)getrandom(&owner->token, sizeof owner->token,
                    0); /* 8 bytes always come once the system has booted */
}

static int rewrite(struct lease *lease, uint64_t deadline_ns, struct mst_err *err)
{
    char text[OWNER_BYTES];
    struct owner owner = lease->owner; /* which others read */
    owner.renewed_s = now_s();
    owner_encode(&owner, text);
    return lease->tier->ops->rewrite_owner(lease->tier, lease->owner.epoch, text, deadline_ns, err);
}

static int create(struct lease *lease, const struct survey *before, uint64_t deadline_ns,
                  struct mst_err *err)
{
    struct owner *owner = &lease->owner;
    owner->epoch = before->epoch + 1;
    owner->fence_count = before->owner.fence_count;
    memcpy(owner->fences, before->owner.fences, sizeof owner->fences);
    if (before->owner.epoch > 0)
        owner_add_fence(owner, &(struct owner_fence){before->owner.token, OWNER_FENCE_OPEN});
    owner->renewed_s = now_s();
    char text[OWNER_BYTES];
    owner_encode(owner, text);
    return lease->tier->ops->create_owner(lease->tier, owner->epoch, text, deadline_ns, err);
}

/* Whoever makes the next record first has the root; the other looks again. */
static int take(struct lease *lease, bool by_force, struct survey *ret_before, uint64_t deadline_ns,
                struct mst_err *err)
{
    int rc = -EEXIST;
    for (int looks = 0; rc == -EEXIST; looks++) {
        if (looks == LOOKS_MAX)
            return mst_err_set(err, -EBADMSG,
                               "an OWNER file is there, but nothing can be read by its name: if it "
                               "is a link, remove it");
        if (mst_deadline_passed(deadline_ns))
            return mst_err_set(err, -ETIMEDOUT, "others take the root again and again");
        rc = look(lease->tier, ret_before, deadline_ns, err);
        if (rc == 0 && !by_force)
            rc = judge(lease, ret_before, deadline_ns, err);
        if (rc == -EEXIST)
            return rc;
        if (rc == -ENOENT)
            rc = -EEXIST;
        else if (rc == 0)
            rc = create(lease, ret_before, deadline_ns, err);
    }
    return rc;
}

/* A root in which nobody has ever saved has no past to be fenced off, and one that nobody can read
 * has no token. */
static int settle(struct lease *lease, const struct survey *before, uint64_t deadline_ns,
                  struct mst_err *err)
{
    uint64_t *steps = NULL;
    size_t count = 0;
    struct tier *tier = lease->tier;
    tier->owner = lease->owner;
    int rc = tier->ops->put_back ? tier->ops->put_back(tier, err) : 0;
    if (rc == 0)
        rc = tier_list(tier, &steps, &count, deadline_ns, err);
    if (rc < 0)
        return rc;
    uint64_t below = count > 0 ? steps[0] + 1 : 0;
    free(steps);
    if (before->owner.epoch == 0 && (before->is_damaged || count == 0))
        return 0;
    if (before->owner.epoch == 0)
        owner_add_fence(&lease->owner, &(struct owner_fence){.below = below});
    owner_close_fences(&lease->owner, below);
    lease->tier->owner = lease->owner;
    return rewrite(lease, deadline_ns, err);
}

static void prune(struct lease *lease, uint64_t deadline_ns)
{
    uint64_t *epochs = NULL;
    size_t count = 0;
    if (lease->tier->ops->list_owners(lease->tier, &epochs, &count, deadline_ns, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (epochs[i] + 1 < lease->owner.epoch)
            lease->tier->ops->remove_owner(lease->tier, epochs[i], deadline_ns);
    free(epochs);
}

/* ---- renewing -------------------------------------------------------------------------------- */

/* Waits until it is time to renew. false: it is time to end. */
static bool await_turn(struct lease *lease)
{
    uint64_t deadline_ns = mst_deadline_ms(RENEW_MS);
    pthread_mutex_lock(&lease->locked.lock);
    int rc = 0;
    while (!lease->locked.stopping && rc == 0)
        rc = mst_cond_wait(&lease->locked.changed, &lease->locked.lock, deadline_ns);
    bool stopping = lease->locked.stopping;
    pthread_mutex_unlock(&lease->locked.lock);
    return !stopping;
}

/* A record that cannot be rewritten now is tried again; a root that is lost is not renewed, for its
 * record may have been pruned, and must not come back. */
static void *renew(void *arg)
{
    struct lease *lease = arg;
    bool lost = false;
    while (await_turn(lease)) {
        uint64_t deadline_ns = mst_deadline_ms(ASK_MS);
        int rc = lost ? -ESTALE : lease_check(lease, lease->tier, deadline_ns, NULL);
        lost = rc == -ESTALE;
        if (rc == 0)
            (void)rewrite(lease, deadline_ns, NULL); /* as above */
    }
    return NULL;
}

static int start(struct lease *lease, struct mst_err *err)
{
    int rc = mst_thread_start(&lease->thread, "mst-ckpt-owner", renew, lease);
    if (rc < 0)
        return mst_err_set(err, rc, "checkpoint thread: %s", mst_err_meaning(rc));
    lease->has_thread = true;
    return 0;
}

/* ---- the face -------------------------------------------------------------------------------- */

static int open_tier(const struct tier_opts *given, struct tier **ret_tier, struct mst_err *err)
{
    struct tier_opts opts = *given;
    opts.owners_only = true;
    return tier_open(&opts, ret_tier, err);
}

int lease_take(const struct lease_opts *opts, uint64_t deadline_ns, struct lease **ret_lease,
               struct mst_err *err)
{
    struct lease *lease = calloc(1, sizeof *lease);
    if (!lease)
        return mst_err_set(err, -ENOMEM, "checkpoints: no memory");
    pthread_mutex_init(&lease->locked.lock, NULL);
    mst_cond_init(&lease->locked.changed);
    introduce(&lease->owner, opts->world);
    struct survey before;
    int rc = open_tier(opts->tier, &lease->tier, err);
    if (rc == 0)
        rc = take(lease, opts->by_force, &before, deadline_ns, err);
    lease->has_root = rc == 0;
    if (rc == 0)
        rc = settle(lease, &before, deadline_ns, err);
    if (rc == 0)
        prune(lease, deadline_ns);
    if (rc == 0)
        rc = start(lease, err);
    if (rc < 0) {
        lease_release(lease);
        return rc;
    }
    *ret_lease = lease;
    return 0;
}

const struct owner *lease_owner(const struct lease *lease)
{
    return &lease->owner;
}

static int tell_lost(const struct survey *now, struct mst_err *err)
{
    char text[160] = "its record cannot be read";
    if (!now->is_damaged)
        describe(&now->owner, text, sizeof text);
    return mst_err_set(err, -ESTALE,
                       "the checkpoints' root was taken over as epoch %" PRIu64 " (%s): another "
                       "job, or another life of this one, has it now",
                       now->epoch, text);
}

/* The record after this one is what a taker makes first. Of the records before it at most the last
 * is kept, so that only where this one is gone, too, all need to be listed. */
int lease_check(struct lease *lease, struct tier *tier, uint64_t deadline_ns, struct mst_err *err)
{
    if (!lease)
        return 0;
    uint64_t epoch = lease->owner.epoch;
    struct survey now = {0};
    struct mst_err fault = {0};
    int rc = read_record(tier, epoch + 1, &now, deadline_ns, &fault);
    if (rc == 0)
        return tell_lost(&now, err);
    if (rc == -ENOENT)
        rc = read_record(tier, epoch, &now, deadline_ns, &fault);
    if (rc == -ENOENT)
        rc = look(tier, &now, deadline_ns, &fault);
    if (rc < 0)
        return mst_err_set(err, rc, "whose the root is: %s", fault.text);
    return now.epoch > epoch ? tell_lost(&now, err) : 0;
}

static void stop(struct lease *lease)
{
    pthread_mutex_lock(&lease->locked.lock);
    lease->locked.stopping = true;
    pthread_cond_broadcast(&lease->locked.changed);
    pthread_mutex_unlock(&lease->locked.lock);
    (void)pthread_join(lease->thread, NULL); /* it ends by the deadline of its request */
}

/* Whoever comes next would have to wait if it stays as it is, no more. */
static void mark_released(struct lease *lease)
{
    uint64_t deadline_ns = mst_deadline_ms(RELEASE_MS);
    if (lease_check(lease, lease->tier, deadline_ns, NULL) < 0)
        return;
    lease->owner.released = true;
    (void)rewrite(lease, deadline_ns, NULL); /* as above */
}

void lease_release(struct lease *lease)
{
    if (!lease)
        return;
    if (lease->has_thread)
        stop(lease);
    if (lease->has_root)
        mark_released(lease);
    pthread_cond_destroy(&lease->locked.changed);
    pthread_mutex_destroy(&lease->locked.lock);
    tier_close(lease->tier);
    free(lease);
}

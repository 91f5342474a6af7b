/* The life of a save, on every rank.
 *
 *   the caller    mst_ckpt_save (ckpt.c): tensors → pool, in the layout of the file; wakes the
 *                 worker
 *   the worker    runs the states of commit.h, each once, forward only:
 *     every rank  WRITE     pool → a durable file, in the tier's temporary place
 *                 VOTE      what was written, or why not, under vote/<rank>
 *     rank 0      RETAIN    removes what the step before lets go, if nobody gave it time to
 *                 GATHER    all votes; one that is missing at the deadline is a failure, too
 *                 MANIFEST  the votes → MANIFEST.json, if every row is in exactly one file
 *                 PUBLISH   if all files are where it says and the root is still ours: from here on
 *                           the step exists
 *                 ANNOUNCE  good, under verdict
 *                 ABANDON   after a failure before that: what was written goes; REFUSE: why, under
 *                           verdict
 *     the others  AWAIT     the verdict, which is their own from then on, whatever they had found
 *   the worker    records it (ckpt.c): mst_ckpt_get_status tells it, mst_ckpt_drain returns; then
 *     rank 0      LATEST, and the steps that may go now (pruner.c), until the next save comes
 *
 * A rank that could not write votes all the same, so that nobody waits for it, and rank 0 hears of
 * every rank before it removes anything, so that nobody still writes there. A rank that is lost is
 * missed by rank 0 at the deadline, and rank 0 by the others after two timeouts and a quarter. What
 * a killed rank 0 leaves is swept when its next generation opens the root: a step is published by
 * one operation of the tier, or not at all. Keys of a step go when the votes of the next have come.
 * A disk that is full gets a second try if old steps were to go: rank 0 says when they have. */
#include "muster/ckpt/attempt.h"

#include "muster/ckpt/commit.h"
#include "muster/ckpt/lease.h"
#include "muster/ckpt/manifest.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/verdict.h"
#include "muster/ckpt/word.h"
#include "muster/ckpt/writer.h"
#include "muster/core/clock.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 2000 /* whose the root is, asked for a better text only */

struct attempt {
    const struct site *site;
    struct shard *shard;
    const struct attempt_job *job;
    struct pruner *pruner; /* rank 0's */
    uint64_t deadline_ns;
    struct mst_err failure; /* the first */
    struct tier_save save;
    uint32_t frame_crc;          /* of this rank's file */
    struct manifest_file *files; /* rank 0: what was voted */
    char *manifest;              /* rank 0: the text made of it */
    size_t manifest_bytes;
};

/* ---- keys and failures ----------------------------------------------------------------------- */

static void make_key(const struct attempt *attempt, char key[MST_KV_KEY_MAX], const char *tail)
{
    snprintf(key, MST_KV_KEY_MAX, "ckpt/%" PRIu32 "/%" PRIu64 "/%s", attempt->site->number,
             attempt->job->step, tail);
}

static void make_vote_key(const struct attempt *attempt, char key[MST_KV_KEY_MAX], uint32_t rank)
{
    char tail[32];
    snprintf(tail, sizeof tail, "vote/%" PRIu32, rank);
    make_key(attempt, key, tail);
}

/* Keeps the first failure: later ones follow from it. */
static int fail(struct attempt *attempt, const struct mst_err *cause)
{
    if (attempt->failure.code == 0)
        attempt->failure = *cause;
    return cause->code;
}

static int fail_text(struct attempt *attempt, int code, const char *what)
{
    struct mst_err cause = {0};
    mst_err_set(&cause, code, "%s: %s", what, mst_err_meaning(code));
    return fail(attempt, &cause);
}

/* ---- every rank writes and votes ------------------------------------------------------------- */

static int write_once(struct attempt *attempt, struct mst_err *err)
{
    const struct site *site = attempt->site;
    struct shard *shard = attempt->shard;
    char name[ROOT_NAME_MAX];
    root_file_name(name, site->rank);
    struct writer_job job = {.fd = -1,
                             .name = name,
                             .image = shard->pool.base,
                             .skeleton = &shard->skeleton,
                             .parts = shard->parts,
                             .part_count = shard->part_count};
    int rc = site->tier->ops->write(site->tier, &attempt->save, &job,
                                    attempt->deadline_ns - site_patience_ns(site), err);
    attempt->frame_crc = job.frame_crc;
    return rc;
}

/* Whether what the step before lets go may have been in the way, and is gone now. */
static bool made_room(struct attempt *attempt)
{
    const struct site *site = attempt->site;
    const struct attempt_job *job = attempt->job;
    if (site->rank == 0) {
        bool was_due = pruner_is_due(attempt->pruner);
        pruner_run(attempt->pruner, site, NULL);
        return was_due;
    }
    return job->previous_step != MST_CKPT_NONE && !job->follows_failure &&
           pruner_await(site, job->previous_step, attempt->deadline_ns - site_patience_ns(site)) ==
               0;
}

static int run_write(struct attempt *attempt)
{
    if (attempt->failure.code != 0)
        return attempt->failure.code;
    struct mst_err cause = {0};
    int rc = write_once(attempt, &cause);
    if ((rc == -ENOSPC || rc == -EDQUOT) && made_room(attempt))
        rc = write_once(attempt, &cause);
    return rc < 0 ? fail(attempt, &cause) : 0;
}

/* Of its size, and of the bytes that it has in common with those of other ranks. */
static uint32_t cursor_crc(const struct attempt_job *job)
{
    return mst_crc32c((uint32_t)job->cursor_bytes, job->cursor,
                      mst_least(job->cursor_bytes, MST_CKPT_CURSOR_ALIKE));
}

static int run_vote(struct attempt *attempt)
{
    struct shard *shard = attempt->shard;
    struct manifest_vote vote = {.failure = attempt->failure,
                                 .fingerprint = shard->fingerprint,
                                 .cursor = cursor_crc(attempt->job)};
    if (vote.failure.code == 0)
        vote.file = (struct manifest_file){
            .size_bytes = shard->skeleton.size_bytes,
            .frame_crc = attempt->frame_crc,
            .parts = shard->parts,
            .part_count = shard->part_count,
            .crcs = (uint32_t *)(void *)(shard->pool.base + shard->skeleton.crc_offset),
            .crc_count = shard->skeleton.crc_count};
    char *text = NULL;
    size_t size = 0;
    int rc = manifest_vote_encode(&vote, &text, &size);
    char key[MST_KV_KEY_MAX];
    make_vote_key(attempt, key, attempt->site->rank);
    if (rc == 0)
        rc = mst_kv_set(attempt->site->kv, key, text, size, attempt->deadline_ns);
    free(text);
    return rc < 0 ? fail_text(attempt, rc, "cannot vote") : 0;
}

/* What had to wait for this save's snapshot is done while the others still write. */
static int run_retain(struct attempt *attempt)
{
    pruner_run(attempt->pruner, attempt->site, NULL);
    return 0;
}

/* ---- rank 0 decides -------------------------------------------------------------------------- */

/* Waits for a value of unknown size. */
static int await_value(const struct word *word, char **ret_value, size_t *ret_size,
                       uint64_t deadline_ns)
{
    size_t cap = 4096, size = 0;
    char *value = NULL;
    int rc = -ENOSPC;
    while (rc == -ENOSPC) {
        char *grown = realloc(value, cap);
        if (!grown) {
            rc = -ENOMEM;
            break;
        }
        value = grown;
        rc = word_await(word, value, cap, &size, deadline_ns);
        cap = size > cap ? size : cap * 2;
    }
    if (rc < 0) {
        free(value);
        return rc;
    }
    *ret_value = value;
    *ret_size = size;
    return 0;
}

/* Takes one rank's vote. A rank that failed is heard too: until then it may still write. Returns
 * whether there was a vote. */
static bool gather_vote(struct attempt *attempt, uint32_t rank)
{
    const struct shard *shard = attempt->shard;
    const struct manifest_ballot ballot = {.tensors = shard->tensors,
                                           .tensor_count = shard->tensor_count,
                                           .fingerprint = shard->fingerprint,
                                           .cursor = cursor_crc(attempt->job)};
    char key[MST_KV_KEY_MAX];
    make_vote_key(attempt, key, rank);
    const struct word word = {attempt->site->kv, attempt->site->page, rank, key};
    char *text = NULL;
    size_t size = 0;
    int rc = await_value(&word, &text, &size, attempt->deadline_ns);
    bool heard = rc == 0;
    struct manifest_vote vote = {0};
    struct mst_err cause = {0};
    if (rc < 0)
        mst_err_set(&cause, rc, "no vote: %s", mst_err_meaning(rc));
    else
        rc = manifest_vote_decode(&ballot, text, size, &vote, &cause);
    free(text);
    if (rc == 0 && vote.failure.code != 0) {
        cause = vote.failure;
        rc = cause.code;
    }
    if (rc == 0)
        attempt->files[rank] = vote.file;
    else if (attempt->failure.code == 0)
        mst_err_wrap(&cause, "rank %" PRIu32, rank);
    if (rc < 0)
        (void)fail(attempt, &cause); /* gathering goes on: all must be heard */
    return heard;
}

/* Whoever votes on this step has read the verdict of the one before. */
static void forget_previous(const struct attempt *attempt)
{
    if (attempt->job->previous_step == MST_CKPT_NONE)
        return;
    char prefix[MST_KV_KEY_MAX];
    snprintf(prefix, sizeof prefix, "ckpt/%" PRIu32 "/%" PRIu64 "/", attempt->site->number,
             attempt->job->previous_step);
    (void)mst_kv_delete_prefix(attempt->site->kv, prefix, attempt->deadline_ns); /* only memory */
}

static int run_gather(struct attempt *attempt)
{
    uint32_t world_size = attempt->site->world_size;
    attempt->files = calloc(world_size, sizeof *attempt->files);
    if (!attempt->files)
        return fail_text(attempt, -ENOMEM, "no memory for the votes");
    uint32_t heard_count = 0;
    for (uint32_t r = 0; r < world_size; r++)
        heard_count += gather_vote(attempt, r); /* the first failure is kept */
    if (heard_count == world_size)
        forget_previous(attempt);
    return attempt->failure.code;
}

/* Makes the manifest, from rank 0's tensors and every rank's vote. */
static int run_manifest(struct attempt *attempt)
{
    assert(attempt->failure.code == 0);
    const struct attempt_job *job = attempt->job;
    struct manifest manifest = {.step = job->step,
                                .world_size = attempt->site->world_size,
                                .generation = attempt->site->generation,
                                .attempt = attempt->site->number,
                                .epoch = attempt->site->epoch,
                                .token = attempt->site->token,
                                .cursor_bytes = job->cursor_bytes,
                                .tensors = attempt->shard->tensors,
                                .tensor_count = attempt->shard->tensor_count,
                                .files = attempt->files};
    struct mst_err cause = {0};
    int rc = manifest_check_cover(&manifest, &cause);
    if (rc < 0)
        return fail(attempt, &cause);
    memcpy(manifest.cursor, job->cursor, job->cursor_bytes);
    snprintf(manifest.job_id, sizeof manifest.job_id, "%s", attempt->site->job_id);
    if (attempt->site->tier->ops->has_commits)
        snprintf(manifest.commit, sizeof manifest.commit, "%.*s", MANIFEST_COMMIT_MAX - 1,
                 attempt->site->claim);
    rc = manifest_encode(&manifest, &attempt->manifest, &attempt->manifest_bytes);
    if (rc == 0 && attempt->manifest_bytes > MANIFEST_BYTES_MAX)
        rc = -EFBIG;
    return rc < 0 ? fail_text(attempt, rc, MANIFEST_NAME) : 0;
}

static int run_publish(struct attempt *attempt)
{
    assert(attempt->failure.code == 0 && attempt->manifest);
    const struct site *site = attempt->site;
    const struct tier_ops *ops = site->tier->ops;
    struct mst_err cause = {0};
    int rc = ops->check(site->tier, &attempt->save, attempt->files, site->world_size,
                        attempt->deadline_ns, &cause);
    if (rc == 0)
        rc = lease_check(site->lease, site->tier, attempt->deadline_ns, &cause);
    if (rc == 0)
        rc = ops->publish(site->tier, &attempt->save, attempt->manifest, attempt->manifest_bytes,
                          attempt->deadline_ns, &cause);
    return rc < 0 ? fail(attempt, &cause) : 0;
}

static int run_announce(struct attempt *attempt)
{
    char key[MST_KV_KEY_MAX];
    make_key(attempt, key, "verdict");
    return verdict_post(attempt->site->kv, key, &attempt->failure,
                        mst_deadline_ms(attempt->site->timeout_ms));
}

/* Whoever has taken the root has removed what we wrote, or published before us. */
static bool may_be_lost(int code)
{
    return code == -ENOENT || code == -EBADMSG || code == -EEXIST;
}

static int run_abandon(struct attempt *attempt)
{
    assert(attempt->failure.code != 0);
    const struct site *site = attempt->site;
    struct mst_err lost = {0};
    if (may_be_lost(attempt->failure.code) &&
        lease_check(site->lease, site->tier, mst_deadline_ms(LOOK_MS), &lost) == -ESTALE)
        attempt->failure = lost;
    site->tier->ops->abandon(site->tier, &attempt->save, mst_now_ns() + site_patience_ns(site));
    return 0;
}

/* ---- the others wait ------------------------------------------------------------------------- */

/* Rank 0 decides by its own deadline, which started when its save did. A step is committed though
 * this rank calls it failed only if that was more than a whole timeout after this rank's. */
static int run_await(struct attempt *attempt)
{
    struct mst_err verdict = {0};
    char key[MST_KV_KEY_MAX];
    make_key(attempt, key, "verdict");
    const struct word word = {.kv = attempt->site->kv, .page = attempt->site->page, .key = key};
    (void)verdict_await(&word, attempt->deadline_ns + 5 * site_patience_ns(attempt->site),
                        &verdict); /* its code is in the verdict */
    attempt->failure = verdict;    /* over this rank's own: all tell the same story */
    return verdict.code;
}

/* ---- the states ------------------------------------------------------------------------------ */

static int run_state(struct attempt *attempt, enum commit_state state)
{
    switch (state) {
    case COMMIT_WRITE: return run_write(attempt);
    case COMMIT_VOTE: return run_vote(attempt);
    case COMMIT_GATHER: return run_gather(attempt);
    case COMMIT_MANIFEST: return run_manifest(attempt);
    case COMMIT_PUBLISH: return run_publish(attempt);
    case COMMIT_ANNOUNCE:
    case COMMIT_REFUSE: return run_announce(attempt);
    case COMMIT_RETAIN: return run_retain(attempt);
    case COMMIT_ABANDON: return run_abandon(attempt);
    case COMMIT_AWAIT: return run_await(attempt);
    default: break; /* final states have no work */
    }
    return -EINVAL;
}

static void fini(struct attempt *attempt)
{
    for (uint32_t r = 0; attempt->files && r < attempt->site->world_size; r++)
        manifest_file_fini(&attempt->files[r]);
    free(attempt->files);
    free(attempt->manifest);
}

int attempt_run(const struct site *site, struct shard *shard, const struct attempt_job *job,
                struct pruner *pruner, struct mst_err *ret_failure)
{
    struct attempt attempt = {.site = site,
                              .shard = shard,
                              .job = job,
                              .pruner = pruner,
                              .deadline_ns = mst_deadline_ms(site->timeout_ms),
                              .failure = job->failure,
                              .save = {.step = job->step,
                                       .rank = site->rank,
                                       .claim = site->claim,
                                       .lease = site->lease,
                                       .follows_failure = job->follows_failure}};
    enum commit_state state = COMMIT_WRITE;
    while (!commit_is_final(state))
        state = commit_next(state, site->rank == 0, run_state(&attempt, state) == 0);
    fini(&attempt);
    assert((state == COMMIT_COMMITTED) == (attempt.failure.code == 0));
    if (state == COMMIT_COMMITTED && site->rank == 0)
        pruner_note(pruner, job->step);
    if (state == COMMIT_COMMITTED)
        return 0;
    *ret_failure = attempt.failure;
    return attempt.failure.code;
}

/* The life of a load. All ranks go through it in step, and meet in the key-value table only.
 *
 *   rank 0       lists the steps, newest first
 *   then rounds, each of which tries one step:
 *     rank 0     names it under candidate; with none left, a code and text that end the load
 *     every rank reads the manifest, finds the blocks that hold its rows, reads each whole,
 *                compares its checksum, brings the rows to staging memory, or to tensors that are
 *                blank (intake.c), and says under vote/<rank> how that went, and of which manifest
 *     rank 0     hears every rank, and tells under verdict:
 *       good     all copy staging to their tensors, and the load ends
 *       damage   tensors are as they were; all go on to the next older step
 *       else     no older step would mend it: the load ends with this fault on all ranks
 *
 * A rank that is lost on the way is waited for until the deadline; then the load ends on every rank
 * that waits, naming whom there is no word from. Rank 0 may have installed a step whose verdict
 * came too late for another rank, or that another rank's device did not take: that rank's load has
 * failed, and with it the generation. Nothing of a load stays but its keys, which the table's end
 * takes along: the next load has its own number. */
#include "muster/ckpt/restore.h"

#include "muster/ckpt/intake.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/verdict.h"
#include "muster/ckpt/word.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct restore {
    const struct site *site;
    const struct restore_job *job;
    uint64_t *steps; /* rank 0: candidates, newest first */
    size_t step_count;
    uint32_t round;        /* also how many candidates were damaged */
    struct mst_err damage; /* of the newest one, or why there are none */
};

static void make_key(const struct restore *restore, char key[MST_KV_KEY_MAX], const char *tail)
{
    snprintf(key, MST_KV_KEY_MAX, "ckpt/%" PRIu32 "/load/%" PRIu32 "/%" PRIu32 "/%s",
             restore->site->number, restore->job->number, restore->round, tail);
}

static void make_vote_key(const struct restore *restore, char key[MST_KV_KEY_MAX], uint32_t rank)
{
    char tail[32];
    snprintf(tail, sizeof tail, "vote/%" PRIu32, rank);
    make_key(restore, key, tail);
}

static struct word word_of(const struct restore *restore, uint32_t from, const char *key)
{
    return (struct word){restore->site->kv, restore->site->page, from, key};
}

/* Rank 0: what to try in this round; a code if there is nothing left. */
static void choose(struct restore *restore, struct mst_err *ret_choice)
{
    *ret_choice = (struct mst_err){0};
    if (restore->round < restore->step_count)
        snprintf(ret_choice->text, sizeof ret_choice->text, "%" PRIu64,
                 restore->steps[restore->round]);
    else if (restore->damage.code != 0)
        *ret_choice = restore->damage;
    else
        mst_err_set(ret_choice, -ENOENT, "no checkpoint yet");
}

/* All ranks: the step to try in this round, or the code and text that end the search. */
static int agree_candidate(struct restore *restore, uint64_t *ret_step, struct mst_err *err)
{
    char key[MST_KV_KEY_MAX];
    make_key(restore, key, "candidate");
    struct mst_err choice = {0};
    if (restore->site->rank == 0) {
        choose(restore, &choice);
        int rc = verdict_post(restore->site->kv, key, &choice, restore->job->deadline_ns);
        if (rc < 0)
            return mst_err_set(err, rc, "cannot tell the candidate: %s", mst_err_meaning(rc));
    } else {
        const struct word word = word_of(restore, 0, key);
        (void)verdict_await(&word, restore->job->deadline_ns,
                            &choice); /* its code is in the choice */
    }
    if (choice.code < 0)
        return mst_err_set(err, choice.code, "%s", choice.text);
    *ret_step = strtoull(choice.text, NULL, 10);
    return 0;
}

/* A fault that no older checkpoint would mend outweighs damage. */
static bool outweighs(const struct mst_err *a, const struct mst_err *b)
{
    return a->code != 0 && (b->code == 0 || (b->code == -EBADMSG && a->code != -EBADMSG));
}

/* Two ranks that could read the step have read the same one only if their manifests are. */
static void compare(const struct restore *restore, const struct mst_err *first, uint32_t rank,
                    struct mst_err *vote)
{
    if (first->code == 0 && vote->code == 0 && strcmp(first->text, vote->text) != 0)
        mst_err_set(vote, -EINVAL,
                    "rank %" PRIu32 " finds another step_%" PRIu64 " than rank 0: give all ranks "
                    "the same root",
                    rank, restore->steps[restore->round]);
}

/* Rank 0: hears every rank, then tells. */
static int judge(struct restore *restore, const struct mst_err *own, struct mst_err *ret_verdict)
{
    struct mst_err verdict = {0};
    char key[MST_KV_KEY_MAX];
    for (uint32_t r = 0; r < restore->site->world_size; r++) {
        make_vote_key(restore, key, r);
        const struct word word = word_of(restore, r, key);
        struct mst_err vote = {0};
        (void)verdict_await(&word, restore->job->deadline_ns, &vote); /* its code is in the vote */
        compare(restore, own, r, &vote);
        if (outweighs(&vote, &verdict))
            verdict = vote;
    }
    *ret_verdict = verdict;
    make_key(restore, key, "verdict");
    return verdict_post(restore->site->kv, key, &verdict, restore->job->deadline_ns);
}

/* All ranks: `own` in, what all say about the candidate out. */
static int agree_verdict(struct restore *restore, const struct mst_err *own,
                         struct mst_err *ret_verdict)
{
    char key[MST_KV_KEY_MAX];
    make_vote_key(restore, key, restore->site->rank);
    int rc = verdict_post(restore->site->kv, key, own, restore->job->deadline_ns);
    if (rc == 0 && restore->site->rank == 0)
        rc = judge(restore, own, ret_verdict);
    if (rc < 0)
        return mst_err_set(ret_verdict, rc, "cannot agree: %s", mst_err_meaning(rc));
    if (restore->site->rank == 0)
        return ret_verdict->code;
    make_key(restore, key, "verdict");
    const struct word word = word_of(restore, 0, key);
    return verdict_await(&word, restore->job->deadline_ns, ret_verdict);
}

/* The vote of a rank that could read the step: which it was. */
static struct mst_err name_step(const struct manifest *manifest)
{
    struct mst_err vote = {0};
    snprintf(vote.text, sizeof vote.text, "%08" PRIx32, manifest->crc);
    return vote;
}

/* Descends until a candidate is good on all ranks; it is in `intake` then. */
static int search(struct restore *restore, struct intake *intake, struct mst_err *err)
{
    for (;; restore->round++) {
        uint64_t step = 0;
        int rc = agree_candidate(restore, &step, err);
        if (rc < 0)
            return rc;
        struct mst_err own = restore->job->failure;
        if (own.code == 0 && intake_read(intake, restore->site->tier, step, restore->job->state,
                                         restore->job->deadline_ns, &own) == 0)
            own = name_step(&intake->manifest);
        struct mst_err verdict = {0};
        rc = agree_verdict(restore, &own, &verdict);
        if (rc == 0)
            return 0;
        intake_undo(intake);
        if (rc != -EBADMSG)
            return mst_err_set(err, rc, "%s", verdict.text);
        if (restore->round == 0)
            restore->damage = verdict;
    }
}

static void tell(const struct restore *restore, const struct intake *intake,
                 struct mst_ckpt_loaded *ret_loaded, struct mst_err *err)
{
    const struct manifest *manifest = &intake->manifest;
    *ret_loaded = (struct mst_ckpt_loaded){.struct_bytes = sizeof *ret_loaded,
                                           .step = manifest->step,
                                           .saved_world_size = manifest->world_size,
                                           .cursor_bytes = manifest->cursor_bytes,
                                           .skipped_count = restore->round};
    memcpy(ret_loaded->cursor, manifest->cursor, manifest->cursor_bytes);
    if (err) {
        *err = restore->damage; /* the text is empty unless one was passed over */
        err->code = 0;
    }
}

/* Where the owner's record is damaged the one before says which steps do not count. */
static void list_candidates(struct restore *restore)
{
    struct tier *tier = restore->site->tier;
    uint64_t deadline_ns = restore->job->deadline_ns;
    int rc = restore->site->lease ? 0 : tier_read_owner(tier, deadline_ns, &restore->damage);
    if (rc < 0 && rc != -EBADMSG)
        return;
    restore->damage = (struct mst_err){0};
    (void)tier_list(tier, &restore->steps, &restore->step_count, deadline_ns,
                    &restore->damage); /* why there are no candidates */
}

int restore_run(const struct site *site, const struct restore_job *job,
                struct mst_ckpt_loaded *ret_loaded, struct mst_err *err)
{
    struct restore restore = {.site = site, .job = job};
    struct intake intake = {.staging = job->staging, .device = job->device};
    if (site->rank == 0)
        list_candidates(&restore);
    int rc = search(&restore, &intake, err);
    assert(rc < 0 || site->rank != 0 || restore.round < restore.step_count);
    if (rc == 0)
        rc = intake_install(&intake, job->state, err);
    if (rc == 0)
        tell(&restore, &intake, ret_loaded, err);
    intake_fini(&intake);
    free(restore.steps);
    return rc;
}

#include "muster/ckpt/restore.h"

#include "muster/ckpt/intake.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/verdict.h"
#include "muster/core/kv/kv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct restore {
    const struct site *site;
    uint32_t number;
    uint64_t deadline_ns;
    uint64_t *steps; /* rank 0: candidates, newest first */
    size_t step_count;
    uint32_t round;        /* also how many candidates were damaged */
    struct mst_err damage; /* of the newest one, or why there are none */
};

static void make_key(const struct restore *restore, char key[MST_KV_KEY_MAX], const char *tail)
{
    snprintf(key, MST_KV_KEY_MAX, "ckpt/%" PRIu32 "/load/%" PRIu32 "/%" PRIu32 "/%s",
             restore->site->number, restore->number, restore->round, tail);
}

static void make_vote_key(const struct restore *restore, char key[MST_KV_KEY_MAX], uint32_t rank)
{
    char tail[32];
    snprintf(tail, sizeof tail, "vote/%" PRIu32, rank);
    make_key(restore, key, tail);
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
    struct mst_err choice = {0};
    char key[MST_KV_KEY_MAX];
    int r = 0;
    make_key(restore, key, "candidate");
    if (restore->site->rank == 0) {
        choose(restore, &choice);
        r = verdict_post(restore->site->kv, key, &choice, restore->deadline_ns);
        if (r < 0)
            return mst_err_set(err, r, "cannot tell the candidate: %s", strerror(-r));
    } else {
        (void)verdict_await(restore->site->kv, key, "rank 0", restore->deadline_ns, &choice);
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

/* Rank 0: hears every rank, then tells. */
static int judge(struct restore *restore, struct mst_err *ret_verdict)
{
    struct mst_err verdict = {0};
    char key[MST_KV_KEY_MAX];
    for (uint32_t r = 0; r < restore->site->world_size; r++) {
        struct mst_err vote = {0};
        char from[32];
        snprintf(from, sizeof from, "rank %" PRIu32, r);
        make_vote_key(restore, key, r);
        (void)verdict_await(restore->site->kv, key, from, restore->deadline_ns, &vote);
        if (outweighs(&vote, &verdict))
            verdict = vote;
    }
    *ret_verdict = verdict;
    make_key(restore, key, "verdict");
    return verdict_post(restore->site->kv, key, &verdict, restore->deadline_ns);
}

/* All ranks: `own` in, what all say about the candidate out. */
static int agree_verdict(struct restore *restore, const struct mst_err *own,
                         struct mst_err *ret_verdict)
{
    char key[MST_KV_KEY_MAX];
    int r;
    make_vote_key(restore, key, restore->site->rank);
    r = verdict_post(restore->site->kv, key, own, restore->deadline_ns);
    if (r == 0 && restore->site->rank == 0)
        r = judge(restore, ret_verdict);
    if (r < 0)
        return mst_err_set(ret_verdict, r, "cannot agree: %s", strerror(-r));
    if (restore->site->rank == 0)
        return ret_verdict->code;
    make_key(restore, key, "verdict");
    return verdict_await(restore->site->kv, key, "rank 0", restore->deadline_ns, ret_verdict);
}

/* Descends until a candidate is good on all ranks; it is in `intake` then. */
static int search(struct restore *restore, struct intake *intake, const struct mst_tensor *tensors,
                  size_t tensor_count, struct mst_err *err)
{
    for (;; restore->round++) {
        struct mst_err own = {0}, verdict = {0};
        uint64_t step = 0;
        int r = agree_candidate(restore, &step, err);
        if (r < 0)
            return r;
        if (intake_read(intake, restore->site->tier, step, tensors, tensor_count,
                        restore->deadline_ns, &own) == 0)
            own = (struct mst_err){0};
        r = agree_verdict(restore, &own, &verdict);
        if (r == 0)
            return 0;
        if (r != -EBADMSG)
            return mst_err_set(err, r, "%s", verdict.text);
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

int restore_run(const struct site *site, uint32_t number, const struct mst_tensor *tensors,
                size_t tensor_count, struct snapshot *staging, struct mst_ckpt_loaded *ret_loaded,
                uint64_t deadline_ns, struct mst_err *err)
{
    struct restore restore = {.site = site, .number = number, .deadline_ns = deadline_ns};
    struct intake intake = {.staging = staging};
    int r;
    if (site->rank == 0)
        (void)site->tier->ops->list(site->tier, &restore.steps, &restore.step_count, deadline_ns,
                                    &restore.damage); /* without candidates this is the reason */
    r = search(&restore, &intake, tensors, tensor_count, err);
    if (r == 0) {
        intake_install(&intake, tensors);
        tell(&restore, &intake, ret_loaded, err);
    }
    intake_fini(&intake);
    free(restore.steps);
    return r;
}

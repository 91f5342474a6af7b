#include "ckpt/attempt.h"

#include "ckpt/commit.h"
#include "ckpt/manifest.h"
#include "ckpt/retain.h"
#include "ckpt/root.h"
#include "ckpt/verdict.h"
#include "ckpt/writer.h"
#include "core/clock.h"
#include "core/kv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct attempt {
    const struct site *site;
    struct shard *shard;
    const struct attempt_job *job;
    uint64_t deadline_ns;
    struct mst_err failure; /* the first */
    char temp[ROOT_NAME_MAX];
    int temp_fd;
    uint32_t frame_crc;          /* of this rank's file */
    struct manifest_file *files; /* rank 0: what was voted */
};

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
    mst_err_set(&cause, code, "%s: %s", what, strerror(-code));
    return fail(attempt, &cause);
}

static int run_write(struct attempt *attempt)
{
    const struct site *site = attempt->site;
    struct shard *shard = attempt->shard;
    char name[ROOT_NAME_MAX];
    struct mst_err cause = {0};
    struct writer_job job = {.name = name,
                             .image = shard->pool.base,
                             .skeleton = &shard->skeleton,
                             .parts = shard->parts,
                             .part_count = shard->part_count};
    if (attempt->failure.code != 0)
        return attempt->failure.code;
    attempt->temp_fd = root_make_temp(site->aio, site->root_fd, attempt->temp);
    if (attempt->temp_fd < 0)
        return fail_text(attempt, attempt->temp_fd, attempt->temp);
    root_file_name(name, site->rank);
    job.dir_fd = attempt->temp_fd;
    if (writer_write(site->aio, &job, attempt->deadline_ns, &cause) < 0)
        return fail(attempt, &cause);
    attempt->frame_crc = job.frame_crc;
    return 0;
}

static int run_vote(struct attempt *attempt)
{
    struct shard *shard = attempt->shard;
    struct manifest_vote vote = {.failure = attempt->failure, .fingerprint = shard->fingerprint};
    char key[MST_KV_KEY_MAX], *text = NULL;
    size_t size = 0;
    int r;
    if (vote.failure.code == 0)
        vote.file = (struct manifest_file){
            .size_bytes = shard->skeleton.size_bytes,
            .frame_crc = attempt->frame_crc,
            .parts = shard->parts,
            .part_count = shard->part_count,
            .crcs = (uint32_t *)(void *)(shard->pool.base + shard->skeleton.crc_offset),
            .crc_count = shard->skeleton.crc_count};
    r = manifest_vote_encode(&vote, &text, &size);
    make_vote_key(attempt, key, attempt->site->rank);
    if (r == 0)
        r = mst_kv_set(attempt->site->kv, key, text, size, attempt->deadline_ns);
    free(text);
    return r < 0 ? fail_text(attempt, r, "cannot vote") : 0;
}

/* Waits for a value of unknown size. */
static int await_value(struct mst_kv *kv, const char *key, char **ret_value, size_t *ret_size,
                       uint64_t deadline_ns)
{
    size_t cap = 4096, size = 0;
    char *value = NULL;
    int r = -ENOSPC;
    while (r == -ENOSPC) {
        char *grown = realloc(value, cap);
        if (!grown) {
            r = -ENOMEM;
            break;
        }
        value = grown;
        r = mst_kv_wait(kv, key, value, cap, &size, deadline_ns);
        cap = size > cap ? size : cap * 2;
    }
    if (r < 0) {
        free(value);
        return r;
    }
    *ret_value = value;
    *ret_size = size;
    return 0;
}

/* Takes one rank's vote. A rank that failed is heard too: until then it may still write. */
static int gather_vote(struct attempt *attempt, uint32_t rank)
{
    const struct shard *shard = attempt->shard;
    struct manifest_vote vote = {0};
    struct mst_err cause = {0};
    char key[MST_KV_KEY_MAX], *text = NULL;
    size_t size = 0;
    int r;
    make_vote_key(attempt, key, rank);
    r = await_value(attempt->site->kv, key, &text, &size, attempt->deadline_ns);
    if (r < 0)
        mst_err_set(&cause, r, "no vote: %s", strerror(-r));
    else
        r = manifest_vote_decode(text, size, shard->tensors, shard->tensor_count,
                                 shard->fingerprint, &vote, &cause);
    free(text);
    if (r == 0 && vote.failure.code != 0) {
        cause = vote.failure;
        r = cause.code;
    }
    if (r == 0)
        attempt->files[rank] = vote.file;
    else if (attempt->failure.code == 0)
        mst_err_wrap(&cause, "rank %" PRIu32, rank);
    return r < 0 ? fail(attempt, &cause) : 0;
}

/* Whoever votes on this step has read the verdict of the one before. */
static void forget_previous(const struct attempt *attempt)
{
    char prefix[MST_KV_KEY_MAX];
    if (attempt->job->previous_step == MST_CKPT_NONE)
        return;
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
    for (uint32_t r = 0; r < world_size; r++)
        (void)gather_vote(attempt, r); /* all are heard; the first failure is kept */
    if (attempt->failure.code == 0)
        forget_previous(attempt);
    return attempt->failure.code;
}

/* Writes the manifest, from rank 0's tensors and every rank's vote. */
static int run_manifest(struct attempt *attempt)
{
    const struct attempt_job *job = attempt->job;
    struct manifest manifest = {.step = job->step,
                                .world_size = attempt->site->world_size,
                                .generation = attempt->site->generation,
                                .attempt = attempt->site->number,
                                .cursor_bytes = job->cursor_bytes,
                                .tensors = attempt->shard->tensors,
                                .tensor_count = attempt->shard->tensor_count,
                                .files = attempt->files};
    struct mst_err cause = {0};
    char *text = NULL;
    size_t size = 0;
    int r = manifest_check_cover(&manifest, &cause);
    if (r < 0)
        return fail(attempt, &cause);
    memcpy(manifest.cursor, job->cursor, job->cursor_bytes);
    r = manifest_encode(&manifest, &text, &size);
    if (r == 0)
        r = size > MANIFEST_BYTES_MAX
                ? -EFBIG
                : root_write_file(attempt->site->aio, attempt->temp_fd, MANIFEST_NAME, text, size);
    free(text);
    return r < 0 ? fail_text(attempt, r, MANIFEST_NAME) : 0;
}

static int run_publish(struct attempt *attempt)
{
    const struct site *site = attempt->site;
    int r;
    if (mst_deadline_passed(attempt->deadline_ns)) /* other ranks may have given up */
        return fail_text(attempt, -ETIMEDOUT, "not published");
    r = root_publish(site->aio, site->root_fd, attempt->temp_fd, attempt->temp, attempt->job->step);
    return r < 0 ? fail_text(attempt, r, "publish") : 0;
}

static int run_announce(struct attempt *attempt)
{
    char key[MST_KV_KEY_MAX];
    make_key(attempt, key, "verdict");
    return verdict_post(attempt->site->kv, key, &attempt->failure,
                        mst_deadline_ms(attempt->site->timeout_ms));
}

/* Neither a hint nor an old checkpoint that stays is worth failing a save that is committed. */
static int run_retain(struct attempt *attempt)
{
    const struct site *site = attempt->site;
    uint64_t *steps = NULL;
    struct retain_step *plan = NULL;
    size_t count = 0;
    (void)root_point_latest(site->aio, site->root_fd, attempt->job->step);
    if (root_list(site->root_fd, &steps, &count) == 0)
        plan = calloc(count + 1, sizeof *plan);
    for (size_t i = 0; plan && i < count; i++) {
        struct manifest manifest = {0};
        bool good = root_read_manifest(site->root_fd, steps[i], &manifest, NULL) == 0;
        plan[i] = (struct retain_step){.step = steps[i], .good = good};
        manifest_fini(&manifest);
    }
    if (plan && retain_plan(plan, count, attempt->job->step, site->keep) > 0)
        for (size_t i = 0; i < count; i++) {
            char temp[ROOT_NAME_MAX];
            root_temp_name(temp, plan[i].step, site->generation, site->number);
            if (plan[i].drop)
                (void)root_remove_step(site->aio, site->root_fd, plan[i].step, temp);
        }
    free(plan);
    free(steps);
    return 0;
}

/* What cannot be removed now goes when rank 0 opens the root the next time. */
static int run_abandon(struct attempt *attempt)
{
    (void)root_remove(attempt->site->aio, attempt->site->root_fd, attempt->temp);
    return 0;
}

/* Rank 0 answers by its own deadline, which started when its save did. */
static int run_await(struct attempt *attempt)
{
    uint64_t patience = (uint64_t)attempt->site->timeout_ms * MST_NS_PER_MS / 4;
    struct mst_err verdict = {0};
    char key[MST_KV_KEY_MAX];
    make_key(attempt, key, "verdict");
    (void)verdict_await(attempt->site->kv, key, "rank 0", attempt->deadline_ns + patience,
                        &verdict); /* its code is in the verdict */
    attempt->failure = verdict;    /* over this rank's own: all tell the same story */
    return verdict.code;
}

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
    if (attempt->temp_fd >= 0)
        close(attempt->temp_fd);
    for (uint32_t r = 0; attempt->files && r < attempt->site->world_size; r++)
        manifest_file_fini(&attempt->files[r]);
    free(attempt->files);
}

int attempt_run(const struct site *site, struct shard *shard, const struct attempt_job *job,
                struct mst_err *ret_failure)
{
    struct attempt attempt = {.site = site,
                              .shard = shard,
                              .job = job,
                              .deadline_ns = mst_deadline_ms(site->timeout_ms),
                              .failure = job->failure,
                              .temp_fd = -1};
    enum commit_state state = COMMIT_WRITE;
    root_temp_name(attempt.temp, job->step, site->generation, site->number);
    while (!commit_is_final(state))
        state = commit_next(state, site->rank == 0, run_state(&attempt, state) == 0);
    fini(&attempt);
    if (state == COMMIT_COMMITTED)
        return 0;
    *ret_failure = attempt.failure;
    return attempt.failure.code;
}

/* Objects behind a URI. Nothing is renamed and nothing overwritten, so that neither a store without
 * such operations nor a lost answer can leave a half of a step. The life of an uploaded step:
 *
 *   every rank  file without a name in staging space on its own node, durable there
 *               → put as step_<n>/<commit>/rank_<r>.h5, a key that no other save ever uses; then it
 *               votes (attempt.c), and its staging file is gone
 *   rank 0      has all votes → puts step_<n>/MANIFEST.json, only where there is none. That is the
 *               one operation by which the step comes to exist:
 *     put       the step is published
 *     refused   there is one. With our commit: an earlier try of ours whose answer was lost, and
 *               the step is published. Of an epoch below ours, or of the past, which is what was
 *               there when this job opened the root (damaged, or given up on): it is removed, put
 *               again, and the files of its commit go, if the root is still ours. Of anyone else:
 *               the step has failed
 *     no answer, or what is there cannot be read: nobody knows. The step has failed, but is
 *               undecided: abandon leaves its files, for its manifest may yet arrive and must not
 *               speak of files that are not there
 *   rank 0      after a failure, when no rank writes any more: removes the files of the commit
 *   retention   removes the manifest first, then the commits: what has no manifest is no step
 *   sweep       at the next open, rank 0 removes stale commits that no manifest speaks of: what a
 *               crash, an undecided step or a store that was away has left
 *
 * A commit id is the owner's claim, "e<epoch>.<token>": keys of two jobs, or of two lives of one,
 * never meet. */
#include "muster/ckpt/lease.h"
#include "muster/ckpt/owner_blob.h"
#include "muster/ckpt/remote_keys.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/writer.h"
#include "muster/core/aio/aio.h"
#include "muster/core/blob/blob.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/core/scratch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ABANDON_MS 2000 /* others wait for the verdict; sweep is there for what stays */
#define LIFE_MS 3000    /* a store has this long to show that it lives */
#define RETURN_MS 1000  /* one that did not, the next time */

#define LIFE_KEY "muster-life" /* that nobody puts: asked for, it is answered */

struct tier_remote {
    struct tier tier;
    struct mst_blob *blob;
    struct mst_aio *aio;
    char *staging_dir;
    int staging_fd;
    bool has_folders;     /* empty ones stay unless they are removed */
    uint64_t *past_steps; /* rank 0: published before this job opened the root */
    size_t past_count;
    uint64_t undecided_step;         /* its manifest was on its way; or MST_CKPT_NONE */
    bool is_away;                    /* a request failed; until a file is taken */
    const struct manifest *manifest; /* being read */
    size_t in_flight;
};

static struct tier_remote *remote_of(struct tier *tier)
{
    return (struct tier_remote *)tier;
}

static void remote_close(struct tier *tier)
{
    struct tier_remote *remote = remote_of(tier);
    mst_blob_close(remote->blob);
    mst_aio_destroy(remote->aio);
    if (remote->staging_fd >= 0)
        close(remote->staging_fd);
    free(remote->past_steps);
    free(remote->staging_dir);
    free(remote);
}

static void name_manifest(char key[ROOT_PATH_MAX], uint64_t step)
{
    snprintf(key, ROOT_PATH_MAX, "step_%" PRIu64 "/%s", step, MANIFEST_NAME);
}

/* ---- manifests ------------------------------------------------------------------------------- */

/* A manifest that is not there is damage of that step; a store that does not answer is not. */
static int remote_read_manifest(struct tier *tier, uint64_t step, struct manifest *ret_manifest,
                                uint64_t deadline_ns, struct mst_err *err)
{
    char key[ROOT_PATH_MAX];
    name_manifest(key, step);
    char *text = NULL;
    size_t size = 0;
    const struct remote_object object = {.key = key, .size_max = MANIFEST_BYTES_MAX};
    int rc = remote_keys_read(remote_of(tier)->blob, &object, &text, &size, deadline_ns, err);
    if (rc == -ENOENT || rc == -ESTALE)
        return mst_err_set(err, -EBADMSG, "%s: missing", key);
    if (rc < 0)
        return rc;
    rc = root_decode_manifest(text, size, step, ret_manifest, err);
    free(text);
    return rc;
}

/* The steps that have a manifest, to be freed. */
static int collect_steps(const struct remote_keys *keys, uint64_t **ret_steps, size_t *ret_count)
{
    uint64_t *steps = calloc(keys->count + 1, sizeof *steps);
    if (!steps)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < keys->count; i++)
        if (!keys->keys[i].commit[0])
            steps[count++] = keys->keys[i].step;
    root_sort_steps(steps, count);
    *ret_steps = steps;
    *ret_count = count;
    return 0;
}

static int remote_list(struct tier *tier, uint64_t **ret_steps, size_t *ret_count,
                       uint64_t deadline_ns, struct mst_err *err)
{
    struct remote_keys keys = {0};
    int rc = remote_keys_list(remote_of(tier)->blob, "", deadline_ns, &keys, err);
    remote_of(tier)->is_away |= rc < 0;
    if (rc == 0 && collect_steps(&keys, ret_steps, ret_count) < 0)
        rc = mst_err_set(err, -ENOMEM, "no memory to list checkpoints");
    remote_keys_fini(&keys);
    return rc;
}

/* ---- owners ---------------------------------------------------------------------------------- */

static int remote_list_owners(struct tier *tier, uint64_t **ret_epochs, size_t *ret_count,
                              uint64_t deadline_ns, struct mst_err *err)
{
    return owner_blob_list(remote_of(tier)->blob, ret_epochs, ret_count, deadline_ns, err);
}

static int remote_read_owner(struct tier *tier, uint64_t epoch, struct tier_owner *ret_owner,
                             uint64_t deadline_ns, struct mst_err *err)
{
    return owner_blob_read(remote_of(tier)->blob, epoch, ret_owner, deadline_ns, err);
}

static int remote_create_owner(struct tier *tier, uint64_t epoch, const char *text,
                               uint64_t deadline_ns, struct mst_err *err)
{
    return owner_blob_put(remote_of(tier)->blob, epoch, text, MST_BLOB_NEW, deadline_ns, err);
}

static int remote_rewrite_owner(struct tier *tier, uint64_t epoch, const char *text,
                                uint64_t deadline_ns, struct mst_err *err)
{
    return owner_blob_put(remote_of(tier)->blob, epoch, text, 0, deadline_ns, err);
}

static void remote_remove_owner(struct tier *tier, uint64_t epoch, uint64_t deadline_ns)
{
    owner_blob_remove(remote_of(tier)->blob, epoch, deadline_ns);
}

/* ---- removing -------------------------------------------------------------------------------- */

static void prune(struct tier_remote *remote, const struct remote_key *key, uint64_t deadline_ns)
{
    if (!remote->has_folders)
        return;
    char folder[ROOT_PATH_MAX];
    root_step_name(folder, key->step);
    if (key->commit[0]) {
        snprintf(folder, sizeof folder, "step_%" PRIu64 "/%s", key->step, key->commit);
        (void)mst_blob_remove(remote->blob, folder, deadline_ns, NULL); /* refused unless empty */
        root_step_name(folder, key->step);
    }
    (void)mst_blob_remove(remote->blob, folder, deadline_ns, NULL); /* refused unless empty */
}

/* Removes the files of one commit: keys[0 … count). What is left when one fails goes by a later
 * sweep: a store that is away is not waited for once a file. */
static void remove_files(struct tier_remote *remote, const struct remote_key *keys, size_t count,
                         uint64_t deadline_ns)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = mst_blob_remove(remote->blob, keys[i].text, deadline_ns, NULL);
    remote->is_away |= rc < 0;
    if (count > 0 && rc == 0)
        prune(remote, keys, deadline_ns);
}

/* How many keys from the first on are of the same commit. */
static size_t commit_length(const struct remote_key *keys, size_t count)
{
    size_t n = 1;
    while (n < count && keys[n].step == keys[0].step && strcmp(keys[n].commit, keys[0].commit) == 0)
        n++;
    return n;
}

/* Removes the commits of `step` but `keep` (NULL: all of them). The manifest is gone by then, or
 * stays. */
static void remove_commits(struct tier_remote *remote, uint64_t step, const char *keep,
                           uint64_t deadline_ns)
{
    char folder[ROOT_NAME_MAX];
    root_step_name(folder, step);
    struct remote_keys keys = {0};
    if (remote_keys_list(remote->blob, folder, deadline_ns, &keys, NULL) < 0)
        return;
    for (size_t i = 0, n; i < keys.count; i += n) {
        const struct remote_key *key = &keys.keys[i];
        n = commit_length(key, keys.count - i);
        if (key->commit[0] && (!keep || strcmp(key->commit, keep) != 0))
            remove_files(remote, key, n, deadline_ns);
    }
    remote_keys_fini(&keys);
}

/* Files go many at a time, and need not stop in between. */
static int remote_remove_step(struct tier *tier, const struct tier_save *save, uint64_t step,
                              const struct root_pause *pause, uint64_t deadline_ns)
{
    struct tier_remote *remote = remote_of(tier);
    (void)save;
    if (pause && pause->is_due(pause->arg))
        return -EAGAIN;
    char key[ROOT_PATH_MAX];
    name_manifest(key, step);
    int rc = mst_blob_remove(remote->blob, key, deadline_ns, NULL);
    if (rc == 0)
        remove_commits(remote, step, NULL, deadline_ns);
    return rc;
}

/* The commit that a step's manifest speaks of. false: not known, so that all may be in use. */
static bool find_published(struct tier_remote *remote, uint64_t step, char commit[ROOT_NAME_MAX],
                           uint64_t deadline_ns)
{
    commit[0] = '\0';
    struct manifest manifest = {0};
    for (size_t i = 0; i < remote->past_count; i++)
        if (remote->past_steps[i] == step) {
            if (remote_read_manifest(&remote->tier, step, &manifest, deadline_ns, NULL) < 0)
                return false;
            snprintf(commit, ROOT_NAME_MAX, "%s", manifest.commit);
            manifest_fini(&manifest);
        }
    return true;
}

/* A step is looked at once, and its manifest only if some of its files might have to go: those of
 * the last checkpoint are always older than a new generation. */
static void sweep_commits(struct tier_remote *remote, const struct remote_keys *keys,
                          uint64_t epoch, uint64_t deadline_ns)
{
    char published[ROOT_NAME_MAX];
    uint64_t step = UINT64_MAX;
    bool known = false;
    for (size_t i = 0, n; i < keys->count; i += n) {
        const struct remote_key *key = &keys->keys[i];
        n = commit_length(key, keys->count - i);
        if (!key->commit[0] || key->epoch >= epoch)
            continue;
        if (key->step != step)
            known = find_published(remote, key->step, published, deadline_ns);
        step = key->step;
        if (known && strcmp(key->commit, published) != 0)
            remove_files(remote, key, n, deadline_ns);
    }
}

/* That the store refuses to put a manifest over another one, which some that speak S3 do not, is
 * found out now, not at the first save: by the owner's own record, which nobody else puts and which
 * is there, unless it was pruned since by those that have taken the root. */
static int probe(struct tier_remote *remote, uint64_t deadline_ns, struct mst_err *err)
{
    char key[ROOT_NAME_MAX], text[OWNER_BYTES];
    root_owner_name(key, remote->tier.owner.epoch);
    owner_encode(&remote->tier.owner, text);
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = mst_blob_put(remote->blob, key,
                          (struct mst_cspan){.data = text, .size_bytes = sizeof text}, MST_BLOB_NEW,
                          deadline_ns, err);
    if (rc == 0)
        rc = mst_err_set(err, -ENOTSUP, "%s was put over itself: the store ignores If-None-Match",
                         key);
    return rc == -EEXIST ? 0 : mst_err_wrap(err, "the checkpoints' root cannot be used");
}

static int remote_sweep(struct tier *tier, uint64_t epoch, uint64_t deadline_ns,
                        struct mst_err *err)
{
    struct tier_remote *remote = remote_of(tier);
    struct remote_keys keys = {0};
    int rc = remote_keys_list(remote->blob, "", deadline_ns, &keys, err);
    if (rc < 0)
        return rc;
    if (collect_steps(&keys, &remote->past_steps, &remote->past_count) < 0)
        rc = mst_err_set(err, -ENOMEM, "no memory to list checkpoints");
    if (rc == 0)
        rc = probe(remote, deadline_ns, err);
    if (rc == 0)
        sweep_commits(remote, &keys, epoch, deadline_ns);
    remote_keys_fini(&keys);
    return rc;
}

/* ---- saving ---------------------------------------------------------------------------------- */

/* A file without a name: whenever the rank is killed, nothing of it stays. */
static int open_staging(const struct tier_remote *remote)
{
    int fd = writer_open_direct(remote->staging_fd, ".", O_TMPFILE | O_RDWR);
    if (fd != -EOPNOTSUPP && fd != -EISDIR)
        return fd;
    char name[64];
    snprintf(name, sizeof name, "mst-staging-%ld", (long)getpid());
    fd = writer_open_direct(remote->staging_fd, name, O_RDWR | O_CREAT | O_EXCL);
    if (fd >= 0)
        (void)unlinkat(remote->staging_fd, name,
                       0); /* it is ours: cannot fail but on a broken disk */
    return fd;
}

static int upload(struct tier_remote *remote, const struct tier_save *save, int fd,
                  uint64_t deadline_ns, struct mst_err *err)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    char key[ROOT_PATH_MAX];
    snprintf(key, sizeof key, "step_%" PRIu64 "/%s/rank_%" PRIu32 ".h5", save->step, save->claim,
             save->rank);
    int rc = mst_blob_put_file(remote->blob, key, path, 0, deadline_ns, err);
    remote->is_away = rc < 0;
    if (rc < 0)
        mst_err_wrap(err, "upload");
    return rc;
}

/* A request to a store that is away is tried until its time is over, and the snapshot is held
 * meanwhile: the training would stand still at its next save. So a store is asked for a sign of
 * life, briefly, before it gets a file: one that has not answered before for less long. */
static int check_life(struct tier_remote *remote, uint64_t deadline_ns, struct mst_err *err)
{
    struct mst_blob_info info;
    uint64_t patience_ns = mst_deadline_ms(remote->is_away ? RETURN_MS : LIFE_MS);
    int rc = mst_blob_stat(remote->blob, LIFE_KEY, &info, mst_least(patience_ns, deadline_ns), err);
    bool was_away = remote->is_away;
    remote->is_away = rc < 0 && rc != -ENOENT && rc != -EACCES;
    if (!remote->is_away)
        return 0;
    return mst_err_wrap(err, was_away ? "not uploaded, the store is still away"
                                      : "not uploaded, the store does not answer");
}

static int remote_write(struct tier *tier, const struct tier_save *save, struct writer_job *job,
                        uint64_t deadline_ns, struct mst_err *err)
{
    struct tier_remote *remote = remote_of(tier);
    remote->is_away |= save->follows_failure; /* maybe another rank's request */
    int rc = check_life(remote, deadline_ns, err);
    if (rc < 0)
        return rc;
    job->fd = open_staging(remote);
    if (job->fd < 0)
        return mst_err_set(err, job->fd, "staging space in %.100s for %s: %s", remote->staging_dir,
                           job->name, mst_err_meaning(job->fd));
    rc = writer_write(remote->aio, job, deadline_ns, err);
    if (rc < 0)
        mst_err_wrap(err, "staging in %.100s", remote->staging_dir);
    else
        rc = upload(remote, save, job->fd, deadline_ns, err);
    (void)close(job->fd); /* its bytes have been read back */
    return rc;
}

/* One listing tells all sizes; a request for each file would be one per rank. */
static int remote_check(struct tier *tier, const struct tier_save *save,
                        const struct manifest_file *files, uint32_t count, uint64_t deadline_ns,
                        struct mst_err *err)
{
    struct tier_remote *remote = remote_of(tier);
    char folder[ROOT_PATH_MAX];
    snprintf(folder, sizeof folder, "step_%" PRIu64 "/%s", save->step, save->claim);
    struct remote_keys keys = {0};
    int rc = remote_keys_list(remote->blob, folder, deadline_ns, &keys, err);
    remote->is_away |= rc < 0;
    if (rc == 0)
        rc = remote_keys_check(&keys, files, count, err);
    if (rc == -EBADMSG)
        mst_err_wrap(err, "%s", folder);
    remote_keys_fini(&keys);
    return rc;
}

/* Forgets a step that was there when the root was opened. false if it was not. */
static bool take_past(struct tier_remote *remote, uint64_t step)
{
    for (size_t i = 0; i < remote->past_count; i++)
        if (remote->past_steps[i] == step) {
            remote->past_steps[i] = remote->past_steps[--remote->past_count];
            return true;
        }
    return false;
}

/* There is a manifest already. 0: it is ours, put by a try whose answer was lost; 1: it was of the
 * past and is gone; -EEXIST: it is somebody else's; another -errno: not known, for it could not be
 * read, or the root is lost: what is there may be the next owner's. */
static int judge_existing(struct tier_remote *remote, const struct tier_save *save, const char *key,
                          uint64_t deadline_ns, struct mst_err *err)
{
    struct manifest found = {0};
    int rc = remote_read_manifest(&remote->tier, save->step, &found, deadline_ns, err);
    if (rc < 0 && rc != -EBADMSG)
        return rc;
    uint64_t epoch, token;
    bool ours = strcmp(found.commit, save->claim) == 0;
    bool older = rc == 0 && root_parse_claim(save->claim, &epoch, &token) && found.epoch < epoch;
    manifest_fini(&found);
    if (ours)
        return 0;
    if (!older && !take_past(remote, save->step))
        return mst_err_set(err, -EEXIST,
                           "%s: another job has committed this step; give each its own root", key);
    rc = lease_check(save->lease, &remote->tier, deadline_ns, err);
    if (rc == 0)
        rc = mst_blob_remove(remote->blob, key, deadline_ns, err);
    return rc < 0 ? rc : 1;
}

static int remote_publish(struct tier *tier, const struct tier_save *save, const char *text,
                          size_t size_bytes, uint64_t deadline_ns, struct mst_err *err)
{
    struct tier_remote *remote = remote_of(tier);
    char key[ROOT_PATH_MAX];
    name_manifest(key, save->step);
    remote->undecided_step = save->step;
    bool replaces = false;
    int rc;
    do {
        rc = mst_blob_put(remote->blob, key,
                          (struct mst_cspan){.data = text, .size_bytes = size_bytes}, MST_BLOB_NEW,
                          deadline_ns, err);
        if (rc == -EEXIST)
            rc = judge_existing(remote, save, key, deadline_ns, err);
        replaces = replaces || rc == 1;
    } while (rc == 1);
    if (rc == 0 && (rc = lease_check(save->lease, tier, deadline_ns, err)) < 0)
        return rc; /* its files stay: whoever has the root may count it, or removes them */
    if (rc == 0 || rc == -EEXIST)
        remote->undecided_step = MST_CKPT_NONE;
    if (rc < 0)
        mst_err_wrap(err, "publish");
    if (rc == 0 && replaces)
        remove_commits(remote, save->step, save->claim, deadline_ns);
    return rc;
}

/* A manifest that was on its way may yet arrive: then its files must be there. */
static void remote_abandon(struct tier *tier, const struct tier_save *save, uint64_t deadline_ns)
{
    struct tier_remote *remote = remote_of(tier);
    if (remote->undecided_step == save->step)
        return;
    uint64_t soon_ns = mst_least(mst_deadline_ms(remote->is_away ? RETURN_MS : ABANDON_MS),
                                 deadline_ns);
    char folder[ROOT_PATH_MAX];
    snprintf(folder, sizeof folder, "step_%" PRIu64 "/%s", save->step, save->claim);
    struct remote_keys keys = {0};
    if (remote_keys_list(remote->blob, folder, soon_ns, &keys, NULL) == 0)
        remove_files(remote, keys.keys, keys.count, soon_ns);
    remote_keys_fini(&keys);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int remote_begin(struct tier *tier, const struct manifest *manifest)
{
    struct tier_remote *remote = remote_of(tier);
    assert(remote->in_flight == 0);
    remote->manifest = manifest;
    return 0;
}

static int remote_submit(struct tier *tier, struct tier_read *read, struct mst_err *err)
{
    struct tier_remote *remote = remote_of(tier);
    assert(remote->in_flight < TIER_DEPTH);
    root_file_path(read->path, remote->manifest, read->file);
    read->data = read->buffer;
    struct mst_blob_read ask = {.key = read->path,
                                .offset = read->offset,
                                .data = read->buffer,
                                .size_bytes = read->size_bytes,
                                .user = read};
    int rc = mst_blob_submit(remote->blob, &ask, 1);
    assert(rc != 0); /* the store is as deep as a tier */
    if (rc < 0)
        return mst_err_set(err, rc, "%s", mst_blob_error(remote->blob));
    remote->in_flight++;
    return 0;
}

static bool is_damage(int64_t result)
{
    return result == -ENOENT || result == -ESTALE || result == -EBADMSG;
}

static int remote_reap(struct tier *tier, struct tier_read **ret_read, uint64_t deadline_ns)
{
    struct tier_remote *remote = remote_of(tier);
    struct mst_blob_done done;
    int rc = mst_blob_reap(remote->blob, &done, 1, 1, deadline_ns);
    if (rc < 1)
        return rc < 0 ? rc : -EIO;
    assert(remote->in_flight > 0);
    remote->in_flight--;
    struct tier_read *read = done.user;
    read->result = is_damage(done.result) ? -EBADMSG : done.result;
    read->fault = done.result < 0 ? mst_blob_error(remote->blob) : NULL;
    *ret_read = read;
    return 0;
}

static void remote_end(struct tier *tier)
{
    struct tier_read *read;
    while (remote_of(tier)->in_flight > 0) /* buffers are borrowed; every read keeps its own time */
        if (remote_reap(tier, &read, MST_NEVER) < 0)
            break;
}

/* ---- opening --------------------------------------------------------------------------------- */

static const struct tier_ops remote_ops = {
    .name = "remote",
    .has_commits = true,
    .close = remote_close,
    .list_owners = remote_list_owners,
    .read_owner = remote_read_owner,
    .create_owner = remote_create_owner,
    .rewrite_owner = remote_rewrite_owner,
    .remove_owner = remote_remove_owner,
    .sweep = remote_sweep,
    .write = remote_write,
    .check = remote_check,
    .publish = remote_publish,
    .abandon = remote_abandon,
    .remove_step = remote_remove_step,
    .list = remote_list,
    .read_manifest = remote_read_manifest,
    .begin = remote_begin,
    .end = remote_end,
    .submit = remote_submit,
    .reap = remote_reap,
};

static int open_staging_dir(struct tier_remote *remote, const char *path, struct mst_err *err)
{
    remote->staging_dir = strdup(path);
    if (!remote->staging_dir)
        return mst_err_set(err, -ENOMEM, "checkpoints: no memory");
    int rc = root_open(path, &remote->staging_fd, err);
    return rc < 0 ? mst_err_wrap(err, "staging space") : 0;
}

int tier_remote_open(const struct tier_opts *opts, struct tier **ret_tier, struct mst_err *err)
{
    struct tier_remote *remote = calloc(1, sizeof *remote);
    if (!remote)
        return mst_err_set(err, -ENOMEM, "checkpoints: no memory");
    *remote = (struct tier_remote){
        .tier.ops = &remote_ops, .staging_fd = -1, .undecided_step = MST_CKPT_NONE};
    remote->has_folders = strstr(opts->uri, "hdfs:") != NULL;
    const struct mst_blob_opts blob_opts = {
        .depth = TIER_DEPTH, .timeout_ms = opts->timeout_ms / 6, .aio = opts->aio};
    const struct mst_aio_opts aio_opts = {.backend = opts->aio};
    int rc = mst_blob_open(opts->uri, &blob_opts, &remote->blob, err);
    bool writes = !opts->read_only && !opts->owners_only;
    if (rc == 0 && writes)
        rc = open_staging_dir(remote, opts->staging_dir ? opts->staging_dir : mst_scratch_dir(),
                              err);
    if (rc == 0 && writes)
        rc = mst_aio_create(&aio_opts, &remote->aio, err);
    if (rc < 0) {
        remote_close(&remote->tier);
        return rc;
    }
    *ret_tier = &remote->tier;
    return 0;
}

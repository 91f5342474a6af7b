#include "muster/ckpt/tier.h"

#include "muster/core/uri.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool is_staged(const struct mst_uri *uri)
{
    char value[8];
    return mst_uri_param(uri, "staged", value, sizeof value) == 0 && strcmp(value, "1") == 0;
}

int tier_open(const struct tier_opts *opts, struct tier **ret_tier, struct mst_err *err)
{
    struct mst_uri uri;
    int rc = mst_uri_parse(opts->uri, &uri, err);
    if (rc < 0)
        return rc;
    if (strcmp(uri.scheme, "file") != 0 || is_staged(&uri))
        return tier_remote_open(opts, ret_tier, err);
    char path[PATH_MAX];
    rc = mst_uri_file_path(opts->uri, path, sizeof path, err);
    return rc < 0 ? rc : tier_dir_open(opts, path, ret_tier, err);
}

void tier_close(struct tier *tier)
{
    if (tier)
        tier->ops->close(tier);
}

static int take_record(struct tier *tier, uint64_t epoch, uint64_t deadline_ns, struct mst_err *err)
{
    struct tier_owner found;
    int rc = tier->ops->read_owner(tier, epoch, &found, deadline_ns, err);
    if (rc == 0)
        rc = owner_decode(found.text, found.size_bytes, &tier->owner, err);
    return rc < 0 ? mst_err_wrap(err, "OWNER.%" PRIu64, epoch) : 0;
}

int tier_read_owner(struct tier *tier, uint64_t deadline_ns, struct mst_err *err)
{
    uint64_t *epochs = NULL;
    size_t count = 0;
    tier->owner = (struct owner){0};
    int rc = tier->ops->list_owners(tier, &epochs, &count, deadline_ns, err);
    struct mst_err damage = {0};
    for (size_t i = 0; rc == 0 && i < count && tier->owner.epoch == 0; i++) {
        struct mst_err fault = {0};
        (void)take_record(tier, epochs[i], deadline_ns, &fault); /* its code is in the fault */
        if (fault.code < 0 && fault.code != -EBADMSG && fault.code != -ENOENT)
            rc = mst_err_set(err, fault.code, "%s", fault.text);
        else if (fault.code == -EBADMSG && damage.code == 0)
            damage = fault;
    }
    free(epochs);
    return rc == 0 && damage.code < 0 ? mst_err_set(err, damage.code, "%s", damage.text) : rc;
}

int tier_read_manifest(struct tier *tier, uint64_t step, struct manifest *ret_manifest,
                       uint64_t deadline_ns, struct mst_err *err)
{
    struct manifest manifest = {0};
    int rc = tier->ops->read_manifest(tier, step, &manifest, deadline_ns, err);
    if (rc < 0)
        return rc;
    if (owner_hides(&tier->owner, manifest.token, step)) {
        rc = mst_err_set(err, -ESTALE,
                         "step_%" PRIu64 " does not count: epoch %" PRIu64
                         " published it after it had lost the root",
                         step, manifest.epoch);
        manifest_fini(&manifest);
        return rc;
    }
    *ret_manifest = manifest;
    return 0;
}

/* Whether a step counts; a damaged one does. */
static int look_at(struct tier *tier, uint64_t step, bool *ret_counts, uint64_t deadline_ns,
                   struct mst_err *err)
{
    *ret_counts = true;
    if (!owner_may_hide(&tier->owner, step))
        return 0;
    struct manifest manifest = {0};
    struct mst_err fault = {0};
    int rc = tier_read_manifest(tier, step, &manifest, deadline_ns, &fault);
    manifest_fini(&manifest);
    *ret_counts = rc != -ESTALE;
    return rc < 0 && rc != -ESTALE && rc != -EBADMSG ? mst_err_set(err, rc, "%s", fault.text) : 0;
}

int tier_list(struct tier *tier, uint64_t **ret_steps, size_t *ret_count, uint64_t deadline_ns,
              struct mst_err *err)
{
    uint64_t *steps = NULL;
    size_t count = 0, kept = 0;
    int rc = tier->ops->list(tier, &steps, &count, deadline_ns, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        bool counts;
        rc = look_at(tier, steps[i], &counts, deadline_ns, err);
        if (counts)
            steps[kept++] = steps[i];
    }
    if (rc < 0) {
        free(steps);
        return rc;
    }
    *ret_steps = steps;
    *ret_count = kept;
    return 0;
}

bool tier_is_gone(struct tier *tier, uint64_t step, uint64_t deadline_ns)
{
    uint64_t *steps = NULL;
    size_t count = 0;
    if (tier->ops->list(tier, &steps, &count, deadline_ns, NULL) < 0)
        return false;
    bool found = false;
    for (size_t i = 0; i < count && !found; i++)
        found = steps[i] == step;
    free(steps);
    return !found;
}

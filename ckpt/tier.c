#include "muster/ckpt/tier.h"

#include "muster/core/uri.h"

#include <limits.h>
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

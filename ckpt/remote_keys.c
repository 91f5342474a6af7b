#include "muster/ckpt/remote_keys.h"

#include "muster/ckpt/manifest.h"
#include "muster/core/blob/blob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Copies what comes before the next '/' and moves *text behind it. */
static bool take_folder(const char **text, char folder[ROOT_NAME_MAX])
{
    size_t length = strcspn(*text, "/");
    if ((*text)[length] != '/' || length >= ROOT_NAME_MAX)
        return false;
    memcpy(folder, *text, length);
    folder[length] = '\0';
    *text += length + 1;
    return true;
}

static bool parse_key(const char *text, struct remote_key *key)
{
    char folder[ROOT_NAME_MAX];
    if (!take_folder(&text, folder) || !root_parse_step(folder, &key->step))
        return false;
    if (strcmp(text, MANIFEST_NAME) == 0)
        return true;
    return take_folder(&text, key->commit) && root_parse_commit(key->commit, &key->generation) &&
           !strchr(text, '/');
}

static int add_key(void *arg, const char *text, const struct mst_blob_info *info)
{
    struct remote_keys *keys = arg;
    (void)info;
    struct remote_key key = {0};
    if (!parse_key(text, &key))
        return 0;
    if ((keys->count & (keys->count - 1)) == 0) { /* full at every power of two */
        struct remote_key *grown = realloc(keys->keys,
                                           (keys->count ? 2 * keys->count : 1) * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        keys->keys = grown;
    }
    key.text = strdup(text);
    if (!key.text)
        return -ENOMEM;
    keys->keys[keys->count++] = key;
    return 0;
}

int remote_keys_list(struct mst_blob *blob, const char *prefix, uint64_t deadline_ns,
                     struct remote_keys *ret_keys, struct mst_err *err)
{
    struct remote_keys keys = {0};
    int rc = mst_blob_list(blob, prefix, add_key, &keys, deadline_ns, err);
    if (rc == -ENOMEM)
        mst_err_set(err, rc, "no memory to list checkpoints");
    if (rc < 0) {
        remote_keys_fini(&keys);
        return rc;
    }
    *ret_keys = keys;
    return 0;
}

void remote_keys_fini(struct remote_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        free(keys->keys[i].text);
    free(keys->keys);
    *keys = (struct remote_keys){0};
}

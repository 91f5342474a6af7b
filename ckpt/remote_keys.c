#include "muster/ckpt/remote_keys.h"

#include "muster/ckpt/manifest.h"
#include "muster/core/blob/blob.h"
#include "muster/core/clock.h"

#include <errno.h>
#include <inttypes.h>
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
    uint64_t token;
    return take_folder(&text, key->commit) && root_parse_claim(key->commit, &key->epoch, &token) &&
           !strchr(text, '/');
}

static int add_key(void *arg, const char *text, const struct mst_blob_info *info)
{
    struct remote_keys *keys = arg;
    struct remote_key key = {.size_bytes = info->size_bytes};
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

/* "…/rank_<r>.h5", exactly as root_file_name prints it. */
static bool parse_rank(const char *text, uint32_t *ret_rank)
{
    const char *name = strrchr(text, '/');
    name = name ? name + 1 : text;
    uint32_t rank = strncmp(name, "rank_", 5) == 0 ? (uint32_t)strtoul(name + 5, NULL, 10) : 0;
    char canonical[ROOT_NAME_MAX];
    root_file_name(canonical, rank);
    *ret_rank = rank;
    return strcmp(name, canonical) == 0;
}

int remote_keys_check(const struct remote_keys *keys, const struct manifest_file *files,
                      uint32_t count, struct mst_err *err)
{
    bool *seen = calloc(count, sizeof *seen);
    if (!seen)
        return mst_err_set(err, -ENOMEM, "no memory to list files");
    int rc = 0;
    uint32_t rank;
    for (size_t i = 0; i < keys->count && rc == 0; i++) {
        const struct remote_key *key = &keys->keys[i];
        if (!parse_rank(key->text, &rank) || rank >= count)
            continue;
        seen[rank] = true;
        if (key->size_bytes != files[rank].size_bytes)
            rc = mst_err_set(err, -EBADMSG,
                             "rank_%" PRIu32 ".h5 has %" PRIu64 " bytes, not the %" PRIu64
                             " that were written",
                             rank, key->size_bytes, files[rank].size_bytes);
    }
    for (rank = 0; rank < count && rc == 0; rank++)
        if (!seen[rank])
            rc = mst_err_set(err, -EBADMSG, "rank_%" PRIu32 ".h5, which was written, is not there",
                             rank);
    free(seen);
    return rc;
}

int remote_keys_read(struct mst_blob *blob, const struct remote_object *object, char **ret_text,
                     size_t *ret_bytes, uint64_t deadline_ns, struct mst_err *err)
{
    struct mst_blob_info info;
    int rc = mst_blob_stat(blob, object->key, &info, deadline_ns, err);
    if (rc < 0)
        return rc;
    if (info.size_bytes == 0 || info.size_bytes > object->size_max)
        return mst_err_set(err, -EBADMSG, "%s: %" PRIu64 " bytes are too few, or too many",
                           object->key, info.size_bytes);
    struct mst_blob_read read = {.key = object->key,
                                 .data = malloc((size_t)info.size_bytes),
                                 .size_bytes = (size_t)info.size_bytes};
    if (!read.data)
        return mst_err_set(err, -ENOMEM, "%s: no memory to read it", object->key);
    rc = mst_blob_submit(blob, &read, 1);
    struct mst_blob_done done = {0};
    if (rc == 1)
        rc = mst_blob_reap(blob, &done, 1, 1, MST_NEVER); /* it keeps its own time */
    if (rc == 1 && done.result == (int64_t)read.size_bytes) {
        *ret_text = read.data;
        *ret_bytes = read.size_bytes;
        return 0;
    }
    free(read.data);
    if (rc != 1) /* reading broke off, which says nothing of the object */
        return mst_err_set(err, rc < 0 ? rc : -EIO, "%s: reading broke off: %s", object->key,
                           mst_err_meaning(rc < 0 ? rc : -EIO));
    if (done.result >= 0)
        return mst_err_set(err, -EBADMSG, "%s: it ends too early", object->key);
    return mst_err_set(err, (int)done.result, "%s", mst_blob_error(blob));
}

void remote_keys_fini(struct remote_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        free(keys->keys[i].text);
    free(keys->keys);
    *keys = (struct remote_keys){0};
}

#include "muster/ckpt/owner_blob.h"

#include "muster/ckpt/remote_keys.h"
#include "muster/ckpt/tier.h"
#include "muster/core/blob/blob.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BEHIND 1 /* ends a listing that has come behind all owners */

struct found {
    uint64_t *epochs;
    size_t count;
};

/* Keys come in byte order. */
static int add(void *arg, const char *key, const struct mst_blob_info *info)
{
    struct found *found = arg;
    (void)info;
    uint64_t epoch;
    if (strcmp(key, "OWNER/") > 0)
        return BEHIND;
    if (!root_parse_owner(key, &epoch))
        return 0;
    uint64_t *grown = realloc(found->epochs, (found->count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    found->epochs = grown;
    grown[found->count++] = epoch;
    return 0;
}

int owner_blob_list(struct mst_blob *blob, uint64_t **ret_epochs, size_t *ret_count,
                    uint64_t deadline_ns, struct mst_err *err)
{
    struct found found = {0};
    int rc = mst_blob_list(blob, "", add, &found, deadline_ns, err);
    if (rc == -ENOMEM)
        mst_err_set(err, rc, "no memory to list owners");
    if (rc < 0) {
        free(found.epochs);
        return rc;
    }
    root_sort_steps(found.epochs, found.count);
    *ret_epochs = found.epochs;
    *ret_count = found.count;
    return 0;
}

int owner_blob_read(struct mst_blob *blob, uint64_t epoch, struct tier_owner *ret_owner,
                    uint64_t deadline_ns, struct mst_err *err)
{
    char key[ROOT_NAME_MAX];
    root_owner_name(key, epoch);
    const struct remote_object object = {.key = key, .size_max = OWNER_BYTES};
    char *text = NULL;
    size_t size = 0;
    int rc = remote_keys_read(blob, &object, &text, &size, deadline_ns, err);
    if (rc < 0)
        return rc == -ESTALE ? -EBADMSG : rc;
    memcpy(ret_owner->text, text, size);
    ret_owner->size_bytes = size;
    ret_owner->lock = OWNER_UNKNOWN;
    free(text);
    return 0;
}

/* Whether there is what was to be put. */
static bool is_there(struct mst_blob *blob, uint64_t epoch, const char *text, uint64_t deadline_ns)
{
    struct tier_owner found;
    return owner_blob_read(blob, epoch, &found, deadline_ns, NULL) == 0 &&
           found.size_bytes == OWNER_BYTES && memcmp(found.text, text, OWNER_BYTES) == 0;
}

int owner_blob_put(struct mst_blob *blob, uint64_t epoch, const char *text, uint32_t flags,
                   uint64_t deadline_ns, struct mst_err *err)
{
    char key[ROOT_NAME_MAX];
    root_owner_name(key, epoch);
    int rc = mst_blob_put(blob, key, (struct mst_cspan){.data = text, .size_bytes = OWNER_BYTES},
                          flags, deadline_ns, err);
    return rc == -EEXIST && is_there(blob, epoch, text, deadline_ns) ? 0 : rc;
}

void owner_blob_remove(struct mst_blob *blob, uint64_t epoch, uint64_t deadline_ns)
{
    char key[ROOT_NAME_MAX];
    root_owner_name(key, epoch);
    (void)mst_blob_remove(blob, key, deadline_ns, NULL); /* the next owner tries again */
}

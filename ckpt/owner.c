#include "muster/ckpt/owner.h"

#include "muster/ckpt/fields.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FORMAT "muster-owner"

void owner_copy_text(char *ret_text, size_t cap, const char *text)
{
    size_t length = 0;
    for (; text[length] && length + 1 < cap; length++) {
        char c = text[length];
        ret_text[length] = c >= 0x20 && c <= 0x7e ? c : '?';
    }
    ret_text[length] = '\0';
}

/* ---- the record ------------------------------------------------------------------------------ */

/* What counts of each owner is told as the last step that does, or -1. */
static void print_fences(FILE *out, const struct owner *owner)
{
    for (size_t i = 0; i < owner->fence_count; i++)
        fprintf(out, "%s[\"%016" PRIx64 "\",%" PRId64 "]", i ? "," : "", owner->fences[i].token,
                (int64_t)(owner->fences[i].below - 1));
}

static void print_owner(FILE *out, const struct owner *owner)
{
    fprintf(out,
            FIELDS_SEAL ",\"format\":\"" FORMAT "\",\"version\":1,\"epoch\":%" PRIu64
                        ",\"token\":\"%016" PRIx64 "\",\n\"job\":\"",
            owner->epoch, owner->token);
    fields_print_escaped(out, owner->job_id);
    fprintf(out, "\",\"nonce\":\"%016" PRIx64 "\",\"node\":\"", owner->job_nonce);
    fields_print_escaped(out, owner->node);
    fprintf(out, "\",\n\"renewed\":%" PRIu64 ",\"released\":%s,\n\"committed\":[", owner->renewed_s,
            owner->released ? "true" : "false");
    print_fences(out, owner);
    fputs("]}\n", out);
}

/* Texts of printable ASCII take six bytes a character at most. */
static_assert(6 * (MST_JOB_ID_BYTES + OWNER_NODE_BYTES) + OWNER_FENCES_MAX * 44 + 400 < OWNER_BYTES,
              "a record has room for all that it may hold");

void owner_encode(const struct owner *owner, char text[OWNER_BYTES])
{
    char printed[OWNER_BYTES + 1];
    memset(text, ' ', OWNER_BYTES);
    FILE *out = fmemopen(printed, sizeof printed, "w");
    if (!out)
        return; /* spaces are a record that nobody believes */
    print_owner(out, owner);
    long size = ftell(out);
    assert(size > 0 && size < OWNER_BYTES);
    (void)fclose(out); /* it has room */
    memcpy(text, printed, (size_t)size);
    fields_seal(text, OWNER_BYTES);
}

static int decode_fence(const json_t *pair, struct owner_fence *fence, struct mst_err *err)
{
    const json_t *token = json_array_get(pair, 0), *step = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || json_string_length(token) != 16 ||
        !fields_parse_hex64(json_string_value(token), &fence->token) || !json_is_integer(step) ||
        json_integer_value(step) < -1)
        return fields_bad(err, "committed");
    fence->below = (uint64_t)json_integer_value(step) + 1;
    return 0;
}

static int decode_fences(const json_t *root, struct owner *owner, struct mst_err *err)
{
    const json_t *array;
    int rc = fields_get_array(root, "committed", OWNER_FENCES_MAX, &array, &owner->fence_count,
                              err);
    for (size_t i = 0; rc == 0 && i < owner->fence_count; i++)
        rc = decode_fence(json_array_get(array, i), &owner->fences[i], err);
    return rc;
}

static int decode_flag(const json_t *root, const char *key, bool *ret_flag, struct mst_err *err)
{
    const json_t *value = json_object_get(root, key);
    if (!json_is_boolean(value))
        return fields_bad(err, key);
    *ret_flag = json_is_true(value);
    return 0;
}

static int decode_root(const json_t *root, struct owner *owner, struct mst_err *err)
{
    int rc = fields_check_format(root, FORMAT, err);
    if (rc == 0)
        rc = fields_get_u64(root, "epoch", OWNER_EPOCH_MAX, &owner->epoch, err);
    if (rc == 0)
        rc = fields_get_hex64(root, "token", &owner->token, err);
    if (rc == 0)
        rc = fields_get_text(root, "job", owner->job_id, sizeof owner->job_id, err);
    if (rc == 0)
        rc = fields_get_hex64(root, "nonce", &owner->job_nonce, err);
    if (rc == 0)
        rc = fields_get_text(root, "node", owner->node, sizeof owner->node, err);
    if (rc == 0)
        rc = fields_get_u64(root, "renewed", INT64_MAX, &owner->renewed_s, err);
    if (rc == 0)
        rc = decode_flag(root, "released", &owner->released, err);
    return rc == 0 ? decode_fences(root, owner, err) : rc;
}

int owner_decode(const char *text, size_t size_bytes, struct owner *ret_owner, struct mst_err *err)
{
    json_t *root = NULL;
    int rc = fields_open(text, size_bytes, OWNER_BYTES, &root, err);
    if (rc < 0)
        return rc;
    struct owner owner = {0};
    rc = decode_root(root, &owner, err);
    json_decref(root);
    if (rc == 0)
        *ret_owner = owner;
    return rc;
}

/* ---- the rules ------------------------------------------------------------------------------- */

bool owner_is_same_job(const struct owner *a, const struct owner *b)
{
    return (a->job_id[0] && strcmp(a->job_id, b->job_id) == 0) ||
           (a->job_nonce != 0 && a->job_nonce == b->job_nonce);
}

/* A lock that is free means death only where the owner's own would be seen: some file systems keep
 * locks to a machine. */
enum owner_life owner_life(const struct owner *owner, enum owner_lock lock, const char *node,
                           uint64_t now_s)
{
    if (owner->released)
        return OWNER_DEAD;
    if (lock == OWNER_LOCKED)
        return OWNER_ALIVE;
    if (lock == OWNER_UNLOCKED && strcmp(owner->node, node) == 0 && node[0])
        return OWNER_DEAD;
    bool fresh = now_s >= owner->renewed_s && now_s - owner->renewed_s < OWNER_FRESH_S;
    return fresh ? OWNER_ALIVE : OWNER_IN_DOUBT;
}

void owner_add_fence(struct owner *owner, const struct owner_fence *fence)
{
    if (owner->fence_count < OWNER_FENCES_MAX)
        owner->fence_count++;
    memmove(owner->fences + 1, owner->fences, (owner->fence_count - 1) * sizeof owner->fences[0]);
    owner->fences[0] = *fence;
}

void owner_close_fences(struct owner *owner, uint64_t below)
{
    for (size_t i = 0; i < owner->fence_count; i++)
        if (owner->fences[i].below == OWNER_FENCE_OPEN)
            owner->fences[i].below = below;
}

bool owner_hides(const struct owner *owner, uint64_t token, uint64_t step)
{
    for (size_t i = 0; i < owner->fence_count; i++)
        if (owner->fences[i].token == token)
            return step >= owner->fences[i].below;
    return false;
}

bool owner_may_hide(const struct owner *owner, uint64_t step)
{
    for (size_t i = 0; i < owner->fence_count; i++)
        if (step >= owner->fences[i].below)
            return true;
    return false;
}

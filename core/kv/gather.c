#include "muster/core/kv/gather.h"

#include "muster/core/kv/backend.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/parts.h"

#include <errno.h>
#include <stdlib.h>

int mst_kv_gather_put(struct mst_kv *kv, const char *key, const struct mst_kv_part *part,
                      uint64_t deadline_ns)
{
    struct kv_request request = {.verb = KV_GATHER,
                                 .value = part->value,
                                 .value_bytes = part->size_bytes,
                                 .index = part->index,
                                 .count = part->count};
    return kv_call(kv, &request, key, &(struct kv_answer){0}, deadline_ns);
}

static int read_parts(struct mst_kv *kv, struct kv_request *request, const char *key,
                      uint32_t count, struct mst_kv_gathered *ret_gathered, uint64_t deadline_ns)
{
    struct kv_answer answer = {.grows = true};
    struct mst_kv_gathered gathered = {.count = count};
    int rc = kv_call(kv, request, key, &answer, deadline_ns);
    gathered.bytes = answer.value;
    if (rc == 0) {
        gathered.parts = calloc(count, sizeof *gathered.parts);
        rc = gathered.parts ? 0 : -ENOMEM;
    }
    if (rc == 0 && kv_parts_unpack(answer.value, answer.size_bytes, count, gathered.parts))
        rc = -EPROTO;
    if (rc)
        mst_kv_gathered_free(&gathered);
    else
        *ret_gathered = gathered;
    return rc;
}

int mst_kv_gather_wait(struct mst_kv *kv, const char *key, uint32_t count,
                       struct mst_kv_gathered *ret_gathered, uint64_t deadline_ns)
{
    struct kv_request request = {.verb = KV_WAIT};
    return read_parts(kv, &request, key, count, ret_gathered, deadline_ns);
}

int mst_kv_gather_peek(struct mst_kv *kv, const char *key, uint32_t count,
                       struct mst_kv_gathered *ret_gathered, uint64_t deadline_ns)
{
    struct kv_request request = {.verb = KV_GET};
    return read_parts(kv, &request, key, count, ret_gathered, deadline_ns);
}

void mst_kv_gathered_free(struct mst_kv_gathered *gathered)
{
    free(gathered->parts);
    free(gathered->bytes);
    *gathered = (struct mst_kv_gathered){0};
}

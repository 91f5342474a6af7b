#include "muster/core/kv/kv.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/backend.h"
#include "muster/core/kv/gather.h"
#include "muster/core/kv/resident.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"
#include "muster/core/process.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is of an older start of the job, or of the program that ran in these ranks before, has the
 * port until it has ended. */
#define PORT_MS 10000

/* Whether what is in the way may be gone soon. */
static bool may_end(int rc)
{
    return rc == -EADDRINUSE || rc == -ESTALE || rc == -EEXIST;
}

/* Rank 0 starts the server that it dials, and the others wait for it. */
static int dial_resident(const struct mst_world *world, uint64_t deadline_ns,
                         struct mst_kv **ret_kv, struct mst_err *err)
{
    struct kv_resident *resident = NULL;
    struct mst_err why = {0}, before;
    uint64_t port_ns = mst_least(mst_deadline_ms(PORT_MS), deadline_ns);
    int rc = 0, pause_ms = 0;
    do {
        before = why;
        if (pause_ms)
            mst_sock_pause(port_ns, pause_ms);
        pause_ms = mst_sock_longer_pause(pause_ms);
        rc = world->rank == 0 && !resident ? kv_resident_join(world, &resident, &why) : 0;
        if (rc == 0)
            rc = kv_client_dial(world, resident, deadline_ns, ret_kv, &why);
    } while (may_end(rc) && !mst_deadline_passed(port_ns));
    kv_resident_release(resident); /* the handle holds it */
    if (rc == 0)
        return 0;
    if (rc == -ETIMEDOUT && before.code) /* the last try had no time left to be told the same */
        why = before;
    return mst_err_set(err, why.code, "%s%s%s",
                       world->rank > 0 ? "rank 0 serves the keys of its job: " : "", why.text,
                       why.code == -ETIMEDOUT && world->node_count > 1
                           ? " Is MASTER_ADDR the host of rank 0, and has that rank begun?"
                           : "");
}

int mst_kv_dial(const struct mst_world *world, uint64_t deadline_ns, struct mst_kv **ret_kv,
                struct mst_err *err)
{
    int rc = mst_world_check_process(world, err);
    if (rc)
        return rc;
    if (world->is_resident)
        return dial_resident(world, deadline_ns, ret_kv, err);
    if (world->kv_addr[0])
        return kv_client_dial(world, NULL, deadline_ns, ret_kv, err);
    if (world->size != 1)
        return mst_err_set(err, -ENOTSUP,
                           "rank %" PRIu32 " of %" PRIu32 " of another launcher has no server to "
                           "meet the others at: %s; or let `muster run` start the ranks",
                           world->rank, world->size,
                           world->no_kv ? world->no_kv : "nobody says where rank 0 is");
    rc = kv_local_private(world->generation, ret_kv);
    return rc ? mst_err_set(err, rc, "no memory for a key-value table") : 0;
}

int mst_kv_clone(struct mst_kv *kv, uint64_t deadline_ns, struct mst_kv **ret_kv,
                 struct mst_err *err)
{
    int rc = mst_process_check(kv->process, "the key-value handle", err);
    return rc ? rc : kv->backend->clone(kv, deadline_ns, ret_kv, err);
}

void mst_kv_close(struct mst_kv *kv)
{
    if (kv && mst_process_owns(kv->process))
        kv->backend->close(kv);
}

void mst_kv_explain(struct mst_kv *kv, struct mst_err *err)
{
    if (err && mst_process_owns(kv->process) && kv->backend->explain)
        kv->backend->explain(kv, err);
}

/* Makes room for what the answer is told to hold. */
static int grow(struct kv_answer *answer)
{
    void *grown = realloc(answer->value, answer->size_bytes);
    if (!grown)
        return -ENOMEM;
    answer->value = grown;
    answer->cap = answer->size_bytes;
    return 0;
}

int kv_answer_fill(struct kv_answer *answer, const struct kv_reply *reply)
{
    answer->size_bytes = reply->value_bytes;
    if (reply->result)
        return reply->result;
    if (reply->value_bytes > answer->cap && (!answer->grows || grow(answer)))
        return answer->grows ? -ENOMEM : -ENOSPC;
    if (reply->value_bytes > 0)
        memcpy(answer->value, reply->value, reply->value_bytes);
    answer->version = reply->version;
    answer->number = reply->number;
    return 0;
}

int kv_call(struct mst_kv *kv, struct kv_request *request, const char *key,
            struct kv_answer *answer, uint64_t deadline_ns)
{
    request->key = key;
    request->key_bytes = strnlen(key, MST_KV_KEY_MAX + 1);
    int rc = mst_process_owns(kv->process) ? kv_request_check(request) : -ENOTSUP;
    if (rc)
        return rc;
    return kv->backend->call(kv, request, answer, deadline_ns);
}

/* A call that answers with a value, whose size is told even if it did not fit. */
static int read_call(struct mst_kv *kv, struct kv_request *request, const char *key,
                     struct kv_answer *answer, size_t *ret_size_bytes, uint64_t deadline_ns)
{
    int rc = kv_call(kv, request, key, answer, deadline_ns);
    if ((rc == 0 || rc == -ENOSPC) && ret_size_bytes)
        *ret_size_bytes = answer->size_bytes;
    return rc;
}

int mst_kv_set(struct mst_kv *kv, const char *key, const void *value, size_t size_bytes,
               uint64_t deadline_ns)
{
    struct kv_request request = {.verb = KV_SET, .value = value, .value_bytes = size_bytes};
    return kv_call(kv, &request, key, &(struct kv_answer){0}, deadline_ns);
}

int mst_kv_get(struct mst_kv *kv, const char *key, void *value, size_t cap, size_t *ret_size_bytes,
               uint64_t deadline_ns)
{
    struct kv_request request = {.verb = KV_GET};
    struct kv_answer answer = {.value = value, .cap = cap};
    return read_call(kv, &request, key, &answer, ret_size_bytes, deadline_ns);
}

int mst_kv_wait(struct mst_kv *kv, const char *key, void *value, size_t cap, size_t *ret_size_bytes,
                uint64_t deadline_ns)
{
    struct kv_request request = {.verb = KV_WAIT};
    struct kv_answer answer = {.value = value, .cap = cap};
    return read_call(kv, &request, key, &answer, ret_size_bytes, deadline_ns);
}

int mst_kv_add(struct mst_kv *kv, const char *key, int64_t delta, int64_t *ret_value,
               uint64_t deadline_ns)
{
    struct kv_request request = {.verb = KV_ADD, .delta = delta};
    struct kv_answer answer = {0};
    int rc = kv_call(kv, &request, key, &answer, deadline_ns);
    if (rc == 0 && ret_value)
        *ret_value = answer.number;
    return rc;
}

int mst_kv_cas(struct mst_kv *kv, const char *key, const struct mst_cspan *expected,
               const struct mst_cspan *value, uint64_t deadline_ns)
{
    static const struct mst_cspan nothing = {.mem = MST_MEM_HOST};
    expected = expected ? expected : &nothing;
    value = value ? value : &nothing;
    if (expected->mem == MST_MEM_DEVICE || value->mem == MST_MEM_DEVICE)
        return -EINVAL;
    struct kv_request request = {.verb = KV_CAS,
                                 .expected = expected->data,
                                 .expected_bytes = expected->size_bytes,
                                 .value = value->data,
                                 .value_bytes = value->size_bytes};
    return kv_call(kv, &request, key, &(struct kv_answer){0}, deadline_ns);
}

int mst_kv_delete_prefix(struct mst_kv *kv, const char *prefix, uint64_t deadline_ns)
{
    struct kv_request request = {.verb = KV_DELETE_PREFIX};
    return kv_call(kv, &request, prefix, &(struct kv_answer){0}, deadline_ns);
}

int mst_kv_watch(struct mst_kv *kv, const char *key, uint64_t *version,
                 const struct mst_span *value, size_t *ret_size_bytes, uint64_t deadline_ns)
{
    if (value->mem == MST_MEM_DEVICE)
        return -EINVAL;
    struct kv_request request = {.verb = KV_WATCH, .version = *version};
    struct kv_answer answer = {.value = value->data, .cap = value->size_bytes};
    int rc = read_call(kv, &request, key, &answer, ret_size_bytes, deadline_ns);
    if (rc == 0)
        *version = answer.version;
    return rc;
}

int mst_kv_barrier(struct mst_kv *kv, const char *name, uint32_t size, uint64_t deadline_ns)
{
    char count_key[MST_KV_KEY_MAX + 2], done_key[MST_KV_KEY_MAX + 2];
    int size_chars = snprintf(count_key, sizeof count_key, "barrier/%s/count", name);
    if (size == 0 || size_chars < 0 || size_chars > MST_KV_KEY_MAX)
        return -EINVAL;
    (void)snprintf(done_key, sizeof done_key, "barrier/%s/done", name); /* shorter than the other */
    int64_t count;
    int rc = mst_kv_add(kv, count_key, 1, &count, deadline_ns);
    if (rc)
        return rc;
    if (count > size)
        return -EINVAL;
    if (count == size)
        return mst_kv_set(kv, done_key, "", 0, deadline_ns);
    return mst_kv_wait(kv, done_key, NULL, 0, NULL, deadline_ns);
}

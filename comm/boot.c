/* Records of ranks and places of segments, over the kv. */
#include "muster/comm/boot.h"

#include "muster/core/bytes.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/gather.h"
#include "muster/core/kv/kv.h"
#include "muster/core/least.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 64
#define RECORD_FIXED_BYTES 8 /* node, local rank; the address follows */
#define PLACE_BYTES 16       /* pid, fd, offset */
#define PROBE_MS 1000        /* for looking who is missing, after the deadline */
#define LOOK_MS_MIN 250      /* between two looks at the node page, … */
#define LOOK_MS_MAX 4000     /* … which cost a request each */

/* What broke off, and who that was. Returns rc. */
static int lose_kv(struct mst_kv *kv, int rc, const char *what, struct mst_err *err)
{
    (void)mst_err_set(err, rc, "%s: %s", what, mst_err_meaning(rc)); /* it is rc */
    mst_kv_explain(kv, err);
    return rc;
}

int boot_next_id(struct mst_kv *kv, const struct mst_world *world, uint64_t deadline_ns,
                 uint32_t *ret_id, struct mst_err *err)
{
    char key[KEY_MAX];
    (void)snprintf(key, sizeof key, "comm/count/%u", world->rank);
    int64_t id;
    int rc = mst_kv_add(kv, key, 1, &id, deadline_ns);
    if (rc < 0)
        return lose_kv(kv, rc, "cannot count communicators in the key-value server", err);
    *ret_id = (uint32_t)id;
    return 0;
}

static void records_key(const struct boot *boot, char key[KEY_MAX])
{
    (void)snprintf(key, KEY_MAX, "comm/%u/ranks", boot->id); /* it fits */
}

static int decode_record(const uint8_t *record, size_t size_bytes, struct boot_peer *ret_peer)
{
    if (size_bytes < RECORD_FIXED_BYTES || size_bytes >= RECORD_FIXED_BYTES + BOOT_ADDRESS_MAX)
        return -EPROTO;
    *ret_peer = (struct boot_peer){.node = mst_get_le32(record),
                                   .local_rank = mst_get_le32(record + 4)};
    memcpy(ret_peer->address, record + RECORD_FIXED_BYTES, size_bytes - RECORD_FIXED_BYTES);
    return 0;
}

/* A second process that takes itself for this rank was here first. */
static int name_double(const struct boot *boot, struct mst_kv *kv, const struct mst_world *world,
                       struct mst_err *err)
{
    char key[KEY_MAX];
    struct mst_kv_gathered here = {0};
    struct boot_peer other = {0};
    records_key(boot, key);
    int rc = mst_kv_gather_peek(kv, key, boot->size, &here, mst_deadline_ms(PROBE_MS));
    if (rc == 0)
        rc = decode_record(here.parts[world->rank].data, here.parts[world->rank].size_bytes,
                           &other);
    mst_kv_gathered_free(&here);
    char who[BOOT_ADDRESS_MAX + 64] = "";
    if (rc == 0) /* it fits */
        (void)snprintf(who, sizeof who, ", local rank %u of node %u at %s", other.local_rank,
                       other.node, *other.address ? other.address : "no address");
    return mst_err_set(err, -EPROTO,
                       "another process calls itself rank %u, too%s: is the job started twice, or "
                       "MST_RANK handed on to a child?",
                       world->rank, who);
}

static int put_record(const struct boot *boot, struct mst_kv *kv, const struct mst_world *world,
                      const char *address, uint64_t deadline_ns, struct mst_err *err)
{
    size_t address_bytes = strlen(address);
    assert(address_bytes < BOOT_ADDRESS_MAX);
    uint8_t record[RECORD_FIXED_BYTES + BOOT_ADDRESS_MAX];
    mst_put_le32(record, world->node);
    mst_put_le32(record + 4, world->local_rank);
    memcpy(record + RECORD_FIXED_BYTES, address, address_bytes);
    const struct mst_kv_part part = {.index = world->rank,
                                     .count = boot->size,
                                     .value = record,
                                     .size_bytes = RECORD_FIXED_BYTES + address_bytes};
    char key[KEY_MAX];
    records_key(boot, key);
    int rc = mst_kv_gather_put(kv, key, &part, deadline_ns);
    if (rc == -EEXIST)
        return name_double(boot, kv, world, err);
    if (rc == -EINVAL)
        return mst_err_set(err, -EPROTO,
                           "rank %u counts %u ranks, and another one does not: are all started by "
                           "one command?",
                           world->rank, boot->size);
    if (rc < 0)
        return lose_kv(kv, rc, "cannot publish this rank's address", err);
    return 0;
}

/* The names of many are cut, and end so. */
static void append_name(char *names, size_t cap, uint32_t rank)
{
    static const char more[] = ", …";
    size_t used = strlen(names), size;
    size = (size_t)snprintf(NULL, 0, "%s%u", used > 0 ? ", " : "", rank);
    if (used + size + sizeof more <= cap)
        (void)snprintf(names + used, cap - used, "%s%u", used > 0 ? ", " : "", rank);
    else if (used < sizeof more || strcmp(names + used + 1 - sizeof more, more) != 0)
        (void)snprintf(names + used, cap - used, "%s", more);
}

/* Names every rank whose record is not there. */
static int name_absent(const struct boot *boot, struct mst_kv *kv, struct mst_err *err)
{
    char names[96] = "", key[KEY_MAX];
    struct mst_kv_gathered here = {0};
    records_key(boot, key);
    int rc = mst_kv_gather_peek(kv, key, boot->size, &here, mst_deadline_ms(PROBE_MS));
    if (rc)
        return mst_err_set(err, -ETIMEDOUT,
                           "communicator %u: not all ranks came in time, and who did not the "
                           "key-value server does not say: %s",
                           boot->id, mst_err_meaning(rc));
    for (uint32_t r = 0; r < boot->size; r++) {
        if (!here.parts[r].data)
            append_name(names, sizeof names, r);
    }
    mst_kv_gathered_free(&here);
    if (!names[0])
        return mst_err_set(err, -ETIMEDOUT,
                           "communicator %u: all ranks came, the last of them after the deadline: "
                           "raise the timeout",
                           boot->id);
    (void)mst_err_set(err, -ETIMEDOUT, "communicator %u: did not come in time: rank %s", boot->id,
                      names); /* returned below */
    mst_kv_explain(kv, err);
    return -ETIMEDOUT;
}

/* Whether there is any point in waiting: 0; -ECONNRESET with text. */
static int check_page(const struct boot *boot, struct mst_err *err)
{
    if (!boot->page)
        return 0;
    if (mst_page_aborted(boot->page))
        return mst_err_set(err, -ECONNRESET, "the generation was aborted");
    for (uint32_t i = 0; i < mst_page_local_size(boot->page); i++) {
        const struct mst_page_slot *slot = mst_page_slot(boot->page, i);
        /* Relaxed: a rank that has left says nothing more. */
        if (atomic_load_explicit(&slot->state, memory_order_relaxed) == MST_RANK_LEFT)
            return mst_err_set(err, -ECONNRESET,
                               "communicator %u: local rank %u has left, its process has ended",
                               boot->id, i);
    }
    return 0;
}

/* The end of the next wait for the kv, after which is the next look. `look_ms` begins with 0. */
static uint64_t next_look(uint64_t *look_ms, uint64_t deadline_ns)
{
    *look_ms = *look_ms == 0 ? LOOK_MS_MIN : mst_least(2 * *look_ms, LOOK_MS_MAX);
    return mst_least(mst_deadline_ms(*look_ms), deadline_ns);
}

/* 0; errors with text. */
static int await_records(const struct boot *boot, struct mst_kv *kv, uint64_t deadline_ns,
                         struct mst_kv_gathered *ret_all, struct mst_err *err)
{
    char key[KEY_MAX];
    records_key(boot, key);
    for (uint64_t look_ms = 0;;) {
        int rc = mst_kv_gather_wait(kv, key, boot->size, ret_all, next_look(&look_ms, deadline_ns));
        if (rc == -ETIMEDOUT && mst_deadline_passed(deadline_ns))
            return name_absent(boot, kv, err);
        if (rc && rc != -ETIMEDOUT)
            return lose_kv(kv, rc, "cannot read the addresses of the ranks", err);
        if (rc == 0 || (rc = check_page(boot, err)) < 0)
            return rc;
    }
}

static int get_records(struct boot *boot, struct mst_kv *kv, uint64_t deadline_ns,
                       struct mst_err *err)
{
    struct mst_kv_gathered all = {0};
    int rc = await_records(boot, kv, deadline_ns, &all, err);
    if (rc)
        return rc;
    for (uint32_t r = 0; r < boot->size && rc == 0; r++) {
        rc = decode_record(all.parts[r].data, all.parts[r].size_bytes, &boot->peers[r]);
        if (rc)
            (void)mst_err_set(err, rc, "cannot read the address of rank %u: %s", r,
                              mst_err_meaning(rc)); /* it returns rc */
    }
    mst_kv_gathered_free(&all);
    return rc;
}

/* Counting sort by node; then every local rank of a node must be there once. */
static int sort_ranks(struct boot *boot, struct mst_err *err)
{
    for (uint32_t r = 0; r < boot->size; r++) {
        const struct boot_peer *peer = &boot->peers[r];
        if (peer->node >= boot->node_count)
            return mst_err_set(err, -EPROTO, "rank %u says it is on node %u of %u", r, peer->node,
                               boot->node_count);
        boot->first[peer->node + 1]++;
    }
    for (uint32_t n = 0; n < boot->node_count; n++)
        boot->first[n + 1] += boot->first[n];
    assert(boot->first[0] == 0 && boot->first[boot->node_count] == boot->size);
    memset(boot->ranks, 0xff, boot->size * sizeof *boot->ranks);
    for (uint32_t r = 0; r < boot->size; r++) {
        const struct boot_peer *peer = &boot->peers[r];
        uint32_t index = boot->first[peer->node] + peer->local_rank;
        if (peer->local_rank >= boot_local_size(boot, peer->node) ||
            boot->ranks[index] != UINT32_MAX)
            return mst_err_set(err, -EPROTO,
                               "rank %u says it is local rank %u of node %u, which has %u ranks, "
                               "each with its own number",
                               r, peer->local_rank, peer->node, boot_local_size(boot, peer->node));
        boot->ranks[index] = r;
    }
    for (uint32_t n = 0; n < boot->node_count; n++)
        if (boot_local_size(boot, n) == 0)
            return mst_err_set(err, -EPROTO, "node %u of %u has no ranks", n, boot->node_count);
    return 0;
}

int boot_exchange(struct boot *boot, struct mst_kv *kv, const struct mst_world *world,
                  const char *address, uint64_t deadline_ns, struct mst_err *err)
{
    boot->size = world->size;
    boot->node_count = world->node_count;
    boot->peers = calloc(world->size, sizeof *boot->peers);
    boot->ranks = calloc(world->size, sizeof *boot->ranks);
    boot->first = calloc((size_t)world->node_count + 1, sizeof *boot->first);
    if (!boot->peers || !boot->ranks || !boot->first)
        return mst_err_set(err, -ENOMEM, "no memory for the addresses of %u ranks", world->size);
    int rc = put_record(boot, kv, world, address, deadline_ns, err);
    if (rc == 0)
        rc = get_records(boot, kv, deadline_ns, err);
    if (rc == 0)
        rc = sort_ranks(boot, err);
    if (rc == 0 && boot_local_size(boot, world->node) != world->local_size)
        rc = mst_err_set(err, -EPROTO, "node %u has %u ranks, and rank %u expects %u", world->node,
                         boot_local_size(boot, world->node), world->rank, world->local_size);
    return rc;
}

void boot_fini(struct boot *boot)
{
    free(boot->peers);
    free(boot->ranks);
    free(boot->first);
    memset(boot, 0, sizeof *boot);
}

uint32_t boot_local_size(const struct boot *boot, uint32_t node)
{
    return boot->first[node + 1] - boot->first[node];
}

uint32_t boot_rank(const struct boot *boot, uint32_t node, uint32_t local_rank)
{
    assert(local_rank < boot_local_size(boot, node));
    uint32_t rank = boot->ranks[boot->first[node] + local_rank];
    assert(rank < boot->size);
    return rank;
}

int boot_put_place(const struct boot *boot, struct mst_kv *kv, uint32_t node,
                   const struct segment_place *place, uint64_t deadline_ns, struct mst_err *err)
{
    uint8_t value[PLACE_BYTES];
    mst_put_le32(value, place->pid);
    mst_put_le32(value + 4, place->fd);
    mst_put_le64(value + 8, place->offset);
    char key[KEY_MAX];
    (void)snprintf(key, sizeof key, "comm/%u/segment/%u", boot->id, node);
    int rc = mst_kv_set(kv, key, value, sizeof value, deadline_ns);
    if (rc < 0)
        return mst_err_set(err, rc, "cannot publish the shared segment of node %u: %s", node,
                           mst_err_meaning(rc));
    return 0;
}

/* 0; errors with text. */
static int await_place(const struct boot *boot, struct mst_kv *kv, uint32_t node,
                       uint8_t value[PLACE_BYTES], uint64_t deadline_ns, struct mst_err *err)
{
    char key[KEY_MAX];
    (void)snprintf(key, sizeof key, "comm/%u/segment/%u", boot->id, node);
    for (uint64_t look_ms = 0;;) {
        size_t size_bytes;
        int rc = mst_kv_wait(kv, key, value, PLACE_BYTES, &size_bytes,
                             next_look(&look_ms, deadline_ns));
        if (rc == 0 && size_bytes != PLACE_BYTES)
            rc = -EPROTO;
        if (rc && (rc != -ETIMEDOUT || mst_deadline_passed(deadline_ns)))
            return mst_err_set(err, rc, "no shared segment from rank %u, the first of node %u: %s",
                               boot_rank(boot, node, 0), node, mst_err_meaning(rc));
        if (rc == 0 || (rc = check_page(boot, err)) < 0)
            return rc;
    }
}

int boot_get_place(const struct boot *boot, struct mst_kv *kv, uint32_t node,
                   struct segment_place *ret_place, uint64_t deadline_ns, struct mst_err *err)
{
    uint8_t value[PLACE_BYTES];
    int rc = await_place(boot, kv, node, value, deadline_ns, err);
    if (rc)
        return rc;
    *ret_place = (struct segment_place){.pid = mst_get_le32(value),
                                        .fd = mst_get_le32(value + 4),
                                        .offset = mst_get_le64(value + 8)};
    return 0;
}

void boot_forget(const struct boot *boot, struct mst_kv *kv, uint64_t deadline_ns)
{
    char prefix[KEY_MAX];
    (void)snprintf(prefix, sizeof prefix, "comm/%u/", boot->id);
    (void)mst_kv_delete_prefix(kv, prefix, deadline_ns); /* tidiness, not correctness */
}

#include "muster/launcher/pmi_nodes.h"

#include "muster/core/bytes.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"
#include "muster/core/world/world.h"
#include "muster/launcher/pmi.h"
#include "muster/launcher/pmi_agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define KV_MS 20000
#define LONG_MS 30000 /* nobody waits so long in silence */

/* ---- waiting --------------------------------------------------------------------------------- */

bool pmi_wait_is_long(struct pmi_wait *wait, bool do_wait)
{
    if (!do_wait)
        wait->tell_ns = 0;
    else if (wait->tell_ns == 0)
        wait->tell_ns = mst_deadline_ms(LONG_MS);
    if (!do_wait || !mst_deadline_passed(wait->tell_ns))
        return false;
    wait->tell_ns = MST_NEVER;
    return true;
}

int pmi_wait_left_ms(const struct pmi_wait *wait)
{
    return wait->tell_ns ? mst_deadline_left_ms(wait->tell_ns) : -1;
}

void pmi_tell_wait(uint32_t rank, const char *because)
{
    struct pmi_failure note = {.rank = rank};
    (void)mst_err_set(&note.err, -EAGAIN, "%s", because); /* it is told, not returned */
    pmi_agent_tell(&note);
}

/* ---- a node ---------------------------------------------------------------------------------- */

int pmi_nodes_open(struct pmi_nodes *nodes, const char *name, const struct mst_world *world,
                   struct mst_err *err)
{
    *nodes = (struct pmi_nodes){.name = name,
                                .node = mst_world_node(world),
                                .node_count = mst_world_node_count(world),
                                .local_size = mst_world_local_size(world),
                                .first_rank = mst_world_rank(world)};
    (void)pmi_agent_beat("connects to the job's key-value server");
    return nodes->node_count < 2 ? 0 : mst_kv_dial(world, mst_deadline_ms(KV_MS), &nodes->kv, err);
}

void pmi_nodes_close(struct pmi_nodes *nodes)
{
    mst_kv_close(nodes->kv);
    nodes->kv = NULL;
}

static void name_key(const struct pmi_nodes *nodes, const char *key, char text[PMI_NODES_KEY_BYTES])
{
    (void)snprintf(text, PMI_NODES_KEY_BYTES, "%s/%s", nodes->name, key);
}

/* ---- a rank that others wait for ------------------------------------------------------------- */

/* Its key holds the number of one that has ended without MPI_Init, of any node. */
void pmi_nodes_tell_left(struct pmi_nodes *nodes, uint32_t rank)
{
    char key[PMI_NODES_KEY_BYTES];
    uint8_t bytes[4];
    if (nodes->told_left || !nodes->kv)
        return;
    name_key(nodes, "left", key);
    mst_put_le32(bytes, rank);
    /* (void): who cannot be told hears of the agent's end */
    (void)mst_kv_set(nodes->kv, key, bytes, sizeof bytes, mst_deadline_ms(KV_MS));
    nodes->told_left = true;
}

static bool waits_for(const struct pmi_exchange *exchange, uint32_t rank)
{
    bool does = !exchange->ranks;
    for (uint32_t i = 0; i < exchange->rank_count && !does; i++)
        does = exchange->ranks[i] == rank;
    return does;
}

static int find_left(struct pmi_nodes *nodes, const struct pmi_exchange *exchange,
                     struct mst_err *err)
{
    char key[PMI_NODES_KEY_BYTES];
    uint8_t bytes[4];
    size_t size = 0;
    name_key(nodes, "left", key);
    int rc = mst_kv_get(nodes->kv, key, bytes, sizeof bytes, &size, mst_deadline_ms(KV_MS));
    if (rc || size != sizeof bytes || !waits_for(exchange, mst_get_le32(bytes)))
        return 0;
    return mst_err_set(err, -ECONNRESET, "it waits for rank %u, which has ended without MPI_Init",
                       mst_get_le32(bytes));
}

/* ---- exchanges ------------------------------------------------------------------------------- */

struct pmi_exchange pmi_nodes_all(const struct pmi_nodes *nodes, const char *key)
{
    return (struct pmi_exchange){.key = key, .index = nodes->node, .count = nodes->node_count};
}

int pmi_nodes_put(struct pmi_nodes *nodes, const struct pmi_exchange *exchange,
                  struct mst_cspan mine)
{
    char text[PMI_NODES_KEY_BYTES];
    const struct mst_kv_part part = {.index = exchange->index,
                                     .count = exchange->count,
                                     .value = mine.data,
                                     .size_bytes = mine.size_bytes};
    name_key(nodes, exchange->key, text);
    return mst_kv_gather_put(nodes->kv, text, &part, mst_deadline_ms(KV_MS));
}

int pmi_nodes_wait(struct pmi_nodes *nodes, const struct pmi_exchange *exchange,
                   uint32_t timeout_ms, struct mst_kv_gathered *ret_gathered, struct mst_err *err)
{
    char text[PMI_NODES_KEY_BYTES];
    (void)pmi_agent_beat("waits for the ranks of other nodes");
    name_key(nodes, exchange->key, text);
    int rc = mst_kv_gather_wait(nodes->kv, text, exchange->count, ret_gathered,
                                mst_deadline_ms(timeout_ms));
    if (pmi_wait_is_long(&nodes->wait, rc == -ETIMEDOUT))
        pmi_tell_wait(nodes->first_rank,
                      "it has waited for ranks of other nodes for half a minute");
    if (rc != -ETIMEDOUT)
        return rc;
    rc = find_left(nodes, exchange, err);
    return rc ? rc : -EAGAIN;
}

int pmi_nodes_gather(struct pmi_nodes *nodes, const char *key, struct mst_cspan mine,
                     uint64_t deadline_ns, struct mst_kv_gathered *ret_gathered,
                     struct mst_err *err)
{
    struct pmi_exchange exchange = pmi_nodes_all(nodes, key);
    int rc = pmi_nodes_put(nodes, &exchange, mine);
    if (rc == 0)
        do
            rc = pmi_nodes_wait(nodes, &exchange, PMI_NODES_LOOK_MS, ret_gathered, err);
        while (rc == -EAGAIN && !pmi_agent_is_gone() && !mst_deadline_passed(deadline_ns));
    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

int pmi_nodes_refuse(int rc, const char *key, size_t size_bytes, struct mst_err *err)
{
    return mst_err_set(err, rc,
                       "%s of all nodes, with %zu bytes of this one's (all may have %u): %s", key,
                       size_bytes, MST_KV_VALUE_MAX, mst_err_meaning(rc));
}

static int ask_sizes(struct pmi_nodes *nodes, uint16_t *sizes, struct mst_err *err)
{
    uint8_t mine[2];
    struct mst_kv_gathered gathered = {0};
    mst_put_le16(mine, (uint16_t)nodes->local_size);
    int rc = pmi_nodes_gather(nodes, "ranks", (struct mst_cspan){mine, sizeof mine, MST_MEM_HOST},
                              mst_deadline_ms(KV_MS), &gathered, err);
    for (uint32_t i = 0; rc == 0 && i < gathered.count; i++) {
        if (gathered.parts[i].size_bytes == sizeof mine)
            sizes[i] = mst_get_le16(gathered.parts[i].data);
        else
            rc = -EBADMSG;
    }
    mst_kv_gathered_free(&gathered);
    return rc;
}

int pmi_nodes_meet(struct pmi_nodes *nodes, uint32_t size, uint16_t *sizes, struct mst_err *err)
{
    uint32_t sum = 0;
    sizes[0] = (uint16_t)nodes->local_size;
    int rc = nodes->kv ? ask_sizes(nodes, sizes, err) : 0;
    if (rc)
        return mst_err_set(err, rc,
                           "not all nodes say by %s how many ranks they have (%s): give --mpi=%s "
                           "on each",
                           nodes->name, mst_err_meaning(rc), nodes->name);
    for (uint32_t i = 0; i < nodes->node_count; i++)
        sum += sizes[i];
    return sum == size ? 0
                       : mst_err_set(err, -EPROTO,
                                     "all nodes together say that there are %u ranks, and there "
                                     "are %u",
                                     sum, size);
}

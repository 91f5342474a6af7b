#include "muster/launcher/roster.h"

#include "muster/core/clock.h"
#include "muster/core/kv/server.h"
#include "muster/core/world/page.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_NS (MST_NS_PER_S / 20) /* between two walks over all nodes */

int roster_init(struct roster *roster, uint32_t count, uint64_t limit_ns,
                void (*gone)(void *arg, uint32_t node, const char *why), void *arg)
{
    *roster = (struct roster){.limit_ns = limit_ns, .count = count, .gone = gone, .arg = arg};
    roster->nodes = calloc(count, sizeof *roster->nodes);
    if (!roster->nodes)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        outbox_init(&roster->nodes[i].outbox);
    return 0;
}

void roster_fini(struct roster *roster)
{
    for (uint32_t i = 0; roster->nodes && i < roster->count; i++)
        outbox_fini(&roster->nodes[i].outbox);
    free(roster->nodes);
    roster->nodes = NULL;
}

bool roster_has(const struct roster *roster, uint32_t rank, uint64_t peer)
{
    assert(rank < roster->count);
    return roster->nodes[rank].connected && roster->nodes[rank].peer == peer;
}

static void disconnect(struct roster *roster, struct roster_node *node)
{
    if (!node->connected)
        return;
    node->connected = false;
    kv_server_drop(roster->server, node->peer); /* it may be gone already */
}

static void give_up(struct roster *roster, uint32_t rank, const char *why)
{
    struct roster_node *node = &roster->nodes[rank];
    disconnect(roster, node);
    outbox_fini(&node->outbox);
    outbox_init(&node->outbox);
    node->here = false;
    roster->gone(roster->arg, rank, why);
}

/* Its agent may run again, and is told, where its connection stands: else it would take node 0 for
 * lost. One whose connection was cut is told when it dials. */
static void dismiss(struct roster *roster, uint32_t rank, const char *why)
{
    struct msg end = {.type = MSG_END,
                      .rank = MST_PAGE_CAUSE_JOB,
                      .code = EXITCODE_RENDEZVOUS,
                      .end = EXITCODE_END_LOST_NODE};
    (void)snprintf(end.text, sizeof end.text, "node 0 has given this node up: %s", why);
    if (roster->nodes[rank].connected)
        roster_send(roster, rank, &end);
    if (roster->nodes[rank].here) /* else there was no memory for it */
        give_up(roster, rank, why);
}

int roster_meet(struct roster *roster, uint32_t rank, uint64_t peer, struct roster_hello hello,
                uint64_t now_ns)
{
    assert(rank < roster->count);
    struct roster_node *node = &roster->nodes[rank];
    bool known = node->here && node->tag == hello.tag;
    if (hello.again && !known)
        return -ESTALE;
    if (node->here && !known && !node->pulse.named)
        return -EEXIST;
    if (node->here && !known)
        dismiss(roster, rank, "another agent takes its place");
    disconnect(roster, node);
    node->here = node->connected = true;
    node->peer = peer;
    node->tag = hello.tag;
    node->resend = known;
    if (known)
        log_line(LOG_INFO, "node is back", " node=%u", rank);
    pulse_init(&node->pulse, now_ns);
    return 0;
}

static void heard(struct roster *roster, uint32_t rank, uint64_t now_ns)
{
    if (pulse_heard(&roster->nodes[rank].pulse, now_ns))
        log_line(LOG_INFO, "node is heard again", " node=%u", rank);
}

int roster_take(struct roster *roster, uint32_t rank, const struct msg *msg, uint64_t now_ns)
{
    struct roster_node *node = &roster->nodes[rank];
    heard(roster, rank, now_ns);
    if (msg->type == MSG_JOIN)
        snprintf(node->host, sizeof node->host, "%s", msg->host);
    return outbox_take(&node->outbox, msg);
}

void roster_send(struct roster *roster, uint32_t rank, const struct msg *msg)
{
    struct roster_node *node = &roster->nodes[rank];
    const struct outbox_item *item;
    if (!node->here)
        return;
    if (outbox_put(&node->outbox, msg, &item)) {
        log_line(LOG_ERROR, "no memory for a message", " type=%s node=%u", msg_name(msg->type),
                 rank);
        give_up(roster, rank, "no memory for what it has to hear");
        return;
    }
    if (node->connected && !node->resend) /* of one that has just gone, roster_lose is told */
        (void)kv_server_send(roster->server, node->peer, item->type, item->payload,
                             item->size_bytes);
}

void roster_lose(struct roster *roster, uint32_t rank, uint64_t peer, bool hung_up, uint64_t now_ns)
{
    if (!roster_has(roster, rank, peer))
        return; /* replaced by a newer one, or given up */
    struct roster_node *node = &roster->nodes[rank];
    node->connected = false;
    if (hung_up) {
        give_up(roster, rank, "its agent has gone");
        return;
    }
    pulse_cut(&node->pulse, now_ns);
    char name[MSG_HOST_BYTES + 16];
    log_line(LOG_WARN, "connection to a node lost", " node=%s gives_up_in_s=%u",
             log_quote(roster_name(roster, rank, name, sizeof name)).text,
             (unsigned)(roster->limit_ns / MST_NS_PER_S));
}

static void look(struct roster *roster, uint32_t rank, uint64_t now_ns)
{
    struct roster_node *node = &roster->nodes[rank];
    char name[MSG_HOST_BYTES + 16];
    switch (pulse_look(&node->pulse, roster->limit_ns, now_ns)) {
    case PULSE_SILENT:
        log_line(LOG_WARN, "node is silent", " node=%s for_s=%u gives_up_in_s=%u",
                 log_quote(roster_name(roster, rank, name, sizeof name)).text,
                 (unsigned)(PULSE_SILENT_NS / MST_NS_PER_S),
                 (unsigned)(roster->limit_ns / MST_NS_PER_S));
        return;
    case PULSE_GONE: dismiss(roster, rank, "it was silent for too long"); return;
    default: return;
    }
}

/* What a node is owed after it came back, and a beat if there is nothing else. */
static void send_due(struct roster *roster, struct roster_node *node, uint64_t now_ns)
{
    uint8_t payload[64];
    if (!node->connected)
        return;
    for (const struct outbox_item *item = node->resend ? node->outbox.first : NULL; item;
         item = item->next)
        (void)kv_server_send(roster->server, node->peer, item->type, item->payload,
                             item->size_bytes); /* as in roster_send */
    node->resend = false;
    if (pulse_beats(&node->pulse, now_ns))
        (void)kv_server_send(roster->server, node->peer, MSG_BEAT, payload,
                             outbox_beat(&node->outbox, payload, sizeof payload)); /* as above */
}

void roster_tick(struct roster *roster, uint64_t now_ns)
{
    if (now_ns < roster->look_ns)
        return;
    roster->look_ns = now_ns + LOOK_NS;
    for (uint32_t i = 0; i < roster->count; i++) {
        if (i > 0 && roster->nodes[i].here) /* node 0 is this process */
            look(roster, i, now_ns);
        send_due(roster, &roster->nodes[i], now_ns);
    }
}

bool roster_all_heard(const struct roster *roster)
{
    for (uint32_t i = 1; i < roster->count; i++) {
        if (roster->nodes[i].here && roster->nodes[i].outbox.first)
            return false;
    }
    return true;
}

const char *roster_name(const struct roster *roster, uint32_t rank, char *text, size_t cap)
{
    const char *host = roster->nodes[rank].host;
    snprintf(text, cap, host[0] ? "%u (%s)" : "%u", rank, host);
    return text;
}

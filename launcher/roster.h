/* Roster: who is here. Node 0's side of the links to the agents: for each node its connection in
 * the kv server, what was sent to it and has not come (launcher/outbox.h), and whether it lives
 * (launcher/pulse.h).
 *
 *   absent ── hello ─▶ connected ── cut, silent ─▶ away ── hello of the same agent ─▶ connected
 *      ▲                   │ hung up, dropped        │ given up, hello of another agent
 *      └───────────────────┴─────────────────────────┘
 *
 * A lost connection is no lost node: while it is away, what is said to it waits in its outbox. An
 * agent tells by the tag of its hello, which it draws once, that it is the same as before.
 *
 *   init → meet, take, send, lose … tick a few times a second → fini. One thread. */
#ifndef MUSTER_LAUNCHER_ROSTER_H
#define MUSTER_LAUNCHER_ROSTER_H

#include "muster/launcher/msg.h"
#include "muster/launcher/outbox.h"
#include "muster/launcher/pulse.h"

#include <stdbool.h>
#include <stdint.h>

struct kv_server;

struct roster_node {
    bool here;      /* not given up: an agent of it is connected, or away */
    bool connected; /* by peer */
    bool resend;    /* over a connection that is new */
    uint32_t tag;
    uint64_t peer;
    struct outbox outbox;
    struct pulse pulse;
    char host[MSG_HOST_BYTES]; /* of the last agent that joined; empty: none has */
};

/* What an agent's hello tells of it. */
struct roster_hello {
    uint32_t tag;
    bool again; /* it was here before */
};

struct roster {
    struct kv_server *server; /* the caller's */
    uint64_t limit_ns;        /* how long a node may be away */
    uint64_t look_ns;         /* when to look at all of them again */
    uint32_t count;
    struct roster_node *nodes;
    void (*gone)(void *arg, uint32_t node, const char *why); /* a node is given up */
    void *arg;
};

/* Nobody is here. `gone` may be called from meet, lose and tick; it must not call back. 0;
 * -ENOMEM. */
int roster_init(struct roster *roster, uint32_t count, uint64_t limit_ns,
                void (*gone)(void *arg, uint32_t node, const char *why), void *arg);
void roster_fini(struct roster *roster);

/* Whether `peer` is the connection of the node of this rank, and none that it had before. */
bool roster_has(const struct roster *roster, uint32_t rank, uint64_t peer);

/* An agent of the node of this rank says hello over `peer`. 0: it is here, and messages may be sent
 * to it; another agent that was away is given up first. -EEXIST another one lives; -ESTALE it was
 * given up. */
int roster_meet(struct roster *roster, uint32_t rank, uint64_t peer, struct roster_hello hello,
                uint64_t now_ns);

/* A message came. As outbox_take. */
int roster_take(struct roster *roster, uint32_t rank, const struct msg *msg, uint64_t now_ns);

/* Sends to a node that is here, at once or when it is back. */
void roster_send(struct roster *roster, uint32_t rank, const struct msg *msg);

/* The connection `peer` of a node is gone; nothing happens if it has another one. One whose agent
 * hung up has no agent any longer; one that broke may be dialled again. */
void roster_lose(struct roster *roster, uint32_t rank, uint64_t peer, bool hung_up,
                 uint64_t now_ns);

/* Sends what is due, names who is silent, gives up who was for too long. Costs next to nothing if
 * it did so just now: call it after whatever has come. */
void roster_tick(struct roster *roster, uint64_t now_ns);

/* Whether every node but 0 has what was sent to it, or is gone. */
bool roster_all_heard(const struct roster *roster);

/* "3 (worker-3)", or "3" where no host is known, for logs. */
const char *roster_name(const struct roster *roster, uint32_t rank, char *text, size_t cap);

#endif

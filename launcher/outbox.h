/* Outbox: one side of a link that may be dialled again. Every message has a serial, and is kept
 * until the other side has told, with the next message of its own, that it has come; over a new
 * connection what is kept is sent again, and what has come already is passed over. So nothing is
 * lost or doubled, whatever happened to the connection.
 *
 *   init → put per message sent, take per message received; over a new connection, send all items
 *        from `first` on → fini
 *
 * One thread. */
#ifndef MUSTER_LAUNCHER_OUTBOX_H
#define MUSTER_LAUNCHER_OUTBOX_H

#include "muster/launcher/msg.h"

#include <stddef.h>
#include <stdint.h>

struct outbox_item {
    struct outbox_item *next;
    uint64_t serial;
    uint8_t type;
    size_t size_bytes;
    uint8_t payload[];
};

struct outbox {
    struct outbox_item *first, **last; /* sent, and not known to have come; the oldest first */
    uint64_t sent;                     /* the last serial given */
    uint64_t heard;                    /* the highest serial taken from the other side */
};

void outbox_init(struct outbox *outbox);
void outbox_fini(struct outbox *outbox);

/* Gives the message its serial and keeps it. *ret_item is ready to be sent, and lives until it is
 * acknowledged. 0; -ENOMEM. */
int outbox_put(struct outbox *outbox, const struct msg *msg, const struct outbox_item **ret_item);

/* Looks at what came from the other side. 1: new, to be acted on. 0: a BEAT, or it has come before.
 * -EPROTO: a serial that skips one, or an acknowledgement of what was never sent. */
int outbox_take(struct outbox *outbox, const struct msg *msg);

/* The payload of a BEAT. Its size. */
size_t outbox_beat(const struct outbox *outbox, uint8_t *payload, size_t cap);

#endif

#include "muster/launcher/outbox.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void outbox_init(struct outbox *outbox)
{
    *outbox = (struct outbox){.sent = 0};
    outbox->last = &outbox->first;
}

static void drop_first(struct outbox *outbox)
{
    struct outbox_item *item = outbox->first;
    outbox->first = item->next;
    if (!outbox->first)
        outbox->last = &outbox->first;
    free(item);
}

void outbox_fini(struct outbox *outbox)
{
    while (outbox->first)
        drop_first(outbox);
}

int outbox_put(struct outbox *outbox, const struct msg *msg, const struct outbox_item **ret_item)
{
    uint8_t payload[MSG_BYTES_MAX];
    int size = msg_encode(msg, payload, sizeof payload);
    assert(size >= 0);
    struct outbox_item *item = malloc(sizeof *item + (size_t)size);
    if (!item)
        return -ENOMEM;
    *item = (struct outbox_item){
        .serial = ++outbox->sent, .type = (uint8_t)msg->type, .size_bytes = (size_t)size};
    memcpy(item->payload, payload, (size_t)size);
    msg_number(item->payload, item->serial, outbox->heard);
    *outbox->last = item;
    outbox->last = &item->next;
    *ret_item = item;
    return 0;
}

int outbox_take(struct outbox *outbox, const struct msg *msg)
{
    if (msg->ack > outbox->sent || msg->serial > outbox->heard + 1)
        return -EPROTO;
    while (outbox->first && outbox->first->serial <= msg->ack)
        drop_first(outbox);
    if (msg->serial <= outbox->heard) /* a BEAT's is 0 */
        return 0;
    outbox->heard = msg->serial;
    return 1;
}

size_t outbox_beat(const struct outbox *outbox, uint8_t *payload, size_t cap)
{
    const struct msg beat = {.type = MSG_BEAT, .ack = outbox->heard};
    int size = msg_encode(&beat, payload, cap);
    assert(size >= 0);
    return (size_t)size;
}

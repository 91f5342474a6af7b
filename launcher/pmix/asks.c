#include "muster/launcher/pmix/asks.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/launcher/pmi_nodes.h"
#include "muster/launcher/pmix/host.h"
#include "muster/launcher/pmix/mail.h"

#include <errno.h>
#include <stdlib.h>

#define LEFT_MS 1000 /* libpmix's thread has had its turn by then */

struct asked {
    uint32_t id;              /* here */
    struct host_event *event; /* of ours */
    struct letter letter;     /* of theirs; it has no data */
    uint64_t due_ns;          /* or MST_NEVER */
    struct asked *next;
};

static int refuse(int rc, uint32_t rank, struct mst_err *err)
{
    return mst_err_set(err, rc, "what rank %u has said to others, by letters between nodes: %s",
                       rank, mst_err_meaning(rc));
}

/* Taken out of the list, the caller's to free; NULL: none has that number. */
static struct asked *take(struct asked **list, uint32_t id)
{
    while (*list && (*list)->id != id)
        list = &(*list)->next;
    struct asked *asked = *list;
    if (asked)
        *list = asked->next;
    return asked;
}

static struct asked *add(struct asks *asks, struct asked **list)
{
    struct asked *asked = calloc(1, sizeof *asked);
    if (!asked)
        return NULL;
    asked->id = ++asks->last_id;
    asked->due_ns = MST_NEVER;
    asked->next = *list;
    *list = asked;
    return asked;
}

int asks_open(struct asks *asks, struct pmi_nodes *nodes, struct parts_layout layout,
              struct mst_err *err)
{
    *asks = (struct asks){.layout = layout, .due_ns = MST_NEVER};
    return nodes->kv ? mail_open(nodes, &asks->mail, err) : 0;
}

static void free_list(struct asked *list)
{
    while (list) {
        struct asked *next = list->next;
        free(list);
        list = next;
    }
}

void asks_close(struct asks *asks)
{
    mail_close(asks->mail);
    free_list(asks->ours);
    free_list(asks->theirs);
}

int asks_fd(const struct asks *asks)
{
    return asks->mail ? mail_fd(asks->mail) : -1;
}

/* ---- ours ------------------------------------------------------------------------------------ */

int asks_ask(struct asks *asks, struct host_event *event, struct mst_err *err)
{
    uint32_t node = parts_node_of(&asks->layout, event->rank), rank = event->rank;
    if (!asks->mail || node == asks->layout.node_count) {
        host_answer(event, -ENOENT, NULL, 0);
        return 0;
    }
    struct asked *asked = add(asks, &asks->ours);
    if (!asked)
        return refuse(-ENOMEM, rank, err);
    asked->event = event;
    const struct letter letter = {.kind = LETTER_ASKS, .rank = rank, .id = asked->id};
    int rc = mail_send(asks->mail, node, &letter);
    return rc ? refuse(rc, rank, err) : 0;
}

static void be_told(struct asks *asks, const struct letter *letter)
{
    struct asked *asked = take(&asks->ours, letter->id);
    if (asked)
        host_answer(asked->event, letter->status, letter->data, letter->size_bytes);
    else
        free(letter->data);
    free(asked);
}

/* ---- theirs ---------------------------------------------------------------------------------- */

/* What is too large for a letter is not there for who asks. */
static int tell(struct asks *asks, const struct asked *asked, struct letter letter,
                struct mst_err *err)
{
    letter.kind = LETTER_TELLS;
    letter.rank = asked->letter.rank;
    letter.id = asked->letter.id;
    int rc = mail_send(asks->mail, asked->letter.from, &letter);
    if (rc == -EMSGSIZE) {
        const struct letter none = {
            .kind = LETTER_TELLS, .rank = letter.rank, .id = letter.id, .status = -EMSGSIZE};
        rc = mail_send(asks->mail, asked->letter.from, &none);
    }
    return rc ? refuse(rc, letter.rank, err) : 0;
}

int asks_given(struct asks *asks, struct host_event *event, struct mst_err *err)
{
    struct asked *asked = take(&asks->theirs, event->id);
    const struct letter letter = {
        .status = event->status, .data = event->data, .size_bytes = event->size_bytes};
    int rc = asked ? tell(asks, asked, letter, err) : 0;
    free(asked);
    return rc;
}

static void wait_no_longer(struct asks *asks, struct asked *asked)
{
    asked->due_ns = mst_deadline_ms(LEFT_MS);
    if (asked->due_ns < asks->due_ns)
        asks->due_ns = asked->due_ns;
}

void asks_left(struct asks *asks, uint32_t rank)
{
    for (struct asked *asked = asks->theirs; asked; asked = asked->next) {
        if (asked->letter.rank == rank && asked->due_ns == MST_NEVER)
            wait_no_longer(asks, asked);
    }
}

static int be_asked(struct asks *asks, const struct letter *letter, bool has_left,
                    struct mst_err *err)
{
    struct asked *asked = add(asks, &asks->theirs);
    free(letter->data);
    if (!asked)
        return refuse(-ENOMEM, letter->rank, err);
    asked->letter = *letter;
    asked->letter.data = NULL;
    if (has_left)
        wait_no_longer(asks, asked);
    int rc = host_ask(letter->rank, asked->id);
    return rc ? refuse(rc, letter->rank, err) : 0;
}

/* Who has left without a word says none. */
static int give_up(struct asks *asks, struct mst_err *err)
{
    int rc = 0;
    asks->due_ns = MST_NEVER;
    for (struct asked **at = &asks->theirs; rc == 0 && *at;) {
        struct asked *asked = *at;
        if (mst_deadline_passed(asked->due_ns)) {
            *at = asked->next;
            rc = tell(asks, asked, (struct letter){.status = -ENOENT}, err);
            free(asked);
            continue;
        }
        if (asked->due_ns < asks->due_ns)
            asks->due_ns = asked->due_ns;
        at = &asked->next;
    }
    return rc;
}

int asks_run(struct asks *asks, bool (*has_left)(const void *arg, uint32_t rank), const void *arg,
             struct mst_err *err)
{
    struct letter letter;
    int rc = 0, taken = 0;
    while (asks->mail && rc == 0 && (taken = mail_take(asks->mail, &letter)) == 0) {
        if (letter.kind == LETTER_ASKS)
            rc = be_asked(asks, &letter, has_left(arg, letter.rank), err);
        else
            be_told(asks, &letter);
    }
    if (rc == 0 && asks->mail && taken != -EAGAIN)
        return mst_err_set(err, taken, "letters from other nodes: %s", mst_err_meaning(taken));
    return rc || !mst_deadline_passed(asks->due_ns) ? rc : give_up(asks, err);
}

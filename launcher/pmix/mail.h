/* Mail: letters from one node's muster-pmix to another's, by the job's key-value server. Each node
 * has a box there, whose letters are numbered; a thread waits for the next one.
 *
 *   open → send; (fd is readable: take) … → close
 *
 * One thread of the caller's. */
#ifndef MUSTER_LAUNCHER_PMIX_MAIL_H
#define MUSTER_LAUNCHER_PMIX_MAIL_H

#include <stddef.h>
#include <stdint.h>

struct mail;
struct mst_err;
struct pmi_nodes;

enum letter_kind {
    LETTER_ASKS = 1, /* what has `rank`, of the node that it is sent to, said to others? */
    LETTER_TELLS,    /* that: `data`, or `status` is why not */
};

struct letter {
    enum letter_kind kind;
    uint32_t from, rank; /* a node; a rank */
    uint32_t id;         /* of the question, as who asks has it */
    int status;          /* 0, or -errno */
    char *data;          /* allocated, or NULL */
    size_t size_bytes;
};

/* `nodes`, which is connected, is borrowed. 0; -ENOMEM, -EMFILE, errors of mst_kv_clone, with text.
 */
int mail_open(struct pmi_nodes *nodes, struct mail **ret_mail, struct mst_err *err);

/* Blocks for a moment, as does the thread on its end. NULL is allowed. */
void mail_close(struct mail *mail);

/* Readable when there is something to take. */
int mail_fd(const struct mail *mail);

/* Blocks until the server has it. `letter` is borrowed; its `from` is this node. 0; -EMSGSIZE; as
 * every call of kv.h. */
int mail_send(struct mail *mail, uint32_t node, const struct letter *letter);

/* 0, and the next letter, whose data is the caller's to free; -EAGAIN there is none; or what the
 * server has answered the thread, which has ended. */
int mail_take(struct mail *mail, struct letter *ret_letter);

#endif

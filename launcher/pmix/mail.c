#include "muster/launcher/pmix/mail.h"

#include "muster/core/bytes.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/kv/kv.h"
#include "muster/core/thread.h"
#include "muster/launcher/pmi_nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SEND_MS 20000
#define LOOK_MS 500 /* at whether to end, while no letter comes */
#define HEAD_BYTES 20
#define FIRST_BYTES 65536 /* what most letters have room in */

struct entry {
    struct letter letter;
    struct entry *next;
};

struct mail {
    struct pmi_nodes *nodes;
    struct mst_kv *kv; /* the thread's */
    int fd;
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        bool stopping;
        int rc; /* why the thread has ended */
        struct entry *first, **last;
    } locked;
};

static void name_box(uint32_t node, int64_t number, char key[PMI_NODES_KEY_BYTES])
{
    if (number)
        (void)snprintf(key, PMI_NODES_KEY_BYTES, "pmix/box/%" PRIu32 "/%" PRId64, node, number);
    else
        (void)snprintf(key, PMI_NODES_KEY_BYTES, "pmix/box/%" PRIu32, node);
}

/* ---- letters --------------------------------------------------------------------------------- */

static void encode(const struct letter *letter, uint32_t from, uint8_t *bytes)
{
    mst_put_le32(bytes, (uint32_t)letter->kind);
    mst_put_le32(bytes + 4, from);
    mst_put_le32(bytes + 8, letter->rank);
    mst_put_le32(bytes + 12, letter->id);
    mst_put_le32(bytes + 16, (uint32_t)-letter->status);
    if (letter->size_bytes > 0)
        memcpy(bytes + HEAD_BYTES, letter->data, letter->size_bytes);
}

static int decode(const uint8_t *bytes, size_t size_bytes, struct letter *ret_letter)
{
    if (size_bytes < HEAD_BYTES)
        return -EBADMSG;
    uint32_t kind = mst_get_le32(bytes), status = mst_get_le32(bytes + 16);
    if ((kind != LETTER_ASKS && kind != LETTER_TELLS) || status > MST_ERRNO_MAX)
        return -EBADMSG;
    *ret_letter = (struct letter){.kind = (enum letter_kind)kind,
                                  .from = mst_get_le32(bytes + 4),
                                  .rank = mst_get_le32(bytes + 8),
                                  .id = mst_get_le32(bytes + 12),
                                  .status = -(int)status,
                                  .size_bytes = size_bytes - HEAD_BYTES};
    ret_letter->data = malloc(ret_letter->size_bytes + 1); /* even if it is empty */
    if (!ret_letter->data)
        return -ENOMEM;
    memcpy(ret_letter->data, bytes + HEAD_BYTES, ret_letter->size_bytes);
    return 0;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool is_stopping(struct mail *mail)
{
    pthread_mutex_lock(&mail->locked.lock);
    bool stopping = mail->locked.stopping;
    pthread_mutex_unlock(&mail->locked.lock);
    return stopping;
}

static void wake(const struct mail *mail)
{
    const uint64_t one = 1;
    (void)!write(mail->fd, &one, sizeof one); /* what is full is readable already */
}

static int deliver(struct mail *mail, const uint8_t *bytes, size_t size_bytes)
{
    struct entry *entry = calloc(1, sizeof *entry);
    int rc = entry ? decode(bytes, size_bytes, &entry->letter) : -ENOMEM;
    if (rc) {
        free(entry);
        return rc;
    }
    pthread_mutex_lock(&mail->locked.lock);
    *mail->locked.last = entry;
    mail->locked.last = &entry->next;
    pthread_mutex_unlock(&mail->locked.lock);
    wake(mail);
    return 0;
}

/* Waits for a letter a while. One that has been read need not stay with the server. */
static int receive(struct mail *mail, int64_t number, uint8_t **bytes, size_t *cap)
{
    char key[PMI_NODES_KEY_BYTES];
    size_t size = 0;
    name_box(mail->nodes->node, number, key);
    int rc = mst_kv_wait(mail->kv, key, *bytes, *cap, &size, mst_deadline_ms(LOOK_MS));
    if (rc == -ENOSPC) {
        uint8_t *larger = realloc(*bytes, size);
        if (!larger)
            return -ENOMEM;
        *bytes = larger;
        *cap = size;
        rc = mst_kv_wait(mail->kv, key, larger, size, &size, mst_deadline_ms(SEND_MS));
    }
    if (rc == 0)
        rc = deliver(mail, *bytes, size);
    return rc ? rc : mst_kv_set(mail->kv, key, "", 0, mst_deadline_ms(SEND_MS));
}

static void *run(void *arg)
{
    struct mail *mail = arg;
    size_t cap = FIRST_BYTES;
    uint8_t *bytes = malloc(cap);
    int64_t number = 1;
    int rc = bytes ? 0 : -ENOMEM;
    while (rc == 0 && !is_stopping(mail)) {
        rc = receive(mail, number, &bytes, &cap);
        number += rc == 0;
        rc = rc == -ETIMEDOUT ? 0 : rc;
    }
    free(bytes);
    pthread_mutex_lock(&mail->locked.lock);
    mail->locked.rc = rc;
    pthread_mutex_unlock(&mail->locked.lock);
    wake(mail);
    return NULL;
}

/* ---- the caller's side ----------------------------------------------------------------------- */

static void free_mail(struct mail *mail)
{
    mst_kv_close(mail->kv);
    mst_file_close(&mail->fd);
    for (struct entry *entry; (entry = mail->locked.first);) {
        mail->locked.first = entry->next;
        free(entry->letter.data);
        free(entry);
    }
    pthread_mutex_destroy(&mail->locked.lock);
    free(mail);
}

int mail_open(struct pmi_nodes *nodes, struct mail **ret_mail, struct mst_err *err)
{
    struct mail *mail = calloc(1, sizeof *mail);
    if (!mail)
        return mst_err_set(err, -ENOMEM, "no memory for letters from other nodes");
    mail->nodes = nodes;
    mail->locked.last = &mail->locked.first;
    pthread_mutex_init(&mail->locked.lock, NULL);
    mail->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = mail->fd < 0 ? mst_err_set(err, -errno, "eventfd: %s", mst_err_meaning(errno))
                          : mst_kv_clone(nodes->kv, mst_deadline_ms(SEND_MS), &mail->kv, err);
    if (rc == 0 && (rc = mst_thread_start(&mail->thread, "mst-mail", run, mail)))
        (void)mst_err_set(err, rc, "thread for letters: %s", mst_err_meaning(rc)); /* below */
    if (rc)
        free_mail(mail);
    else
        *ret_mail = mail;
    return rc;
}

void mail_close(struct mail *mail)
{
    if (!mail)
        return;
    pthread_mutex_lock(&mail->locked.lock);
    mail->locked.stopping = true;
    pthread_mutex_unlock(&mail->locked.lock);
    (void)pthread_join(mail->thread, NULL); /* cannot fail for a thread of ours */
    free_mail(mail);
}

int mail_fd(const struct mail *mail)
{
    return mail->fd;
}

int mail_send(struct mail *mail, uint32_t node, const struct letter *letter)
{
    char key[PMI_NODES_KEY_BYTES];
    int64_t number;
    size_t size = HEAD_BYTES + letter->size_bytes;
    if (size > MST_KV_VALUE_MAX)
        return -EMSGSIZE;
    uint8_t *bytes = malloc(size);
    if (!bytes)
        return -ENOMEM;
    encode(letter, mail->nodes->node, bytes);
    name_box(node, 0, key);
    int rc = mst_kv_add(mail->nodes->kv, key, 1, &number, mst_deadline_ms(SEND_MS));
    if (rc == 0) {
        name_box(node, number, key);
        rc = mst_kv_set(mail->nodes->kv, key, bytes, size, mst_deadline_ms(SEND_MS));
    }
    free(bytes);
    return rc;
}

int mail_take(struct mail *mail, struct letter *ret_letter)
{
    uint64_t count;
    (void)!read(mail->fd, &count, sizeof count); /* the list says it, too */
    pthread_mutex_lock(&mail->locked.lock);
    struct entry *entry = mail->locked.first;
    int rc = entry ? 0 : mail->locked.rc ? mail->locked.rc : -EAGAIN;
    if (entry) {
        mail->locked.first = entry->next;
        if (!entry->next)
            mail->locked.last = &mail->locked.first;
        *ret_letter = entry->letter;
    }
    pthread_mutex_unlock(&mail->locked.lock);
    free(entry);
    return rc;
}

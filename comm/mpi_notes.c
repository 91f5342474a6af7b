/* Notes of failures, from each to all. */
#include "muster/comm/mpi_notes.h"

#include "muster/core/clock.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 200 /* a waiting rank answers in microseconds, if it has a core */
#define FLUSH_MS 100

/* ---- sending --------------------------------------------------------------------------------- */

static int outbox_init(struct mpi_outbox *box, uint32_t size)
{
    box->requests = calloc(size, sizeof *box->requests);
    box->sending = calloc(size, sizeof *box->sending);
    return box->requests && box->sending ? 0 : -ENOMEM;
}

static void outbox_fini(struct mpi_outbox *box)
{
    free(box->requests);
    free(box->sending);
}

/* A note that cannot be sent is not: the receiver has its own deadline. */
static void send_to(struct mpi_notes *notes, struct mpi_outbox *box, uint32_t to)
{
    if (box->sending[to])
        return;
    box->sending[to] = notes->abi->start_send(notes->comm, &box->note, sizeof box->note, to,
                                              &box->requests[to]) == 0;
}

static void send_to_all(struct mpi_notes *notes, struct mpi_outbox *box)
{
    for (uint32_t r = 0; r < notes->size; r++)
        if (r != notes->rank)
            send_to(notes, box, r);
}

/* True once nothing of `box` is under way. */
static bool outbox_sent(struct mpi_notes *notes, struct mpi_outbox *box)
{
    bool all = true;
    for (uint32_t r = 0; r < notes->size; r++) {
        bool done = true;
        if (box->sending[r] && notes->abi->test(&box->requests[r], &done) == 0)
            box->sending[r] = !done;
        all = all && !box->sending[r];
    }
    return all;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static int receive_next(struct mpi_notes *notes)
{
    int rc = notes->abi->start_receive(notes->comm, &notes->worker.note, sizeof notes->worker.note,
                                       &notes->worker.receive);
    notes->worker.receiving = rc == 0;
    return rc;
}

/* Whether this caller is the first to say what failed. */
static bool claim(struct mpi_notes *notes, const struct mst_err *err)
{
    unsigned unclaimed = 0;
    if (!atomic_compare_exchange_strong(&notes->claimed, &unclaimed, 1))
        return false;
    notes->failure = *err;
    /* Release: pairs with wait_check, with mpi_notes_poll and with mpi_notes_fail. */
    atomic_store_explicit(&notes->failed, 1, memory_order_release);
    return true;
}

static void handle(struct mpi_notes *notes, uint64_t op_seq)
{
    struct mpi_note *note = &notes->worker.note;
    struct mpi_outbox *here = &notes->worker.here;
    note->err.text[sizeof note->err.text - 1] = '\0';
    if (note->from >= notes->size || note->from == notes->rank)
        return;
    switch (note->kind) {
    case MPI_NOTE_ASK:
        if (here->note.kind != MPI_NOTE_HERE) /* whoever asks fails then: there is one op to tell */
            here->note = (struct mpi_note){
                .kind = MPI_NOTE_HERE, .from = notes->rank, .op_seq = op_seq};
        send_to(notes, here, note->from);
        break;
    case MPI_NOTE_HERE:
        if (note->op_seq >= op_seq)
            notes->worker.present[note->from] = true;
        break;
    case MPI_NOTE_FAILED:
        if (note->err.code < 0)
            (void)claim(notes, &note->err); /* the first failure stands */
        break;
    default: break;
    }
}

int mpi_notes_poll(struct mpi_notes *notes, uint64_t op_seq)
{
    bool come = notes->worker.receiving;
    while (come && notes->abi->test(&notes->worker.receive, &come) == 0 && come) {
        handle(notes, op_seq);
        come = receive_next(notes) == 0;
    }
    /* Acquire: pairs with claim. */
    return atomic_load_explicit(&notes->failed, memory_order_acquire) != 0 ? -ECANCELED : 0;
}

/* ---- failures -------------------------------------------------------------------------------- */

static bool all_present(const struct mpi_notes *notes)
{
    for (uint32_t r = 0; r < notes->size; r++)
        if (!notes->worker.present[r])
            return false;
    return true;
}

void mpi_notes_missing(struct mpi_notes *notes, uint64_t op_seq, char *text, size_t cap)
{
    uint64_t deadline_ns = mst_deadline_ms(ANSWER_MS);
    notes->worker.ask.note = (struct mpi_note){
        .kind = MPI_NOTE_ASK, .from = notes->rank, .op_seq = op_seq};
    notes->worker.present[notes->rank] = true;
    send_to_all(notes, &notes->worker.ask);
    while (!all_present(notes) && !mst_deadline_passed(deadline_ns) &&
           mpi_notes_poll(notes, op_seq) == 0)
        (void)sched_yield(); /* cannot fail on Linux */
    text[0] = '\0';
    for (uint32_t r = 0; r < notes->size; r++) {
        size_t used = strlen(text);
        if (!notes->worker.present[r])
            (void)snprintf(text + used, cap - used, " rank %u", r);
    }
}

bool mpi_notes_fail(struct mpi_notes *notes, struct mst_err *err)
{
    if (claim(notes, err)) {
        notes->failed_box.note = (struct mpi_note){
            .kind = MPI_NOTE_FAILED, .from = notes->rank, .err = *err};
        send_to_all(notes, &notes->failed_box);
        return true;
    }
    /* Acquire: pairs with claim. */
    if (atomic_load_explicit(&notes->failed, memory_order_acquire) != 0)
        *err = notes->failure;
    return false;
}

void mpi_notes_flush(struct mpi_notes *notes)
{
    uint64_t deadline_ns = mst_deadline_ms(FLUSH_MS);
    while (!outbox_sent(notes, &notes->failed_box) && !mst_deadline_passed(deadline_ns))
        (void)sched_yield(); /* cannot fail on Linux */
}

/* ---- life ------------------------------------------------------------------------------------ */

int mpi_notes_open(struct mpi_notes *notes, const struct mpi_abi *abi, struct mpi_handle comm,
                   uint32_t rank, uint32_t size, struct mst_err *err)
{
    notes->abi = abi;
    notes->comm = comm;
    notes->rank = rank;
    notes->size = size;
    notes->worker.present = calloc(size, sizeof *notes->worker.present);
    if (!notes->worker.present || outbox_init(&notes->worker.ask, size) < 0 ||
        outbox_init(&notes->worker.here, size) < 0 || outbox_init(&notes->failed_box, size) < 0)
        return mst_err_set(err, -ENOMEM, "no memory for notes to %u ranks", size);
    if (receive_next(notes) != 0)
        return mst_err_set(err, -ECONNRESET, "MPI does not receive");
    return 0;
}

bool mpi_notes_quiet(const struct mpi_notes *notes)
{
    /* Acquire: pairs with claim. */
    return atomic_load_explicit(&notes->failed, memory_order_acquire) == 0 &&
           notes->worker.here.note.kind != MPI_NOTE_HERE;
}

void mpi_notes_close(struct mpi_notes *notes)
{
    if (notes->worker.receiving)
        notes->abi->cancel(&notes->worker.receive);
    outbox_fini(&notes->worker.ask);
    outbox_fini(&notes->worker.here);
    outbox_fini(&notes->failed_box);
    free(notes->worker.present);
}

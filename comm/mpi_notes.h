/* How ranks under MPI tell one another of failures: short messages beside the collectives.
 *
 * MPI tells nobody who has not come to a collective. So the rank whose deadline passes asks all
 * others; whoever waits in a collective looks for notes meanwhile and answers, and who does not
 * answer is missing. Then it tells everybody, and all end with the same words. */
#ifndef MUSTER_COMM_MPI_NOTES_H
#define MUSTER_COMM_MPI_NOTES_H

#include "muster/comm/mpi_abi.h"
#include "muster/core/err.h"

#include <stdatomic.h>

enum mpi_note_kind { MPI_NOTE_ASK, MPI_NOTE_HERE, MPI_NOTE_FAILED };

struct mpi_note {
    uint32_t kind, from;
    uint64_t op_seq;    /* where the sender is */
    struct mst_err err; /* of MPI_NOTE_FAILED */
};

/* One note to any number of ranks. It is written once, since MPI may read it at any time. */
struct mpi_outbox {
    struct mpi_note note;
    struct mpi_handle *requests; /* one per rank */
    bool *sending;
};

struct mpi_notes {
    const struct mpi_abi *abi;
    struct mpi_handle comm; /* nothing but notes goes through it */
    uint32_t rank, size;
    atomic_uint claimed; /* somebody writes `failure`, and tells the others */
    atomic_uint failed;  /* it may be read; waits look at this */
    struct mst_err failure;
    struct mpi_outbox failed_box; /* of whoever claimed */

    /* Of the thread that runs collectives. */
    struct {
        struct mpi_note note; /* the one that is being received */
        struct mpi_handle receive;
        bool receiving;
        bool *present; /* per rank: has answered */
        struct mpi_outbox ask, here;
    } worker;
};

/* Allocates, and begins to receive over `comm`, which is borrowed until close. 0; -ENOMEM;
 * -ECONNRESET. On failure close is still due. */
int mpi_notes_open(struct mpi_notes *notes, const struct mpi_abi *abi, struct mpi_handle comm,
                   uint32_t rank, uint32_t size, struct mst_err *err);

/* Whether nothing has failed and nobody has asked: only then is it certain that nothing is on its
 * way to or from this rank. */
bool mpi_notes_quiet(const struct mpi_notes *notes);

/* Takes the receive back and frees everything. Only while it is quiet. */
void mpi_notes_close(struct mpi_notes *notes);

/* Reads what has come and answers; `op_seq` is where this rank waits. 0, or -ECANCELED once there
 * is a failure to be read. */
int mpi_notes_poll(struct mpi_notes *notes, uint64_t op_seq);

/* Asks all ranks whether they wait in `op_seq`, and gives them time to answer. Writes
 * " rank 1 rank 7": those who did not. */
void mpi_notes_missing(struct mpi_notes *notes, uint64_t op_seq, char *text, size_t cap);

/* Makes *err the failure of all ranks, unless there is one: then *err becomes that. True if it was
 * the first. Safe from any thread; does not block. */
bool mpi_notes_fail(struct mpi_notes *notes, struct mst_err *err);

/* Gives MPI a moment to bring the news out. For the caller whose failure was the first. */
void mpi_notes_flush(struct mpi_notes *notes);

#endif

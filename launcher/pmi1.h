/* Pmi1: how the libraries of MPICH's family (MPICH, Intel MPI, MVAPICH) learn from their launcher
 * who the other ranks are: PMI-1, a line each way. What a rank puts, all may get behind the next
 * fence, which is a barrier of all ranks. One side of it, a node's; what others put comes in and
 * what its own put goes out as the text of a fence. */
#ifndef MUSTER_LAUNCHER_PMI1_H
#define MUSTER_LAUNCHER_PMI1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_err;

#define PMI1_LINE_BYTES 2048 /* more than any line that keeps to the sizes below */
#define PMI1_NAME_BYTES 64
#define PMI1_KEY_BYTES 64
#define PMI1_VALUE_BYTES 1024

/* What the ranks of a job have put, as far as this node knows. */
struct pmi1_board {
    char name[PMI1_NAME_BYTES];
    char mapping[PMI1_VALUE_BYTES];
    uint32_t size; /* of the world */
    void *entries; /* a tree of tsearch(3) */
    char *fresh;   /* lines that this node's ranks have put since the last fence */
    size_t fresh_bytes, fresh_cap;
};

/* A world of node_count nodes with local_sizes[i] ranks on each, in order of rank. 0; -ENOSPC with
 * text: the layout is too much for the line that PMI has for it. */
int pmi1_board_init(struct pmi1_board *board, const char *name, const uint16_t *local_sizes,
                    uint32_t node_count, struct mst_err *err);
void pmi1_board_fini(struct pmi1_board *board);

/* Takes in what another node has put: the text of its fence. 0; -EBADMSG, -EEXIST, -ENOMEM with
 * text. */
int pmi1_board_learn(struct pmi1_board *board, const char *text, size_t size_bytes,
                     struct mst_err *err);

/* Forgets the text of the fence that is over. */
void pmi1_board_fence(struct pmi1_board *board);

enum pmi1_state {
    PMI1_OUTSIDE, /* has said nothing yet; maybe it is no program of MPI */
    PMI1_INSIDE,
    PMI1_FENCED, /* waits for all others */
    PMI1_LEFT,   /* has said that it is through */
    PMI1_ABORTS, /* wants all of the job to end, and waits for that */
};

/* A zeroed one is a rank that has said nothing. */
struct pmi1_rank {
    enum pmi1_state state;
    int exit_code; /* the job's, if it aborts */
    bool spawns;   /* in the middle of a request for more processes, which is refused at its end */
};

/* Answers a line, which ends with NUL in place of '\n' and is changed: `reply` is one that ends
 * with '\n' and NUL, or is empty. 0; -EPROTO, -ENOMEM with text: nothing more can be said. */
int pmi1_answer(struct pmi1_board *board, struct pmi1_rank *rank, char *line,
                char reply[PMI1_LINE_BYTES], struct mst_err *err);

/* What a rank that is fenced is told when all are. */
#define PMI1_FENCE_IS_OVER "cmd=barrier_out\n"

#endif

/* Host: libpmix, of which a process has one. Its threads ask, and the caller answers:
 *
 *   start → variables, per rank → (host_fd is readable: take → act on it → answer) → stop
 *
 * One thread of the caller's. */
#ifndef MUSTER_LAUNCHER_PMIX_HOST_H
#define MUSTER_LAUNCHER_PMIX_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_err;

struct host_facts {
    const char *job;                 /* of this generation: no other has the name */
    const char *host;                /* the name of this node */
    const char *folder;              /* for the ranks' files */
    const char *shared;              /* for those that are memory that they share */
    const char *names, *ranks;       /* of all nodes, as layout.h has them */
    const char *peers;               /* of this one */
    uint32_t size, node_count;       /* of the world */
    uint32_t first_rank, local_size; /* of this node */
};

enum host_kind {
    HOST_CONNECTED, /* the rank has called MPI_Init */
    HOST_FINALIZED, /* and MPI_Finalize, in which it waits for the answer */
    HOST_ABORTED,   /* MPI_Abort, with `status`; it waits for the answer */
    HOST_FENCED,    /* those of a set wait for those of other nodes, with `data` for them */
    HOST_ASKED,     /* one here waits for what `rank`, of another node, has said to others */
    HOST_GIVEN,     /* what one here has said: `data`, or why not: `status`; as asked by `id` */
};

struct host_event {
    enum host_kind kind;
    uint32_t rank;   /* whose doing it is, but for a fence */
    uint32_t id;     /* HOST_GIVEN */
    int status;      /* of a set: -errno of why it is to be refused */
    uint32_t *ranks; /* the set, each of which may stand there twice; NULL: all */
    uint32_t rank_count;
    char *data;
    size_t size_bytes;
};

/* Begins to serve the ranks of this node. The facts are borrowed for the call. 0; -ENOMEM, -EMFILE,
 * -EIO with text. */
int host_start(const struct host_facts *facts, struct mst_err *err);

/* Ends that, if it has begun, and removes what ranks have told it to remove. Call it when they have
 * ended. */
void host_stop(void);

/* Readable when there is something to take. */
int host_fd(void);

/* The message of pmix_env.h for a rank of this node into bytes[cap]. Its size; -EIO, -ENOSPC,
 * -ENOMEM with text. */
long host_variables(uint32_t rank, char *bytes, size_t cap, struct mst_err *err);

/* What has happened next, the caller's to answer; NULL: nothing. */
struct host_event *host_take(void);

/* Lets go on who waits for that: rc of 0, or the -errno of why not (-ENOTSUP: never; -ENOENT: there
 * is nothing). `data` is what all nodes of a set, or the rank, have given, and taken: it is
 * allocated, or NULL. Frees the event. */
void host_answer(struct host_event *event, int rc, char *data, size_t size_bytes);

/* Asks for what a rank of this node has said to others. It comes as HOST_GIVEN with that `id`, at
 * once or when the rank has said something. 0; -EIO. */
int host_ask(uint32_t rank, uint32_t id);

#endif

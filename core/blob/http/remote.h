/* What the back ends that speak HTTP share: calls, which are requests that are made again until
 * they end well, or badly for good, and reads in flight as such calls.
 *
 * A back end says in a verb how a call's request is made (each try is made, and signed, anew) and
 * what its answer means. Retries, pauses, deadlines and texts are here. One thread at a time. */
#ifndef MUSTER_CORE_BLOB_HTTP_REMOTE_H
#define MUSTER_CORE_BLOB_HTTP_REMOTE_H

#include "muster/core/blob/backend.h"
#include "muster/core/blob/http/http.h"
#include "muster/core/rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an answer means, besides 0 (well) and -errno (badly, with the text in call->err). */
enum {
    BLOB_AGAIN = 1, /* the verb's next request, at once: another step, another region */
    BLOB_RETRY = 2, /* the same after a pause; call->err says what failed */
};

struct blob_call;
struct blob_remote;

/* What the call of a stat has as its `arg`. */
struct blob_stat {
    struct mst_blob_info info;
    char byte;
};

struct blob_verb {
    /* Fills call->request, which is empty. 0; -errno with the text in call->err. */
    int (*prepare)(struct blob_remote *remote, struct blob_call *call);
    /* Reads the answer; it goes with this call. */
    int (*judge)(struct blob_remote *remote, struct blob_call *call,
                 const struct http_answer *answer);
};

enum call_state { CALL_IDLE, CALL_WAITING, CALL_FLYING, CALL_ENDED };

struct blob_call {
    const struct blob_verb *verb;
    const char *key;
    struct mst_blob_read read;      /* of a read */
    const struct blob_source *body; /* of a put; body_bytes of it from body_offset */
    uint64_t body_offset, body_bytes;
    void *arg;      /* what the verb reads and writes */
    uint32_t step;  /* the verb's: which of its requests this is */
    uint32_t cures; /* the verb's: what it has already tried to put right */
    int64_t result; /* once ended: >= 0, or -errno with the text in err */
    struct mst_err err;

    struct http_request request;
    enum call_state state;
    bool is_away; /* the last try found nobody, where nobody has ever been found */
    uint32_t failures;
    uint64_t not_before_ns, connect_until_ns, deadline_ns;
    struct blob_call *next; /* of those that have not ended */
};

struct blob_remote {
    struct mst_blob blob;
    struct http *http;
    struct mst_rng rng;
    uint32_t timeout_ms, depth;
    uint32_t refused_max;    /* connections that a call may see refused and still try again */
    uint32_t connect_ms;     /* for how long it may try before `answered` */
    bool answered;           /* somebody took a connection, once */
    const char *address;     /* what a text asks about if nobody ever did: "AWS_ENDPOINT_URL" */
    char label[320];         /* scheme://authority: what texts call the store, without secrets */
    char base[BLOB_KEY_MAX]; /* the URI's path: what keys are relative to */
    const struct blob_verb *read_verb, *stat_verb; /* the latter's `arg` is a struct blob_stat */
    struct blob_call *reads;                       /* depth of them */
    struct blob_call *active;                      /* those that have not ended */
};

/* Sets up what is embedded in a back end's handle. 0; -ENOMEM. */
int blob_remote_init(struct blob_remote *remote, const struct mst_blob_opts *opts,
                     const struct blob_verb *read_verb, const struct blob_verb *stat_verb,
                     const char *ca_file, struct mst_err *err);
void blob_remote_fini(struct blob_remote *remote);

/* Starts a call whose first six fields are filled; it is borrowed until it has ended. */
void blob_call_start(struct blob_remote *remote, struct blob_call *call, uint64_t deadline_ns);

/* Ends a call as it is; it is not borrowed any more. */
void blob_call_cancel(struct blob_remote *remote, struct blob_call *call);

/* Moves all calls; unless one has ended, waits for something to happen until `until_ns`. */
int blob_remote_step(struct blob_remote *remote, uint64_t until_ns);

/* Starts a call and waits for its end. Its result. */
int blob_call_do(struct blob_remote *remote, struct blob_call *call, uint64_t deadline_ns,
                 struct mst_err *err);

/* The meaning that statuses have everywhere: 0 for 2xx; -ENOENT 404; -EACCES 401, 403; BLOB_RETRY
 * for what may pass; -EBADMSG for the rest. `detail` is the server's own word, or NULL. */
int blob_judge(const struct blob_remote *remote, struct blob_call *call,
               const struct http_answer *answer, const char *detail);

/* Sets the call's text: "store/path: …". Returns `rc`. */
int blob_call_fail(const struct blob_remote *remote, struct blob_call *call, int rc,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The escaped path of base and key, absolute. 0; -ENOSPC. */
int blob_remote_path(const struct blob_remote *remote, const char *key, char *ret_path, size_t cap);

#define BLOB_ESCAPED_MAX (3 * BLOB_PATH_MAX)

/* The slots `stat_all`, `submit` and `reap` of every remote back end. */
void blob_remote_stat_all(struct mst_blob *blob, struct mst_blob_look *looks, size_t count,
                          uint64_t deadline_ns);
int blob_remote_submit(struct mst_blob *blob, const struct mst_blob_read *reads, size_t count);
int blob_remote_reap(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                     uint64_t deadline_ns);

#endif

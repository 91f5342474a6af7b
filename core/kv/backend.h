/* The contract between kv's face (kv.c) and its two back ends: an in-process table (local.c) and a
 * socket to the job's server (client.c). */
#ifndef MUSTER_CORE_KV_BACKEND_H
#define MUSTER_CORE_KV_BACKEND_H

#include "muster/core/kv/kv.h"
#include "muster/core/kv/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_resident;

/* Where a call's result goes. */
struct kv_answer {
    void *value; /* the caller's, `cap` bytes */
    size_t cap;
    bool grows;        /* `value` is of the heap, and made larger if need be */
    size_t size_bytes; /* of the value, also when it did not fit */
    uint64_t version;
    int64_t number;
};

struct kv_backend {
    /* Does a checked request and fills *answer. Blocks until the answer or the deadline; wait and
     * watch are answered once their key is there. Results of mst_kv_*; for a value over the
     * answer's cap -ENOSPC, with its size. */
    int (*call)(struct mst_kv *kv, struct kv_request *request, struct kv_answer *answer,
                uint64_t deadline_ns);

    /* Another handle to the same table in the same generation, for another thread. Blocks until the
     * deadline. May run beside `call` of other handles, not of `kv` itself. */
    int (*clone)(struct mst_kv *kv, uint64_t deadline_ns, struct mst_kv **ret_kv,
                 struct mst_err *err);

    void (*close)(struct mst_kv *kv);

    /* Optional: adds to `err` what it knows of why others are missed. */
    void (*explain)(struct mst_kv *kv, struct mst_err *err);
};

/* Every back end's handle starts with this. */
struct mst_kv {
    const struct kv_backend *backend;
    uint32_t process; /* that made it, core/process.h */
};

/* A call of a back end, with a key that is text: checks the request first. */
int kv_call(struct mst_kv *kv, struct kv_request *request, const char *key,
            struct kv_answer *answer, uint64_t deadline_ns);

/* Copies a reply to the answer. The reply's result, or -ENOSPC. */
int kv_answer_fill(struct kv_answer *answer, const struct kv_reply *reply);

/* A handle to the server at world->kv_addr, which is this process's own if `resident` is not NULL:
 * then it and its clones hold that. */
int kv_client_dial(const struct mst_world *world, struct kv_resident *resident,
                   uint64_t deadline_ns, struct mst_kv **ret_kv, struct mst_err *err);

/* A handle on a table of its own, which goes with its last clone. 0; -ENOMEM. */
int kv_local_private(uint32_t generation, struct mst_kv **ret_kv);

#endif

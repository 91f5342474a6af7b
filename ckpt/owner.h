/* Owner: who a root of checkpoints belongs to, as a record in it.
 *
 * A root has epochs. Whoever is to write takes the next one: OWNER.<epoch> is made once, and never
 * over another; the highest owns. Its token, drawn at random, is in the names of all that it
 * writes, and in its manifests. What it wrote after it had lost the root does not exist for
 * readers: the owner that came next has noted, in `fences`, which step was the last that counts.
 *
 * A record is sealed JSON (ckpt/fields.h) of OWNER_BYTES, filled with spaces, so that it can be
 * rewritten where it lies. Safe from any thread. */
#ifndef MUSTER_CKPT_OWNER_H
#define MUSTER_CKPT_OWNER_H

#include "muster/core/err.h"
#include "muster/core/world/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OWNER_BYTES 4096
#define OWNER_NODE_BYTES 65 /* the longest that Linux lets one have */
#define OWNER_FENCES_MAX 32
#define OWNER_FRESH_S 30 /* an owner that did not renew for so long is dead */
#define OWNER_EPOCH_MAX (UINT64_C(1) << 53)

#define OWNER_FENCE_OPEN (UINT64_C(1) << 63) /* nobody has listed the steps yet: all count */

/* Of the owner with this token only the steps below count. */
struct owner_fence {
    uint64_t token; /* 0: whatever says nothing of an owner */
    uint64_t below;
};

struct owner {
    uint64_t epoch, token;
    char job_id[MST_JOB_ID_BYTES]; /* printable ASCII; "" = none */
    uint64_t job_nonce;            /* 0: none */
    char node[OWNER_NODE_BYTES];
    uint64_t renewed_s;                          /* seconds since 1970 */
    bool released;                               /* it closed the root in good order */
    struct owner_fence fences[OWNER_FENCES_MAX]; /* of the owners before, the newest first */
    size_t fence_count;
};

/* What a lock says of the owner's life. */
enum owner_lock { OWNER_UNKNOWN, OWNER_LOCKED, OWNER_UNLOCKED };

/* Copies a name into a record: what is no printable ASCII becomes '?'. */
void owner_copy_text(char *ret_text, size_t cap, const char *text);

/* Writes OWNER_BYTES bytes. */
void owner_encode(const struct owner *owner, char text[OWNER_BYTES]);

/* 0; -EBADMSG naming the field; -ENOTSUP a later version, naming it. */
int owner_decode(const char *text, size_t size_bytes, struct owner *ret_owner, struct mst_err *err);

/* Whether both are lives of one job: the ids are there and equal, or the nonces are. */
bool owner_is_same_job(const struct owner *a, const struct owner *b);

enum owner_life { OWNER_DEAD, OWNER_ALIVE, OWNER_IN_DOUBT };

/* Whether the owner lives, as seen at `now_s` from `node`: while its lock is held, or, where a lock
 * says nothing, while it renews. If it has not for OWNER_FRESH_S, or at a time that is yet to come,
 * it is in doubt, for its clock may be another: whether the record changes within that time tells.
 */
enum owner_life owner_life(const struct owner *owner, enum owner_lock lock, const char *node,
                           uint64_t now_s);

/* Puts a fence before the others; the oldest goes if there is no room. */
void owner_add_fence(struct owner *owner, const struct owner_fence *fence);

/* Where the fences stand from now on that are open. */
void owner_close_fences(struct owner *owner, uint64_t below);

/* Whether a manifest of `token` and `step` was published by an owner that had lost the root. */
bool owner_hides(const struct owner *owner, uint64_t token, uint64_t step);

/* Whether a manifest of `step` may be hidden: its token must be looked at. */
bool owner_may_hide(const struct owner *owner, uint64_t step);

#endif

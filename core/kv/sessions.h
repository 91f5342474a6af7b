/* Sessions: what the server remembers of a client beyond its connection, so that a client which was
 * cut off can dial again and repeat its call. A client has one call at a time, numbered upwards; a
 * call that changes something is done once, and its answer is kept until the next. What only reads
 * is done again. Sessions without a connection are kept up to a limit, the latest; all are dropped
 * with the generation. One thread at a time. */
#ifndef MUSTER_CORE_KV_SESSIONS_H
#define MUSTER_CORE_KV_SESSIONS_H

#include "muster/core/kv/wire.h"

#include <stddef.h>
#include <stdint.h>

#define KV_ORPHANS_MAX 65536

struct kv_session {
    struct kv_session *next;            /* in its bucket */
    struct kv_session *earlier, *later; /* among those without a connection */
    uint32_t rank, tag;
    uint64_t peer;    /* its connection; 0: none */
    bool is_late;     /* its client was here before: what it does not know may have been done */
    uint64_t last_id; /* the last call that changed something, and its answer; 0: none yet */
    struct kv_reply last_reply; /* without a value */
};

struct kv_sessions {
    struct kv_session **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
    struct kv_session *first_orphan, *last_orphan;
    size_t orphan_count;
};

/* The session of a client, a late one if there is none and it comes `again`. Its `peer` is that of
 * the connection before, or 0; the caller ends that one, then calls attach. NULL: no memory. */
struct kv_session *kv_sessions_open(struct kv_sessions *sessions, uint32_t rank, uint32_t tag,
                                    bool again);

/* The session has this connection from now on. */
void kv_session_attach(struct kv_sessions *sessions, struct kv_session *session, uint64_t peer);

/* The session has no connection; the oldest such may be forgotten. */
void kv_session_detach(struct kv_sessions *sessions, struct kv_session *session);

/* Forgets all of them. */
void kv_sessions_clear(struct kv_sessions *sessions);

#endif

#include "muster/core/kv/sessions.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS_MIN 64

static size_t hash_of(uint32_t rank, uint32_t tag)
{
    return (tag ^ rank * UINT32_C(2654435761)) & UINT32_MAX;
}

static struct kv_session **bucket_of(const struct kv_sessions *sessions, uint32_t rank,
                                     uint32_t tag)
{
    return &sessions->buckets[hash_of(rank, tag) & (sessions->bucket_count - 1)];
}

/* Doubles the buckets. Without memory the chains just grow longer, once there are any. */
static int grow(struct kv_sessions *sessions)
{
    struct kv_sessions grown = {.bucket_count = sessions->bucket_count ? sessions->bucket_count * 2
                                                                       : BUCKETS_MIN};
    grown.buckets = calloc(grown.bucket_count, sizeof(struct kv_session *));
    if (!grown.buckets)
        return -1;
    for (size_t i = 0; i < sessions->bucket_count; i++) {
        for (struct kv_session *session = sessions->buckets[i], *next; session; session = next) {
            struct kv_session **bucket = bucket_of(&grown, session->rank, session->tag);
            next = session->next;
            session->next = *bucket;
            *bucket = session;
        }
    }
    free(sessions->buckets);
    sessions->buckets = grown.buckets;
    sessions->bucket_count = grown.bucket_count;
    return 0;
}

static void unlink_orphan(struct kv_sessions *sessions, struct kv_session *session)
{
    assert(sessions->orphan_count > 0);
    if (session->earlier)
        session->earlier->later = session->later;
    else
        sessions->first_orphan = session->later;
    if (session->later)
        session->later->earlier = session->earlier;
    else
        sessions->last_orphan = session->earlier;
    session->earlier = session->later = NULL;
    sessions->orphan_count--;
}

static void link_orphan(struct kv_sessions *sessions, struct kv_session *session)
{
    session->earlier = sessions->last_orphan;
    if (sessions->last_orphan)
        sessions->last_orphan->later = session;
    else
        sessions->first_orphan = session;
    sessions->last_orphan = session;
    sessions->orphan_count++;
}

static void forget(struct kv_sessions *sessions, struct kv_session *session)
{
    struct kv_session **link = bucket_of(sessions, session->rank, session->tag);
    while (*link != session)
        link = &(*link)->next;
    *link = session->next;
    unlink_orphan(sessions, session);
    sessions->count--;
    free(session);
}

struct kv_session *kv_sessions_open(struct kv_sessions *sessions, uint32_t rank, uint32_t tag,
                                    bool again)
{
    if (sessions->count >= sessions->bucket_count && grow(sessions) && !sessions->bucket_count)
        return NULL;
    struct kv_session **bucket = bucket_of(sessions, rank, tag);
    for (struct kv_session *session = *bucket; session; session = session->next)
        if (session->rank == rank && session->tag == tag)
            return session;
    struct kv_session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    *session = (struct kv_session){.next = *bucket, .rank = rank, .tag = tag, .is_late = again};
    *bucket = session;
    sessions->count++;
    link_orphan(sessions, session);
    return session;
}

void kv_session_attach(struct kv_sessions *sessions, struct kv_session *session, uint64_t peer)
{
    assert(!session->peer && peer);
    unlink_orphan(sessions, session);
    session->peer = peer;
}

void kv_session_detach(struct kv_sessions *sessions, struct kv_session *session)
{
    assert(session->peer);
    session->peer = 0;
    link_orphan(sessions, session);
    if (sessions->orphan_count > KV_ORPHANS_MAX)
        forget(sessions, sessions->first_orphan);
}

void kv_sessions_clear(struct kv_sessions *sessions)
{
    for (size_t i = 0; i < sessions->bucket_count; i++) {
        for (struct kv_session *session = sessions->buckets[i], *next; session; session = next) {
            next = session->next;
            free(session);
        }
    }
    free(sessions->buckets);
    *sessions = (struct kv_sessions){0};
}

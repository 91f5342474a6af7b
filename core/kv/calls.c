/* What ranks ask of the server, and what it remembers of it. */
#include "muster/core/err.h"
#include "muster/core/kv/peer.h"
#include "muster/core/span.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SHARED_BYTES_MIN 4096 /* from here on a value is kept once for all who are sent it */

/* The value of a reply as bytes that outlive the table's, for one more user. NULL: no memory. */
static struct kv_blob *share_value(struct kv_server *server, const struct kv_reply *reply)
{
    struct kv_blob *blob = server->blob;
    if (!blob || blob->version != reply->version || blob->size_bytes != reply->value_bytes) {
        blob = malloc(sizeof *blob + reply->value_bytes);
        if (!blob)
            return NULL;
        *blob = (struct kv_blob){
            .user_count = 1, .version = reply->version, .size_bytes = reply->value_bytes};
        memcpy(blob->bytes, reply->value, reply->value_bytes);
        kv_blob_leave(server->blob);
        server->blob = blob;
    }
    blob->user_count++;
    return blob;
}

/* Replies with a large value: the peer's stream borrows it from a blob. */
static int put_shared(struct kv_server *server, struct kv_peer *peer, const struct mst_cspan *head,
                      const struct kv_reply *reply)
{
    struct kv_blob *blob = share_value(server, reply);
    if (!blob)
        return -ENOMEM;
    const struct mst_cspan tail = {.data = blob->bytes, .size_bytes = blob->size_bytes};
    int rc = mst_stream_put_tail(&peer->stream, KV_FRAME_REPLY, head, 1, &tail);
    kv_blob_leave(peer->blob);
    peer->blob = blob;
    return rc;
}

static void send_reply(struct kv_server *server, struct kv_peer *peer, const struct kv_reply *reply)
{
    uint8_t head[KV_REPLY_HEAD_BYTES];
    kv_reply_encode(reply, head);
    const struct mst_cspan parts[] = {
        {.data = head, .size_bytes = sizeof head},
        {.data = reply->value, .size_bytes = reply->value_bytes},
    };
    int rc = reply->value_bytes < SHARED_BYTES_MIN
                 ? mst_stream_put_parts(&peer->stream, KV_FRAME_REPLY, parts, 2)
                 : put_shared(server, peer, parts, reply);
    if (rc)
        kv_peer_lose(server, peer);
    kv_peer_follow(server, peer);
}

static struct kv_peer *peer_of_wait(struct kv_wait *wait)
{
    return (struct kv_peer *)((char *)wait - offsetof(struct kv_peer, wait));
}

/* The key of `request` has changed: answers the waits on it that this satisfies. */
static void wake_waits(struct kv_server *server, uint32_t generation,
                       const struct kv_request *request)
{
    struct kv_wait *next;
    for (struct kv_wait *wait = kv_waits_first(&server->waits, generation, request); wait;
         wait = next) {
        next = kv_waits_next(wait);
        struct kv_reply reply;
        if (kv_table_call(&server->table, generation, &wait->request, &reply) == -EAGAIN)
            continue;
        kv_wait_end(wait);
        send_reply(server, peer_of_wait(wait), &reply);
    }
}

/* The first call of a session that was made after the call was first sent: the one before, which is
 * forgotten, may have done it. It is neither done again nor said to be done. */
static void settle_doubt(struct kv_session *session, const struct kv_request *request)
{
    if (session->is_late && request->is_repeat && kv_verb_changes(request->verb)) {
        session->last_id = request->id;
        session->last_reply = (struct kv_reply){.id = request->id, .result = -ECONNRESET};
    }
    session->is_late = false;
}

/* A call that changes something, which the session has done already: 1 and its answer; 0 it is to
 * be done; -EPROTO it is older than the last. */
static int recall(struct kv_session *session, const struct kv_request *request,
                  struct kv_reply *ret_reply)
{
    if (request->id < session->last_id)
        return -EPROTO;
    if (request->id == session->last_id) {
        *ret_reply = session->last_reply;
        return 1;
    }
    return 0;
}

static void change(struct kv_server *server, struct kv_peer *peer, const struct kv_request *request)
{
    struct kv_session *session = peer->session;
    struct kv_reply reply;
    int known = recall(session, request, &reply);
    if (known < 0) {
        kv_peer_lose(server, peer);
        return;
    }
    if (!known) {
        (void)kv_table_call(&server->table, peer->generation, request, &reply); /* in the reply */
        session->last_id = request->id;
        session->last_reply = reply;
    }
    send_reply(server, peer, &reply);
    if (!known && kv_reply_wakes(request, &reply))
        wake_waits(server, peer->generation, request);
}

void kv_rank_serve(struct kv_server *server, struct kv_peer *peer, uint8_t type,
                   const uint8_t *payload, size_t size_bytes)
{
    assert(peer->state == KV_PEER_RANK);
    struct kv_request request;
    struct kv_reply reply;
    if (kv_request_decode(type, payload, size_bytes, &request)) {
        kv_peer_lose(server, peer);
        return;
    }
    kv_wait_end(&peer->wait);
    settle_doubt(peer->session, &request);
    if (kv_verb_changes(request.verb))
        change(server, peer, &request);
    else if (kv_table_call(&server->table, peer->generation, &request, &reply) == -EAGAIN)
        kv_waits_add(&server->waits, &peer->wait, peer->generation, &request);
    else
        send_reply(server, peer, &reply);
}

static int check_generation(const struct kv_server *server, uint32_t theirs, struct mst_err *err)
{
    if (theirs == server->generation)
        return 0;
    return mst_err_set(err, -ESTALE, "generation %" PRIu32 " %s, the job is at %" PRIu32, theirs,
                       theirs < server->generation ? "is over" : "has not begun",
                       server->generation);
}

/* Two processes of one rank would take one another's part, each in half of a job. A rank whose
 * process has ended is not taken up by another either: what it began is half done. */
static int check_process(struct kv_server *server, const struct mst_auth_hello *hello,
                         struct mst_err *err)
{
    if (server->rank_count == 0)
        return 0;
    if (hello->size != server->rank_count || hello->rank >= server->rank_count)
        return mst_err_set(err, -EPROTO,
                           "rank %" PRIu32 " counts %" PRIu32 " ranks, but rank 0 %" PRIu32
                           ": set one WORLD_SIZE for all, or another MASTER_PORT for another job",
                           hello->rank, hello->size, server->rank_count);
    uint32_t *process = &server->processes[hello->rank];
    if (*process != 0 && *process != hello->process)
        return mst_err_set(err, -EEXIST,
                           "rank %" PRIu32 " has joined already, as another process: set another "
                           "MASTER_PORT if that is of another job, else start all ranks anew",
                           hello->rank);
    *process = hello->process;
    return 0;
}

/* A repeat that could not be told from a first call is worse than a refusal: the session of a
 * client must be there before its first call is. */
int kv_rank_open(struct kv_server *server, struct kv_peer *peer, const struct mst_auth_hello *hello,
                 struct mst_err *err)
{
    int rc = check_generation(server, hello->generation, err);
    rc = rc ? rc : check_process(server, hello, err);
    if (rc)
        return rc;
    struct kv_session *session = kv_sessions_open(&server->sessions, hello->rank, hello->tag,
                                                  hello->again);
    if (!session)
        return mst_err_set(err, -ENOMEM, "no memory for another client");
    struct kv_peer *before = session->peer ? kv_peer_find(server, session->peer) : NULL;
    if (before)
        kv_peer_lose(server, before);
    kv_session_attach(&server->sessions, session, peer->id);
    peer->session = session;
    peer->generation = hello->generation;
    return 0;
}

/* Tells a rank of an older generation, if it waits, that it is over. */
void kv_rank_fence(struct kv_server *server, struct kv_peer *peer)
{
    if (peer->wait.link) {
        struct kv_reply reply;
        (void)kv_table_call(&server->table, peer->generation, &peer->wait.request,
                            &reply); /* -ESTALE */
        send_reply(server, peer, &reply);
    }
    kv_peer_lose(server, peer);
}

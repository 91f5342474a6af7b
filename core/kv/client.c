/* kv over a socket. A call is one request frame and the reply frame with its id. A call that timed
 * out leaves its reply, and perhaps half of its request, behind: the stream keeps both whole, and a
 * later call skips the reply by its id.
 *
 * A connection that breaks is dialled again, and the call is sent again as a repeat: the server
 * knows this client by rank and tag, and answers a change that it has made already from its record
 * (core/kv/sessions.h). Tag and first id are random, so that two processes which call themselves
 * the same rank are two clients. A server that is gone, or cannot be reached for REDIAL_MS, ends it
 * for good, and so does one that lets us in only to hang up at once. */
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/backend.h"
#include "muster/core/kv/connect.h"
#include "muster/core/kv/resident.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"
#include "muster/core/process.h"
#include "muster/core/span.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define REDIAL_MS 20000
#define LASTING_MS 500 /* no server that just hangs up, from then on */

struct client_kv {
    struct mst_kv kv;
    struct mst_stream stream;
    uint64_t last_id;
    int broken; /* 0, or the -errno of every further call */
    struct mst_auth_hello hello;
    char address[sizeof((struct mst_world *)0)->kv_addr];
    uint8_t secret[MST_SECRET_BYTES_MAX];
    size_t secret_bytes;
    struct kv_resident *resident; /* the server, if it is this process's */
    bool is_of_rank_0;            /* the server, but of another process */
};

static int send_request(struct client_kv *client, const struct kv_request *request)
{
    uint8_t head[KV_REQUEST_HEAD_BYTES];
    kv_request_encode(request, head);
    const struct mst_cspan parts[] = {
        {.data = head, .size_bytes = sizeof head},
        {.data = request->key, .size_bytes = request->key_bytes},
        {.data = request->expected, .size_bytes = request->expected_bytes},
        {.data = request->value, .size_bytes = request->value_bytes},
    };
    return mst_stream_put_parts(&client->stream, (uint8_t)request->verb, parts,
                                sizeof parts / sizeof *parts);
}

/* The reply with `id`, if it is among the frames that have come: 1, 0 not yet, -EPROTO. */
static int take_reply(struct mst_stream *stream, uint64_t id, struct kv_reply *ret_reply)
{
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    int rc;
    while ((rc = mst_stream_next(stream, &type, &payload, &size_bytes)) == 1) {
        if (type != KV_FRAME_REPLY || kv_reply_decode(payload, size_bytes, ret_reply))
            return -EPROTO;
        if (ret_reply->id > id)
            return -EPROTO;
        if (ret_reply->id == id)
            return 1;
    }
    return rc ? -EPROTO : 0;
}

/* Sleeps until the socket is ready, then moves what it takes and has. */
static int move_bytes(struct mst_stream *stream, uint64_t deadline_ns)
{
    short events = mst_stream_pending(stream) > 0 ? POLLIN | POLLOUT : POLLIN;
    struct pollfd pollfd = {.fd = stream->fd, .events = events};
    int ready = poll(&pollfd, 1, mst_deadline_left_ms(deadline_ns));
    if (ready < 0 && errno != EINTR)
        return -errno;
    if (ready <= 0)
        return mst_deadline_passed(deadline_ns) ? -ETIMEDOUT : 0;
    /* Reads first: replies may lie behind a write that fails, and a lost peer shows here too. */
    int got = mst_stream_read(stream);
    if (got < 0)
        return got;
    (void)mst_stream_write(stream); /* a loss shows at the next read, behind the last replies */
    return 0;
}

static int await_reply(struct client_kv *client, uint64_t id, struct kv_reply *ret_reply,
                       uint64_t deadline_ns)
{
    for (;;) {
        int rc = take_reply(&client->stream, id, ret_reply);
        if (rc)
            return rc == 1 ? 0 : rc;
        rc = move_bytes(&client->stream, deadline_ns);
        if (rc)
            return rc;
    }
}

static void hang_up(struct client_kv *client)
{
    if (client->stream.fd >= 0)
        (void)close(client->stream.fd); /* every call had its answer, or is sent again */
    mst_stream_fini(&client->stream);
}

/* 0; as mst_connect. */
static int connect_client(struct client_kv *client, bool was_there, uint64_t deadline_ns,
                          struct mst_err *err)
{
    int rc = mst_connect(&(struct mst_connect){.address = client->address,
                                               .hello = &client->hello,
                                               .secret = client->secret,
                                               .secret_bytes = client->secret_bytes,
                                               .was_there = was_there},
                         deadline_ns, err);
    if (rc < 0)
        return mst_err_wrap(err, "key-value server %s", client->address);
    mst_stream_init(&client->stream, rc);
    client->hello.again = true;
    return 0;
}

/* Dials again, until `redial_ns`. 0; -ETIMEDOUT the caller's deadline came first; -ESTALE;
 * -ECONNRESET. */
static int redial(struct client_kv *client, uint64_t redial_ns, uint64_t deadline_ns)
{
    struct mst_err why = {0}; /* a call has no text */
    int rc = connect_client(client, true, mst_least(redial_ns, deadline_ns), &why);
    if (rc == 0 || rc == -ESTALE)
        return rc;
    return mst_deadline_passed(deadline_ns) ? -ETIMEDOUT : -ECONNRESET;
}

static int call_once(struct client_kv *client, const struct kv_request *request,
                     struct kv_reply *ret_reply, uint64_t deadline_ns)
{
    int rc = send_request(client, request);
    /* A server that closed may have said why: its last replies are read before the loss counts. */
    if (rc == 0 || rc == -ECONNRESET)
        rc = await_reply(client, request->id, ret_reply, deadline_ns);
    return rc;
}

/* A call that was cut off. A server that lets us in and cuts us off again is not dialled in a tight
 * loop, and not for longer than one that is away; a connection that lasted is a new beginning. */
static int call_again(struct client_kv *client, struct kv_request *request,
                      struct kv_reply *ret_reply, uint64_t deadline_ns)
{
    int rc = -ECONNRESET;
    uint64_t redial_ns = mst_deadline_ms(REDIAL_MS);
    request->is_repeat = true;
    for (int pause_ms = 0; rc == -ECONNRESET; pause_ms = mst_sock_longer_pause(pause_ms)) {
        hang_up(client);
        mst_sock_pause(deadline_ns, pause_ms);
        rc = redial(client, redial_ns, deadline_ns);
        if (rc)
            return rc;
        uint64_t began_ns = mst_now_ns();
        rc = call_once(client, request, ret_reply, deadline_ns);
        if (mst_now_ns() - began_ns >= LASTING_MS * MST_NS_PER_MS)
            redial_ns = mst_deadline_ms(REDIAL_MS);
    }
    return rc;
}

static int client_call(struct mst_kv *kv, struct kv_request *request, struct kv_answer *answer,
                       uint64_t deadline_ns)
{
    struct client_kv *client = (struct client_kv *)kv;
    if (client->broken)
        return client->broken;
    request->id = ++client->last_id;
    struct kv_reply reply;
    int rc = client->stream.fd >= 0 ? call_once(client, request, &reply, deadline_ns) : -ECONNRESET;
    if (rc == -ECONNRESET)
        rc = call_again(client, request, &reply, deadline_ns);
    if (rc == 0)
        rc = kv_answer_fill(answer, &reply);
    if (rc == -ECONNRESET || rc == -EPROTO || rc == -ESTALE)
        client->broken = rc;
    return rc;
}

static void client_close(struct mst_kv *kv)
{
    struct client_kv *client = (struct client_kv *)kv;
    hang_up(client);
    kv_resident_release(client->resident);
    explicit_bzero(client->secret, sizeof client->secret);
    free(client);
}

/* What tells this client from all others. */
static int draw_tag(struct client_kv *client)
{
    struct {
        uint64_t id;
        uint32_t tag, unused;
    } drawn;
    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn)
        return -EIO;
    client->hello.tag = drawn.tag;
    client->hello.again = false;
    client->last_id = drawn.id >> 2; /* there is room to count */
    return 0;
}

static int client_clone(struct mst_kv *kv, uint64_t deadline_ns, struct mst_kv **ret_kv,
                        struct mst_err *err)
{
    const struct client_kv *from = (const struct client_kv *)kv;
    struct client_kv *client = calloc(1, sizeof *client);
    if (!client)
        return mst_err_set(err, -ENOMEM, "no memory for a key-value connection");
    client->kv = from->kv;
    client->hello = from->hello;
    client->secret_bytes = from->secret_bytes;
    memcpy(client->secret, from->secret, sizeof client->secret);
    memcpy(client->address, from->address, sizeof client->address);
    client->resident = kv_resident_hold(from->resident);
    client->is_of_rank_0 = from->is_of_rank_0;
    mst_stream_init(&client->stream, -1);
    int rc = draw_tag(client);
    if (rc)
        rc = mst_err_set(err, rc, "no random bytes for a key-value connection");
    else
        rc = connect_client(client, false, deadline_ns, err);
    if (rc) {
        client_close(&client->kv);
        return rc;
    }
    *ret_kv = &client->kv;
    return 0;
}

static void client_explain(struct mst_kv *kv, struct mst_err *err)
{
    const struct client_kv *client = (const struct client_kv *)kv;
    kv_resident_explain(client->resident, err);
    if (client->is_of_rank_0 && client->broken == -ECONNRESET)
        (void)mst_err_set(err, err->code,
                          "%s; rank 0, which serves the keys at %s, has ended", /* its */
                          err->text, client->address);
}

static const struct kv_backend client_backend = {
    .call = client_call,
    .clone = client_clone,
    .close = client_close,
    .explain = client_explain,
};

/* The others' name of this node may mean nothing here yet. */
static void name_own_server(const char *kv_addr, char *address, size_t cap)
{
    char host[sizeof((struct mst_world *)0)->kv_addr];
    uint16_t port = 0;
    (void)mst_sock_split(kv_addr, host, sizeof host, &port); /* the server listens there */
    (void)mst_sock_join("localhost", port, address, cap);    /* it fits */
}

/* The first handle is a clone of what the world says. */
int kv_client_dial(const struct mst_world *world, struct kv_resident *resident,
                   uint64_t deadline_ns, struct mst_kv **ret_kv, struct mst_err *err)
{
    struct client_kv from = {
        .kv = {&client_backend, mst_process_mark()},
        .hello = {.role = MST_ROLE_RANK_KV,
                  .generation = world->generation,
                  .rank = world->rank,
                  .job_nonce = world->job_nonce,
                  .size = world->size,
                  .process = mst_process_mark()},
        .secret_bytes = world->secret_bytes,
        .resident = resident,
        .is_of_rank_0 = world->is_resident && !resident,
    };
    memcpy(from.hello.job_id, world->job_id, sizeof from.hello.job_id);
    if (resident)
        name_own_server(world->kv_addr, from.address, sizeof from.address);
    else
        memcpy(from.address, world->kv_addr, sizeof from.address);
    memcpy(from.secret, world->secret, sizeof from.secret);
    int rc = client_clone(&from.kv, deadline_ns, ret_kv, err);
    explicit_bzero(from.secret, sizeof from.secret);
    return rc;
}

#include "muster/comm/arrivals.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

struct arrival {
    struct mst_guest guest; /* at the door */
    struct mst_auth_acceptor acceptor;
    struct mst_stream stream; /* its fd is -1: the place is free */
};

int arrivals_open(struct arrivals *arrivals, int listen_fd, const struct mst_world *world,
                  struct mst_err *err)
{
    *arrivals = (struct arrivals){.listen_fd = listen_fd, .world = world};
    arrivals->places = calloc(ARRIVALS_MAX, sizeof *arrivals->places);
    if (!arrivals->places)
        return mst_err_set(err, -ENOMEM, "no memory for the handshakes of %d ranks", ARRIVALS_MAX);
    for (int i = 0; i < ARRIVALS_MAX; i++)
        mst_stream_init(&arrivals->places[i].stream, -1);
    return 0;
}

/* The place is free again; its fd is the caller's. */
static int leave(struct arrivals *arrivals, struct arrival *arrival)
{
    int fd = arrival->stream.fd;
    mst_door_leave(&arrivals->door, &arrival->guest);
    mst_stream_fini(&arrival->stream);
    return fd;
}

static void send_off(struct arrivals *arrivals, struct arrival *arrival)
{
    (void)close(leave(arrivals, arrival)); /* whoever it is, it is none of us */
}

void arrivals_close(struct arrivals *arrivals)
{
    for (int i = 0; arrivals->places && i < ARRIVALS_MAX; i++)
        if (arrivals->places[i].stream.fd >= 0)
            send_off(arrivals, &arrivals->places[i]);
    free(arrivals->places);
    *arrivals = (struct arrivals){.listen_fd = -1};
}

/* ---- one of them ----------------------------------------------------------------------------- */

static int check_hello(void *arg, const struct mst_auth_hello *hello, struct mst_err *err)
{
    const struct mst_world *world = ((struct arrivals *)arg)->world;
    if (hello->role != MST_ROLE_RANK_COMM)
        return mst_err_set(err, -EPROTO, "role %u is not wanted here, but %u", hello->role,
                           MST_ROLE_RANK_COMM);
    if (hello->generation != world->generation)
        return mst_err_set(err, -ESTALE, "generation %" PRIu32 " is not ours, %" PRIu32,
                           hello->generation, world->generation);
    return 0;
}

static void seat(struct arrivals *arrivals, int fd)
{
    const struct mst_world *world = arrivals->world;
    struct arrival *arrival = arrivals->places;
    while (arrival->stream.fd >= 0)
        arrival++;
    mst_stream_init(&arrival->stream, fd);
    arrival->stream.payload_max = MST_HANDSHAKE_PAYLOAD_MAX;
    mst_auth_acceptor_init(&arrival->acceptor,
                           &(struct mst_auth_terms){.secret = world->secret,
                                                    .secret_bytes = world->secret_bytes,
                                                    .job_id = world->job_id,
                                                    .job_nonce = world->job_nonce,
                                                    .check = check_hello,
                                                    .arg = arrivals});
    mst_door_enter(&arrivals->door, &arrival->guest, mst_sock_peer_hash(fd), mst_now_ns());
}

/* Goes on with what has come: 1 it has proved itself; 0 not yet; < 0 why it never will. */
static int hear(struct arrival *arrival, struct mst_err *why)
{
    struct mst_stream *stream = &arrival->stream;
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    int rc = mst_stream_read(stream), got = 0;
    if (rc < 0)
        return mst_auth_acceptor_failed(&arrival->acceptor, rc, why);
    for (rc = 0; rc == 0 && (got = mst_stream_next(stream, &type, &payload, &size_bytes)) == 1;)
        rc = mst_auth_acceptor_step(&arrival->acceptor, stream, type, payload, size_bytes, why);
    if (got < 0)
        return mst_auth_acceptor_failed(&arrival->acceptor, -EPROTO, why);
    /* Who waits for its welcome, as it has to, has sent nothing behind its proof. */
    if (rc == 1 && (stream->in_used < stream->in_size || mst_stream_pending(stream) > 0))
        return mst_auth_acceptor_failed(&arrival->acceptor, -EPROTO, why);
    return rc;
}

/* As hear, and who will never prove himself is gone. */
static int go_on(struct arrivals *arrivals, struct arrival *arrival, struct mst_err *refused)
{
    struct mst_err why = {0};
    bool was_challenged = arrival->acceptor.challenged;
    int rc = hear(arrival, &why);
    if (rc == 0 && arrival->acceptor.challenged && !was_challenged)
        mst_door_come_again(&arrivals->door, &arrival->guest, mst_now_ns());
    if (rc >= 0)
        return rc;
    if (arrival->acceptor.challenged)
        (void)mst_err_wrap(&why, "a peer that says to be rank %" PRIu32, /* it returns rc */
                           arrival->acceptor.hello.rank);
    *refused = why;
    send_off(arrivals, arrival);
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static struct arrival *arrival_of(struct mst_guest *guest)
{
    return (struct arrival *)((char *)guest - offsetof(struct arrival, guest));
}

static void send_off_late(struct arrivals *arrivals, struct mst_err *refused)
{
    struct mst_guest *guest;
    while ((guest = arrivals->door.first) &&
           mst_deadline_passed(guest->since_ns + MST_HANDSHAKE_MS * MST_NS_PER_MS)) {
        (void)mst_auth_acceptor_failed(&arrival_of(guest)->acceptor, -ETIMEDOUT, refused);
        send_off(arrivals, arrival_of(guest));
    }
}

static bool make_room(struct arrivals *arrivals, struct mst_err *refused)
{
    struct mst_guest *guest = mst_door_victim(&arrivals->door);
    if (!mst_deadline_passed(guest->since_ns + MST_DOOR_MIN_MS * MST_NS_PER_MS))
        return false;
    (void)mst_err_set(refused, -EBUSY, /* it is told later */
                      "one that had to make room for others");
    send_off(arrivals, arrival_of(guest));
    return true;
}

/* There is one: for whom else may come, nobody makes room. If it cannot be let in, polling on would
 * spin. */
static void let_in(struct arrivals *arrivals, struct mst_err *refused)
{
    if (arrivals->door.count == ARRIVALS_MAX && !make_room(arrivals, refused)) {
        arrivals->paused = true;
        return;
    }
    while (arrivals->door.count < ARRIVALS_MAX) {
        int fd = mst_sock_accept(arrivals->listen_fd);
        if (fd == -EAGAIN)
            return;
        if (fd < 0) {
            (void)mst_err_set(refused, fd, "%s", mst_err_meaning(fd)); /* it is told later */
            arrivals->paused = true;
            return;
        }
        seat(arrivals, fd);
    }
}

int arrivals_next(struct arrivals *arrivals, int timeout_ms, struct mst_auth_hello *ret_hello,
                  struct mst_err *refused)
{
    struct pollfd polls[ARRIVALS_MAX + 1]; /* a negative fd is passed over */
    for (int i = 0; i < ARRIVALS_MAX; i++)
        polls[i] = (struct pollfd){.fd = arrivals->places[i].stream.fd, .events = POLLIN};
    polls[ARRIVALS_MAX] = (struct pollfd){.fd = arrivals->paused ? -1 : arrivals->listen_fd,
                                          .events = POLLIN};
    arrivals->paused = false;
    if (poll(polls, ARRIVALS_MAX + 1, timeout_ms) < 0)
        return -EAGAIN; /* a signal: nothing is lost */
    for (int i = 0; i < ARRIVALS_MAX; i++) {
        struct arrival *arrival = &arrivals->places[i];
        if (polls[i].revents && go_on(arrivals, arrival, refused) == 1) {
            *ret_hello = arrival->acceptor.hello;
            return leave(arrivals, arrival); /* the others are heard at the next call */
        }
    }
    send_off_late(arrivals, refused); /* what they said while we were late was heard before */
    if (polls[ARRIVALS_MAX].revents)
        let_in(arrivals, refused);
    return -EAGAIN;
}

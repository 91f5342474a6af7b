/* Clients whose connections are cut again and again, anywhere: every call ends as if there had been
 * no cut. Between them and the server is a relay that lets so many bytes through, drawn at random,
 * and then resets both sides, in the handshake, inside a frame or between two. */
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/server.h"
#include "muster/core/kv/sock.h"
#include "muster/core/rng.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENTS 4
#define CALLS 150
#define PAIRS_MAX 64

struct relay {
    int listener;
    char target[32];
    struct mst_rng rng;
    atomic_bool stop;
    unsigned cuts;
    struct pair {
        int fds[2];    /* the client's side and the server's; -1: free */
        uint64_t left; /* bytes until the cut */
    } pairs[PAIRS_MAX];
    pthread_t thread;
};

static void reset(int fd)
{
    const struct linger linger = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

static void cut(struct pair *pair)
{
    reset(pair->fds[0]);
    reset(pair->fds[1]);
    pair->fds[0] = pair->fds[1] = -1;
}

/* Moves what one side has sent, up to the cut. */
static void move(struct relay *relay, struct pair *pair, int from)
{
    uint8_t bytes[4096];
    size_t room = pair->left < sizeof bytes ? (size_t)pair->left : sizeof bytes;
    ssize_t got = recv(pair->fds[from], bytes, room, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0 && mst_sock_send_all(pair->fds[1 - from], bytes, (size_t)got, soon()) == 0)
        pair->left -= (uint64_t)got;
    else
        pair->left = 0;
    if (pair->left == 0) {
        cut(pair);
        relay->cuts++;
    }
}

static void take_client(struct relay *relay)
{
    int fd = mst_sock_accept(relay->listener);
    if (fd < 0)
        return;
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        struct pair *pair = &relay->pairs[i];
        if (pair->fds[0] >= 0)
            continue;
        pair->fds[0] = fd;
        pair->fds[1] = mst_sock_dial(relay->target, soon(), NULL);
        pair->left = 1 + mst_rng_below(&relay->rng, 3000);
        if (pair->fds[1] < 0)
            cut(pair);
        return;
    }
    close(fd);
}

static void *run_relay(void *arg)
{
    struct relay *relay = arg;
    while (!relay->stop) {
        struct pollfd fds[1 + 2 * PAIRS_MAX] = {{.fd = relay->listener, .events = POLLIN}};
        for (size_t i = 0; i < PAIRS_MAX; i++)
            for (int side = 0; side < 2; side++)
                fds[1 + 2 * i + (size_t)side] = (struct pollfd){.fd = relay->pairs[i].fds[side],
                                                                .events = POLLIN};
        (void)poll(fds, 1 + 2 * PAIRS_MAX, 20);
        for (size_t i = 0; i < 2 * (size_t)PAIRS_MAX; i++)
            if (fds[1 + i].revents && relay->pairs[i / 2].fds[0] >= 0)
                move(relay, &relay->pairs[i / 2], (int)(i % 2));
        take_client(relay);
    }
    return NULL;
}

struct service {
    struct kv_server *server;
    atomic_bool stop;
    pthread_t thread;
};

static int no_agent(void *arg, uint64_t peer, const struct mst_auth_hello *hello,
                    struct mst_err *err)
{
    (void)arg, (void)peer, (void)hello;
    return mst_err_set(err, -EPROTO, "no agents here");
}

static void no_frame(void *arg, const struct kv_agent *from, uint8_t type, const uint8_t *payload,
                     size_t size_bytes)
{
    (void)arg, (void)from, (void)type, (void)payload, (void)size_bytes;
}

static void nothing_lost(void *arg, const struct kv_agent *who, bool hung_up)
{
    (void)arg, (void)who, (void)hung_up;
}

static void refused(void *arg, const struct mst_err *why)
{
    (void)arg, (void)why; /* handshakes are cut, too */
}

static void *serve(void *arg)
{
    struct service *service = arg;
    struct pollfd pollfd = {.fd = kv_server_fd(service->server), .events = POLLIN};
    while (!service->stop) {
        (void)poll(&pollfd, 1, 20);
        kv_server_run(service->server);
    }
    return NULL;
}

struct client {
    struct mst_world world;
    pthread_t thread;
    uint32_t index;
    int code;
    const char *what; /* the call that failed */
    bool seen[CLIENTS * CALLS + 1];
};

static int call(struct client *client, struct mst_kv *kv, unsigned number)
{
    int64_t count;
    char key[32], value[8], expected[8];
    size_t size;
    client->what = "add";
    int rc = mst_kv_add(kv, "count", 1, &count, soon());
    if (rc)
        return rc;
    if (count < 1 || count > CLIENTS * CALLS || client->seen[count])
        return -EBADMSG;
    client->seen[count] = true;
    client->what = "cas"; /* done twice, the second would find its own value */
    (void)snprintf(key, sizeof key, "mine/%u", client->index);
    (void)snprintf(value, sizeof value, "%u", number);
    (void)snprintf(expected, sizeof expected, "%u", number - 1);
    const struct mst_cspan before = {.data = expected, .size_bytes = number ? strlen(expected) : 0};
    rc = mst_kv_cas(kv, key, &before,
                    &(struct mst_cspan){.data = value, .size_bytes = strlen(value)}, soon());
    if (rc)
        return rc;
    client->what = "get";
    rc = mst_kv_get(kv, key, expected, sizeof expected, &size, soon());
    return rc ? rc : size == strlen(value) && memcmp(expected, value, size) == 0 ? 0 : -EBADMSG;
}

static void *run_client(void *arg)
{
    struct client *client = arg;
    struct mst_kv *kv = NULL;
    client->what = "dial";
    client->code = mst_kv_dial(&client->world, soon(), &kv, NULL);
    for (unsigned i = 0; i < CALLS && client->code == 0; i++) {
        char name[16];
        client->code = call(client, kv, i);
        (void)snprintf(name, sizeof name, "%u", i);
        if (client->code == 0 && i % 10 == 0) {
            client->what = "barrier"; /* waits are cut, too, and counted once */
            client->code = mst_kv_barrier(kv, name, CLIENTS, soon());
        }
    }
    mst_kv_close(kv);
    return NULL;
}

static uint64_t choose_seed(void)
{
    const char *text = getenv("MUSTER_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : mst_now_ns();
    print_message("MUSTER_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void cut_calls_are_done_once(void **state)
{
    (void)state;
    static struct client clients[CLIENTS];
    struct relay relay = {0};
    struct service service = {0};
    uint16_t port, relay_port;
    const struct kv_server_config config = {
        .listen_fd = mst_sock_listen("127.0.0.1", 0, &port, NULL),
        .secret = (const uint8_t *)"s",
        .secret_bytes = 1,
        .events = {NULL, no_agent, no_frame, nothing_lost, refused}};
    mst_rng_init(&relay.rng, choose_seed(), 0);
    assert_true(config.listen_fd >= 0);
    assert_int_equal(kv_server_create(&config, &service.server, NULL), 0);
    relay.listener = mst_sock_listen("127.0.0.1", 0, &relay_port, NULL);
    assert_true(relay.listener >= 0);
    (void)snprintf(relay.target, sizeof relay.target, "127.0.0.1:%u", port);
    for (size_t i = 0; i < PAIRS_MAX; i++)
        relay.pairs[i].fds[0] = relay.pairs[i].fds[1] = -1;
    assert_int_equal(pthread_create(&service.thread, NULL, serve, &service), 0);
    assert_int_equal(pthread_create(&relay.thread, NULL, run_relay, &relay), 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct mst_world *world = &clients[i].world;
        world_init_single(world);
        world->rank = clients[i].index = i;
        world->size = CLIENTS;
        world->secret[0] = 's';
        world->secret_bytes = 1;
        (void)snprintf(world->kv_addr, sizeof world->kv_addr, "127.0.0.1:%u", relay_port);
        assert_int_equal(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
    relay.stop = true;
    service.stop = true;
    assert_int_equal(pthread_join(relay.thread, NULL), 0);
    assert_int_equal(pthread_join(service.thread, NULL), 0);
    print_message("%u cuts in %u calls\n", relay.cuts, 3 * CLIENTS * CALLS);
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].code)
            fail_msg("client %zu: %s: %s", i, clients[i].what, mst_err_meaning(clients[i].code));
    for (int count = 1; count <= CLIENTS * CALLS; count++) {
        int seen = 0;
        for (size_t i = 0; i < CLIENTS; i++)
            seen += clients[i].seen[count];
        assert_int_equal(seen, 1); /* every sum was handed out once */
    }
    assert_true(relay.cuts > 20);
    for (size_t i = 0; i < PAIRS_MAX; i++)
        if (relay.pairs[i].fds[0] >= 0)
            cut(&relay.pairs[i]);
    close(relay.listener);
    kv_server_destroy(service.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cut_calls_are_done_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

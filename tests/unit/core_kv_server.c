/* The suite over sockets: clients against the server, which runs in a thread as it does in the
 * agent's poll loop. */
#include "soon.h"
#include "unit/kv_suite.h"

#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/peer.h"
#include "muster/core/kv/server.h"
#include "muster/core/kv/sock.h"
#include "muster/core/world/state.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECRET "the job's secret"

/* While set, every deadline of the server has passed. */
static bool time_is_up;

bool __real_mst_deadline_passed(uint64_t deadline_ns);
bool __wrap_mst_deadline_passed(uint64_t deadline_ns);

bool __wrap_mst_deadline_passed(uint64_t deadline_ns)
{
    return time_is_up || __real_mst_deadline_passed(deadline_ns);
}

struct host {
    struct kv_server *server;
    uint16_t port;
    pthread_t thread;
    int wake_fd;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool stop;
        uint32_t generation;
        uint32_t done_generation;
        unsigned joined, lost, hung_up, frames, refused;
        struct mst_err why; /* of the last that was refused */
        uint64_t agent;
        uint32_t node, lost_node; /* whose the last frame was, and who went last */
        bool drop_on_frame;
    } locked;
};

static int on_joined(void *arg, uint64_t peer, const struct mst_auth_hello *hello,
                     struct mst_err *err)
{
    struct host *host = arg;
    if (hello->rank == 13)
        return mst_err_set(err, -EEXIST, "node 13 is here already");
    if (kv_server_send(host->server, peer, 70, "early", 5) != -ENOENT)
        return mst_err_set(err, -EIO, "sent before the welcome");
    pthread_mutex_lock(&host->locked.lock);
    host->locked.joined++;
    host->locked.agent = peer;
    pthread_cond_broadcast(&host->locked.changed);
    pthread_mutex_unlock(&host->locked.lock);
    return 0;
}

/* Answers every frame with its bytes reversed and its type plus one. */
static void on_frame(void *arg, const struct kv_agent *from, uint8_t type, const uint8_t *payload,
                     size_t size_bytes)
{
    struct host *host = arg;
    uint8_t answer[64];
    for (size_t i = 0; i < size_bytes && i < sizeof answer; i++)
        answer[i] = payload[size_bytes - 1 - i];
    (void)kv_server_send(host->server, from->peer, (uint8_t)(type + 1), answer, size_bytes);
    pthread_mutex_lock(&host->locked.lock);
    host->locked.frames++;
    host->locked.node = from->node;
    bool drop = host->locked.drop_on_frame;
    pthread_mutex_unlock(&host->locked.lock);
    if (drop)
        kv_server_drop(host->server, from->peer);
}

static void on_lost(void *arg, const struct kv_agent *who, bool hung_up)
{
    struct host *host = arg;
    pthread_mutex_lock(&host->locked.lock);
    host->locked.lost++;
    host->locked.lost_node = who->node;
    host->locked.hung_up += hung_up;
    pthread_cond_broadcast(&host->locked.changed);
    pthread_mutex_unlock(&host->locked.lock);
}

static void on_refused(void *arg, const struct mst_err *why)
{
    struct host *host = arg;
    pthread_mutex_lock(&host->locked.lock);
    host->locked.refused++;
    host->locked.why = *why;
    pthread_cond_broadcast(&host->locked.changed);
    pthread_mutex_unlock(&host->locked.lock);
}

static void await_refused(struct host *host, unsigned count)
{
    pthread_mutex_lock(&host->locked.lock);
    for (uint64_t deadline_ns = soon(); host->locked.refused < count;)
        assert_int_equal(mst_cond_wait(&host->locked.changed, &host->locked.lock, deadline_ns), 0);
    pthread_mutex_unlock(&host->locked.lock);
}

static bool take_orders(struct host *host)
{
    uint64_t count;
    (void)!read(host->wake_fd, &count, sizeof count);
    pthread_mutex_lock(&host->locked.lock);
    bool stop = host->locked.stop;
    uint32_t generation = host->locked.generation;
    if (generation != host->locked.done_generation)
        kv_server_set_generation(host->server, generation);
    host->locked.done_generation = generation;
    pthread_cond_broadcast(&host->locked.changed);
    pthread_mutex_unlock(&host->locked.lock);
    return !stop;
}

static void *serve(void *arg)
{
    struct host *host = arg;
    struct pollfd fds[] = {{.fd = kv_server_fd(host->server), .events = POLLIN},
                           {.fd = host->wake_fd, .events = POLLIN}};
    while (take_orders(host)) {
        (void)poll(fds, 2, 1000);
        kv_server_run(host->server);
    }
    return NULL;
}

static void order(struct host *host)
{
    uint64_t one = 1;
    assert_int_equal(write(host->wake_fd, &one, sizeof one), sizeof one);
}

static void end_generations(void **state, uint32_t generation)
{
    struct host *host = *state;
    pthread_mutex_lock(&host->locked.lock);
    host->locked.generation = generation;
    order(host);
    for (uint64_t deadline_ns = soon(); host->locked.done_generation != generation;)
        assert_int_equal(mst_cond_wait(&host->locked.changed, &host->locked.lock, deadline_ns), 0);
    pthread_mutex_unlock(&host->locked.lock);
}

static int start_host(void **state)
{
    struct host *host = calloc(1, sizeof *host);
    struct kv_server_events events = {.arg = host,
                                      .agent_joined = on_joined,
                                      .agent_frame = on_frame,
                                      .agent_lost = on_lost,
                                      .refused = on_refused};
    assert_non_null(host);
    int fd = mst_sock_listen("127.0.0.1", 0, &host->port, NULL);
    assert_true(fd >= 0);
    const struct kv_server_config config = {.listen_fd = fd,
                                            .secret = (const uint8_t *)SECRET,
                                            .secret_bytes = strlen(SECRET),
                                            .job_id = "job-1",
                                            .events = events};
    assert_int_equal(kv_server_create(&config, &host->server, NULL), 0);
    host->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&host->locked.lock, NULL);
    mst_cond_init(&host->locked.changed);
    host->locked.generation = 1;
    assert_int_equal(pthread_create(&host->thread, NULL, serve, host), 0);
    *state = host;
    end_generations(state, 1);
    return 0;
}

static void stop_thread(struct host *host)
{
    pthread_mutex_lock(&host->locked.lock);
    host->locked.stop = true;
    pthread_mutex_unlock(&host->locked.lock);
    order(host);
    pthread_join(host->thread, NULL);
    host->thread = 0;
}

static int stop_host(void **state)
{
    struct host *host = *state;
    if (host->thread)
        stop_thread(host);
    kv_server_destroy(host->server);
    close(host->wake_fd);
    free(host);
    return 0;
}

static void make_world(const struct host *host, uint32_t generation, struct mst_world *ret_world)
{
    world_init_single(ret_world);
    ret_world->size = 8;
    ret_world->rank = 3;
    ret_world->generation = generation;
    (void)snprintf(ret_world->kv_addr, sizeof ret_world->kv_addr, "localhost:%u", host->port);
    memcpy(ret_world->secret, SECRET, strlen(SECRET));
    ret_world->secret_bytes = (uint32_t)strlen(SECRET);
}

static struct mst_kv *open_kv(void **state, uint32_t generation)
{
    struct mst_world world;
    make_world(*state, generation, &world);
    struct mst_kv *kv = NULL;
    struct mst_err err = {0};
    int rc = mst_kv_dial(&world, soon(), &kv, &err);
    if (rc)
        fail_msg("dial: %s", err.text);
    return kv;
}

static void wrong_secret_is_refused(void **state)
{
    struct mst_world world;
    make_world(*state, 1, &world);
    world.secret[0] ^= 1;
    struct mst_kv *kv = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, &err), -EACCES);
    assert_null(kv);
    assert_non_null(strstr(err.text, "secret"));
    await_refused(*state, 1);
    const struct host *host = *state;
    assert_non_null(strstr(host->locked.why.text, "127.0.0.1:"));
    assert_non_null(strstr(host->locked.why.text, "which says to be rank 3: it has another job "
                                                  "secret than we"));
}

static void another_job_is_refused(void **state)
{
    struct mst_world world;
    make_world(*state, 1, &world);
    (void)snprintf(world.job_id, sizeof world.job_id, "job-2");
    struct mst_kv *kv = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, &err), -EACCES);
    assert_non_null(strstr(err.text, "\"job-2\" dialled, but \"job-1\" listens here"));
    await_refused(*state, 1);
    const struct host *host = *state;
    assert_non_null(strstr(host->locked.why.text, "\"job-2\" dialled, but \"job-1\""));
    (void)snprintf(world.job_id, sizeof world.job_id, "job-1");
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, &err), 0);
    mst_kv_close(kv);
}

/* Who hangs up instead of its proof has seen that the secrets differ. */
static void a_hang_up_at_the_challenge_is_told(void **state)
{
    struct host *host = *state;
    uint8_t hello[56] = {5, MST_ROLE_AGENT, 0, 0, 0, 0, 0, 0, 5}, type, challenge[64];
    char address[32];
    size_t size;
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", host->port);
    int fd = mst_sock_dial(address, soon(), NULL);
    assert_true(fd >= 0);
    assert_int_equal(mst_sock_send_frame(fd, 48, hello, sizeof hello, soon()), 0);
    assert_int_equal(mst_sock_recv_frame(fd, &type, challenge, sizeof challenge, &size, soon()), 0);
    close(fd);
    await_refused(host, 1);
    assert_non_null(strstr(host->locked.why.text, "which says to be node 5: it hung up"));
}

static void stale_generation_is_refused(void **state)
{
    end_generations(state, 3);
    struct mst_world world;
    make_world(*state, 2, &world);
    struct mst_kv *kv = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, &err), -ESTALE);
    assert_non_null(strstr(err.text, "generation 2 is over, the job is at 3"));
    make_world(*state, 4, &world);
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, &err), -ESTALE);
    assert_non_null(strstr(err.text, "generation 4 has not begun"));
}

static void lost_server_ends_waits(void **state)
{
    struct host *host = *state;
    struct suite_thread waiter = {.kv = open_kv(state, 1)};
    struct mst_kv *kv = open_kv(state, 1);
    assert_int_equal(pthread_create(&waiter.thread, NULL, wait_for_key, &waiter), 0);
    assert_int_equal(mst_kv_set(kv, "a", "1", 1, soon()), 0);
    stop_thread(host);
    kv_server_destroy(host->server);
    host->server = NULL;
    assert_int_equal(pthread_join(waiter.thread, NULL), 0);
    assert_int_equal(waiter.code, -ECONNRESET);
    assert_int_equal(mst_kv_set(kv, "a", "2", 1, soon()), -ECONNRESET);
    assert_int_equal(mst_kv_set(kv, "a", "3", 1, soon()), -ECONNRESET);
    mst_kv_close(kv);
    mst_kv_close(waiter.kv);
}

static int dial_agent(const struct host *host, uint32_t node, int *ret_fd, struct mst_err *err)
{
    struct mst_auth_hello hello = {.role = MST_ROLE_AGENT, .rank = node};
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", host->port);
    *ret_fd = mst_sock_dial(address, soon(), err);
    assert_true(*ret_fd >= 0);
    return mst_auth_dial(*ret_fd, &hello, (const uint8_t *)SECRET, strlen(SECRET), soon(), err);
}

static void await_lost(struct host *host, unsigned count)
{
    pthread_mutex_lock(&host->locked.lock);
    for (uint64_t deadline_ns = soon(); host->locked.lost < count;)
        assert_int_equal(mst_cond_wait(&host->locked.changed, &host->locked.lock, deadline_ns), 0);
    pthread_mutex_unlock(&host->locked.lock);
}

static void echo(int fd, uint8_t type, const char *text, const char *reversed)
{
    assert_int_equal(mst_sock_send_frame(fd, type, text, strlen(text), soon()), 0);
    char answer[64];
    uint8_t answer_type;
    size_t size;
    assert_int_equal(mst_sock_recv_frame(fd, &answer_type, answer, sizeof answer, &size, soon()),
                     0);
    assert_int_equal(answer_type, type + 1);
    assert_int_equal(size, strlen(reversed));
    assert_memory_equal(answer, reversed, size);
}

static void agents_talk_to_the_owner(void **state)
{
    struct host *host = *state;
    struct mst_err err = {0};
    int fd;
    assert_int_equal(dial_agent(host, 1, &fd, &err), 0);
    echo(fd, 64, "abc", "cba");
    echo(fd, 200, "", "");
    close(fd);
    await_lost(host, 1);
    assert_int_equal(host->locked.hung_up, 1);
    assert_int_equal(host->locked.node, 1);
    assert_int_equal(host->locked.lost_node, 1);
    assert_int_equal(host->locked.joined, 1);
    assert_int_equal(kv_server_send(host->server, host->locked.agent, 64, "x", 1), -ENOENT);
}

/* A connection that broke says nothing of the process behind it. */
static void a_reset_is_no_hang_up(void **state)
{
    struct host *host = *state;
    const struct linger at_once = {.l_onoff = 1};
    int fd;
    assert_int_equal(dial_agent(host, 1, &fd, NULL), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
    await_lost(host, 1);
    assert_int_equal(host->locked.hung_up, 0);
}

static void owner_refuses_an_agent(void **state)
{
    struct mst_err err = {0};
    int fd;
    assert_int_equal(dial_agent(*state, 13, &fd, &err), -EEXIST);
    assert_string_equal(err.text, "node 13 is here already");
    close(fd);
}

static void owner_drops_an_agent(void **state)
{
    struct host *host = *state;
    int fd;
    assert_int_equal(dial_agent(host, 1, &fd, NULL), 0);
    pthread_mutex_lock(&host->locked.lock);
    host->locked.drop_on_frame = true;
    pthread_mutex_unlock(&host->locked.lock);
    echo(fd, 90, "last", "tsal"); /* what was queued before the drop arrives */
    uint8_t byte;
    assert_int_equal(mst_sock_recv_all(fd, &byte, 1, soon()), -ECONNRESET);
    close(fd);
    await_lost(host, 1);
    stop_thread(host);
    assert_int_equal(host->locked.lost, 1);
}

static void agents_make_no_kv_calls(void **state)
{
    struct host *host = *state;
    int fd;
    assert_int_equal(dial_agent(host, 1, &fd, NULL), 0);
    assert_int_equal(mst_sock_send_frame(fd, KV_AGENT_FRAME_MIN - 1, "", 0, soon()), 0);
    uint8_t byte;
    assert_int_equal(mst_sock_recv_all(fd, &byte, 1, soon()), -ECONNRESET);
    await_lost(host, 1);
    close(fd);
}

static void attached_agent_needs_no_listener(void **state)
{
    (void)state;
    struct host host = {0};
    struct kv_server_events events = {.arg = &host,
                                      .agent_joined = on_joined,
                                      .agent_frame = on_frame,
                                      .agent_lost = on_lost,
                                      .refused = on_refused};
    pthread_mutex_init(&host.locked.lock, NULL);
    mst_cond_init(&host.locked.changed);
    assert_int_equal(kv_server_create(&(struct kv_server_config){.listen_fd = -1, .events = events},
                                      &host.server, NULL),
                     0);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    uint64_t peer = 0;
    assert_int_equal(kv_server_attach(host.server, pair[0], 3, &peer), 0);
    assert_true(peer > 0);
    assert_int_equal(mst_sock_send_frame(pair[1], 65, "xy", 2, soon()), 0);
    kv_server_run(host.server);
    assert_int_equal(host.locked.frames, 1);
    assert_int_equal(host.locked.node, 3);
    close(pair[1]);
    kv_server_run(host.server);
    assert_int_equal(host.locked.lost, 1);
    assert_int_equal(kv_server_send(host.server, peer, 65, "z", 1), -ENOENT);
    kv_server_drop(host.server, peer);
    kv_server_destroy(host.server);
}

static void slow_reader_is_lost(void **state)
{
    (void)state;
    static uint8_t payload[1 << 20];
    struct host host = {0};
    struct kv_server_events events = {.arg = &host,
                                      .agent_joined = on_joined,
                                      .agent_frame = on_frame,
                                      .agent_lost = on_lost,
                                      .refused = on_refused};
    int pair[2], code = 0;
    pthread_mutex_init(&host.locked.lock, NULL);
    mst_cond_init(&host.locked.changed);
    assert_int_equal(kv_server_create(&(struct kv_server_config){.listen_fd = -1, .events = events},
                                      &host.server, NULL),
                     0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    uint64_t peer;
    assert_int_equal(kv_server_attach(host.server, pair[0], 3, &peer), 0);
    unsigned sent = 0;
    for (; code == 0 && sent < 100; sent++)
        code = kv_server_send(host.server, peer, 65, payload, sizeof payload);
    assert_int_equal(code, -ENOENT);
    assert_in_range(sent, 64, 80);
    kv_server_run(host.server);
    assert_int_equal(host.locked.lost, 1);
    close(pair[1]);
    kv_server_destroy(host.server);
}

/* A server without a thread, for tests that move it step by step. */
static void open_still(struct host *host, const struct kv_server_events *events)
{
    int fd = mst_sock_listen("127.0.0.1", 0, &host->port, NULL);
    assert_true(fd >= 0);
    const struct kv_server_config config = {.listen_fd = fd,
                                            .secret = (const uint8_t *)SECRET,
                                            .secret_bytes = strlen(SECRET),
                                            .events = *events};
    assert_int_equal(kv_server_create(&config, &host->server, NULL), 0);
}

static int dial_still(const struct host *host)
{
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", host->port);
    int fd = mst_sock_dial(address, soon(), NULL);
    assert_true(fd >= 0);
    return fd;
}

static int wait_for_work(const struct host *host, int timeout_ms)
{
    struct pollfd pollfd = {.fd = kv_server_fd(host->server), .events = POLLIN};
    return poll(&pollfd, 1, timeout_ms);
}

static void silent_stranger_is_dropped(void **state)
{
    (void)state;
    struct host host = {0};
    struct kv_server_events events = {.arg = &host,
                                      .agent_joined = on_joined,
                                      .agent_frame = on_frame,
                                      .agent_lost = on_lost,
                                      .refused = on_refused};
    open_still(&host, &events);
    int fd = dial_still(&host);
    assert_int_equal(wait_for_work(&host, (int)SOON_MS), 1);
    kv_server_run(host.server);
    kv_server_run(host.server);
    uint8_t byte;
    assert_int_equal(mst_sock_recv_all(fd, &byte, 1, mst_now_ns()), -ETIMEDOUT);
    time_is_up = true;
    kv_server_run(host.server);
    time_is_up = false;
    assert_int_equal(mst_sock_recv_all(fd, &byte, 1, soon()), -ECONNRESET);
    assert_int_equal(host.locked.refused, 1);
    assert_non_null(strstr(host.locked.why.text, "127.0.0.1:"));
    assert_non_null(strstr(host.locked.why.text, "has not proved itself within 5 s"));
    kv_server_destroy(host.server);
    close(fd);
}

struct guest {
    pthread_t thread;
    int fd, rc;
};

static void *shake_hands(void *arg)
{
    struct guest *guest = arg;
    const struct mst_auth_hello hello = {.role = MST_ROLE_AGENT, .rank = 1};
    guest->rc = mst_auth_dial(guest->fd, &hello, (const uint8_t *)SECRET, strlen(SECRET), soon(),
                              NULL);
    return NULL;
}

#define HELLO_BYTES 48
#define PROOF_BYTES (32 + 8 + MST_JOB_ID_BYTES)

/* Until a frame with so much payload lies in the socket. */
static void await_frame(const struct host *host, int fd, int payload_bytes)
{
    int size = 0;
    while (size < MST_FRAME_HEADER_BYTES + payload_bytes) {
        assert_int_equal(wait_for_work(host, (int)SOON_MS), 1);
        assert_int_equal(ioctl(fd, FIONREAD, &size), 0);
    }
}

/* They came in time; it was the server that did not run for long, before the hello or the proof. */
static void a_server_that_is_late_reads_first(void **state)
{
    (void)state;
    for (int is_proof = 0; is_proof < 2; is_proof++) {
        struct host host = {0};
        struct kv_server_events events = {.arg = &host,
                                          .agent_joined = on_joined,
                                          .agent_frame = on_frame,
                                          .agent_lost = on_lost,
                                          .refused = on_refused};
        pthread_mutex_init(&host.locked.lock, NULL);
        mst_cond_init(&host.locked.changed);
        open_still(&host, &events);
        struct guest guest = {.fd = dial_still(&host)};
        assert_int_equal(wait_for_work(&host, (int)SOON_MS), 1);
        kv_server_run(host.server);
        assert_int_equal(pthread_create(&guest.thread, NULL, shake_hands, &guest), 0);
        const struct kv_handshake *handshake = (const void *)host.server->door.first;
        while (is_proof && !handshake->acceptor.challenged) {
            assert_int_equal(wait_for_work(&host, (int)SOON_MS), 1);
            kv_server_run(host.server);
        }
        await_frame(&host, handshake->peer->stream.fd, is_proof ? PROOF_BYTES : HELLO_BYTES);
        host.server->door.first->since_ns = 0;
        do {
            assert_int_equal(wait_for_work(&host, (int)SOON_MS), 1);
            kv_server_run(host.server);
        } while (host.server->door.first);
        assert_int_equal(pthread_join(guest.thread, NULL), 0);
        assert_int_equal(guest.rc, 0);
        assert_int_equal(host.locked.joined, 1);
        assert_int_equal(host.locked.refused, 0);
        kv_server_destroy(host.server);
        close(guest.fd);
    }
}

/* Without a free fd the listener is not polled, as that would spin, until a little later. */
static void out_of_fds_does_not_spin(void **state)
{
    (void)state;
    struct host host = {0};
    struct kv_server_events events = {.arg = &host,
                                      .agent_joined = on_joined,
                                      .agent_frame = on_frame,
                                      .agent_lost = on_lost,
                                      .refused = on_refused};
    struct rlimit before, none = {0};
    open_still(&host, &events);
    kv_server_run(host.server);
    int fd = dial_still(&host);
    assert_int_equal(wait_for_work(&host, (int)SOON_MS), 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    kv_server_run(host.server);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(wait_for_work(&host, 0), 0);
    assert_int_equal(host.locked.refused, 1);
    assert_non_null(strstr(host.locked.why.text, "no descriptor for another (limit 0): raise"));
    host.server->resume_ns = 0;
    kv_server_run(host.server); /* polls the listener again, and accepts */
    assert_int_equal(wait_for_work(&host, 0), 0);
    assert_int_equal(mst_sock_send_all(fd, "?", 1, soon()), 0);
    assert_int_equal(wait_for_work(&host, (int)SOON_MS), 1);
    uint8_t byte;
    assert_int_equal(mst_sock_recv_all(fd, &byte, 1, mst_now_ns()), -ETIMEDOUT);
    kv_server_destroy(host.server);
    close(fd);
}

static void create_says_what_is_wrong(void **state)
{
    (void)state;
    static const uint8_t secret[MST_SECRET_BYTES_MAX + 1];
    struct kv_server_events events = {.agent_joined = on_joined,
                                      .agent_frame = on_frame,
                                      .agent_lost = on_lost,
                                      .refused = on_refused};
    uint16_t port;
    int fd = mst_sock_listen("127.0.0.1", 0, &port, NULL);
    assert_true(fd >= 0);
    struct kv_server *server = NULL;
    struct mst_err err = {0};
    const struct kv_server_config config = {
        .listen_fd = fd, .secret = secret, .secret_bytes = sizeof secret, .events = events};
    assert_int_equal(kv_server_create(&config, &server, &err), -EINVAL);
    assert_null(server);
    assert_non_null(strstr(err.text, "secret of 257 bytes"));
    assert_int_equal(close(fd), 0); /* still the test's */
    kv_server_destroy(NULL);
}

/* More connections than any table of ours: only descriptors are a limit. */
static void connections_are_as_many_as_descriptors(void **state)
{
    (void)state;
    static int mine[5000];
    struct host host = {0};
    struct kv_server_events events = {.arg = &host,
                                      .agent_joined = on_joined,
                                      .agent_frame = on_frame,
                                      .agent_lost = on_lost,
                                      .refused = on_refused};
    struct rlimit before, more;
    uint64_t peer = 0, first = 0;
    int count = 0, pair[2] = {-1, -1};
    pthread_mutex_init(&host.locked.lock, NULL);
    mst_cond_init(&host.locked.changed);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    more = (struct rlimit){before.rlim_max, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &more), 0);
    assert_int_equal(kv_server_create(&(struct kv_server_config){.listen_fd = -1, .events = events},
                                      &host.server, NULL),
                     0);
    while (count < 5000) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
            break; /* this machine's limit of open files is lower */
        assert_int_equal(kv_server_attach(host.server, pair[0], 3, &peer), 0);
        if (count == 0)
            first = peer;
        mine[count++] = pair[1];
    }
    assert_int_equal(mst_sock_send_frame(mine[0], 64, "a", 1, soon()), 0);
    assert_int_equal(mst_sock_send_frame(mine[count - 1], 64, "a", 1, soon()), 0);
    kv_server_run(host.server);
    assert_int_equal(host.locked.frames, 2);
    kv_server_drop(host.server, first);
    kv_server_run(host.server);
    assert_int_equal(host.locked.lost, 1);
    close(mine[0]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(kv_server_attach(host.server, pair[0], 3, &peer), 0);
    assert_true(peer != first); /* the slot is used again, the number is not */
    assert_int_equal(kv_server_send(host.server, first, 64, "x", 1), -ENOENT);
    kv_server_destroy(host.server);
    close(pair[1]);
    for (int i = 1; i < count; i++)
        close(mine[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* Who stands there longest makes room for the one that is waiting, and nobody for who is not. */
static void room_is_made_for_who_is_there(void **state)
{
    (void)state;
    struct host host = {0};
    struct kv_server_events events = {.arg = &host,
                                      .agent_joined = on_joined,
                                      .agent_frame = on_frame,
                                      .agent_lost = on_lost,
                                      .refused = on_refused};
    struct rlimit before, few = {.rlim_cur = 64};
    int fds[10]; /* one more than an eighth of the descriptors, and one, let in */
    open_still(&host, &events);
    kv_server_run(host.server);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few.rlim_max = before.rlim_max;
    for (size_t i = 0; i < 10; i++)
        fds[i] = dial_still(&host);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (host.server->listens) {
        assert_int_equal(wait_for_work(&host, (int)SOON_MS), 1);
        kv_server_run(host.server);
    }
    assert_int_equal(host.server->door.count, 9);
    for (struct mst_guest *guest = host.server->door.first; guest; guest = guest->later)
        guest->since_ns -= MST_DOOR_MIN_MS * MST_NS_PER_MS;
    host.server->resume_ns = 0;
    kv_server_run(host.server);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(host.server->door.count, 9);
    assert_int_equal(host.locked.refused, 1);
    assert_non_null(strstr(host.locked.why.text, "it had to make room: 9 connections"));
    kv_server_destroy(host.server);
    for (size_t i = 0; i < 10; i++)
        close(fds[i]);
}

/* Strangers who say nothing make room for those who can prove themselves. */
static void silent_strangers_keep_nobody_out(void **state)
{
    struct host *host = *state;
    static int strangers[500];
    for (size_t i = 0; i < 500; i++)
        strangers[i] = dial_still(host);
    struct mst_kv *kv = open_kv(state, 1);
    assert_int_equal(mst_kv_set(kv, "a", "1", 1, soon()), 0);
    mst_kv_close(kv);
    stop_thread(host);
    assert_in_range(host->server->door.count, 0, 256);
    for (size_t i = 0; i < 500; i++)
        close(strangers[i]);
}

/* ---- calls that are sent again --------------------------------------------------------------- */

static int dial_rank_as(const struct host *host, const struct mst_auth_hello *hello)
{
    int fd = dial_still(host);
    assert_int_equal(
        mst_auth_dial(fd, hello, (const uint8_t *)SECRET, strlen(SECRET), soon(), NULL), 0);
    return fd;
}

static int dial_rank(const struct host *host, uint32_t tag)
{
    const struct mst_auth_hello hello = {
        .role = MST_ROLE_RANK_KV, .generation = 1, .rank = 3, .tag = tag};
    return dial_rank_as(host, &hello);
}

static int dial_rank_again(const struct host *host, uint32_t tag)
{
    const struct mst_auth_hello hello = {
        .role = MST_ROLE_RANK_KV, .generation = 1, .rank = 3, .tag = tag, .again = true};
    return dial_rank_as(host, &hello);
}

static void ask(int fd, struct kv_request request)
{
    uint8_t bytes[KV_REQUEST_HEAD_BYTES + 64];
    request.key_bytes = strlen(request.key);
    kv_request_encode(&request, bytes);
    memcpy(bytes + KV_REQUEST_HEAD_BYTES, request.key, request.key_bytes);
    size_t size = KV_REQUEST_HEAD_BYTES + request.key_bytes;
    assert_int_equal(mst_sock_send_frame(fd, (uint8_t)request.verb, bytes, size, soon()), 0);
}

/* The next reply; its value is in `bytes`. */
static struct kv_reply hear(int fd, uint8_t *bytes, size_t cap)
{
    uint8_t type;
    size_t size;
    struct kv_reply reply;
    assert_int_equal(mst_sock_recv_frame(fd, &type, bytes, cap, &size, soon()), 0);
    assert_int_equal(type, KV_FRAME_REPLY);
    assert_int_equal(kv_reply_decode(bytes, size, &reply), 0);
    return reply;
}

static int64_t hear_number(int fd, uint64_t id)
{
    uint8_t bytes[64];
    struct kv_reply reply = hear(fd, bytes, sizeof bytes);
    assert_int_equal(reply.id, id);
    assert_int_equal(reply.result, 0);
    return reply.number;
}

static void a_repeated_change_is_made_once(void **state)
{
    struct host *host = *state;
    struct kv_request add = {.verb = KV_ADD, .id = 100, .key = "n", .delta = 1};
    int first = dial_rank(host, 7);
    ask(first, add);
    assert_int_equal(hear_number(first, 100), 1);
    close(first);
    int second = dial_rank(host, 7);
    add.is_repeat = true;
    ask(second, add);
    assert_int_equal(hear_number(second, 100), 1);
    ask(second, add);
    assert_int_equal(hear_number(second, 100), 1);
    add.id = 101;
    ask(second, add); /* this one had not arrived */
    assert_int_equal(hear_number(second, 101), 2);
    int other = dial_rank(host, 8);
    add.id = 100;
    add.is_repeat = false;
    ask(other, add); /* another client's */
    assert_int_equal(hear_number(other, 100), 3);
    uint8_t byte;
    ask(second, add); /* older than its last */
    assert_int_equal(mst_sock_recv_all(second, &byte, 1, soon()), -ECONNRESET);
    close(second);
    close(other);
}

/* The first call of a client was cut on its way: its session has seen nothing of it. */
static void a_first_change_that_did_not_arrive_is_made(void **state)
{
    struct host *host = *state;
    int first = dial_rank(host, 7);
    close(first);
    int second = dial_rank(host, 7);
    ask(second,
        (struct kv_request){.verb = KV_ADD, .id = 100, .key = "n", .delta = 1, .is_repeat = true});
    assert_int_equal(hear_number(second, 100), 1);
    close(second);
}

/* Whether it was made is not known any longer: it is neither made again nor said to be done. */
static void a_repeat_that_nobody_remembers_is_lost(void **state)
{
    struct host *host = *state;
    int fd = dial_rank_again(host, 7);
    uint8_t bytes[64];
    ask(fd,
        (struct kv_request){.verb = KV_ADD, .id = 100, .key = "n", .delta = 1, .is_repeat = true});
    assert_int_equal(hear(fd, bytes, sizeof bytes).result, -ECONNRESET);
    ask(fd, (struct kv_request){.verb = KV_GET, .id = 101, .key = "n", .is_repeat = true});
    assert_int_equal(hear(fd, bytes, sizeof bytes).result, -ENOENT);
    close(fd);
    fd = dial_rank_again(host, 7);
    ask(fd,
        (struct kv_request){.verb = KV_ADD, .id = 100, .key = "n", .delta = 1, .is_repeat = true});
    assert_int_equal(hear(fd, bytes, sizeof bytes).result, -ECONNRESET);
    close(fd);
}

/* The same, of one whose next connection broke, too, before the repeat had come. */
static void a_forgotten_client_is_not_taken_for_a_new_one(void **state)
{
    struct host *host = *state;
    uint8_t bytes[64];
    struct kv_request add = {.verb = KV_ADD, .id = 100, .key = "n", .delta = 1, .is_repeat = true};
    close(dial_rank_again(host, 7));
    int fd = dial_rank_again(host, 7);
    ask(fd, add);
    assert_int_equal(hear(fd, bytes, sizeof bytes).result, -ECONNRESET);
    add = (struct kv_request){.verb = KV_ADD, .id = 101, .key = "n", .delta = 1};
    ask(fd, add);
    assert_int_equal(hear_number(fd, 101), 1);
    close(fd);
    fd = dial_rank_again(host, 8);
    ask(fd, (struct kv_request){.verb = KV_GET, .id = 200, .key = "n"}); /* what was cut is over */
    assert_int_equal(hear(fd, bytes, sizeof bytes).result, 0);
    close(fd);
    fd = dial_rank_again(host, 8);
    add = (struct kv_request){.verb = KV_ADD, .id = 201, .key = "n", .delta = 1, .is_repeat = true};
    ask(fd, add);
    assert_int_equal(hear_number(fd, 201), 2);
    close(fd);
}

static void a_client_that_dials_again_ends_its_old_connection(void **state)
{
    struct host *host = *state;
    int first = dial_rank(host, 7);
    ask(first, (struct kv_request){.verb = KV_WAIT, .id = 100, .key = "late"});
    int second = dial_rank(host, 7);
    uint8_t bytes[64];
    assert_int_equal(mst_sock_recv_all(first, bytes, 1, soon()), -ECONNRESET);
    ask(second, (struct kv_request){.verb = KV_WAIT, .id = 100, .key = "late", .is_repeat = true});
    struct mst_kv *kv = open_kv(state, 1);
    assert_int_equal(mst_kv_set(kv, "late", "x", 1, soon()), 0);
    struct kv_reply reply = hear(second, bytes, sizeof bytes);
    assert_int_equal(reply.id, 100);
    assert_int_equal(reply.value_bytes, 1);
    mst_kv_close(kv);
    close(first);
    close(second);
}

/* A record is of its generation: the numbers of the next begin anew. */
static void records_go_with_the_generation(void **state)
{
    struct host *host = *state;
    struct mst_auth_hello hello = {.role = MST_ROLE_RANK_KV, .generation = 1, .rank = 3, .tag = 7};
    struct kv_request add = {.verb = KV_ADD, .id = 100, .key = "n", .delta = 1};
    int first = dial_rank(host, 7);
    ask(first, add);
    assert_int_equal(hear_number(first, 100), 1);
    end_generations(state, 2);
    hello.generation = 2;
    int second = dial_rank_as(host, &hello);
    ask(second, add);
    assert_int_equal(hear_number(second, 100), 1);
    ask(second, (struct kv_request){.verb = KV_ADD, .id = 7, .key = "n", .delta = 1});
    uint8_t byte;
    assert_int_equal(mst_sock_recv_all(second, &byte, 1, soon()), -ECONNRESET);
    close(first);
    close(second);
}

/* One value for many who wait, larger than sockets take at once, and another answer behind it. */
static void a_large_value_reaches_all(void **state)
{
    struct host *host = *state;
    enum { SIZE = 5 << 20, COUNT = 3 };
    uint8_t *value = malloc(SIZE), *bytes = malloc(SIZE + KV_REPLY_HEAD_BYTES);
    assert_non_null(value);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++)
        value[i] = (uint8_t)(i * 2654435761U >> 11);
    int fds[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        fds[i] = dial_rank(host, i);
        ask(fds[i], (struct kv_request){.verb = KV_WAIT, .id = 1, .key = "big"});
    }
    struct mst_kv *kv = open_kv(state, 1);
    assert_int_equal(mst_kv_set(kv, "big", value, SIZE, soon()), 0);
    for (int i = 0; i < COUNT - 1; i++)
        ask(fds[i], (struct kv_request){.verb = KV_GET, .id = 2, .key = "none"});
    assert_int_equal(mst_kv_set(kv, "big", "other", 5, soon()), 0);
    for (int i = 0; i < COUNT - 1; i++) {
        struct kv_reply reply = hear(fds[i], bytes, SIZE + KV_REPLY_HEAD_BYTES);
        assert_int_equal(reply.value_bytes, SIZE);
        assert_memory_equal(reply.value, value, SIZE);
        reply = hear(fds[i], bytes, SIZE + KV_REPLY_HEAD_BYTES);
        assert_int_equal(reply.id, 2);
        assert_int_equal(reply.result, -ENOENT);
    }
    mst_kv_close(kv);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]); /* the last one has not read its answer */
    free(value);
    free(bytes);
}

static void garbage_is_dropped(void **state)
{
    struct host *host = *state;
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", host->port);
    int fd = mst_sock_dial(address, soon(), NULL);
    assert_true(fd >= 0);
    assert_int_equal(mst_sock_send_all(fd, "GET / HTTP/1.1\r\n\r\n", 18, soon()), 0);
    uint8_t byte;
    assert_int_equal(mst_sock_recv_all(fd, &byte, 1, soon()), -ECONNRESET);
    close(fd);
    struct mst_kv *kv = open_kv(state, 1);
    assert_int_equal(mst_kv_set(kv, "a", "1", 1, soon()), 0);
    mst_kv_close(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KV_SUITE(start_host, stop_host),
        cmocka_unit_test_setup_teardown(wrong_secret_is_refused, start_host, stop_host),
        cmocka_unit_test_setup_teardown(another_job_is_refused, start_host, stop_host),
        cmocka_unit_test_setup_teardown(a_hang_up_at_the_challenge_is_told, start_host, stop_host),
        cmocka_unit_test_setup_teardown(stale_generation_is_refused, start_host, stop_host),
        cmocka_unit_test_setup_teardown(lost_server_ends_waits, start_host, stop_host),
        cmocka_unit_test_setup_teardown(agents_talk_to_the_owner, start_host, stop_host),
        cmocka_unit_test_setup_teardown(a_reset_is_no_hang_up, start_host, stop_host),
        cmocka_unit_test_setup_teardown(owner_refuses_an_agent, start_host, stop_host),
        cmocka_unit_test_setup_teardown(owner_drops_an_agent, start_host, stop_host),
        cmocka_unit_test_setup_teardown(agents_make_no_kv_calls, start_host, stop_host),
        cmocka_unit_test_setup_teardown(garbage_is_dropped, start_host, stop_host),
        cmocka_unit_test(attached_agent_needs_no_listener),
        cmocka_unit_test(slow_reader_is_lost),
        cmocka_unit_test(silent_stranger_is_dropped),
        cmocka_unit_test(a_server_that_is_late_reads_first),
        cmocka_unit_test(out_of_fds_does_not_spin),
        cmocka_unit_test(room_is_made_for_who_is_there),
        cmocka_unit_test(create_says_what_is_wrong),
        cmocka_unit_test(connections_are_as_many_as_descriptors),
        cmocka_unit_test_setup_teardown(silent_strangers_keep_nobody_out, start_host, stop_host),
        cmocka_unit_test_setup_teardown(a_repeated_change_is_made_once, start_host, stop_host),
        cmocka_unit_test_setup_teardown(a_first_change_that_did_not_arrive_is_made, start_host,
                                        stop_host),
        cmocka_unit_test_setup_teardown(a_repeat_that_nobody_remembers_is_lost, start_host,
                                        stop_host),
        cmocka_unit_test_setup_teardown(a_forgotten_client_is_not_taken_for_a_new_one, start_host,
                                        stop_host),
        cmocka_unit_test_setup_teardown(a_client_that_dials_again_ends_its_old_connection,
                                        start_host, stop_host),
        cmocka_unit_test_setup_teardown(records_go_with_the_generation, start_host, stop_host),
        cmocka_unit_test_setup_teardown(a_large_value_reaches_all, start_host, stop_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

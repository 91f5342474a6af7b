/* N nodes of one rank each, without their processes: this one dials a real `muster run` of node 0
 * as N - 1 agents and N ranks, over as many sockets, does what they do until all have voted once,
 * and says how long each part took, also in processor time of node 0's agent and of this process,
 * and how much memory that agent has.
 *
 *   client PORT N SERVER_PID GATE     the server runs a program that ends when GATE is opened
 *
 * Node 0's agent has a descriptor for each agent and each rank, and so has this process: where the
 * limit is too low for all, most ranks stay connected, and the others dial anew in each phase, some
 * hundreds at a time, and leave. More processes on this side would not help the other.
 *
 * It is compiled with the sources of the revision that it measures, old or new. */
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/sock.h"
#include "muster/core/kv/wire.h"
#include "muster/core/span.h"
#include "muster/launcher/msg.h"

#if __has_include("muster/core/kv/gather.h")
#define GATHERS 1 /* a create reads one value, not one of each rank */
#else
#define GATHERS 0
#endif
#if __has_include("muster/launcher/outbox.h")
#include "muster/core/version.h"
#define HAS_SERIALS 1
#else
#define HAS_SERIALS 0
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECRET "rendezvous"
#define TIMEOUT_MS 300000
#define HANDSHAKE_MS 5000
#define PAUSE_MS 100
#define OTHER_FDS 200
#define TURN_RANKS 300 /* of those for whom there are no descriptors all the time */
#define DIALERS 32
#define BEAT_NS (2 * MST_NS_PER_S)

struct agent {
    struct mst_stream stream;
    uint64_t sent, heard;
    bool started, ended;
};

struct rank {
    struct mst_stream stream; /* fd -1: closed */
    uint32_t step;            /* the next request of the phase */
    uint64_t id;
    bool waits;
};

/* In time, and in processor time of node 0's agent and of this process. */
struct moment {
    uint64_t ns;
    double server_s, driver_s;
};

enum phase { PUBLISH, READ, VOTE, DECIDE, LEARN, PHASE_COUNT };

static const char *const phase_names[PHASE_COUNT] = {"publish", "read", "vote", "decide", "learn"};

static uint32_t count; /* nodes, and ranks */
static uint16_t port;
static struct agent *agents;
static struct rank *ranks;
static uint32_t generation;
static uint64_t beat_ns, request_count;
static struct moment began; /* the phase */
static clockid_t server_clock;
static int epoll_fd;

static _Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("rendezvous: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static double cpu_seconds(clockid_t clock)
{
    struct timespec time = {0};
    (void)clock_gettime(clock, &time); /* of a process that is gone: what follows ends us */
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct moment now(void)
{
    return (struct moment){.ns = mst_now_ns(),
                           .server_s = cpu_seconds(server_clock),
                           .driver_s = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static void tell_since(const char *what, const struct moment *since)
{
    struct moment end = now();
    printf("%-10s %8.3f s, of cpu %8.3f + %8.3f s\n", what, (double)(end.ns - since->ns) / 1e9,
           end.server_s - since->server_s, end.driver_s - since->driver_s);
    (void)fflush(stdout); /* a lost line is not worth an end */
}

static void tell(const char *what)
{
    tell_since(what, &began);
    began = now();
}

/* KiB of node 0's agent: "VmRSS" now, "VmHWM" at most. */
static long memory_of(long pid, const char *which)
{
    char path[64], line[128];
    long kib = -1;
    (void)snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, which, strlen(which)) == 0)
            kib = strtol(line + strlen(which) + 1, NULL, 10);
    if (file)
        (void)fclose(file); /* it was read only */
    return kib;
}

/* Real clients draw theirs. A rank that comes again is the same client. */
static uint32_t tag_of(uint32_t rank)
{
    return rank * UINT32_C(0x85ebca6b);
}

/* By as many of this machine's addresses as there are: the kernel has some thirty thousand ports
 * for each, keeps those that were closed for a minute, and looks long for the last free ones. A
 * server that is busy may cut one off: it dials again, as ranks and agents do. */
static int connect_as(enum mst_auth_role role, uint32_t rank)
{
    char address[32];
    struct mst_err err = {0};
    uint64_t deadline_ns = mst_deadline_ms(TIMEOUT_MS);
    const struct mst_auth_hello hello = {
        .role = role, .generation = generation, .rank = rank, .tag = tag_of(rank)};
    (void)snprintf(address, sizeof address, "127.0.%u.1:%u", rank % 256, port); /* it fits */
    for (;;) {
        int fd = mst_sock_dial(address, deadline_ns, &err);
        if (fd < 0)
            die("%u: %s", rank, err.text);
        int rc = mst_auth_dial(fd, &hello, (const uint8_t *)SECRET, strlen(SECRET),
                               mst_deadline_ms(HANDSHAKE_MS), &err);
        if (rc == 0)
            return fd;
        (void)close(fd); /* nothing was sent on it */
        bool may_pass = rc == -ECONNRESET || rc == -ETIMEDOUT;
        if (!may_pass || mst_deadline_passed(deadline_ns))
            die("%u: %s", rank, err.text);
        (void)poll(NULL, 0, PAUSE_MS);
    }
}

static void watch(int fd, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl: %s", mst_err_meaning(errno));
}

/* ---- agents ---------------------------------------------------------------------------------- */

static void send_msg(struct agent *agent, struct msg *msg)
{
    static uint8_t payload[MSG_BYTES_MAX];
#if HAS_SERIALS
    msg->serial = msg->type == MSG_BEAT ? 0 : ++agent->sent;
    msg->ack = agent->heard;
    (void)snprintf(msg->version, sizeof msg->version, "%s", MUSTER_VERSION);
#endif
    int size = msg_encode(msg, payload, sizeof payload);
    if (size < 0 || mst_stream_put(&agent->stream, (uint8_t)msg->type, payload, (size_t)size))
        die("node 0 is gone");
}

static void beat(void)
{
#if HAS_SERIALS
    static struct msg msg = {.type = MSG_BEAT};
    if (mst_now_ns() < beat_ns)
        return;
    beat_ns = mst_now_ns() + BEAT_NS;
    for (uint32_t i = 1; i < count; i++)
        if (agents[i].stream.fd >= 0)
            send_msg(&agents[i], &msg);
#endif
}

/* Handshakes wait for the other side more than they work, so several are under way at a time. */
struct connecting {
    enum mst_auth_role role;
    uint32_t last;
    atomic_uint next;
    atomic_int *fds; /* -1: not connected yet */
};

static void *connect_some(void *arg)
{
    struct connecting *connecting = arg;
    uint32_t index;
    while ((index = connecting->next++) < connecting->last)
        connecting->fds[index] = connect_as(connecting->role, index);
    return NULL;
}

/* Connects first … last - 1, and hands each one over as soon as it is connected. */
static void connect_all(enum mst_auth_role role, uint32_t first, uint32_t last,
                        void (*adopt)(uint32_t index, int fd))
{
    struct connecting connecting = {.role = role, .last = last};
    pthread_t threads[DIALERS];
    connecting.next = first;
    connecting.fds = calloc(last, sizeof *connecting.fds);
    if (!connecting.fds)
        die("no memory");
    for (uint32_t i = first; i < last; i++)
        connecting.fds[i] = -1;
    for (size_t i = 0; i < DIALERS; i++)
        if (pthread_create(&threads[i], NULL, connect_some, &connecting))
            die("no thread");
    for (uint32_t left = last - first; left > 0;) {
        (void)poll(NULL, 0, 1);
        for (uint32_t i = first; i < last; i++) {
            if (connecting.fds[i] < 0)
                continue;
            adopt(i, connecting.fds[i]);
            connecting.fds[i] = -1;
            left--;
        }
        beat(); /* or the agents would be given up meanwhile */
    }
    for (size_t i = 0; i < DIALERS; i++)
        (void)pthread_join(threads[i], NULL); /* it was created */
    free(connecting.fds);
}

static void join(uint32_t node, int fd)
{
    static struct msg msg;
    msg = (struct msg){.type = MSG_JOIN, .local_size = 1, .node_count = count};
#if HAS_SERIALS
    msg.grace_ms = 30000;
#endif
    mst_stream_init(&agents[node].stream, fd);
    send_msg(&agents[node], &msg);
    watch(agents[node].stream.fd, node);
}

static void hear(struct agent *agent, uint32_t *started, uint32_t *ended)
{
    static struct msg msg;
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    if (mst_stream_read(&agent->stream) < 0 && !agent->ended)
        die("node 0 hung up on an agent");
    while (mst_stream_next(&agent->stream, &type, &payload, &size_bytes) == 1) {
        if (msg_decode(type, payload, size_bytes, &msg))
            die("a message of type %u is none", type);
#if HAS_SERIALS
        if (msg.serial > agent->heard)
            agent->heard = msg.serial;
#endif
        if (msg.type == MSG_START && !agent->started) {
            agent->started = true;
            generation = msg.generation;
            ++*started;
        } else if (msg.type == MSG_END && !agent->ended) {
            agent->ended = true;
            ++*ended;
        }
    }
}

/* Until as many agents have heard START, or END. */
static void await_agents(uint32_t want_started, uint32_t want_ended)
{
    uint32_t started = 0, ended = 0;
    struct epoll_event events[256];
    while (started < want_started || ended < want_ended) {
        int ready = epoll_wait(epoll_fd, events, 256, 100);
        for (int i = 0; i < ready; i++)
            hear(&agents[events[i].data.u32], &started, &ended);
        beat();
    }
}

/* ---- ranks ----------------------------------------------------------------------------------- */

static void ask(uint32_t index, struct kv_request request, const char *key)
{
    uint8_t head[KV_REQUEST_HEAD_BYTES];
    struct rank *rank = &ranks[index];
    request.key = key;
    request.key_bytes = strlen(key);
    request.id = ++rank->id;
    kv_request_encode(&request, head);
    const struct mst_cspan parts[] = {{.data = head, .size_bytes = sizeof head},
                                      {.data = key, .size_bytes = request.key_bytes},
                                      {.data = request.value, .size_bytes = request.value_bytes}};
    if (mst_stream_put_parts(&rank->stream, (uint8_t)request.verb, parts, 3))
        die("node 0 is gone");
    rank->waits = true;
    request_count++;
}

/* The next request of a rank in a phase. Whether there is one. */
static bool proceed(uint32_t index, enum phase phase)
{
    static const uint8_t record[] = "12345678127.0.0.1:12345";
    char key[64];
    struct rank *rank = &ranks[index];
    struct kv_request publish = {.verb = KV_SET, .value = record, .value_bytes = sizeof record - 1};
    uint32_t step = rank->step++;
    (void)snprintf(key, sizeof key, "comm/1/rank/%u", index);
#if GATHERS
    publish.verb = KV_GATHER;
    publish.index = index;
    publish.count = count;
    (void)snprintf(key, sizeof key, "comm/1/ranks");
#endif
    switch (phase) {
    case PUBLISH:
        if (step == 0)
            ask(index, (struct kv_request){.verb = KV_ADD, .delta = 1}, "comm/count");
        else if (step == 1)
            ask(index, publish, key);
        return step < 2;
    case READ:
        if (!GATHERS)
            (void)snprintf(key, sizeof key, "comm/1/rank/%u", step);
        if (step < (GATHERS ? 1 : count))
            ask(index, (struct kv_request){.verb = KV_WAIT}, key);
        return step < (GATHERS ? 1 : count);
    case VOTE:
        (void)snprintf(key, sizeof key, "vote/%u", index);
        if (step == 0)
            ask(index,
                publish.verb == KV_SET ? publish
                                       : (struct kv_request){.verb = KV_SET,
                                                             .value = record,
                                                             .value_bytes = sizeof record},
                key);
        return step < 1;
    case DECIDE:
        (void)snprintf(key, sizeof key, "vote/%u", step);
        if (index == 0 && step < count)
            ask(index, (struct kv_request){.verb = KV_WAIT}, key);
        else if (index == 0 && step == count)
            ask(index, (struct kv_request){.verb = KV_SET}, "decision");
        return index == 0 && step <= count;
    case LEARN:
        if (step == 0)
            ask(index, (struct kv_request){.verb = KV_WAIT}, "decision");
        return step < 1;
    case PHASE_COUNT: break;
    }
    return false;
}

/* What a rank was answered; then its next request. Whether it has done with the phase. */
static bool hear_rank(uint32_t index, enum phase phase)
{
    struct rank *rank = &ranks[index];
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    struct kv_reply reply;
    if (mst_stream_read(&rank->stream) < 0)
        die("node 0 hung up on rank %u", index);
    if (mst_stream_next(&rank->stream, &type, &payload, &size_bytes) != 1)
        return false;
    if (kv_reply_decode(payload, size_bytes, &reply) || reply.id != rank->id || reply.result)
        die("rank %u, %s: %s", index, phase_names[phase], mst_err_meaning(reply.result));
    rank->waits = false;
    return !proceed(index, phase);
}

static void open_rank(uint32_t index, int fd)
{
    mst_stream_init(&ranks[index].stream, fd);
    watch(fd, index);
}

static void close_rank(uint32_t index)
{
    (void)close(ranks[index].stream.fd); /* every request had its answer */
    mst_stream_fini(&ranks[index].stream);
}

/* Ranks first … last - 1 through a phase. */
static void run_some(uint32_t first, uint32_t last, enum phase phase)
{
    uint32_t left = 0;
    struct epoll_event events[256];
    if (ranks[first].stream.fd < 0)
        connect_all(MST_ROLE_RANK_KV, first, last, open_rank);
    for (uint32_t i = first; i < last; i++) {
        ranks[i].step = 0;
        left += proceed(i, phase);
    }
    while (left > 0) {
        int ready = epoll_wait(epoll_fd, events, 256, 100);
        for (int i = 0; i < ready; i++)
            left -= hear_rank(events[i].data.u32, phase);
        beat();
    }
}

/* The first `seats` ranks stay connected; the others come in turns. */
static void run_phase(uint32_t seats, enum phase phase)
{
    uint32_t with_part = phase == DECIDE ? 1 : count; /* rank 0 decides */
    run_some(0, with_part < seats ? with_part : seats, phase);
    for (uint32_t first = seats, last; first < with_part; first = last) {
        last = with_part - first < TURN_RANKS ? with_part : first + TURN_RANKS;
        run_some(first, last, phase);
        for (uint32_t i = first; i < last; i++)
            close_rank(i);
    }
    tell(phase_names[phase]);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void reopen_epoll(void)
{
    if (epoll_fd > 0)
        (void)close(epoll_fd); /* a set of names */
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1: %s", mst_err_meaning(errno));
}

/* How many ranks can stay connected: all, or those for whom there are descriptors on both sides
 * beside the ones that take turns. Strangers' share and what the server keeps for itself are a
 * quarter of them. */
static uint32_t count_seats(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        die("getrlimit: %s", mst_err_meaning(errno));
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* it can only stay as it is */
    uint64_t usable = limit.rlim_cur - limit.rlim_cur / 8, others = count + OTHER_FDS;
    if (usable >= others + count)
        return count;
    if (usable <= others + TURN_RANKS)
        die("%u agents need more than %llu descriptors", count, (unsigned long long)usable);
    return (uint32_t)(usable - others - TURN_RANKS);
}

static void open_gate(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        die("%s: %s", path, mst_err_meaning(errno));
    (void)close(fd); /* its reader sees the end */
}

static void join_all(void)
{
    reopen_epoll();
    connect_all(MST_ROLE_AGENT, 1, count, join);
    tell("join");
    await_agents(count - 1, 0);
    tell("start");
}

static void leave_all(const char *gate)
{
    static struct msg msg;
    reopen_epoll();
    for (uint32_t i = 1; i < count; i++) {
        msg = (struct msg){.type = MSG_DONE, .generation = generation};
        send_msg(&agents[i], &msg);
        watch(agents[i].stream.fd, i);
    }
    open_gate(gate);
    await_agents(0, count - 1);
    tell("end");
}

int main(int argc, char **argv)
{
    if (argc != 5)
        die("client PORT N SERVER_PID GATE");
    port = (uint16_t)strtoul(argv[1], NULL, 10);
    count = (uint32_t)strtoul(argv[2], NULL, 10);
    long server = strtol(argv[3], NULL, 10);
    if (count < 2 || count > MSG_NODES_MAX)
        die("%u nodes, of 2 … %u", count, MSG_NODES_MAX);
    if (clock_getcpuclockid((pid_t)server, &server_clock))
        die("no process %ld", server);
    agents = calloc(count, sizeof *agents);
    ranks = calloc(count, sizeof *ranks);
    if (!agents || !ranks)
        die("no memory");
    for (uint32_t i = 0; i < count; i++)
        ranks[i].stream.fd = agents[i].stream.fd = -1;
    uint32_t seats = count_seats();
    long before_kib = memory_of(server, "VmRSS:");
    struct moment start = began = now();
    join_all();
    reopen_epoll();
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        run_phase(seats, phase);
    tell_since("all", &start);
    printf("memory     %8.2f KiB per agent, %ld KiB at most\n",
           (double)(memory_of(server, "VmHWM:") - before_kib) / count, memory_of(server, "VmHWM:"));
    printf("requests   %8.1f per rank, %u stay connected\n", (double)request_count / count, seats);
    leave_all(argv[4]);
    return 0;
}

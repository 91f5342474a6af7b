/* One leader against a scripted peer: what it sends, and what it makes of what it receives. Two
 * leaders that get on are comm_conformance's. */
#include "muster/comm/tcp.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/sock.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A leader of node 0 (rank 0) of two; the test holds the other end of its only socket, rank 1's. */
struct fixture {
    struct tcp tcp;
    struct segment segment;
    struct tcp_part parts[2];
    struct mst_err err;
    int peer_fd;
};

static const struct signature_desc desc = {
    .coll = MST_COLL_ALLREDUCE, .dtype = MST_F32, .op = MST_SUM, .count = 2};

static void set_up(struct fixture *f, uint64_t deadline_ns)
{
    static const uint32_t ranks[] = {0};
    struct segment_place place;
    int fds[2];
    memset(f, 0, sizeof *f);
    assert_int_equal(segment_create(&f->segment, -1, 1, &place, NULL), 0);
    f->segment.ranks = ranks;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    f->peer_fd = fds[1];
    f->tcp.node_count = 2;
    f->tcp.segment = &f->segment;
    f->tcp.peers = calloc(2, sizeof *f->tcp.peers);
    f->tcp.polls = calloc(2, sizeof *f->tcp.polls);
    assert_true(f->tcp.peers && f->tcp.polls);
    f->tcp.peers[0].fd = -1;
    f->tcp.peers[1] = (struct tcp_peer){.fd = fds[0], .rank = 1};
    f->tcp.header = (struct header){.generation = 6, .comm_id = 3};
    tcp_begin(&f->tcp, &desc, 11, deadline_ns);
}

static void tear_down(struct fixture *f)
{
    tcp_close(&f->tcp);
    segment_close(&f->segment);
    if (f->peer_fd >= 0)
        (void)close(f->peer_fd);
}

/* The header that the leader expects of its peer. */
static struct header right_header(const struct fixture *f)
{
    struct header header = f->tcp.header;
    header.part = 1;
    header.size_bytes = 4;
    return header;
}

static void peer_sends(struct fixture *f, const struct header *header, const char *payload)
{
    uint8_t bytes[HEADER_BYTES];
    header_encode(header, bytes);
    assert_int_equal(send(f->peer_fd, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(send(f->peer_fd, payload, strlen(payload), 0), strlen(payload));
}

static void a_message_goes_each_way(void **state)
{
    (void)state;
    struct fixture f;
    char got[5] = "", sent[HEADER_BYTES + 6];
    set_up(&f, soon());
    struct header header = right_header(&f), theirs;
    peer_sends(&f, &header, "abcd");
    f.parts[1] = (struct tcp_part){.send = "uvwxyz", .send_bytes = 6, .recv = got, .recv_bytes = 4};
    assert_int_equal(tcp_exchange(&f.tcp, f.parts, &f.err), 0);
    assert_string_equal(got, "abcd");
    assert_int_equal(recv(f.peer_fd, sent, sizeof sent, MSG_WAITALL), sizeof sent);
    assert_int_equal(header_decode((uint8_t *)sent, &theirs), 0);
    assert_int_equal(theirs.generation, 6);
    assert_int_equal(theirs.op_seq, 11);
    assert_int_equal(theirs.size_bytes, 6);
    assert_memory_equal(sent + HEADER_BYTES, "uvwxyz", 6);
    tear_down(&f);
}

/* An exchange with 4 bytes to receive, after the peer has sent `header` and `payload`. */
static int exchange_with(struct fixture *f, const struct header *header, const char *payload)
{
    char got[5];
    peer_sends(f, header, payload);
    f->parts[1] = (struct tcp_part){.recv = got, .recv_bytes = 4};
    return tcp_exchange(&f->tcp, f->parts, &f->err);
}

static void wrong_headers_are_told(void **state)
{
    (void)state;
    static const char *const texts[] = {"no message of ours",
                                        "no message of ours",
                                        "rank 1: broadcast f32 count 2 root 1",
                                        "op 12",
                                        "part 2",
                                        "with 5 bytes"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct fixture f;
        set_up(&f, soon());
        struct header header = right_header(&f);
        struct signature_desc other = {
            .coll = MST_COLL_BROADCAST, .dtype = MST_F32, .count = 2, .root = 1};
        header.generation += i == 0;
        header.comm_id += i == 1;
        if (i == 2) {
            header.signature = signature_of(&other);
            header.kind = signature_pack(&other);
        }
        header.op_seq += i == 3;
        header.part += i == 4;
        header.size_bytes += i == 5;
        assert_int_equal(exchange_with(&f, &header, "abcd"), -EPROTO);
        assert_non_null(strstr(f.err.text, texts[i]));
        tear_down(&f);
    }
}

static void a_failed_peer_says_why(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, soon());
    struct header header = right_header(&f);
    header.code = -ETIMEDOUT;
    header.size_bytes = 12;
    assert_int_equal(exchange_with(&f, &header, "rank 2 slept"), -ETIMEDOUT);
    assert_string_equal(f.err.text, "rank 2 slept");
    tear_down(&f);
}

static void our_failure_reaches_the_peer(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_err err;
    uint8_t bytes[HEADER_BYTES + 8];
    struct header header;
    set_up(&f, soon());
    (void)mst_err_set(&err, -EPROTO, "too bad!");
    tcp_fail(&f.tcp, &err);
    assert_int_equal(recv(f.peer_fd, bytes, sizeof bytes, MSG_WAITALL), sizeof bytes);
    assert_int_equal(header_decode(bytes, &header), 0);
    assert_int_equal(header.code, -EPROTO);
    assert_memory_equal(bytes + HEADER_BYTES, "too bad!", 8);
    assert_int_equal(recv(f.peer_fd, bytes, sizeof bytes, 0), 0);
    tear_down(&f);
}

static atomic_uint recv_count; /* other tests have a thread that receives, too */

ssize_t __real_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);

ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags)
{
    recv_count++;
    return __real_recv(fd, bytes, size, flags);
}

/* Between exchanges a failure is heard, and who has nothing to say costs nothing. */
static void only_who_has_spoken_is_read_between_exchanges(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, soon());
    recv_count = 0;
    assert_int_equal(tcp_peek(&f.tcp, &f.err), 0);
    assert_int_equal(recv_count, 0);
    struct header header = right_header(&f);
    header.code = -EPROTO;
    header.size_bytes = 8;
    peer_sends(&f, &header, "too bad!");
    assert_int_equal(tcp_peek(&f.tcp, &f.err), -EPROTO);
    assert_string_equal(f.err.text, "too bad!");
    tear_down(&f);
}

static void a_lost_peer_is_a_reset(void **state)
{
    (void)state;
    struct fixture f;
    char got[4];
    set_up(&f, soon());
    (void)close(f.peer_fd);
    f.peer_fd = -1;
    f.parts[1] = (struct tcp_part){.recv = got, .recv_bytes = 4};
    assert_int_equal(tcp_exchange(&f.tcp, f.parts, &f.err), -ECONNRESET);
    assert_string_equal(f.err.text, "lost the connection to rank 1");
    tear_down(&f);
}

static void a_silent_peer_is_named_at_the_deadline(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, mst_deadline_ms(10));
    assert_int_equal(tcp_exchange(&f.tcp, f.parts, &f.err), -ETIMEDOUT);
    assert_non_null(strstr(f.err.text, "rank 1 on node 1 (last: none)"));
    tear_down(&f);
}

static void a_peer_that_does_not_read_is_named_too(void **state)
{
    (void)state;
    static const char payload[4 << 20];
    struct fixture f;
    set_up(&f, mst_deadline_ms(10));
    struct header header = right_header(&f);
    header.size_bytes = 0;
    peer_sends(&f, &header, "");
    f.parts[1] = (struct tcp_part){.send = payload, .send_bytes = sizeof payload};
    assert_int_equal(tcp_exchange(&f.tcp, f.parts, &f.err), -ETIMEDOUT);
    assert_non_null(strstr(f.err.text, "rank 1 on node 1 (last: op 11"));
    tear_down(&f);
}

/* Bytes that come, however steadily, are no reason to look neither at the clock nor around. */
static void bytes_that_keep_coming_do_not_hide_the_deadline(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct header header = right_header(&f);
    assert_int_equal(exchange_with(&f, &header, "abcd"), -ETIMEDOUT);
    assert_non_null(strstr(f.err.text, "rank 1 on node 1 (last: op 11"));
    tear_down(&f);
}

static void bytes_that_keep_coming_do_not_hide_a_failure(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_err err;
    set_up(&f, soon());
    (void)mst_err_set(&err, -ECONNRESET, "a local rank said so");
    (void)segment_fail(&f.segment, &err);
    struct header header = right_header(&f);
    assert_int_equal(exchange_with(&f, &header, "abcd"), -ECONNRESET);
    assert_string_equal(f.err.text, "a local rank said so");
    tear_down(&f);
}

static void a_failure_of_this_node_ends_an_exchange(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_err err;
    set_up(&f, soon());
    (void)mst_err_set(&err, -ECONNRESET, "a local rank said so");
    (void)segment_fail(&f.segment, &err);
    assert_int_equal(tcp_exchange(&f.tcp, f.parts, &f.err), -ECONNRESET);
    assert_string_equal(f.err.text, "a local rank said so");
    tear_down(&f);
}

static void leaders_listen_where_the_server_is_reached(void **state)
{
    (void)state;
    struct mst_world world;
    char address[BOOT_ADDRESS_MAX];
    world_init_single(&world);
    int fd = tcp_listen(&world, address, NULL);
    assert_true(fd >= 0);
    assert_memory_equal(address, "127.0.0.1:", 10);
    (void)close(fd);
    (void)strcpy(world.kv_addr, "127.0.0.9:4000");
    fd = tcp_listen(&world, address, NULL);
    assert_true(fd >= 0);
    assert_memory_equal(address, "127.", 4);
    (void)close(fd);
    (void)strcpy(world.kv_addr, "no port");
    struct mst_err err;
    assert_true(tcp_listen(&world, address, &err) < 0);
    assert_non_null(strstr(err.text, "no port"));
}

/* ---- who may stay ---------------------------------------------------------------------------- */

static atomic_bool time_is_up;

bool __real_mst_deadline_passed(uint64_t deadline_ns);
bool __wrap_mst_deadline_passed(uint64_t deadline_ns);

bool __wrap_mst_deadline_passed(uint64_t deadline_ns)
{
    return time_is_up || __real_mst_deadline_passed(deadline_ns);
}

/* Whoever dials the leader, and runs its time out once it has its answer. */
struct dialer {
    char address[BOOT_ADDRESS_MAX];
    struct mst_auth_hello hello;
    const char *secret;
};

#define STRANGERS_MAX 100 /* more than are heard at a time */

static bool nobody_dials;
static int stranger_count;
static atomic_bool no_more_files;

int __real_mst_sock_accept(int listen_fd);
int __wrap_mst_sock_accept(int listen_fd);

int __wrap_mst_sock_accept(int listen_fd)
{
    if (!no_more_files)
        return __real_mst_sock_accept(listen_fd);
    time_is_up = true;
    return -EMFILE;
}

static void *dial_leader(void *arg)
{
    const struct dialer *dialer = arg;
    struct mst_err err = {0};
    if (nobody_dials) {
        time_is_up = true;
        return NULL;
    }
    int strangers[STRANGERS_MAX], count = stranger_count;
    for (int i = 0; i < count; i++)
        strangers[i] = mst_sock_dial(dialer->address, soon(), &err);
    int fd = mst_sock_dial(dialer->address, soon(), &err);
    if (fd < 0 || no_more_files) /* the kernel keeps the connection in its queue */
        return (void *)(intptr_t)fd;
    (void)mst_auth_dial(fd, &dialer->hello, (const uint8_t *)dialer->secret, strlen(dialer->secret),
                        soon(), &err); /* refused, as a rule */
    (void)shutdown(fd, SHUT_WR);
    char end;
    (void)mst_sock_recv_all(fd, &end, 1, soon()); /* the leader has done with it */
    for (int i = 0; i < count; i++)
        (void)close(strangers[i]);
    time_is_up = true;
    return (void *)(intptr_t)fd;
}

/* The leader of node 0 waits for rank 2, of node 1, and `dialer` comes. Its code. */
static int be_dialled(struct dialer *dialer, struct mst_err *err)
{
    struct mst_world world;
    struct segment segment;
    struct segment_place place;
    uint32_t ranks[] = {0, 2}, first[] = {0, 1, 2};
    struct boot boot = {.id = 3, .size = 3, .node_count = 2, .ranks = ranks, .first = first};
    struct tcp tcp = {.segment = &segment};
    pthread_t thread;
    world_init_single(&world);
    world.size = 3;
    world.node_count = 2;
    world.generation = 6;
    memcpy(world.secret, "ours", world.secret_bytes = 4);
    memcpy(world.job_id, "mine", 5);
    boot.peers = (struct boot_peer[3]){{.node = 0}, {.node = 0}, {.node = 1}};
    assert_int_equal(segment_create(&segment, -1, 1, &place, NULL), 0);
    int listen_fd = tcp_listen(&world, dialer->address, NULL);
    assert_true(listen_fd >= 0);
    time_is_up = false;
    assert_int_equal(pthread_create(&thread, NULL, dial_leader, dialer), 0);
    int rc = tcp_connect(&tcp, &world, &boot, listen_fd, soon(), err);
    tcp_close(&tcp);
    void *fd;
    assert_int_equal(pthread_join(thread, &fd), 0);
    if ((intptr_t)fd > 0)
        (void)close((int)(intptr_t)fd);
    time_is_up = false;
    (void)close(listen_fd);
    segment_close(&segment);
    return rc;
}

static void a_leader_lets_its_peers_in(void **state)
{
    (void)state;
    struct dialer dialer = {.hello = {MST_ROLE_RANK_COMM, 6, 2, 3}, .secret = "ours"};
    struct mst_err err = {0};
    assert_int_equal(be_dialled(&dialer, &err), 0);
    assert_string_equal(err.text, "");
}

static void who_is_turned_away_is_told_at_the_deadline(void **state)
{
    (void)state;
    static const struct {
        struct dialer dialer;
        const char *why;
    } cases[] = {
        {{.hello = {MST_ROLE_RANK_COMM, 6, 2, 3}, .secret = "theirs"},
         "a peer that says to be rank 2: it has another job secret than we"},
        {{.hello = {MST_ROLE_RANK_COMM, 5, 2, 3}, .secret = "ours"},
         "a peer that says to be rank 2: generation 5 is not ours, 6"},
        {{.hello = {MST_ROLE_RANK_COMM, 6, 2, 3, .job_id = "other"}, .secret = "ours"},
         "a peer that says to be rank 2: \"other\" dialled, but \"mine\" listens here: two jobs, "
         "one "
         "secret"},
        {{.hello = {MST_ROLE_RANK_COMM, 6, 2, 4}, .secret = "ours"},
         "rank 2 of communicator 4, whom nobody expects"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dialer dialer = cases[i].dialer;
        struct mst_err err = {0};
        char text[sizeof err.text];
        (void)snprintf(text, sizeof text,
                       "communicator 3: rank 2 on node 1 did not connect; the last try: %s",
                       cases[i].why);
        assert_int_equal(be_dialled(&dialer, &err), -ETIMEDOUT);
        assert_string_equal(err.text, text);
    }
}

/* Each of them would take as long as the deadline, one after another. */
static void silent_strangers_hold_up_nobody(void **state)
{
    (void)state;
    struct dialer dialer = {.hello = {MST_ROLE_RANK_COMM, 6, 2, 3}, .secret = "ours"};
    struct mst_err err = {0};
    stranger_count = STRANGERS_MAX;
    assert_int_equal(be_dialled(&dialer, &err), 0);
    stranger_count = 0;
    assert_string_equal(err.text, "");
}

/* The leader of node 1 dials that of node 0, whose listener is `their_fd`. */
struct dial_bench {
    struct mst_world world;
    struct segment segment;
    struct boot_peer peers[3];
    uint32_t ranks[2], first[3];
    struct boot boot;
    struct tcp tcp;
    int their_fd;
};

static void begin_dial(struct dial_bench *bench)
{
    struct segment_place place;
    *bench = (struct dial_bench){.peers = {{.node = 0}, {.node = 0}, {.node = 1}},
                                 .ranks = {0, 2},
                                 .first = {0, 1, 2},
                                 .tcp.segment = &bench->segment};
    bench->boot = (struct boot){.id = 3,
                                .size = 3,
                                .node_count = 2,
                                .peers = bench->peers,
                                .ranks = bench->ranks,
                                .first = bench->first};
    world_init_single(&bench->world);
    bench->world.size = 3;
    bench->world.rank = 2;
    bench->world.node = 1;
    bench->world.node_count = 2;
    assert_int_equal(segment_create(&bench->segment, -1, 1, &place, NULL), 0);
    bench->their_fd = tcp_listen(&bench->world, bench->peers[0].address, NULL);
    assert_true(bench->their_fd >= 0);
}

static void expect_no_dial(struct dial_bench *bench, const char *why)
{
    struct mst_err err = {0};
    assert_int_equal(tcp_connect(&bench->tcp, &bench->world, &bench->boot, -1, soon(), &err),
                     -ECONNRESET);
    assert_string_equal(err.text, why);
    tcp_close(&bench->tcp);
    segment_close(&bench->segment);
}

/* A leader that dials another, which does not answer, ends when its node gives up. */
static void a_failure_of_this_node_ends_a_dial(void **state)
{
    (void)state;
    struct dial_bench bench;
    struct mst_err why;
    begin_dial(&bench);
    (void)mst_err_set(&why, -ECONNRESET, "a local rank said so");
    (void)segment_fail(&bench.segment, &why);
    expect_no_dial(&bench, "a local rank said so");
    (void)close(bench.their_fd);
}

/* It listened before it told its address. */
static void a_leader_that_has_gone_is_told_at_once(void **state)
{
    (void)state;
    struct dial_bench bench;
    begin_dial(&bench);
    (void)close(bench.their_fd);
    expect_no_dial(&bench, "rank 0: nobody listens there any longer: its process ended");
}

/* Nobody comes, or nobody can be let in: both end by the deadline. */
static void a_leader_does_not_wait_for_ever(void **state)
{
    (void)state;
    struct dialer nobody = {.hello = {MST_ROLE_RANK_COMM, 6, 2, 3}, .secret = "ours"};
    struct mst_err err = {0};
    nobody_dials = true;
    assert_int_equal(be_dialled(&nobody, &err), -ETIMEDOUT);
    assert_string_equal(err.text, "communicator 3: rank 2 on node 1 did not connect");
    nobody_dials = false;
    no_more_files = true;
    assert_int_equal(be_dialled(&nobody, &err), -ETIMEDOUT);
    assert_string_equal(err.text, "communicator 3: rank 2 on node 1 did not connect; the last try: "
                                  "Too many open files");
    no_more_files = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_each_way),
        cmocka_unit_test(wrong_headers_are_told),
        cmocka_unit_test(a_failed_peer_says_why),
        cmocka_unit_test(our_failure_reaches_the_peer),
        cmocka_unit_test(only_who_has_spoken_is_read_between_exchanges),
        cmocka_unit_test(a_lost_peer_is_a_reset),
        cmocka_unit_test(a_silent_peer_is_named_at_the_deadline),
        cmocka_unit_test(a_peer_that_does_not_read_is_named_too),
        cmocka_unit_test(bytes_that_keep_coming_do_not_hide_the_deadline),
        cmocka_unit_test(bytes_that_keep_coming_do_not_hide_a_failure),
        cmocka_unit_test(a_failure_of_this_node_ends_an_exchange),
        cmocka_unit_test(leaders_listen_where_the_server_is_reached),
        cmocka_unit_test(a_leader_lets_its_peers_in),
        cmocka_unit_test(who_is_turned_away_is_told_at_the_deadline),
        cmocka_unit_test(silent_strangers_hold_up_nobody),
        cmocka_unit_test(a_failure_of_this_node_ends_a_dial),
        cmocka_unit_test(a_leader_that_has_gone_is_told_at_once),
        cmocka_unit_test(a_leader_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests_name("comm_tcp", tests, NULL, NULL);
}

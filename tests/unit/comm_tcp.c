/* One leader against a scripted peer: what it sends, and what it makes of what it receives. Two
 * leaders that get on are comm_conformance's. */
#include "muster/comm/tcp.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/kv/sock.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_each_way),
        cmocka_unit_test(wrong_headers_are_told),
        cmocka_unit_test(a_failed_peer_says_why),
        cmocka_unit_test(our_failure_reaches_the_peer),
        cmocka_unit_test(a_lost_peer_is_a_reset),
        cmocka_unit_test(a_silent_peer_is_named_at_the_deadline),
        cmocka_unit_test(a_peer_that_does_not_read_is_named_too),
        cmocka_unit_test(bytes_that_keep_coming_do_not_hide_the_deadline),
        cmocka_unit_test(bytes_that_keep_coming_do_not_hide_a_failure),
        cmocka_unit_test(a_failure_of_this_node_ends_an_exchange),
        cmocka_unit_test(leaders_listen_where_the_server_is_reached),
    };
    return cmocka_run_group_tests_name("comm_tcp", tests, NULL, NULL);
}

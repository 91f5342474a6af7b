#include "muster/core/kv/auth.h"
#include "soon.h"
#include "unit/auth_acceptor.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static atomic_bool nonces_are_known;

ssize_t __real_getrandom(void *buffer, size_t size_bytes, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t size_bytes, unsigned flags);

ssize_t __wrap_getrandom(void *buffer, size_t size_bytes, unsigned flags)
{
    if (!nonces_are_known)
        return __real_getrandom(buffer, size_bytes, flags);
    memset(buffer, 0x0a, size_bytes);
    return (ssize_t)size_bytes;
}

struct dialer {
    int fd;
    struct mst_auth_hello hello;
    const char *secret;
    int code;
    struct mst_err err;
    pthread_t thread;
    bool running;
};

static void *dial(void *arg)
{
    struct dialer *self = arg;
    self->code = mst_auth_dial(self->fd, &self->hello, (const uint8_t *)self->secret,
                               strlen(self->secret), soon(), &self->err);
    if (self->code)
        shutdown(self->fd, SHUT_RDWR);
    return NULL;
}

static int start_dialer(struct dialer *dialer)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    dialer->fd = pair[0];
    assert_int_equal(pthread_create(&dialer->thread, NULL, dial, dialer), 0);
    dialer->running = true;
    return pair[1];
}

static void join_dialer(struct dialer *dialer)
{
    if (dialer->running)
        assert_int_equal(pthread_join(dialer->thread, NULL), 0);
    dialer->running = false;
}

static void finish_dialer(struct dialer *dialer)
{
    join_dialer(dialer);
    close(dialer->fd);
}

/* Both ends, each in its thread. Returns the acceptor's code. */
static int shake(struct dialer *dialer, enum mst_auth_role role, uint32_t generation,
                 const char *secret, struct mst_auth_hello *ret_hello, struct mst_err *err)
{
    int fd = start_dialer(dialer);
    const struct wanted wanted = {.role = role,
                                  .generation = generation,
                                  .secret = (const uint8_t *)secret,
                                  .secret_bytes = strlen(secret)};
    int rc = accept_dialer(fd, &wanted, soon(), ret_hello, err);
    close(fd);
    finish_dialer(dialer);
    return rc;
}

static void both_ends_agree(void **state)
{
    (void)state;
    const char *over_one_block =
        "longer than the sixty-four bytes that one block of the hash takes, "
        "so that it is hashed itself";
    const char *secrets[] = {"", "short", over_one_block};
    for (size_t i = 0; i < 3; i++) {
        struct dialer dialer = {
            .hello = {MST_ROLE_RANK_COMM, 5, 1234567, 0xfedcba98, true, 0x12345678, 0x9abcdef0},
            .secret = secrets[i]};
        struct mst_auth_hello hello = {0};
        assert_int_equal(shake(&dialer, MST_ROLE_RANK_COMM, 5, secrets[i], &hello, NULL), 0);
        assert_int_equal(dialer.code, 0);
        assert_int_equal(hello.role, MST_ROLE_RANK_COMM);
        assert_int_equal(hello.generation, 5);
        assert_int_equal(hello.rank, 1234567);
        assert_int_equal(hello.tag, 0xfedcba98);
        assert_true(hello.again);
        assert_int_equal(hello.size, 0x12345678);
        assert_int_equal(hello.process, 0x9abcdef0);
    }
}

static void acceptor_without_the_secret(void **state)
{
    (void)state;
    struct dialer dialer = {.hello = {MST_ROLE_RANK_COMM, 5, 1, 0}, .secret = "ours"};
    struct mst_auth_hello hello = {.rank = 99};
    struct mst_err err = {0};
    assert_int_equal(shake(&dialer, MST_ROLE_RANK_COMM, 5, "theirs", &hello, &err), -EACCES);
    assert_string_equal(err.text,
                        "a peer that says to be rank 1: it has another job secret than we");
    assert_int_equal(hello.rank, 99);
    assert_int_equal(dialer.code, -EACCES);
    assert_non_null(strstr(dialer.err.text, "does not know our job secret"));
}

static void stale_generation(void **state)
{
    (void)state;
    struct dialer dialer = {.hello = {MST_ROLE_RANK_COMM, 4, 7, 0}, .secret = "s"};
    struct mst_err err = {0};
    struct mst_auth_hello hello;
    assert_int_equal(shake(&dialer, MST_ROLE_RANK_COMM, 5, "s", &hello, &err), -ESTALE);
    assert_string_equal(err.text, "a peer that says to be rank 7: generation 4 is not ours, 5");
    assert_int_equal(dialer.code, -ESTALE);
    assert_string_equal(dialer.err.text, "generation 4 is not ours, 5");
}

static void unwanted_role(void **state)
{
    (void)state;
    struct dialer dialer = {.hello = {MST_ROLE_RANK_KV, 5, 7, 0}, .secret = "s"};
    struct mst_auth_hello hello;
    assert_int_equal(shake(&dialer, MST_ROLE_RANK_COMM, 5, "s", &hello, NULL), -EPROTO);
    assert_int_equal(dialer.code, -EPROTO);
}

static void agents_come_from_any_generation(void **state)
{
    (void)state;
    struct dialer dialer = {.hello = {MST_ROLE_AGENT, 2, 7, 0}, .secret = "s"};
    struct mst_auth_hello hello = {.generation = 5};
    assert_int_equal(shake(&dialer, MST_ROLE_AGENT, 5, "s", &hello, NULL), 0);
    assert_int_equal(hello.generation, 2);
}

static struct mst_auth_terms terms_of(const char *secret)
{
    return (struct mst_auth_terms){.secret = (const uint8_t *)secret,
                                   .secret_bytes = strlen(secret)};
}

/* The acceptor, frame by frame, with the frames in the test's hands. */
struct bench {
    struct dialer dialer;
    int fd; /* the acceptor's end of the dialer's socket */
    struct mst_stream stream;
    int answers; /* where the acceptor's answers come out */
    struct mst_auth_acceptor acceptor;
    uint8_t type, payload[512];
    size_t size;
};

static int open_bench(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    mst_stream_init(&bench->stream, pair[0]);
    bench->answers = pair[1];
    const struct mst_auth_terms terms = terms_of("s");
    mst_auth_acceptor_init(&bench->acceptor, &terms);
    bench->dialer = (struct dialer){.hello = {MST_ROLE_RANK_KV, 1, 2, 3}, .secret = "s"};
    memcpy(bench->dialer.hello.job_id, "dialers-name", 13);
    bench->fd = start_dialer(&bench->dialer);
    *state = bench;
    return 0;
}

static int close_bench(void **state)
{
    struct bench *bench = *state;
    close(bench->fd);
    finish_dialer(&bench->dialer);
    close(bench->stream.fd);
    close(bench->answers);
    mst_stream_fini(&bench->stream);
    free(bench);
    return 0;
}

static void receive(struct bench *bench, int fd)
{
    assert_int_equal(mst_sock_recv_frame(fd, &bench->type, bench->payload, sizeof bench->payload,
                                         &bench->size, soon()),
                     0);
}

static void send_to_dialer(struct bench *bench)
{
    assert_int_equal(
        mst_sock_send_frame(bench->fd, bench->type, bench->payload, bench->size, soon()), 0);
}

static int feed(struct bench *bench, uint8_t type, const uint8_t *bytes, size_t size_bytes)
{
    return mst_auth_acceptor_step(&bench->acceptor, &bench->stream, type, bytes, size_bytes, NULL);
}

static int step(struct bench *bench)
{
    return feed(bench, bench->type, bench->payload, bench->size);
}

/* Takes the dialer's HELLO to the acceptor and its CHALLENGE back, then the PROOF is at hand. */
static void go_to_proof(struct bench *bench)
{
    receive(bench, bench->fd);
    assert_int_equal(step(bench), 0);
    receive(bench, bench->answers);
    send_to_dialer(bench);
    receive(bench, bench->fd);
}

static int count_check(void *arg, const struct mst_auth_hello *hello, struct mst_err *err)
{
    int *count = arg;
    ++*count;
    return hello->tag == 3 ? 0 : mst_err_set(err, -EINVAL, "tag");
}

static void count_into(struct bench *bench, int *count)
{
    bench->acceptor.terms.check = count_check;
    bench->acceptor.terms.arg = count;
}

static void steps_to_the_welcome(void **state)
{
    struct bench *bench = *state;
    go_to_proof(bench);
    int checks = 0;
    count_into(bench, &checks);
    assert_int_equal(step(bench), 1);
    assert_int_equal(checks, 1);
    receive(bench, bench->answers);
    assert_int_equal(bench->type, 51);
    send_to_dialer(bench);
    join_dialer(&bench->dialer);
    assert_int_equal(bench->dialer.code, 0);
}

static void every_bit_of_a_proof_counts(void **state)
{
    struct bench *bench = *state;
    go_to_proof(bench);
    int checks = 0;
    count_into(bench, &checks);
    for (size_t bit = 0; bit < 8 * bench->size; bit++) {
        bench->payload[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(step(bench), -EACCES);
        bench->payload[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(checks, 0); /* strangers are shown to nobody */
    receive(bench, bench->answers);
    send_to_dialer(bench);
    join_dialer(&bench->dialer);
    assert_int_equal(bench->dialer.code, -EACCES);
    assert_non_null(strstr(bench->dialer.err.text, "secret"));
}

/* The acceptor's own MAC does not serve as a proof: the role words differ. */
static void reflection_is_refused(void **state)
{
    struct bench *bench = *state;
    receive(bench, bench->fd);
    assert_int_equal(step(bench), 0);
    receive(bench, bench->answers);
    assert_int_equal(bench->size, 64);
    uint8_t mac[32];
    memcpy(mac, bench->payload + 32, sizeof mac);
    send_to_dialer(bench);
    receive(bench, bench->fd);
    assert_memory_not_equal(mac, bench->payload, sizeof mac);
    memcpy(bench->payload, mac, sizeof mac);
    assert_int_equal(step(bench), -EACCES);
}

static void replay_meets_a_fresh_nonce(void **state)
{
    struct bench *bench = *state;
    receive(bench, bench->fd);
    size_t hello_size = bench->size;
    uint8_t hello[512], hello_type;
    hello_type = bench->type;
    memcpy(hello, bench->payload, hello_size);
    assert_int_equal(step(bench), 0);
    receive(bench, bench->answers);
    send_to_dialer(bench);
    receive(bench, bench->fd);
    struct mst_auth_acceptor other;
    mst_auth_acceptor_init(&other, &bench->acceptor.terms);
    assert_int_equal(
        mst_auth_acceptor_step(&other, &bench->stream, hello_type, hello, hello_size, NULL), 0);
    assert_int_equal(mst_auth_acceptor_step(&other, &bench->stream, bench->type, bench->payload,
                                            bench->size, NULL),
                     -EACCES);
    assert_int_equal(step(bench), 1);
}

static void bad_frames_are_refused(void **state)
{
    struct bench *bench = *state;
    receive(bench, bench->fd);
    size_t whole = bench->size;
    for (bench->size = 0; bench->size < whole; bench->size++)
        assert_int_equal(step(bench), -EPROTO);
    bench->payload[0]++;
    struct mst_err err = {0};
    assert_int_equal(mst_auth_acceptor_step(&bench->acceptor, &bench->stream, bench->type,
                                            bench->payload, bench->size, &err),
                     -EPROTO);
    assert_string_equal(err.text, "handshake version 6 is not 5: is the same Muster installed on "
                                  "every node?");
    bench->payload[0]--;
    bench->payload[1] = MST_ROLE_COUNT;
    assert_int_equal(step(bench), -EPROTO);
    bench->payload[1] = MST_ROLE_RANK_KV;
    bench->payload[2] = 2; /* no flag of ours */
    assert_int_equal(step(bench), -EPROTO);
    bench->payload[2] = 0;
    bench->type++;
    assert_int_equal(step(bench), -EPROTO);
    bench->type--;
    assert_int_equal(step(bench), 0);
    assert_int_equal(step(bench), -EPROTO); /* HELLO again */
}

static void to_bytes(const char *hex, uint8_t bytes[32])
{
    for (size_t i = 0; i < 32; i++) {
        const char pair[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

/* What Python's hmac makes of the same bytes: builds of any version, over any library, understand
 * one another. */
static void macs_are_those_of_any_hmac(void **state)
{
    struct bench *bench = *state;
    char over_two_blocks[132];
    memset(over_two_blocks, 'x', sizeof over_two_blocks - 1);
    over_two_blocks[sizeof over_two_blocks - 1] = '\0';
    const struct {
        const char *secret, *challenge, *proof, *welcome;
    } cases[] = {
        {"", "64d44416c490829d3ea86a9bd713064f5c67dd35cc60532b892b9a055d1251c6",
         "d50d492899240cce9dbd7aab73c8781d27e8b1b91d77718a5cc70a44b414b4e5",
         "a126c63a383a714946b7a85e0201e6676c85bae6ccd54d80f9e010f03740a89d"},
        {"Jefe", "5346b145b82f101cfa0d155b1b05feee8d45b105238541c7dbb6ea29406355b9",
         "60328ed103d46ab8ca8d0b82582e5259988fa10a93ad66ecd53d377947d43dda",
         "a6fd36c8d6d959fc76eaa18f59fcd479dda869ad3313eb33b122b86bb16fe058"},
        {over_two_blocks, "f3281078108dc5beb906378636ef7f05d7a72871a1a2722f0b3ff14f57717056",
         "9e7a30d15c0a0a5ae6ee38fd606006aaf1d58f7ac5c6585f92e8ec19aee6f45e",
         "48edf9935188f00d1fdbe37cd233252fd6300bfac207369d635851507adca3cf"},
    };
    uint8_t hello[56] = {5, MST_ROLE_RANK_COMM, 1, 0, 5, 0, 0, 0, 7, 0, 0, 0, 9}, mac[32];
    uint8_t proof[32 + 8 + MST_JOB_ID_BYTES] = {0};
    memset(hello + 16, 0x5e, 8);
    memset(hello + 24, 0x0d, 32);
    memcpy(proof + 40, "job-7", 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mst_auth_terms terms = terms_of(cases[i].secret);
        terms.job_id = "job-7";
        terms.job_nonce = UINT64_C(0x0102030405060708);
        mst_auth_acceptor_init(&bench->acceptor, &terms);
        nonces_are_known = true;
        assert_int_equal(feed(bench, 48, hello, sizeof hello), 0);
        nonces_are_known = false;
        receive(bench, bench->answers);
        to_bytes(cases[i].challenge, mac);
        assert_memory_equal(bench->payload + 32, mac, sizeof mac);
        to_bytes(cases[i].proof, proof);
        assert_int_equal(feed(bench, 50, proof, sizeof proof), 1);
        receive(bench, bench->answers);
        to_bytes(cases[i].welcome, mac);
        assert_memory_equal(bench->payload, mac, sizeof mac);
        assert_memory_equal(bench->payload + 32, "\x08\7\6\5\4\3\2\1job-7", 14);
    }
}

static int dial_against(uint8_t type, const void *payload, size_t size_bytes, struct mst_err *err)
{
    struct dialer dialer = {.hello = {MST_ROLE_RANK_KV, 1, 2, 3}, .secret = "s"};
    int fd = start_dialer(&dialer);
    int sent = mst_sock_send_frame(fd, type, payload, size_bytes, soon());
    finish_dialer(&dialer);
    close(fd);
    /* a dialer that the header told enough is gone before the payload */
    assert_true(sent == 0 || sent == -ECONNRESET);
    *err = dialer.err;
    return dialer.code;
}

static void dialer_survives_bad_answers(void **state)
{
    (void)state;
    static const uint8_t zeros[1024];
    const uint8_t refuse = 52;
    struct mst_err err;
    assert_int_equal(dial_against(refuse, "\x74\0\0\0two\nlines\x80", 14, &err), -EPROTO);
    assert_string_equal(err.text, "two?lines?");
    assert_int_equal(dial_against(refuse, zeros, 3, &err), -EPROTO);
    assert_int_equal(dial_against(refuse, zeros, 4, &err), -EPROTO);
    assert_int_equal(dial_against(refuse, zeros, 1024, &err), -EPROTO);
    assert_int_equal(dial_against(49, zeros, 64, &err), -EACCES);
    assert_int_equal(dial_against(49, zeros, 63, &err), -EPROTO);
    assert_int_equal(dial_against(51, zeros, 0, &err), -EPROTO);
}

/* A dialer that is of `theirs` at an acceptor of `ours`: what both are told. */
static int meet(struct mst_auth_hello theirs, struct mst_auth_hello ours, struct mst_err *ret_told,
                struct mst_err *ret_said)
{
    struct dialer dialer = {.hello = theirs, .secret = "s"};
    struct mst_auth_hello hello = {0};
    int fd = start_dialer(&dialer);
    const struct wanted wanted = {.secret = (const uint8_t *)"s",
                                  .secret_bytes = 1,
                                  .job_id = ours.job_id,
                                  .job_nonce = ours.job_nonce};
    *ret_said = (struct mst_err){0};
    int rc = accept_dialer(fd, &wanted, soon(), &hello, ret_said);
    close(fd);
    finish_dialer(&dialer);
    *ret_told = dialer.err;
    assert_int_equal(dialer.code, rc);
    if (rc == 0) {
        assert_string_equal(hello.job_id, theirs.job_id);
        assert_int_equal(hello.job_nonce, theirs.job_nonce);
    }
    return rc;
}

static void jobs_do_not_mix(void **state)
{
    (void)state;
    const struct {
        struct mst_auth_hello theirs, ours;
        int code;
    } cases[] = {
        {{.job_id = "a"}, {.job_id = "a"}, 0},
        {{.job_id = ""}, {.job_id = ""}, 0},
        {{.job_id = "a"}, {.job_id = ""}, 0},
        {{.job_id = ""}, {.job_id = "a"}, 0},
        {{.job_id = "a"}, {.job_id = "b"}, -EACCES},
        {{.job_id = "a"}, {.job_id = "a/1"}, -EACCES},
        {{.job_id = "a", .job_nonce = 7}, {.job_id = "b"}, -EACCES},
        {{.job_id = "a", .job_nonce = 7}, {.job_id = "b", .job_nonce = 8}, -EACCES},
        {{.job_id = "a", .job_nonce = 7}, {.job_id = "a"}, 0},
        {{.job_id = "a", .job_nonce = 7}, {.job_id = "a", .job_nonce = 8}, -ESTALE},
        {{.job_id = "a", .job_nonce = 7}, {.job_nonce = 8}, -ESTALE},
        {{.job_nonce = 7}, {.job_nonce = 8}, -ESTALE},
        {{.job_nonce = 7}, {.job_nonce = 7}, 0},
        {{.job_id = "a", .job_nonce = 7}, {.job_id = "a/1", .job_nonce = 7}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mst_err told, said;
        assert_int_equal(meet(cases[i].theirs, cases[i].ours, &told, &said), cases[i].code);
        assert_int_equal(told.text[0] != 0, cases[i].code != 0);
        assert_int_equal(said.text[0] != 0, cases[i].code != 0);
    }
}

static void both_sides_are_told_both_names(void **state)
{
    (void)state;
    struct mst_auth_hello ours = {.job_id = "trainer"}, theirs = {.job_id = "evaluator"};
    struct mst_err told, said;
    assert_int_equal(meet(theirs, ours, &told, &said), -EACCES);
    assert_string_equal(told.text, "\"evaluator\" dialled, but \"trainer\" listens here: two jobs, "
                                   "one secret");
    assert_non_null(strstr(said.text, told.text));
    ours.job_nonce = 0xab;
    theirs = (struct mst_auth_hello){.job_nonce = 0xcd};
    assert_int_equal(meet(theirs, ours, &told, &said), -ESTALE);
    assert_string_equal(told.text,
                        "another start of the job trainer: 00000000000000cd dialled, but "
                        "00000000000000ab listens here");
    assert_non_null(strstr(said.text, told.text));
    memset(ours.job_id, 'x', sizeof ours.job_id - 1);
    memset(theirs.job_id, 'y', sizeof theirs.job_id - 1);
    ours.job_id[sizeof ours.job_id - 2] = '1';
    theirs.job_id[sizeof theirs.job_id - 2] = '2';
    assert_int_equal(meet(theirs, ours, &told, &said), -EACCES);
    assert_non_null(strstr(told.text, "y2\" dialled"));
    assert_non_null(strstr(told.text, "x1\" listens here: two jobs, one secret"));
}

/* What is no printable id is one of ours all the same, and is told as such. */
static void odd_bytes_of_an_id_are_not_sent(void **state)
{
    (void)state;
    struct mst_auth_hello ours = {.job_id = "a\nb"}, theirs = {.job_id = "a\nb"};
    struct dialer dialer = {.hello = theirs, .secret = "s"};
    struct mst_auth_hello hello;
    int fd = start_dialer(&dialer);
    const struct wanted wanted = {
        .secret = (const uint8_t *)"s", .secret_bytes = 1, .job_id = ours.job_id};
    assert_int_equal(accept_dialer(fd, &wanted, soon(), &hello, NULL), 0);
    close(fd);
    finish_dialer(&dialer);
    assert_int_equal(dialer.code, 0);
    assert_string_equal(hello.job_id, "a?b");
}

static bool contains(const uint8_t *bytes, size_t size_bytes, const char *text)
{
    return memmem(bytes, size_bytes, text, strlen(text)) != NULL;
}

/* Neither side's id is on the wire before the other has proved itself. */
static void a_stranger_learns_no_name(void **state)
{
    struct bench *bench = *state;
    bench->acceptor.terms.job_id = "secret-name";
    receive(bench, bench->fd);
    assert_false(contains(bench->payload, bench->size, "dialers-name"));
    assert_int_equal(step(bench), 0);
    receive(bench, bench->answers);
    assert_false(contains(bench->payload, bench->size, "secret-name"));
    uint8_t challenge[64];
    memcpy(challenge, bench->payload, sizeof challenge);
    uint8_t proof[32 + 8 + MST_JOB_ID_BYTES] = {0};
    struct mst_auth_acceptor fresh = bench->acceptor;
    assert_int_equal(feed(bench, 50, proof, sizeof proof), -EACCES);
    receive(bench, bench->answers);
    assert_false(contains(bench->payload, bench->size, "secret-name"));
    bench->acceptor = fresh;
    bench->type = 49;
    bench->size = sizeof challenge;
    memcpy(bench->payload, challenge, sizeof challenge);
    bench->payload[63] ^= 1;
    send_to_dialer(bench);
    receive(bench, bench->fd);
    assert_int_equal(bench->type, 52);
    assert_false(contains(bench->payload, bench->size, "dialers-name"));
    struct mst_err err = {0};
    assert_int_equal(mst_auth_acceptor_step(&bench->acceptor, &bench->stream, bench->type,
                                            bench->payload, bench->size, &err),
                     -EACCES);
    assert_string_equal(err.text, "it has another job secret than we");
}

/* Anybody who listens where we dial could end the job by the right code. */
static void a_stranger_cannot_refuse_for_good(void **state)
{
    struct bench *bench = *state;
    static const uint8_t refusal[] = {ESTALE, 0, 0, 0, 'o', 'v', 'e', 'r'};
    receive(bench, bench->fd);
    bench->type = 52;
    bench->size = sizeof refusal;
    memcpy(bench->payload, refusal, sizeof refusal);
    send_to_dialer(bench);
    join_dialer(&bench->dialer);
    assert_int_equal(bench->dialer.code, -EPROTO);
    assert_string_equal(bench->dialer.err.text, "over");
}

/* A refusal with the MAC that an acceptor with the secret "s" would put before it. */
static void make_refusal(struct bench *bench, const void *said, size_t said_bytes)
{
    const struct mst_auth_transcript *transcript = &bench->acceptor.transcript;
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, (const uint8_t *)"s", 1);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)"refuse\0", 8);
    crypto_auth_hmacsha256_update(&state, transcript->hello, sizeof transcript->hello);
    crypto_auth_hmacsha256_update(&state, transcript->nonce, sizeof transcript->nonce);
    crypto_auth_hmacsha256_update(&state, said, said_bytes);
    crypto_auth_hmacsha256_final(&state, bench->payload);
    memcpy(bench->payload + 32, said, said_bytes);
    bench->type = 52;
    bench->size = 32 + said_bytes;
}

static void the_code_of_a_refusal_counts_after_the_proof(void **state)
{
    static const struct {
        uint8_t said[8];
        int meant;
    } cases[] = {{{ESTALE, 0, 0, 0, 'o', 'v', 'e', 'r'}, -ESTALE},
                 {{0, 0, 0, 0, 'o', 'v', 'e', 'r'}, -EACCES}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench *bench = *state;
        go_to_proof(bench);
        make_refusal(bench, cases[i].said, sizeof cases[i].said);
        send_to_dialer(bench);
        join_dialer(&bench->dialer);
        assert_int_equal(bench->dialer.code, cases[i].meant);
        assert_string_equal(bench->dialer.err.text, "over");
        close_bench(state);
        open_bench(state);
    }
}

/* Whoever writes on the wire may have seen a proof go by: without the secret he makes no refusal
 * of it, nor another one of that which comes. */
static void every_bit_of_a_refusal_counts(void **state)
{
    static const uint8_t said[] = {ESTALE, 0, 0, 0, 'o', 'v', 'e', 'r'};
    for (size_t bit = 0; bit < 8 * (32 + sizeof said); bit++) {
        struct bench *bench = *state;
        go_to_proof(bench);
        make_refusal(bench, said, sizeof said);
        bench->payload[bit / 8] ^= (uint8_t)(1U << bit % 8);
        send_to_dialer(bench);
        join_dialer(&bench->dialer);
        assert_int_equal(bench->dialer.code, -EPROTO);
        close_bench(state);
        open_bench(state);
    }
}

static void a_refusal_without_a_mac_does_not_count(void **state)
{
    static const uint8_t refusal[40] = {ESTALE, 0, 0, 0, 'o', 'v', 'e', 'r'};
    for (size_t size = 0; size <= sizeof refusal; size += 4) {
        struct bench *bench = *state;
        go_to_proof(bench);
        bench->type = 52;
        bench->size = size;
        memcpy(bench->payload, refusal, size);
        send_to_dialer(bench);
        join_dialer(&bench->dialer);
        assert_int_equal(bench->dialer.code, -EPROTO);
        close_bench(state);
        open_bench(state);
    }
}

static int refuse_stale(void *arg, const struct mst_auth_hello *hello, struct mst_err *err)
{
    (void)arg;
    return mst_err_set(err, -ESTALE, "rank %u is late", hello->rank);
}

static void an_acceptor_signs_what_it_refuses(void **state)
{
    struct bench *bench = *state;
    go_to_proof(bench);
    bench->acceptor.terms.check = refuse_stale;
    assert_int_equal(step(bench), -ESTALE);
    receive(bench, bench->answers);
    send_to_dialer(bench);
    join_dialer(&bench->dialer);
    assert_int_equal(bench->dialer.code, -ESTALE);
    assert_string_equal(bench->dialer.err.text, "rank 2 is late");
}

/* Who changes a name on its way spoils the proof. */
static void every_bit_of_a_name_counts(void **state)
{
    struct bench *bench = *state;
    go_to_proof(bench);
    assert_int_equal(bench->size, 32 + 8 + MST_JOB_ID_BYTES);
    assert_true(contains(bench->payload, bench->size, "dialers-name"));
    assert_int_equal(step(bench), 1);
    receive(bench, bench->answers);
    bench->payload[32 + 8] ^= 1;
    send_to_dialer(bench);
    join_dialer(&bench->dialer);
    assert_int_equal(bench->dialer.code, -EACCES);
}

static void silence_ends_at_the_deadline(void **state)
{
    (void)state;
    struct mst_auth_hello hello = {.role = MST_ROLE_RANK_KV, .generation = 1, .rank = 2};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    struct mst_err err = {0};
    assert_int_equal(mst_auth_dial(pair[0], &hello, NULL, 0, mst_deadline_ms(5), &err), -ETIMEDOUT);
    assert_true(err.text[0]);
    const struct wanted wanted = {.role = MST_ROLE_RANK_KV, .generation = 1};
    assert_int_equal(accept_dialer(pair[0], &wanted, mst_deadline_ms(5), &hello, &err), -ETIMEDOUT);
    close(pair[1]);
    assert_int_equal(accept_dialer(pair[0], &wanted, soon(), &hello, &err), -ECONNRESET);
    assert_int_equal(mst_auth_dial(pair[0], &hello, NULL, 0, soon(), &err), -ECONNRESET);
    close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_agree),
        cmocka_unit_test(acceptor_without_the_secret),
        cmocka_unit_test(stale_generation),
        cmocka_unit_test(unwanted_role),
        cmocka_unit_test(agents_come_from_any_generation),
        cmocka_unit_test_setup_teardown(steps_to_the_welcome, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(every_bit_of_a_proof_counts, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(reflection_is_refused, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(replay_meets_a_fresh_nonce, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(bad_frames_are_refused, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(macs_are_those_of_any_hmac, open_bench, close_bench),
        cmocka_unit_test(dialer_survives_bad_answers),
        cmocka_unit_test(silence_ends_at_the_deadline),
        cmocka_unit_test(jobs_do_not_mix),
        cmocka_unit_test(both_sides_are_told_both_names),
        cmocka_unit_test(odd_bytes_of_an_id_are_not_sent),
        cmocka_unit_test_setup_teardown(a_stranger_learns_no_name, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(a_stranger_cannot_refuse_for_good, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(the_code_of_a_refusal_counts_after_the_proof, open_bench,
                                        close_bench),
        cmocka_unit_test_setup_teardown(every_bit_of_a_refusal_counts, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(a_refusal_without_a_mac_does_not_count, open_bench,
                                        close_bench),
        cmocka_unit_test_setup_teardown(an_acceptor_signs_what_it_refuses, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(every_bit_of_a_name_counts, open_bench, close_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

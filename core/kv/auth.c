#include "muster/core/kv/auth.h"

#include "muster/core/bytes.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <sys/random.h>

#define AUTH_VERSION 1
#define NONCE_BYTES 32
#define MAC_BYTES 32
#define WORD_BYTES 8 /* a role word, zero-padded */
#define HELLO_BYTES (16 + NONCE_BYTES)
#define CHALLENGE_BYTES (NONCE_BYTES + MAC_BYTES)
#define REFUSE_BYTES_MAX (4 + sizeof((struct mst_err *)0)->text)

enum auth_frame {
    AUTH_HELLO = 48,
    AUTH_CHALLENGE,
    AUTH_PROOF,
    AUTH_WELCOME,
    AUTH_REFUSE,
};

static const char acceptor_word[WORD_BYTES] = "acceptor";
static const char dialer_word[WORD_BYTES] = "dialer";

static int random_bytes(uint8_t *bytes, size_t size_bytes)
{
    /* Up to 256 bytes come whole or not at all. */
    return getrandom(bytes, size_bytes, 0) == (ssize_t)size_bytes ? 0 : -EIO;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* HMAC-SHA-256 over word, hello and the acceptor's nonce. */
static void make_mac(const char word[WORD_BYTES], const uint8_t hello[HELLO_BYTES],
                     const uint8_t nonce[NONCE_BYTES], const uint8_t *secret, size_t secret_bytes,
                     uint8_t mac[MAC_BYTES])
{
    const uint8_t *key = secret_bytes > 0 ? secret : (const uint8_t *)"";
    crypto_auth_hmacsha256_state state;
    /* These three cannot fail: they have an int because all of libsodium's do. */
    (void)crypto_auth_hmacsha256_init(&state, key, secret_bytes);
    (void)crypto_auth_hmacsha256_update(&state, (const uint8_t *)word, WORD_BYTES);
    (void)crypto_auth_hmacsha256_update(&state, hello, HELLO_BYTES);
    (void)crypto_auth_hmacsha256_update(&state, nonce, NONCE_BYTES);
    (void)crypto_auth_hmacsha256_final(&state, mac);
    explicit_bzero(&state, sizeof state);
}

static bool is_mac(const char word[WORD_BYTES], const uint8_t hello[HELLO_BYTES],
                   const uint8_t nonce[NONCE_BYTES], const uint8_t *secret, size_t secret_bytes,
                   const uint8_t mac[MAC_BYTES])
{
    uint8_t ours[MAC_BYTES];
    make_mac(word, hello, nonce, secret, secret_bytes, ours);
    return sodium_memcmp(ours, mac, MAC_BYTES) == 0;
}

static void encode_hello(uint8_t bytes[HELLO_BYTES], const struct mst_auth_hello *hello)
{
    bytes[0] = AUTH_VERSION;
    bytes[1] = (uint8_t)hello->role;
    mst_put_le16(bytes + 2, 0);
    mst_put_le32(bytes + 4, hello->generation);
    mst_put_le32(bytes + 8, hello->rank);
    mst_put_le32(bytes + 12, hello->tag);
}

static int decode_hello(const uint8_t *bytes, size_t size_bytes, struct mst_auth_hello *ret_hello,
                        struct mst_err *err)
{
    if (size_bytes < 1 || bytes[0] != AUTH_VERSION)
        return mst_err_set(err, -EPROTO,
                           "handshake version %u is not %u: is the same Muster "
                           "installed on every node?",
                           size_bytes < 1 ? 0U : bytes[0], (unsigned)AUTH_VERSION);
    if (size_bytes != HELLO_BYTES || bytes[1] >= MST_ROLE_COUNT || mst_get_le16(bytes + 2) != 0)
        return mst_err_set(err, -EPROTO, "malformed HELLO of %zu bytes", size_bytes);
    *ret_hello = (struct mst_auth_hello){.role = (enum mst_auth_role)bytes[1],
                                         .generation = mst_get_le32(bytes + 4),
                                         .rank = mst_get_le32(bytes + 8),
                                         .tag = mst_get_le32(bytes + 12)};
    return 0;
}

/* ---- dialer ---------------------------------------------------------------------------------- */

/* What the acceptor's REFUSE says. The peer may be anyone: only printable text is passed on. */
static int read_refusal(const uint8_t *payload, size_t size_bytes, struct mst_err *err)
{
    if (size_bytes < 4 || size_bytes > REFUSE_BYTES_MAX)
        return mst_err_set(err, -EPROTO, "the acceptor refused us in a malformed frame");
    uint32_t error = mst_get_le32(payload);
    char text[sizeof err->text];
    size_t text_bytes = mst_least(size_bytes - 4, sizeof text - 1);
    for (size_t i = 0; i < text_bytes; i++) {
        uint8_t byte = payload[4 + i];
        text[i] = (char)(byte >= 0x20 && byte <= 0x7e ? byte : '?');
    }
    text[text_bytes] = '\0';
    if (error == 0 || error > MST_ERRNO_MAX)
        error = EACCES;
    return mst_err_set(err, -(int)error, "%s", text);
}

/* Receives the one frame that may come now, of exactly `size_bytes`, or the acceptor's refusal. */
static int expect_frame(int fd, enum auth_frame type, uint8_t *payload, size_t size_bytes,
                        uint64_t deadline_ns, struct mst_err *err)
{
    uint8_t bytes[REFUSE_BYTES_MAX], got_type;
    size_t got_bytes;
    int rc = mst_sock_recv_frame(fd, &got_type, bytes, sizeof bytes, &got_bytes, deadline_ns);
    if (rc == -EBADMSG || rc == -ENOSPC)
        return mst_err_set(err, -EPROTO, "the acceptor's answer is no handshake frame");
    if (rc)
        return mst_err_set(err, rc, "no answer in the handshake: %s", mst_err_meaning(rc));
    if (got_type == AUTH_REFUSE)
        return read_refusal(bytes, got_bytes, err);
    if (got_type != type || got_bytes != size_bytes)
        return mst_err_set(err, -EPROTO, "frame type %u of %zu bytes in the handshake, not %u",
                           got_type, got_bytes, (unsigned)type);
    if (size_bytes > 0)
        memcpy(payload, bytes, size_bytes);
    return 0;
}

static int send_step(int fd, enum auth_frame type, const uint8_t *payload, size_t size_bytes,
                     uint64_t deadline_ns, struct mst_err *err)
{
    int rc = mst_sock_send_frame(fd, (uint8_t)type, payload, size_bytes, deadline_ns);
    if (rc)
        return mst_err_set(err, rc, "handshake not sent: %s", mst_err_meaning(rc));
    return 0;
}

int mst_auth_dial(int fd, const struct mst_auth_hello *hello, const uint8_t *secret,
                  size_t secret_bytes, uint64_t deadline_ns, struct mst_err *err)
{
    uint8_t hello_bytes[HELLO_BYTES], challenge[CHALLENGE_BYTES], proof[MAC_BYTES];
    encode_hello(hello_bytes, hello);
    if (random_bytes(hello_bytes + HELLO_BYTES - NONCE_BYTES, NONCE_BYTES))
        return mst_err_set(err, -EIO, "no random bytes for the handshake");
    int rc = send_step(fd, AUTH_HELLO, hello_bytes, sizeof hello_bytes, deadline_ns, err);
    if (rc == 0)
        rc = expect_frame(fd, AUTH_CHALLENGE, challenge, sizeof challenge, deadline_ns, err);
    if (rc)
        return rc;
    if (!is_mac(acceptor_word, hello_bytes, challenge, secret, secret_bytes,
                challenge + NONCE_BYTES))
        return mst_err_set(err, -EACCES,
                           "the acceptor does not know our job secret: is it of another job?");
    make_mac(dialer_word, hello_bytes, challenge, secret, secret_bytes, proof);
    rc = send_step(fd, AUTH_PROOF, proof, sizeof proof, deadline_ns, err);
    if (rc)
        return rc;
    return expect_frame(fd, AUTH_WELCOME, NULL, 0, deadline_ns, err);
}

/* ---- acceptor -------------------------------------------------------------------------------- */

void mst_auth_acceptor_init(struct mst_auth_acceptor *acceptor, const struct mst_auth_terms *terms)
{
    *acceptor = (struct mst_auth_acceptor){.terms = *terms};
}

/* Queues REFUSE with the error's code and text. Returns the code. */
static int refuse(struct mst_stream *stream, const struct mst_err *err)
{
    size_t text_bytes = strnlen(err->text, sizeof err->text);
    uint8_t payload[REFUSE_BYTES_MAX];
    mst_put_le32(payload, (uint32_t)-err->code);
    memcpy(payload + 4, err->text, text_bytes);
    /* A peer that cannot be told is dropped by the caller all the same. */
    (void)mst_stream_put(stream, AUTH_REFUSE, payload, 4 + text_bytes);
    return err->code;
}

static int challenge_dialer(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                            const uint8_t *payload, size_t size_bytes)
{
    struct mst_err err = {0};
    if (decode_hello(payload, size_bytes, &acceptor->hello, &err))
        return refuse(stream, &err);
    if (random_bytes(acceptor->nonce, NONCE_BYTES))
        return -EIO;
    memcpy(acceptor->hello_bytes, payload, size_bytes);
    uint8_t challenge[CHALLENGE_BYTES];
    memcpy(challenge, acceptor->nonce, NONCE_BYTES);
    make_mac(acceptor_word, acceptor->hello_bytes, acceptor->nonce, acceptor->terms.secret,
             acceptor->terms.secret_bytes, challenge + NONCE_BYTES);
    acceptor->challenged = true;
    return mst_stream_put(stream, AUTH_CHALLENGE, challenge, sizeof challenge);
}

static int judge_proof(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                       const uint8_t *payload)
{
    const struct mst_auth_terms *terms = &acceptor->terms;
    struct mst_err err = {0};
    int rc = 0;
    if (!is_mac(dialer_word, acceptor->hello_bytes, acceptor->nonce, terms->secret,
                terms->secret_bytes, payload))
        rc = mst_err_set(&err, -EACCES,
                         "the proof is wrong: it was not made with this job's secret");
    else if (terms->check)
        rc = terms->check(terms->arg, &acceptor->hello, &err);
    if (rc) {
        err.code = rc;
        return refuse(stream, &err);
    }
    rc = mst_stream_put(stream, AUTH_WELCOME, NULL, 0);
    return rc ? rc : 1;
}

int mst_auth_acceptor_step(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                           uint8_t type, const uint8_t *payload, size_t size_bytes)
{
    static_assert(sizeof acceptor->hello_bytes == HELLO_BYTES, "a HELLO is copied whole");
    if (type == AUTH_HELLO && !acceptor->challenged)
        return challenge_dialer(acceptor, stream, payload, size_bytes);
    if (type == AUTH_PROOF && acceptor->challenged && size_bytes == MAC_BYTES)
        return judge_proof(acceptor, stream, payload);
    struct mst_err err = {0};
    (void)mst_err_set(&err, -EPROTO, /* refuse returns it */
                      "frame type %u of %zu bytes is not the next one of the handshake", type,
                      size_bytes);
    return refuse(stream, &err);
}

/* ---- acceptor that blocks -------------------------------------------------------------------- */

struct expected_peer {
    const struct mst_auth_wanted *wanted;
    struct mst_err why; /* the acceptor's own copy of the text */
};

static int check_peer(void *arg, const struct mst_auth_hello *hello, struct mst_err *err)
{
    struct expected_peer *expected = arg;
    const struct mst_auth_wanted *wanted = expected->wanted;
    int rc = 0;
    if (hello->role != wanted->role)
        rc = mst_err_set(err, -EPROTO, "role %u is not wanted here, but %u", hello->role,
                         wanted->role);
    else if (hello->role != MST_ROLE_AGENT && hello->generation != wanted->generation)
        rc = mst_err_set(err, -ESTALE, "generation %" PRIu32 " is not ours, %" PRIu32,
                         hello->generation, wanted->generation);
    if (rc)
        (void)mst_err_set(&expected->why, rc, /* it returns rc */
                          "rank %" PRIu32 " refused: %s", hello->rank, err->text);
    return rc;
}

/* Writes all that is queued. 0; -ETIMEDOUT; -ECONNRESET. */
static int flush(struct mst_stream *stream, uint64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = stream->fd, .events = POLLOUT};
    while (mst_stream_pending(stream) > 0) {
        if (poll(&pollfd, 1, mst_deadline_left_ms(deadline_ns)) == 0)
            return -ETIMEDOUT;
        int rc = mst_stream_write(stream);
        if (rc)
            return rc;
    }
    return 0;
}

/* Reads frame by frame, so that no byte behind the handshake is taken from the socket. */
static int accept_steps(struct mst_stream *stream, struct mst_auth_acceptor *acceptor,
                        uint64_t deadline_ns)
{
    for (;;) {
        uint8_t type, payload[HELLO_BYTES];
        size_t size_bytes;
        int rc = mst_sock_recv_frame(stream->fd, &type, payload, sizeof payload, &size_bytes,
                                     deadline_ns);
        if (rc)
            return rc == -EBADMSG || rc == -ENOSPC ? -EPROTO : rc;
        rc = mst_auth_acceptor_step(acceptor, stream, type, payload, size_bytes);
        int flushed = flush(stream, deadline_ns);
        if (rc < 0)
            return rc;
        if (flushed)
            return flushed;
        if (rc == 1)
            return 0;
    }
}

static int accept_failed(int rc, const struct mst_err *why,
                         const struct mst_auth_acceptor *acceptor, struct mst_err *err)
{
    uint32_t rank = acceptor->hello.rank;
    if (why->code)
        return mst_err_set(err, rc, "%s", why->text);
    if (rc == -EACCES)
        return mst_err_set(
            err, rc, "a peer that says to be rank %" PRIu32 " does not know the job secret", rank);
    if (rc == -ECONNRESET && acceptor->challenged)
        return mst_err_set(err, rc,
                           "a peer that says to be rank %" PRIu32 " hung up when it saw our proof: "
                           "has it another job's secret?",
                           rank);
    return mst_err_set(err, rc, "handshake not finished: %s", mst_err_meaning(rc));
}

int mst_auth_accept(int fd, const struct mst_auth_wanted *wanted, uint64_t deadline_ns,
                    struct mst_auth_hello *ret_hello, struct mst_err *err)
{
    struct expected_peer expected = {.wanted = wanted};
    struct mst_auth_acceptor acceptor;
    mst_auth_acceptor_init(&acceptor, &(struct mst_auth_terms){.secret = wanted->secret,
                                                               .secret_bytes = wanted->secret_bytes,
                                                               .check = check_peer,
                                                               .arg = &expected});
    struct mst_stream stream;
    mst_stream_init(&stream, fd);
    int rc = accept_steps(&stream, &acceptor, deadline_ns);
    mst_stream_fini(&stream);
    if (rc)
        return accept_failed(rc, &expected.why, &acceptor, err);
    *ret_hello = acceptor.hello;
    return 0;
}

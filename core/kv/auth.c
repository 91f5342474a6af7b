#include "muster/core/kv/auth.h"

#include "muster/core/bytes.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"
#include "muster/core/span.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <sys/random.h>

/* Rises with every change to what follows, the calls and messages behind the handshake included:
 * two builds that would misunderstand one another refuse one another here. */
#define AUTH_VERSION 5
#define AGAIN 1 /* the hello's only flag */
#define NONCE_BYTES sizeof((struct mst_auth_transcript *)0)->nonce
#define MAC_BYTES 32
#define WORD_BYTES 8 /* a role word, zero-padded */
#define HELLO_BYTES sizeof((struct mst_auth_transcript *)0)->hello
#define JOB_BYTES sizeof((struct mst_auth_transcript *)0)->dialer_job
#define CHALLENGE_BYTES (NONCE_BYTES + MAC_BYTES)
#define PROOF_BYTES (MAC_BYTES + JOB_BYTES) /* WELCOME's, too */
#define REFUSE_BYTES_MAX (MAC_BYTES + 4 + sizeof((struct mst_err *)0)->text)
#define NAME_BYTES_MAX 72 /* of an id in a text: two of them fit */

enum auth_frame {
    AUTH_HELLO = 48,
    AUTH_CHALLENGE,
    AUTH_PROOF,
    AUTH_WELCOME,
    AUTH_REFUSE,
};

/* What a MAC says, and how much of the transcript it covers; of a refusal also code and text. */
struct statement {
    char word[WORD_BYTES];
    size_t size_bytes;
};

static const struct statement challenge_says = {"acceptor", HELLO_BYTES + NONCE_BYTES};
static const struct statement proof_says = {"dialer", HELLO_BYTES + NONCE_BYTES + JOB_BYTES};
static const struct statement welcome_says = {"welcome", sizeof(struct mst_auth_transcript)};
static const struct statement refuse_says = {"refuse", HELLO_BYTES + NONCE_BYTES};

struct key {
    const uint8_t *secret;
    size_t secret_bytes;
};

static int random_bytes(uint8_t *bytes, size_t size_bytes)
{
    /* Up to 256 bytes come whole or not at all. */
    return getrandom(bytes, size_bytes, 0) == (ssize_t)size_bytes ? 0 : -EIO;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void make_mac_over(const struct statement *says,
                          const struct mst_auth_transcript *transcript,
                          const struct mst_cspan *rest, const struct key *key,
                          uint8_t mac[MAC_BYTES])
{
    static_assert(sizeof *transcript == HELLO_BYTES + NONCE_BYTES + 2 * JOB_BYTES, "no holes");
    const uint8_t *secret = key->secret_bytes > 0 ? key->secret : (const uint8_t *)"";
    crypto_auth_hmacsha256_state state;
    /* These cannot fail: they have an int because all of libsodium's do. */
    (void)crypto_auth_hmacsha256_init(&state, secret, key->secret_bytes);
    (void)crypto_auth_hmacsha256_update(&state, (const uint8_t *)says->word, WORD_BYTES);
    (void)crypto_auth_hmacsha256_update(&state, (const uint8_t *)transcript, says->size_bytes);
    (void)crypto_auth_hmacsha256_update(&state, rest->data, rest->size_bytes);
    (void)crypto_auth_hmacsha256_final(&state, mac);
    explicit_bzero(&state, sizeof state);
}

static void make_mac(const struct statement *says, const struct mst_auth_transcript *transcript,
                     const struct key *key, uint8_t mac[MAC_BYTES])
{
    make_mac_over(says, transcript, &(struct mst_cspan){.data = ""}, key, mac);
}

static bool is_mac(const struct statement *says, const struct mst_auth_transcript *transcript,
                   const struct key *key, const uint8_t mac[MAC_BYTES])
{
    uint8_t ours[MAC_BYTES];
    make_mac(says, transcript, key, ours);
    return sodium_memcmp(ours, mac, MAC_BYTES) == 0;
}

/* A refusal of one that has been challenged: its MAC, and the code and text which that covers. */
static void sign_refusal(const struct mst_auth_transcript *transcript, const struct key *key,
                         const uint8_t *said, size_t said_bytes, uint8_t mac[MAC_BYTES])
{
    const struct mst_cspan rest = {.data = said, .size_bytes = said_bytes};
    make_mac_over(&refuse_says, transcript, &rest, key, mac);
}

static void encode_hello(uint8_t bytes[HELLO_BYTES], const struct mst_auth_hello *hello)
{
    bytes[0] = AUTH_VERSION;
    bytes[1] = (uint8_t)hello->role;
    mst_put_le16(bytes + 2, hello->again ? AGAIN : 0);
    mst_put_le32(bytes + 4, hello->generation);
    mst_put_le32(bytes + 8, hello->rank);
    mst_put_le32(bytes + 12, hello->tag);
    mst_put_le32(bytes + 16, hello->size);
    mst_put_le32(bytes + 20, hello->process);
}

static int decode_hello(const uint8_t *bytes, size_t size_bytes, struct mst_auth_hello *ret_hello,
                        struct mst_err *err)
{
    if (size_bytes < 1 || bytes[0] != AUTH_VERSION)
        return mst_err_set(err, -EPROTO,
                           "handshake version %u is not %u: is the same Muster "
                           "installed on every node?",
                           size_bytes < 1 ? 0U : bytes[0], (unsigned)AUTH_VERSION);
    if (size_bytes != HELLO_BYTES || bytes[1] >= MST_ROLE_COUNT || mst_get_le16(bytes + 2) > AGAIN)
        return mst_err_set(err, -EPROTO, "malformed HELLO of %zu bytes", size_bytes);
    *ret_hello = (struct mst_auth_hello){.role = (enum mst_auth_role)bytes[1],
                                         .generation = mst_get_le32(bytes + 4),
                                         .rank = mst_get_le32(bytes + 8),
                                         .tag = mst_get_le32(bytes + 12),
                                         .again = mst_get_le16(bytes + 2) == AGAIN,
                                         .size = mst_get_le32(bytes + 16),
                                         .process = mst_get_le32(bytes + 20)};
    return 0;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* What one side calls the job. */
struct job {
    uint64_t nonce;
    char id[MST_JOB_ID_BYTES];
};

static bool is_printable(char letter)
{
    return letter >= 0x20 && letter <= 0x7e;
}

static struct job job_of(const char *id, uint64_t nonce)
{
    struct job job = {.nonce = nonce};
    for (size_t i = 0; id && id[i] && i < sizeof job.id - 1; i++)
        job.id[i] = is_printable(id[i]) ? id[i] : '?';
    return job;
}

static void encode_job(uint8_t bytes[JOB_BYTES], const struct job *job)
{
    mst_put_le64(bytes, job->nonce);
    memcpy(bytes + 8, job->id, sizeof job->id);
}

/* Printable, then zeros to the end: one job has one encoding. */
static int decode_job(const uint8_t bytes[JOB_BYTES], struct job *ret_job, struct mst_err *err)
{
    struct job job = {.nonce = mst_get_le64(bytes)};
    memcpy(job.id, bytes + 8, sizeof job.id);
    size_t length = strnlen(job.id, sizeof job.id);
    bool bad = length == sizeof job.id;
    for (size_t i = 0; i < sizeof job.id; i++)
        bad = bad || (i < length ? !is_printable(job.id[i]) : job.id[i] != 0);
    if (bad)
        return mst_err_set(err, -EPROTO, "malformed job id in the handshake");
    *ret_job = job;
    return 0;
}

/* Of a long id the end, which is where ids of one site differ. */
static const char *name_of(const struct job *job)
{
    size_t length = strlen(job->id);
    return job->id + (length > NAME_BYTES_MAX ? length - NAME_BYTES_MAX : 0);
}

static int check_jobs(const struct job *acceptor, const struct job *dialer, struct mst_err *err)
{
    bool named = acceptor->id[0] && dialer->id[0];
    bool started = acceptor->nonce && dialer->nonce;
    if (started && acceptor->nonce == dialer->nonce)
        return 0;
    if (named && strcmp(acceptor->id, dialer->id) != 0)
        return mst_err_set(err, -EACCES,
                           "\"%s\" dialled, but \"%s\" listens here: two jobs, one secret",
                           name_of(dialer), name_of(acceptor));
    if (started)
        return mst_err_set(
            err, -ESTALE,
            "another start of the job%s%s: %016" PRIx64 " dialled, but %016" PRIx64 " listens here",
            acceptor->id[0] ? " " : "", name_of(acceptor), dialer->nonce, acceptor->nonce);
    return 0;
}

/* ---- dialer ---------------------------------------------------------------------------------- */

/* What a dialer knows of the acceptor once it was challenged. */
struct challenged {
    const struct mst_auth_transcript *transcript;
    const struct key *key;
};

/* What the acceptor's REFUSE says. The peer may be anyone: only printable text is passed on. */
static int read_refusal(const uint8_t *payload, size_t size_bytes, bool is_proven,
                        struct mst_err *err)
{
    if (size_bytes < 4)
        return mst_err_set(err, -EPROTO, "the acceptor refused us in a malformed frame");
    uint32_t error = mst_get_le32(payload);
    char text[sizeof err->text];
    size_t text_bytes = mst_least(size_bytes - 4, sizeof text - 1);
    for (size_t i = 0; i < text_bytes; i++)
        text[i] = (char)(is_printable((char)payload[4 + i]) ? payload[4 + i] : '?');
    text[text_bytes] = '\0';
    if (error == 0 || error > MST_ERRNO_MAX)
        error = EACCES;
    return mst_err_set(err, is_proven ? -(int)error : -EPROTO, "%s", text);
}

/* A refusal that begins with its MAC. Who has not made it knows no more than to cut us off, and can
 * do no more. */
static int read_signed_refusal(const struct challenged *by, const uint8_t *payload,
                               size_t size_bytes, struct mst_err *err)
{
    uint8_t mac[MAC_BYTES];
    if (size_bytes < MAC_BYTES)
        return mst_err_set(err, -EPROTO, "the acceptor refused us in a malformed frame");
    sign_refusal(by->transcript, by->key, payload + MAC_BYTES, size_bytes - MAC_BYTES, mac);
    bool is_proven = sodium_memcmp(mac, payload, MAC_BYTES) == 0;
    return read_refusal(payload + MAC_BYTES, size_bytes - MAC_BYTES, is_proven, err);
}

/* Receives the one frame that may come now, of exactly `size_bytes`, or the acceptor's refusal;
 * `by` is NULL before the challenge. */
static int expect_frame(int fd, const struct challenged *by, uint8_t *payload, size_t size_bytes,
                        uint64_t deadline_ns, struct mst_err *err)
{
    const enum auth_frame type = by ? AUTH_WELCOME : AUTH_CHALLENGE;
    uint8_t bytes[REFUSE_BYTES_MAX], got_type;
    size_t got_bytes;
    int rc = mst_sock_recv_frame(fd, &got_type, bytes, sizeof bytes, &got_bytes, deadline_ns);
    if (rc == -EBADMSG || rc == -ENOSPC)
        return mst_err_set(err, -EPROTO, "the acceptor's answer is no handshake frame");
    if (rc)
        return mst_err_set(err, rc, "no answer in the handshake: %s", mst_err_meaning(rc));
    if (got_type == AUTH_REFUSE)
        return by ? read_signed_refusal(by, bytes, got_bytes, err)
                  : read_refusal(bytes, got_bytes, false, err);
    if (got_type != type || got_bytes != size_bytes)
        return mst_err_set(err, -EPROTO, "frame type %u of %zu bytes in the handshake, not %u",
                           got_type, got_bytes, (unsigned)type);
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

/* Tells the acceptor, for its own log, that the two secrets differ. */
static int refuse_acceptor(int fd, uint64_t deadline_ns, struct mst_err *err)
{
    uint8_t payload[4];
    mst_put_le32(payload, EACCES);
    /* One that cannot be told sees us hang up. */
    (void)mst_sock_send_frame(fd, AUTH_REFUSE, payload, sizeof payload, deadline_ns);
    return mst_err_set(err, -EACCES,
                       "the acceptor does not know our job secret: is it of another job?");
}

/* What the acceptor's WELCOME says of its job. */
static int read_welcome(const uint8_t welcome[PROOF_BYTES], const struct key *key,
                        const struct job *job, struct mst_auth_transcript *transcript,
                        struct mst_err *err)
{
    struct job theirs;
    memcpy(transcript->acceptor_job, welcome + MAC_BYTES, JOB_BYTES);
    if (!is_mac(&welcome_says, transcript, key, welcome))
        return mst_err_set(err, -EACCES, "the acceptor's welcome is not made with our job secret");
    int rc = decode_job(transcript->acceptor_job, &theirs, err);
    return rc ? rc : check_jobs(&theirs, job, err);
}

int mst_auth_dial_begin(struct mst_auth_dialer *dialer, int fd, uint64_t deadline_ns,
                        struct mst_err *err)
{
    uint8_t *hello = dialer->transcript.hello;
    encode_hello(hello, dialer->hello);
    if (random_bytes(hello + HELLO_BYTES - NONCE_BYTES, NONCE_BYTES))
        return mst_err_set(err, -EIO, "no random bytes for the handshake");
    return send_step(fd, AUTH_HELLO, hello, HELLO_BYTES, deadline_ns, err);
}

int mst_auth_dial_finish(struct mst_auth_dialer *dialer, int fd, uint64_t deadline_ns,
                         struct mst_err *err)
{
    const struct key key = {dialer->secret, dialer->secret_bytes};
    const struct job job = job_of(dialer->hello->job_id, dialer->hello->job_nonce);
    struct mst_auth_transcript *transcript = &dialer->transcript;
    uint8_t challenge[CHALLENGE_BYTES], proof[PROOF_BYTES], welcome[PROOF_BYTES];
    int rc = expect_frame(fd, NULL, challenge, sizeof challenge, deadline_ns, err);
    if (rc)
        return rc;
    memcpy(transcript->nonce, challenge, NONCE_BYTES);
    if (!is_mac(&challenge_says, transcript, &key, challenge + NONCE_BYTES))
        return refuse_acceptor(fd, deadline_ns, err);
    encode_job(transcript->dialer_job, &job);
    make_mac(&proof_says, transcript, &key, proof);
    memcpy(proof + MAC_BYTES, transcript->dialer_job, JOB_BYTES);
    rc = send_step(fd, AUTH_PROOF, proof, sizeof proof, deadline_ns, err);
    if (rc == 0)
        rc = expect_frame(fd, &(struct challenged){transcript, &key}, welcome, sizeof welcome,
                          deadline_ns, err);
    return rc ? rc : read_welcome(welcome, &key, &job, transcript, err);
}

int mst_auth_dial(int fd, const struct mst_auth_hello *hello, const uint8_t *secret,
                  size_t secret_bytes, uint64_t deadline_ns, struct mst_err *err)
{
    struct mst_auth_dialer dialer = {
        .hello = hello, .secret = secret, .secret_bytes = secret_bytes};
    int rc = mst_auth_dial_begin(&dialer, fd, deadline_ns, err);
    return rc ? rc : mst_auth_dial_finish(&dialer, fd, deadline_ns, err);
}

/* ---- acceptor -------------------------------------------------------------------------------- */

void mst_auth_acceptor_init(struct mst_auth_acceptor *acceptor, const struct mst_auth_terms *terms)
{
    *acceptor = (struct mst_auth_acceptor){.terms = *terms};
}

/* Queues REFUSE with the error's code and text, and their MAC if the dialer was challenged. Returns
 * the code. */
static int refuse(const struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                  const struct mst_err *why, struct mst_err *err)
{
    const struct key key = {acceptor->terms.secret, acceptor->terms.secret_bytes};
    size_t text_bytes = strnlen(why->text, sizeof why->text);
    uint8_t payload[REFUSE_BYTES_MAX], *said = payload + MAC_BYTES;
    mst_put_le32(said, (uint32_t)-why->code);
    memcpy(said + 4, why->text, text_bytes);
    sign_refusal(&acceptor->transcript, &key, said, 4 + text_bytes, payload);
    const uint8_t *first = acceptor->challenged ? payload : said;
    /* A peer that cannot be told is dropped by the caller all the same. */
    (void)mst_stream_put(stream, AUTH_REFUSE, first, (size_t)(said - first) + 4 + text_bytes);
    return mst_err_set(err, why->code, "%s", why->text);
}

static int challenge_dialer(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                            const uint8_t *payload, size_t size_bytes, struct mst_err *err)
{
    const struct key key = {acceptor->terms.secret, acceptor->terms.secret_bytes};
    struct mst_auth_transcript *transcript = &acceptor->transcript;
    struct mst_err why = {0};
    if (decode_hello(payload, size_bytes, &acceptor->hello, &why))
        return refuse(acceptor, stream, &why, err);
    if (random_bytes(transcript->nonce, NONCE_BYTES))
        return mst_err_set(err, -EIO, "no random bytes for the handshake");
    memcpy(transcript->hello, payload, size_bytes);
    uint8_t challenge[CHALLENGE_BYTES];
    memcpy(challenge, transcript->nonce, NONCE_BYTES);
    make_mac(&challenge_says, transcript, &key, challenge + NONCE_BYTES);
    acceptor->challenged = true;
    return mst_stream_put(stream, AUTH_CHALLENGE, challenge, sizeof challenge);
}

/* Whether who proved itself is wanted. */
static int admit(struct mst_auth_acceptor *acceptor, const struct job *ours, struct mst_err *why)
{
    struct job theirs;
    int rc = decode_job(acceptor->transcript.dialer_job, &theirs, why);
    if (rc)
        return rc;
    memcpy(acceptor->hello.job_id, theirs.id, sizeof theirs.id);
    acceptor->hello.job_nonce = theirs.nonce;
    rc = check_jobs(ours, &theirs, why);
    if (rc == 0 && acceptor->terms.check)
        rc = acceptor->terms.check(acceptor->terms.arg, &acceptor->hello, why);
    return rc;
}

static int judge_proof(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                       const uint8_t *payload, struct mst_err *err)
{
    const struct mst_auth_terms *terms = &acceptor->terms;
    const struct key key = {terms->secret, terms->secret_bytes};
    const struct job ours = job_of(terms->job_id, terms->job_nonce);
    struct mst_auth_transcript *transcript = &acceptor->transcript;
    struct mst_err why = {0};
    memcpy(transcript->dialer_job, payload + MAC_BYTES, JOB_BYTES);
    if (is_mac(&proof_says, transcript, &key, payload))
        why.code = admit(acceptor, &ours, &why);
    else
        (void)mst_err_set(&why, -EACCES, /* refuse returns it */
                          "the proof is wrong: it was not made with this job's secret");
    if (why.code)
        return refuse(acceptor, stream, &why, err);
    uint8_t welcome[PROOF_BYTES];
    encode_job(transcript->acceptor_job, &ours);
    make_mac(&welcome_says, transcript, &key, welcome);
    memcpy(welcome + MAC_BYTES, transcript->acceptor_job, JOB_BYTES);
    int rc = mst_stream_put(stream, AUTH_WELCOME, welcome, sizeof welcome);
    return rc ? rc : 1;
}

int mst_auth_acceptor_step(struct mst_auth_acceptor *acceptor, struct mst_stream *stream,
                           uint8_t type, const uint8_t *payload, size_t size_bytes,
                           struct mst_err *err)
{
    if (type == AUTH_HELLO && !acceptor->challenged)
        return challenge_dialer(acceptor, stream, payload, size_bytes, err);
    if (type == AUTH_PROOF && acceptor->challenged && size_bytes == PROOF_BYTES)
        return judge_proof(acceptor, stream, payload, err);
    if (type == AUTH_REFUSE && acceptor->challenged)
        return mst_err_set(err, -EACCES, "it has another job secret than we");
    struct mst_err why = {0};
    (void)mst_err_set(&why, -EPROTO, /* refuse returns it */
                      "frame type %u of %zu bytes is not the next one of the handshake", type,
                      size_bytes);
    return refuse(acceptor, stream, &why, err);
}

int mst_auth_acceptor_failed(const struct mst_auth_acceptor *acceptor, int rc, struct mst_err *err)
{
    if (rc == -ECONNRESET && acceptor->challenged)
        return mst_err_set(err, rc, "it hung up when it saw our proof: has it another secret?");
    return mst_err_set(err, rc, "handshake not finished: %s", mst_err_meaning(rc));
}

/* pure */
#include "muster/launcher/msg.h"

#include "muster/core/bytes.h"
#include "muster/core/err.h"
#include "muster/core/kv/server.h"
#include "muster/core/world/page.h"
#include "muster/launcher/exitcode.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static_assert(MSG_JOIN >= KV_AGENT_FRAME_MIN, "lower types are kv calls");

enum field {
    GENERATION = 1 << 0,
    LOCAL_SIZE = 1 << 1,
    NODE_COUNT = 1 << 2,
    RANK = 1 << 3,
    CODE = 1 << 4,
    ROUND = 1 << 5,
    ACTION = 1 << 6,
    VERDICT = 1 << 7,
    GRACE = 1 << 8,
    WORLD_SIZE = 1 << 9,
    MAX_RESTARTS = 1 << 10,
    END = 1 << 11,
    PRESENT = 1 << 12,
    STEP = 1 << 13,
    LOWEST_STEP = 1 << 14,
    MASTER_PORT = 1 << 15,
    JOB_NONCE = 1 << 16,
    JOB_ID = 1 << 17,
    TEXT = 1 << 18,
    VERSION = 1 << 19,
    HOST = 1 << 20,
    NO_STEP = 1 << 21, /* not a field: its steps may be MST_PAGE_NO_STEP */
};

static const struct {
    const char *name;
    unsigned fields;
} types[MSG_TYPE_END - MSG_JOIN] = {
    [0] = {"JOIN", VERSION | HOST | LOCAL_SIZE | NODE_COUNT | GRACE | WORLD_SIZE},
    [MSG_FAILED - MSG_JOIN] = {"FAILED", GENERATION | RANK | CODE | END | TEXT},
    [MSG_DONE - MSG_JOIN] = {"DONE", GENERATION | CODE},
    [MSG_DOWN - MSG_JOIN] = {"DOWN", GENERATION | RANK | VERDICT | STEP | NO_STEP},
    [MSG_DRAIN - MSG_JOIN] = {"DRAIN", ACTION},
    [MSG_STEPS - MSG_JOIN] = {"STEPS", GENERATION | ROUND | STEP | LOWEST_STEP | NO_STEP},
    [MSG_GRACE_OVER - MSG_JOIN] = {"GRACE_OVER", GENERATION},
    [MSG_START - MSG_JOIN] = {"START", HOST | GENERATION | LOCAL_SIZE | NODE_COUNT | RANK | GRACE |
                                           WORLD_SIZE | MAX_RESTARTS | MASTER_PORT | JOB_NONCE |
                                           JOB_ID},
    [MSG_ABORT - MSG_JOIN] = {"ABORT", GENERATION | RANK | CODE | TEXT},
    [MSG_QUERY - MSG_JOIN] = {"QUERY", GENERATION | ROUND | ACTION | END},
    [MSG_PROPOSE - MSG_JOIN] = {"PROPOSE", GENERATION | ROUND | ACTION | STEP},
    [MSG_AGREED - MSG_JOIN] = {"AGREED", GENERATION | ACTION | STEP},
    [MSG_FORWARD - MSG_JOIN] = {"FORWARD", GENERATION | ACTION},
    [MSG_END - MSG_JOIN] = {"END", RANK | CODE | END | TEXT},
    [MSG_REFUSED - MSG_JOIN] = {"REFUSED", CODE | TEXT},
    [MSG_BEAT - MSG_JOIN] = {"BEAT", 0},
    [MSG_SEAT - MSG_JOIN] = {"SEAT", GENERATION | NODE_COUNT | RANK | PRESENT},
};

/* ---- writing --------------------------------------------------------------------------------- */

struct writer {
    uint8_t *at;
    size_t left;
    bool full;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
    if (writer->full || size > writer->left) {
        writer->full = true;
        return;
    }
    memcpy(writer->at, bytes, size);
    writer->at += size;
    writer->left -= size;
}

static void put_uint(struct writer *writer, uint64_t value, size_t size)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    put(writer, bytes, size);
}

static void put_text(struct writer *writer, const char *text, size_t cap)
{
    size_t size = strnlen(text, cap - 1);
    put_uint(writer, size, 2);
    put(writer, text, size);
}

static void put_words(struct writer *writer, const struct msg *msg, unsigned fields)
{
    const uint32_t words[] = {msg->generation, msg->local_size, msg->node_count,   msg->rank,
                              msg->code,       msg->round,      msg->action,       msg->verdict,
                              msg->grace_ms,   msg->world_size, msg->max_restarts, msg->end,
                              msg->present};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (fields & (1u << i))
            put_uint(writer, words[i], 4);
    }
}

static void put_fields(struct writer *writer, const struct msg *msg, unsigned fields)
{
    put_words(writer, msg, fields);
    if (fields & STEP)
        put_uint(writer, msg->step, 8);
    if (fields & LOWEST_STEP)
        put_uint(writer, msg->lowest_step, 8);
    if (fields & MASTER_PORT)
        put_uint(writer, msg->master_port, 4);
    if (fields & JOB_NONCE)
        put_uint(writer, msg->job_nonce, 8);
    if (fields & JOB_ID)
        put_text(writer, msg->job_id, sizeof msg->job_id);
    if (fields & TEXT)
        put_text(writer, msg->text, sizeof msg->text);
}

int msg_encode(const struct msg *msg, uint8_t *payload, size_t cap)
{
    assert(msg->type >= MSG_JOIN && msg->type < MSG_TYPE_END);
    assert(msg->node_count <= MSG_NODES_MAX);
    unsigned fields = types[msg->type - MSG_JOIN].fields;
    struct writer writer = {payload, cap, false};
    put_uint(&writer, msg->serial, 8);
    put_uint(&writer, msg->ack, 8);
    if (fields & VERSION)
        put_text(&writer, msg->version, sizeof msg->version);
    if (fields & HOST)
        put_text(&writer, msg->host, sizeof msg->host);
    put_fields(&writer, msg, fields);
    return writer.full ? -ENOSPC : (int)(cap - writer.left);
}

void msg_number(uint8_t *payload, uint64_t serial, uint64_t ack)
{
    mst_put_le64(payload, serial);
    mst_put_le64(payload + 8, ack);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

/* A number of `size` bytes; one outside [low, high] spoils the message. */
static uint64_t take(struct reader *reader, size_t size, uint64_t low, uint64_t high)
{
    if (reader->bad || reader->left < size) {
        reader->bad = true;
        return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += size;
    reader->left -= size;
    if (value < low || value > high)
        reader->bad = true;
    return value;
}

static uint64_t take_step(struct reader *reader, unsigned fields)
{
    uint64_t step = take(reader, 8, 0, UINT64_MAX);
    if (step >= MSG_STEP_LIMIT && (step != MST_PAGE_NO_STEP || !(fields & NO_STEP)))
        reader->bad = true;
    return step;
}

/* Printable, from the byte `lowest` on: what it says goes into logs and environments. */
static void take_text(struct reader *reader, char lowest, char *text, size_t cap)
{
    size_t size = take(reader, 2, 0, cap - 1);
    if (reader->bad || reader->left < size) {
        reader->bad = true;
        return;
    }
    memcpy(text, reader->at, size);
    text[size] = '\0';
    reader->at += size;
    reader->left -= size;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < lowest || text[i] > '~')
            reader->bad = true;
    }
}

static void take_words(struct reader *reader, unsigned fields, struct msg *msg)
{
    const struct {
        uint32_t *word;
        uint32_t low, high;
    } words[] = {{&msg->generation, 0, UINT32_MAX},
                 {&msg->local_size, 1, MST_PAGE_RANKS_MAX},
                 {&msg->node_count, 1, MSG_NODES_MAX},
                 {&msg->rank, 0, MST_PAGE_CAUSE_JOB},
                 {&msg->code, 0, 255},
                 {&msg->round, 0, UINT32_MAX},
                 {&msg->action, MST_GATE_STOP, MST_GATE_REGROUP},
                 {&msg->verdict, 0, MST_ERRNO_MAX},
                 {&msg->grace_ms, 1, UINT32_MAX},
                 {&msg->world_size, 0, MST_PAGE_RANKS_MAX * MSG_NODES_MAX},
                 {&msg->max_restarts, 0, UINT32_MAX},
                 {&msg->end, 0, EXITCODE_END_COUNT - 1},
                 {&msg->present, 1, 2 * MSG_NODES_MAX}};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (fields & (1u << i))
            *words[i].word = (uint32_t)take(reader, 4, words[i].low, words[i].high);
    }
}

static void take_fields(struct reader *reader, unsigned fields, struct msg *msg)
{
    take_words(reader, fields, msg);
    if (fields & STEP)
        msg->step = take_step(reader, fields);
    if (fields & LOWEST_STEP)
        msg->lowest_step = take_step(reader, fields);
    if (fields & MASTER_PORT)
        msg->master_port = (uint32_t)take(reader, 4, 0, UINT16_MAX);
    if (fields & JOB_NONCE)
        msg->job_nonce = take(reader, 8, 1, UINT64_MAX);
    if (fields & JOB_ID)
        take_text(reader, '!', msg->job_id, sizeof msg->job_id);
    if (fields & TEXT)
        take_text(reader, ' ', msg->text, sizeof msg->text);
}

int msg_decode(uint8_t type, const uint8_t *payload, size_t size_bytes, struct msg *ret_msg)
{
    if (type < MSG_JOIN || type >= MSG_TYPE_END)
        return -EBADMSG;
    unsigned fields = types[type - MSG_JOIN].fields;
    struct reader reader = {payload, size_bytes, false};
    struct msg msg = {.type = (enum msg_type)type};
    bool is_beat = type == MSG_BEAT;
    msg.serial = take(&reader, 8, is_beat ? 0 : 1, is_beat ? 0 : UINT64_MAX);
    msg.ack = take(&reader, 8, 0, UINT64_MAX);
    if (fields & VERSION)
        take_text(&reader, '!', msg.version, sizeof msg.version);
    if (fields & HOST)
        take_text(&reader, '!', msg.host, sizeof msg.host);
    take_fields(&reader, fields, &msg);
    if (reader.bad || reader.left > 0)
        return -EBADMSG;
    *ret_msg = msg;
    return 0;
}

int msg_decode_version(const uint8_t *payload, size_t size_bytes, char version[MSG_VERSION_BYTES])
{
    struct reader reader = {payload, size_bytes, false};
    (void)take(&reader, 8, 0, UINT64_MAX); /* serial and ack are not asked for */
    (void)take(&reader, 8, 0, UINT64_MAX);
    take_text(&reader, '!', version, MSG_VERSION_BYTES);
    return reader.bad ? -EBADMSG : 0;
}

const char *msg_name(enum msg_type type)
{
    return type >= MSG_JOIN && type < MSG_TYPE_END ? types[type - MSG_JOIN].name : "?";
}

/* Source: MPICH's client of PMI-1, src/pmi, and what Hydra answers to it; the process mapping is
 * that of src/util/mpir_pmi.c: (vector,(first node,nodes,ranks on each),…). */
#include "muster/launcher/pmi1.h"

#include "muster/core/err.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16
#define GRAPHIC_MIN '!' /* of what keys and values are made */
#define GRAPHIC_MAX '~'

/* ---- the board ------------------------------------------------------------------------------- */

struct pair {
    const char *key, *value; /* within text */
    char text[];
};

static int compare(const void *one, const void *other)
{
    return strcmp(((const struct pair *)one)->key, ((const struct pair *)other)->key);
}

static int write_mapping(struct pmi1_board *board, const uint16_t *local_sizes, uint32_t node_count)
{
    size_t used = (size_t)snprintf(board->mapping, sizeof board->mapping, "(vector");
    for (uint32_t first = 0, end; first < node_count; first = end) {
        for (end = first; end < node_count && local_sizes[end] == local_sizes[first]; end++)
            continue;
        used += (size_t)snprintf(board->mapping + used, sizeof board->mapping - used, ",(%u,%u,%u)",
                                 first, end - first, local_sizes[first]);
        if (used + sizeof ")" > sizeof board->mapping)
            return -ENOSPC;
    }
    board->mapping[used] = ')';
    board->mapping[used + 1] = '\0';
    return 0;
}

int pmi1_board_init(struct pmi1_board *board, const char *name, const uint16_t *local_sizes,
                    uint32_t node_count, struct mst_err *err)
{
    *board = (struct pmi1_board){.size = 0};
    (void)snprintf(board->name, sizeof board->name, "%s", name);
    for (uint32_t i = 0; i < node_count; i++)
        board->size += local_sizes[i];
    if (write_mapping(board, local_sizes, node_count) == 0)
        return 0;
    return mst_err_set(err, -ENOSPC,
                       "PMI-1 has %zu bytes to say how many ranks each of %u nodes has, which is "
                       "too little where they differ so much: start as many on every node",
                       sizeof board->mapping, node_count);
}

void pmi1_board_fini(struct pmi1_board *board)
{
    while (board->entries) {
        struct pair *pair = *(struct pair **)board->entries;
        (void)tdelete(pair, &board->entries, compare); /* it is the root's */
        free(pair);
    }
    free(board->fresh);
    *board = (struct pmi1_board){.size = 0};
}

static const char *find(const struct pmi1_board *board, const char *key)
{
    if (strcmp(key, "PMI_process_mapping") == 0)
        return board->mapping;
    struct pair sought = {.key = key};
    void *const *found = tfind(&sought, &board->entries, compare);
    return found ? ((const struct pair *)*found)->value : NULL;
}

/* 0; -EEXIST; -ENOMEM. */
static int put(struct pmi1_board *board, const char *key, const char *value)
{
    if (find(board, key))
        return -EEXIST;
    size_t key_bytes = strlen(key) + 1, value_bytes = strlen(value) + 1;
    struct pair *pair = malloc(sizeof *pair + key_bytes + value_bytes);
    if (!pair)
        return -ENOMEM;
    pair->key = memcpy(pair->text, key, key_bytes);
    pair->value = memcpy(pair->text + key_bytes, value, value_bytes);
    if (tsearch(pair, &board->entries, compare))
        return 0;
    free(pair);
    return -ENOMEM;
}

static bool is_graphic(const char *text, size_t size_max)
{
    size_t size = 0;
    while (text[size] >= GRAPHIC_MIN && text[size] <= GRAPHIC_MAX)
        size++;
    return text[size] == '\0' && size < size_max;
}

static bool is_key(const char *text)
{
    return *text && is_graphic(text, PMI1_KEY_BYTES) && !strchr(text, '=');
}

static bool is_value(const char *text)
{
    return is_graphic(text, PMI1_VALUE_BYTES);
}

/* Puts it where the others will find it, too. */
static int put_fresh(struct pmi1_board *board, const char *key, const char *value)
{
    size_t line_bytes = strlen(key) + strlen(value) + 2; /* '=' and '\n' */
    if (board->fresh_bytes + line_bytes + 1 > board->fresh_cap) {
        size_t cap = 2 * board->fresh_cap + line_bytes + 1;
        char *fresh = realloc(board->fresh, cap);
        if (!fresh)
            return -ENOMEM;
        board->fresh = fresh;
        board->fresh_cap = cap;
    }
    int rc = put(board, key, value);
    if (rc)
        return rc;
    (void)snprintf(board->fresh + board->fresh_bytes, line_bytes + 1, "%s=%s\n", key, value);
    board->fresh_bytes += line_bytes;
    return 0;
}

static int learn_line(struct pmi1_board *board, const char *text, size_t size_bytes,
                      struct mst_err *err)
{
    char line[PMI1_KEY_BYTES + PMI1_VALUE_BYTES];
    if (size_bytes >= sizeof line)
        return mst_err_set(err, -EBADMSG, "PMI-1: a line of %zu bytes from another node",
                           size_bytes);
    memcpy(line, text, size_bytes);
    line[size_bytes] = '\0';
    char *value = strchr(line, '=');
    if (value)
        *value++ = '\0';
    if (!value || !is_key(line) || !is_value(value))
        return mst_err_set(err, -EBADMSG, "PMI-1: another node has put no key and value");
    int rc = put(board, line, value);
    return rc ? mst_err_set(err, rc, "PMI-1: key %s of another node: %s", line, mst_err_meaning(rc))
              : 0;
}

int pmi1_board_learn(struct pmi1_board *board, const char *text, size_t size_bytes,
                     struct mst_err *err)
{
    int rc = 0;
    while (rc == 0 && size_bytes > 0) {
        const char *end = memchr(text, '\n', size_bytes);
        if (!end)
            return mst_err_set(err, -EBADMSG, "PMI-1: what another node has put is cut off");
        size_t line_bytes = (size_t)(end - text);
        rc = learn_line(board, text, line_bytes, err);
        text = end + 1;
        size_bytes -= line_bytes + 1;
    }
    return rc;
}

void pmi1_board_fence(struct pmi1_board *board)
{
    board->fresh_bytes = 0;
}

/* ---- a line ---------------------------------------------------------------------------------- */

struct word {
    const char *name, *value;
};

/* The words of a line, name=value each. */
struct request {
    struct word words[WORDS_MAX];
    size_t count;
};

static struct request split(char *line)
{
    struct request request = {.count = 0};
    char *rest = line;
    while (request.count < WORDS_MAX && *(rest += strspn(rest, " "))) {
        char *word = rest;
        rest += strcspn(rest, " ");
        if (*rest)
            *rest++ = '\0';
        char *value = strchr(word, '=');
        if (value)
            *value++ = '\0';
        request.words[request.count++] = (struct word){word, value ? value : ""};
    }
    return request;
}

/* "" if it is not there. */
static const char *value_of(const struct request *request, const char *name)
{
    for (size_t i = 0; i < request->count; i++) {
        if (strcmp(request->words[i].name, name) == 0)
            return request->words[i].value;
    }
    return "";
}

struct talk {
    struct pmi1_board *board;
    struct pmi1_rank *rank;
    const struct request *request;
    char *reply;
    struct mst_err *err;
};

#define REPLY(talk, ...) ((void)snprintf((talk)->reply, PMI1_LINE_BYTES, __VA_ARGS__))

static int say_init(struct talk *talk)
{
    const char *version = value_of(talk->request, "pmi_version");
    if (strcmp(version, "1") != 0)
        return mst_err_set(talk->err, -EPROTO, "it speaks PMI %.20s, and is served PMI 1", version);
    talk->rank->state = PMI1_INSIDE;
    REPLY(talk, "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
    return 0;
}

static int say_maxes(struct talk *talk)
{
    REPLY(talk, "cmd=maxes rc=0 kvsname_max=%d keylen_max=%d vallen_max=%d\n", PMI1_NAME_BYTES,
          PMI1_KEY_BYTES, PMI1_VALUE_BYTES);
    return 0;
}

static int say_appnum(struct talk *talk)
{
    REPLY(talk, "cmd=appnum rc=0 appnum=0\n");
    return 0;
}

static int say_name(struct talk *talk)
{
    REPLY(talk, "cmd=my_kvsname rc=0 kvsname=%s\n", talk->board->name);
    return 0;
}

static int say_universe_size(struct talk *talk)
{
    REPLY(talk, "cmd=universe_size rc=0 size=%u\n", talk->board->size);
    return 0;
}

static bool is_ours(const struct talk *talk)
{
    return strcmp(value_of(talk->request, "kvsname"), talk->board->name) == 0;
}

static int take_put(struct talk *talk)
{
    const char *key = value_of(talk->request, "key"), *value = value_of(talk->request, "value");
    int rc = !is_ours(talk) || !is_key(key) || !is_value(value)
                 ? -EINVAL
                 : put_fresh(talk->board, key, value);
    if (rc == -ENOMEM)
        return mst_err_set(talk->err, rc, "no memory for its key %s", key);
    const char *said = rc == -EEXIST ? "duplicate_key" : rc ? "invalid_key_or_value" : "success";
    REPLY(talk, "cmd=put_result rc=%d msg=%s\n", rc ? -1 : 0, said);
    return 0;
}

static int say_value(struct talk *talk)
{
    const char *key = value_of(talk->request, "key");
    const char *value = is_ours(talk) ? find(talk->board, key) : NULL;
    if (value)
        REPLY(talk, "cmd=get_result rc=0 msg=success value=%s\n", value);
    else
        REPLY(talk, "cmd=get_result rc=-1 msg=key_not_found value=unknown\n");
    return 0;
}

static int take_barrier(struct talk *talk)
{
    talk->rank->state = PMI1_FENCED;
    return 0;
}

static int take_finalize(struct talk *talk)
{
    talk->rank->state = PMI1_LEFT;
    REPLY(talk, "cmd=finalize_ack rc=0\n");
    return 0;
}

/* No success, whatever it says. */
static int take_abort(struct talk *talk)
{
    unsigned long code = strtoul(value_of(talk->request, "exitcode"), NULL, 10) & 255;
    talk->rank->state = PMI1_ABORTS;
    talk->rank->exit_code = code ? (int)code : EXIT_FAILURE;
    return 0;
}

static int refuse_name(struct talk *talk)
{
    const char *asked = value_of(talk->request, "cmd");
    const char *said = asked[0] == 'p' ? "publish" : asked[0] == 'u' ? "unpublish" : "lookup";
    REPLY(talk, "cmd=%s_result rc=-1 info=failed msg=no_name_service\n", said);
    return 0;
}

static const struct command {
    const char *name;
    int (*run)(struct talk *talk);
} commands[] = {
    {"init", say_init},
    {"get_maxes", say_maxes},
    {"get_appnum", say_appnum},
    {"get_my_kvsname", say_name},
    {"get_universe_size", say_universe_size},
    {"put", take_put},
    {"get", say_value},
    {"barrier_in", take_barrier},
    {"finalize", take_finalize},
    {"abort", take_abort},
    {"publish_name", refuse_name},
    {"unpublish_name", refuse_name},
    {"lookup_name", refuse_name},
};

/* Where a rank of that state may say it. */
static bool is_in_turn(enum pmi1_state state, const struct command *command)
{
    return command->run == say_init ? state == PMI1_OUTSIDE : state == PMI1_INSIDE;
}

static int answer_command(struct talk *talk)
{
    const char *asked = value_of(talk->request, "cmd");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(asked, commands[i].name) == 0 && is_in_turn(talk->rank->state, &commands[i]))
            return commands[i].run(talk);
    }
    return mst_err_set(talk->err, -EPROTO, "it says \"%.40s\", which PMI-1 has not%s", asked,
                       talk->rank->state == PMI1_INSIDE ? "" : " here");
}

/* Such a request is of many lines, from mcmd=spawn to endcmd. */
static void refuse_spawn(struct talk *talk)
{
    talk->rank->spawns = strcmp(talk->request->words[0].name, "endcmd") != 0;
    if (!talk->rank->spawns)
        REPLY(talk, "cmd=spawn_result rc=-1 errmsg=muster_starts_no_more_processes\n");
}

int pmi1_answer(struct pmi1_board *board, struct pmi1_rank *rank, char *line,
                char reply[PMI1_LINE_BYTES], struct mst_err *err)
{
    struct request request = split(line);
    struct talk talk = {board, rank, &request, reply, err};
    reply[0] = '\0';
    if (request.count == 0)
        return 0;
    if (!rank->spawns && strcmp(request.words[0].name, "mcmd") != 0)
        return answer_command(&talk);
    refuse_spawn(&talk);
    return 0;
}

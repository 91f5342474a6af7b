#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/launcher/cmd.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/status.h"
#include "muster/launcher/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 288 /* a longer name, or cause, is cut */

static const struct option answer_options[] = {
    {"json", OPTION_FLAG, 0, sizeof(bool), .help = "an array of objects, one per agent"},
    {0},
};

const struct options status_options = {
    .program = "muster status",
    .synopsis = "[--json]",
    .about = "Shows every job of this user whose agent runs on this node: its ranks, what each "
             "does, its step, the age of its last sign of life, its last committed checkpoint, and "
             "its last collective.",
    .notes = "Exit codes: 0; 64 usage; 70 an agent does not answer, which stderr names.",
    .groups = {{"Options:", answer_options}},
};

struct answers {
    json_t *agents;
    bool incomplete; /* one is missing, which stderr tells */
};

static void collect(void *arg, int pid, const char *text)
{
    struct answers *answers = arg;
    json_t *agent = text ? json_loads(text, 0, NULL) : NULL;
    if (agent) {
        json_array_append_new(answers->agents, agent);
        return;
    }
    answers->incomplete = true;
    if (text)
        fprintf(stderr, "muster status: agent %d: its answer was cut: ask again\n", pid);
    else
        fprintf(stderr,
                "muster status: agent %d does not answer: it is stopped, or hangs in the kernel "
                "(see /proc/%d/stack)\n",
                pid, pid);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "?";
}

static long long number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *optional(const json_t *object, const char *key, char *text, size_t cap)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value))
        snprintf(text, cap, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, cap, "%.1f s", json_real_value(value));
    else
        snprintf(text, cap, "-");
    return text;
}

/* A name that another process chose, as it stands between quotes. */
static const char *name_of(const json_t *object, const char *key, char text[NAME_BYTES])
{
    const char *name = text_of(object, key);
    size_t used = 0, left = strlen(name);
    while (left > 0) {
        struct text_piece piece = text_escape(name, left, true);
        if (used + piece.size >= NAME_BYTES)
            break;
        memcpy(text + used, piece.text, piece.size);
        used += piece.size;
        name += piece.taken;
        left -= piece.taken;
    }
    text[used] = '\0';
    return text;
}

/* "allreduce sum f32 count 1024", "broadcast f32 count 7", "barrier" */
static const char *what_of(const json_t *op, char *text, size_t cap)
{
    char kind[NAME_BYTES], reduction[NAME_BYTES], type[NAME_BYTES];
    bool reduces = json_is_string(json_object_get(op, "op"));
    if (json_is_string(json_object_get(op, "dtype")))
        snprintf(text, cap, "%s%s%s %s count %lld", name_of(op, "kind", kind), reduces ? " " : "",
                 reduces ? name_of(op, "op", reduction) : "", name_of(op, "dtype", type),
                 number_of(op, "count"));
    else
        snprintf(text, cap, "%s", name_of(op, "kind", kind));
    return text;
}

static const char *collective(const json_t *rank, char *text, size_t cap)
{
    char what[96];
    const json_t *op = json_object_get(rank, "collective");
    long long seq = number_of(op, "seq"), result = number_of(op, "result");
    double age_s = json_real_value(json_object_get(op, "age_s"));
    double ended_s = age_s - json_real_value(json_object_get(op, "took_s"));
    if (!json_is_object(op))
        snprintf(text, cap, "-");
    else if (!json_is_true(json_object_get(op, "done")))
        snprintf(text, cap, "#%lld %s: running for %.1f s", seq, what_of(op, what, sizeof what),
                 age_s);
    else
        snprintf(text, cap, "#%lld %s: %s %.1f s ago", seq, what_of(op, what, sizeof what),
                 result ? mst_err_meaning((int)result) : "done", ended_s);
    return text;
}

static void print_rank(const json_t *rank)
{
    char step[32], age[32], checkpoint[32], op[160], name[NAME_BYTES];
    bool alive = json_is_true(json_object_get(rank, "alive"));
    printf("  %6lld %8lld  %-16s %10s %10s %10s  %s\n", number_of(rank, "rank"),
           number_of(rank, "pid"), alive ? name_of(rank, "state", name) : "ended",
           optional(rank, "step", step, sizeof step), optional(rank, "beat_age_s", age, sizeof age),
           optional(rank, "checkpoint", checkpoint, sizeof checkpoint),
           collective(rank, op, sizeof op));
}

static void print_failure(const json_t *failure)
{
    char what[NAME_BYTES];
    if (json_is_object(failure))
        printf("  last failure: rank %lld: %s\n", number_of(failure, "rank"),
               name_of(failure, "what", what));
}

static void print_agent(const json_t *agent)
{
    size_t index;
    const json_t *rank;
    char job[NAME_BYTES], state[NAME_BYTES], program[NAME_BYTES];
    const json_t *ranks = json_object_get(agent, "ranks");
    printf("job %s: %s%s%s, generation %lld, node %lld of %lld, agent %lld, \"%s\"\n",
           name_of(agent, "job", job), name_of(agent, "state", state),
           json_is_true(json_object_get(agent, "draining")) ? " (draining)" : "",
           json_is_true(json_object_get(agent, "outside")) ? " (until it is let in)" : "",
           number_of(agent, "generation"), number_of(agent, "node"), number_of(agent, "nodes"),
           number_of(agent, "agent_pid"), name_of(agent, "program", program));
    print_failure(json_object_get(agent, "last_failure"));
    printf("  %6s %8s  %-16s %10s %10s %10s  %s\n", "rank", "pid", "state", "step", "beat",
           "checkpoint", "collective");
    json_array_foreach(ranks, index, rank) print_rank(rank);
}

static void print_json(const json_t *agents)
{
    json_dumpf(agents, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
}

static void print_text(const json_t *agents, bool is_complete)
{
    size_t index;
    const json_t *agent;
    if (json_array_size(agents) == 0 && is_complete)
        printf("no job runs here\n");
    json_array_foreach(agents, index, agent) print_agent(agent);
}

int cmd_status(int argc, char **argv)
{
    bool as_json = false;
    struct command_line line;
    struct mst_err err = {0};
    int rc = options_parse(&status_options, argc, argv, &as_json, &line, &err);
    if (rc)
        return options_answer(&status_options, rc, &err);
    struct answers answers = {.agents = json_array()};
    rc = status_ask_all(collect, &answers);
    if (rc < 0) {
        fprintf(stderr, "muster status: /proc/net/unix: %s\n", mst_err_meaning(rc));
        json_decref(answers.agents);
        return EXITCODE_INTERNAL;
    }
    if (as_json)
        print_json(answers.agents);
    else
        print_text(answers.agents, !answers.incomplete);
    json_decref(answers.agents);
    return options_finish(&status_options, answers.incomplete ? EXITCODE_INTERNAL : EXITCODE_OK);
}

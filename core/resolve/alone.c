/* Alone: who says so, and what speaks against it where no family of variables does. A pod or task
 * that nobody spoke to would train alone, without an error, beside the others. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <string.h>

int resolve_single(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *world = resolve_text(machine, "MST_WORLD");
    if (!world)
        return 0;
    if (strcmp(world, "single") != 0)
        return mst_err_set(err, -EINVAL, "MST_WORLD=%.40s: it may be single, or unset", world);
    plan->mode = MST_PLAN_SPAWN;
    plan->world_size = plan->node_count = plan->local_size = 1;
    plan->node_rank = 0;
    return 1;
}

static const struct {
    const char *word;
    int64_t harmless; /* the largest number that says nothing of others */
} words[] = {
    {"NNODES", 1},     {"NUM_NODES", 1},     {"NODE_COUNT", 1}, {"NODE_RANK", 0},
    {"WORLD_SIZE", 1}, {"NUM_PROCESSES", 1}, {"NUM_HOSTS", 1},
};

/* Variables of that shape that say nothing of a job's processes. */
static const char *const strangers[] = {
    "ES_NODE_COUNT",          "OPENSEARCH_NODE_COUNT", "RABBITMQ_NODE_COUNT",
    "CASSANDRA_NUM_HOSTS",    "CELERYD_NUM_PROCESSES", "UWSGI_NUM_PROCESSES",
    "GUNICORN_NUM_PROCESSES", "TRINO_NODE_COUNT",      "MINIO_NUM_NODES",
    "KUBERNETES_NODE_COUNT",
};

static bool is_name(const char *var, size_t size, const char *name)
{
    return *var == *name && strncmp(var, name, size) == 0 && name[size] == '\0';
}

static bool is_stranger(const char *var, size_t size)
{
    for (size_t i = 0; i < RESOLVE_COUNT(strangers); i++) {
        if (is_name(var, size, strangers[i]))
            return true;
    }
    return false;
}

/* The word of `words` that ends the name of `size` bytes, -1 if none does. What Kubernetes tells of
 * Services is called X_SERVICE_… and X_PORT…, whatever X is. */
static int find_word(const char *var, size_t size)
{
    for (size_t i = 0; i < RESOLVE_COUNT(words); i++) {
        size_t length = strlen(words[i].word);
        if (size < length || strncmp(var + size - length, words[i].word, length) != 0 ||
            (size > length && var[size - length - 1] != '_'))
            continue;
        return is_stranger(var, size) ? -1 : (int)i;
    }
    return -1;
}

static bool is_of_service(const char *var, size_t size)
{
    for (const char *at = strchr(var, '_'); at && at < var + size; at = strchr(at + 1, '_')) {
        if (strncmp(at, "_SERVICE_", 9) == 0 || strncmp(at, "_PORT", 5) == 0)
            return true;
    }
    return false;
}

/* A whole number, or MST_UNKNOWN; what is too large for one is many. */
static int64_t number_of(const char *text)
{
    const char *end = text;
    int64_t number = resolve_digits(&end, INT32_MAX);
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
        return MST_UNKNOWN;
    return *end ? INT32_MAX : number;
}

/* FOO_NUM_NODES=1 says that FOO means one node, so its other words are of no weight. */
static bool is_silenced(const struct mst_machine *machine, const char *prefix, size_t size)
{
    for (char *const *var = machine->env; *var; var++) {
        const char *equals = strchr(*var, '=');
        int word = equals ? find_word(*var, (size_t)(equals - *var)) : -1;
        if (word >= 0 && words[word].harmless == 1 &&
            (size_t)(equals - *var) == size + strlen(words[word].word) &&
            strncmp(*var, prefix, size) == 0 && number_of(equals + 1) == 1)
            return true;
    }
    return false;
}

/* What a family knows by code, and not by its row. */
static const struct resolve_number parsed[] = {
    RESOLVE_RANK("SLURM_PROCID"),
    RESOLVE_NODE("PADDLE_TRAINER_ID"),
    RESOLVE_NODE_COUNT("PADDLE_TRAINERS_NUM"),
    RESOLVE_NODE_COUNT("PADDLE_TRAINER_NUM"),
};

/* Numbers of a family whose names mean anything to anybody. */
static const char *const common[] = {"PROCESS_ID", "LOCAL_SIZE", "NODE_NUM"};

/* The largest value with which a number says nothing of others; MST_UNKNOWN if none does. */
static int64_t harmless_number(const struct resolve_number *number)
{
    static const size_t ranks[] = {offsetof(struct mst_plan, rank),
                                   offsetof(struct mst_plan, local_rank),
                                   offsetof(struct mst_plan, node_rank)};
    static const size_t sizes[] = {offsetof(struct mst_plan, world_size),
                                   offsetof(struct mst_plan, local_size),
                                   offsetof(struct mst_plan, node_count)};
    for (size_t i = 0; i < RESOLVE_COUNT(ranks); i++) {
        if (number->offset == ranks[i])
            return 0;
        if (number->offset == sizes[i])
            return 1;
    }
    return MST_UNKNOWN;
}

static int64_t harmless_among(const struct resolve_number *numbers, size_t count, const char *var,
                              size_t size)
{
    for (size_t i = 0; i < count && numbers[i].name; i++) {
        if (is_name(var, size, numbers[i].name))
            return harmless_number(&numbers[i]);
    }
    return MST_UNKNOWN;
}

/* The same for the variable of `size` bytes that is a launcher's, whose sign is not set: a part of
 * the environment was lost. */
static int64_t harmless_of_launcher(const char *var, size_t size)
{
    int64_t harmless = harmless_among(parsed, RESOLVE_COUNT(parsed), var, size);
    for (size_t i = 0; i < RESOLVE_COUNT(common); i++) {
        if (is_name(var, size, common[i]))
            return MST_UNKNOWN;
    }
    for (const struct resolve_family *family = resolve_families;
         family->scheme && harmless == MST_UNKNOWN; family++)
        harmless = harmless_among(family->numbers, RESOLVE_COUNT(family->numbers), var, size);
    return harmless;
}

static bool counts_others(const struct mst_machine *machine, const char *var, size_t size)
{
    int word = find_word(var, size);
    int64_t number = number_of(var + size + 1);
    if (word < 0) {
        int64_t harmless = harmless_of_launcher(var, size);
        return harmless != MST_UNKNOWN && number > harmless;
    }
    return number > words[word].harmless && !is_of_service(var, size) &&
           !is_silenced(machine, var, size - strlen(words[word].word));
}

static int check_variable(const struct mst_machine *machine, const char *var, struct mst_err *err)
{
    const char *equals = strchr(var, '=');
    if (!equals || !counts_others(machine, var, (size_t)(equals - var)))
        return 0;
    return mst_err_set(err, -EINVAL,
                       "%.100s says that there are other processes, but no launcher's variable "
                       "tells which one this is: give --nnodes 1 (or N, with --node-rank and "
                       "--rdzv), or set MST_WORLD=single to be alone",
                       var);
}

/* A pod whose operator's variables were lost (a container of another name, env wiped by a shell)
 * still has the name that the operator gave it. */
static int check_lost(const struct mst_machine *machine, struct mst_err *err)
{
    if (!resolve_is_set(machine, "KUBERNETES_SERVICE_HOST") ||
        resolve_worker_number(machine->hostname) < 1)
        return 0;
    return mst_err_set(
        err, -EINVAL,
        "this pod is called %.80s, one worker of several, but no operator's variable is "
        "set: pass them on, or give --nnodes 1",
        machine->hostname);
}

int resolve_check_alone(const struct mst_machine *machine, struct mst_err *err)
{
    int rc = check_lost(machine, err);
    for (char *const *var = machine->env; rc == 0 && *var; var++)
        rc = check_variable(machine, *var, err);
    return rc;
}

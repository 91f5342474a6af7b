/* Variables of the environment block, one value at a time. */
/* pure */
#include "muster/core/least.h"
#include "muster/core/resolve/hosts.h"
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *resolve_value(const struct mst_machine *machine, const char *name)
{
    size_t size = strlen(name);
    const char *value = NULL;
    for (char *const *var = machine->env; *var; var++) {
        if (**var == *name && strncmp(*var, name, size) == 0 && (*var)[size] == '=')
            value = *var + size + 1;
    }
    return value;
}

/* A link to a Service in every pod of its namespace: MASTER_PORT=tcp://10.0.0.1:80. */
static bool is_service_link(const char *name, const char *value)
{
    size_t size = strlen(name);
    return size > 5 && strcmp(name + size - 5, "_PORT") == 0 &&
           (strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0 ||
            strncmp(value, "sctp://", 7) == 0);
}

const char *resolve_text(const struct mst_machine *machine, const char *name)
{
    const char *value = resolve_value(machine, name);
    return value && *value && !is_service_link(name, value) ? value : NULL;
}

bool resolve_any_set(const struct mst_machine *machine, const char *names)
{
    char name[64];
    while (resolve_names_next(&names, name, sizeof name, NULL) > 0) {
        if (resolve_value(machine, name))
            return true;
    }
    return false;
}

bool resolve_is_set(const struct mst_machine *machine, const char *name)
{
    return resolve_value(machine, name) != NULL;
}

int64_t resolve_digits(const char **text, int64_t high)
{
    const char *c = *text;
    int64_t value = 0;
    for (; *c >= '0' && *c <= '9'; c++) {
        value = value * 10 + (*c - '0');
        if (value > high)
            return MST_UNKNOWN;
    }
    if (c == *text)
        return MST_UNKNOWN;
    *text = c;
    return value;
}

int resolve_number(const struct mst_machine *machine, const char *name, int64_t low, int64_t high,
                   int64_t *ret_value, struct mst_err *err)
{
    const char *text = resolve_text(machine, name);
    const char *end = text;
    if (!text)
        return 0;
    int64_t value = resolve_digits(&end, high);
    if (value < low || *end)
        return mst_err_set(err, -EINVAL, "%s=%.40s: set it to a number, %lld … %lld", name, text,
                           (long long)low, (long long)high);
    *ret_value = value;
    return 1;
}

static int refuse_missing(const char *missing, size_t count, const struct mst_plan *plan,
                          struct mst_err *err)
{
    return mst_err_set(err, -EINVAL, "%s %s not set, though %s is there: set %s", missing,
                       count > 1 ? "are" : "is", plan->scheduler, count > 1 ? "them" : "both");
}

int resolve_numbers(const struct mst_machine *machine, const struct resolve_number *numbers,
                    size_t count, struct mst_plan *plan, struct mst_err *err)
{
    char missing[128] = "";
    size_t size = 0, missed = 0;
    for (const struct resolve_number *number = numbers; number < numbers + count && number->name;
         number++) {
        int64_t *value = (int64_t *)((char *)plan + number->offset);
        int found = resolve_number(machine, number->name, number->low, number->high, value, err);
        if (found < 0)
            return found;
        if (found > 0 || !number->needed || *value >= 0)
            continue;
        int more = snprintf(missing + size, sizeof missing - size, "%s%s", missed++ ? ", " : "",
                            number->name);
        size = mst_least(size + (size_t)more, sizeof missing - 1);
    }
    return missed ? refuse_missing(missing, missed, plan, err) : 0;
}

int resolve_word(const char *name, const char *text, const char *words, struct mst_err *err)
{
    char word[64];
    for (const char *rest = words; resolve_names_next(&rest, word, sizeof word, NULL) > 0;) {
        if (strcmp(word, text) == 0)
            return 0;
    }
    return mst_err_set(err, -EINVAL, "%s=%.40s: set it to one of %s", name, text, words);
}

int resolve_nodes(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                  struct mst_err *err)
{
    const char *text = resolve_text(machine, name);
    if (!text || !strchr(text, ':'))
        return resolve_number(machine, name, 1, RESOLVE_NODES_MAX, &plan->node_count, err);
    const char *end = text;
    int64_t low = resolve_digits(&end, RESOLVE_NODES_MAX);
    int64_t high = *end == ':' ? (end++, resolve_digits(&end, RESOLVE_NODES_MAX)) : MST_UNKNOWN;
    if (low < 1 || high < 1 || *end)
        return mst_err_set(err, -EINVAL, "%s=%.40s: set it to N or MIN:MAX nodes, 1 … %d", name,
                           text, RESOLVE_NODES_MAX);
    if (low > high)
        return mst_err_set(err, -EINVAL, "%s=%.40s: the minimum is over the maximum, swap them",
                           name, text);
    plan->elastic_min = low;
    plan->elastic_max = high;
    return 1;
}

uint32_t mst_machine_gpus(const struct mst_machine *machine)
{
    if (machine->count)
        machine->count(machine->arg);
    return machine->gpu_count;
}

uint32_t mst_machine_cores(const struct mst_machine *machine)
{
    if (machine->count)
        machine->count(machine->arg);
    return machine->core_count;
}

int resolve_local_size(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                       struct mst_err *err)
{
    const char *text = resolve_text(machine, name);
    if (!text || strcmp(text, "auto") == 0)
        return 0;
    if (strcmp(text, "gpu") == 0) {
        if (mst_machine_gpus(machine) == 0)
            return mst_err_set(err, -EINVAL,
                               "%s=gpu, but this node shows no GPU: ask for one, or "
                               "set it to a number",
                               name);
        plan->local_size = mst_machine_gpus(machine);
        return 0;
    }
    if (strcmp(text, "cpu") == 0) {
        plan->local_size = mst_machine_cores(machine) ? mst_machine_cores(machine) : 1;
        return 0;
    }
    int rc = resolve_number(machine, name, 1, RESOLVE_LOCAL_MAX, &plan->local_size, err);
    return rc < 0 ? rc : 0;
}

void resolve_role(struct mst_plan *plan, const char *role)
{
    (void)snprintf(plan->role, sizeof plan->role, "%s", role); /* shown only: a cut one will do */
}

int resolve_copy(char *to, size_t cap, const char *what, const char *text, size_t size,
                 struct mst_err *err)
{
    if (size >= cap)
        return mst_err_set(err, -EINVAL, "%s=%.60s… is too long: at most %zu bytes", what, text,
                           cap - 1);
    memcpy(to, text, size);
    to[size] = '\0';
    return 0;
}

/* The host in brackets, or before the only colon, or all of it; *ret_port is the text behind. */
static const char *find_host(const char *text, size_t *ret_size, const char **ret_port)
{
    const char *colon = strchr(text, ':'), *end = *text == '[' ? strchr(text, ']') : NULL;
    *ret_port = NULL;
    *ret_size = strlen(text);
    if (end) {
        *ret_size = (size_t)(end - text) - 1;
        *ret_port = end[1] == '\0' ? NULL : end + 1;
        return text + 1;
    }
    if (colon && !strchr(colon + 1, ':')) {
        *ret_size = (size_t)(colon - text);
        *ret_port = colon;
    }
    return text;
}

int resolve_split(const char *name, const char *text, struct mst_plan *plan, struct mst_err *err)
{
    size_t size;
    const char *port, *host = find_host(text, &size, &port);
    if (port) {
        const char *end = port + 1;
        int64_t number = *port == ':' ? resolve_digits(&end, UINT16_MAX) : MST_UNKNOWN;
        if (number < 1 || *end)
            return mst_err_set(err, -EINVAL, "%s=%.80s: no port, 1 … 65535, behind the host", name,
                               text);
        plan->master_port = number;
    }
    if (size == 0)
        return mst_err_set(err, -EINVAL, "%s=%.80s names no host", name, text);
    return resolve_copy(plan->master_host, sizeof plan->master_host, name, host, size, err);
}

int resolve_master(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                   struct mst_err *err)
{
    const char *text = resolve_value(machine, name);
    if (!text)
        return 0;
    if (!*text)
        return mst_err_set(err, -EINVAL,
                           "%s is empty, so nobody knows where node 0 is: restart the pod when its "
                           "name is there, or set it",
                           name);
    int rc = resolve_split(name, text, plan, err);
    return rc ? rc : 1;
}

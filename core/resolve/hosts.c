/* pure */
#include "muster/core/resolve/hosts.h"

#include <errno.h>
#include <string.h>

int resolve_names_next(const char **text, char *name, size_t cap, struct mst_err *err)
{
    const char *start = *text + strspn(*text, ", \t\r\n");
    size_t size = strcspn(start, ", \t\r\n");
    *text = start + size;
    if (size == 0)
        return 0;
    int rc = resolve_copy(name, cap, "host", start, size, err);
    return rc ? rc : 1;
}

/* "host", "user@host" or "host:N". */
static int read_word(const char *word, size_t size, struct resolve_host *host, struct mst_err *err)
{
    const char *end = word + size, *at = memchr(word, '@', size);
    if (at)
        word = at + 1;
    const char *colon = memchr(word, ':', (size_t)(end - word));
    if (colon) {
        const char *digits = colon + 1;
        host->slots = resolve_digits(&digits, RESOLVE_LOCAL_MAX);
        if (host->slots < 1 || digits != end)
            return mst_err_set(err, -EINVAL,
                               "hostfile: %.*s: no count of slots, 1 … %d, behind the "
                               "colon",
                               (int)size, word, RESOLVE_LOCAL_MAX);
        end = colon;
    }
    if (end == word)
        return mst_err_set(err, -EINVAL, "hostfile: %.*s names no host", (int)size, word);
    return resolve_copy(host->name, sizeof host->name, "host", word, (size_t)(end - word), err);
}

static int read_option(const char *word, size_t size, struct resolve_host *host,
                       struct mst_err *err)
{
    const char *digits = word + strlen("slots=");
    if (strncmp(word, "slots=", strlen("slots=")) != 0)
        return 0;
    host->slots = resolve_digits(&digits, RESOLVE_LOCAL_MAX);
    if (host->slots >= 1 && digits == word + size)
        return 0;
    return mst_err_set(err, -EINVAL, "hostfile: %s: %.*s is no count of slots, 1 … %d", host->name,
                       (int)size, word, RESOLVE_LOCAL_MAX);
}

static int read_line(const char *line, const char *end, struct resolve_host *host,
                     struct mst_err *err)
{
    bool has_name = false;
    while (line < end) {
        size_t size = strcspn(line, " \t\r\n#");
        if (size == 0 && *line == '#')
            break;
        bool is_echo = !has_name && size == 4 && strncmp(line, "echo", 4) == 0;
        if (size > 0 && !is_echo) {
            int rc = has_name ? read_option(line, size, host, err)
                              : read_word(line, size, host, err);
            if (rc)
                return rc;
            has_name = true;
        }
        line += size;
        line += *line == '#' ? 0 : strspn(line, " \t\r");
        if (line < end && *line == '\n')
            break;
    }
    return has_name;
}

int resolve_hosts_next(const char **text, struct resolve_host *ret_host, struct mst_err *err)
{
    while (**text) {
        const char *end = *text + strcspn(*text, "\n");
        ret_host->slots = MST_UNKNOWN;
        int rc = read_line(*text, end, ret_host, err);
        *text = *end ? end + 1 : end;
        if (rc)
            return rc;
    }
    return 0;
}

static void add(const struct mst_machine *machine, const struct resolve_host *host,
                struct resolve_hosts *hosts)
{
    if (hosts->count == 0)
        memcpy(hosts->first, host->name, sizeof hosts->first);
    if (hosts->self < 0 && resolve_is_self(machine, host->name)) {
        hosts->self = hosts->count;
        hosts->self_slots = host->slots;
    }
    hosts->each = hosts->count == 0 || hosts->each == host->slots ? host->slots : MST_UNKNOWN;
    hosts->slots += host->slots;
    hosts->count++;
}

/* Gathers the lines of one host, which stand together. 1; 0 at the end. */
static int next_group(const char **text, int64_t default_slots, struct resolve_host *ret_host,
                      struct mst_err *err)
{
    int rc = resolve_hosts_next(text, ret_host, err);
    if (rc <= 0)
        return rc;
    if (ret_host->slots < 0)
        ret_host->slots = default_slots;
    struct resolve_host next;
    for (const char *ahead = *text; (rc = resolve_hosts_next(&ahead, &next, err)) > 0;
         *text = ahead) {
        if (strcmp(next.name, ret_host->name) != 0)
            break;
        ret_host->slots += next.slots < 0 ? default_slots : next.slots;
    }
    return rc < 0 ? rc : 1;
}

/* Kubeflow sorts discover_hosts.sh as strings, worker-10 before worker-2, so that every change of
 * scale would move the ranks; the names' own numbers do not. */
static void sort_by_ordinal(const struct mst_machine *machine, const char *text,
                            struct resolve_hosts *hosts)
{
    int64_t own = resolve_ordinal(machine->hostname, NULL), least = INT64_MAX, before = 0;
    struct resolve_host host;
    while (resolve_hosts_next(&text, &host, NULL) > 0) {
        int64_t ordinal = resolve_ordinal(host.name, NULL);
        before += ordinal < own;
        if (ordinal < least) {
            least = ordinal;
            memcpy(hosts->first, host.name, sizeof hosts->first);
        }
    }
    if (hosts->self >= 0)
        hosts->self = before;
}

int resolve_hosts_sum(const struct mst_machine *machine, const char *text, int64_t default_slots,
                      bool by_ordinal, struct resolve_hosts *ret_hosts, struct mst_err *err)
{
    struct resolve_hosts hosts = {.self = MST_UNKNOWN, .each = MST_UNKNOWN};
    struct resolve_host host;
    int rc;
    for (const char *at = text; (rc = next_group(&at, default_slots, &host, err)) > 0;) {
        if (hosts.count == RESOLVE_NODES_MAX)
            return mst_err_set(err, -EINVAL, "over %d hosts", RESOLVE_NODES_MAX);
        add(machine, &host, &hosts);
    }
    if (rc < 0)
        return rc;
    if (hosts.count == 0)
        return mst_err_set(err, -EINVAL, "no host is listed (yet): wait until workers run");
    if (by_ordinal)
        sort_by_ordinal(machine, text, &hosts);
    *ret_hosts = hosts;
    return 0;
}

int resolve_place(const struct mst_machine *machine, const char *name, const char *text,
                  struct mst_plan *plan, struct mst_err *err)
{
    char host[MST_HOST_BYTES];
    int64_t count = 0, self = MST_UNKNOWN;
    int rc;
    while ((rc = resolve_names_next(&text, host, sizeof host, err)) > 0) {
        if (count == 0)
            memcpy(plan->master_host, host, sizeof plan->master_host);
        if (self < 0 && resolve_is_self(machine, host))
            self = count;
        if (++count > RESOLVE_NODES_MAX)
            return mst_err_set(err, -EINVAL, "%s lists over %d hosts", name, RESOLVE_NODES_MAX);
    }
    if (rc < 0)
        return rc;
    if (plan->node_count > 0 && count > 0 && count != plan->node_count)
        return mst_err_set(err, -EINVAL, "%s lists %lld hosts, but %s says %lld nodes", name,
                           (long long)count, plan->scheduler, (long long)plan->node_count);
    if (plan->node_count < 0 && count > 0)
        plan->node_count = count;
    if (plan->node_rank < 0)
        plan->node_rank = self;
    return 0;
}

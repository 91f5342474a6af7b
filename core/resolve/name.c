/* Host names: whose is it, and what does it count? */
/* pure */
#include "muster/core/resolve/parser.h"

#include <ctype.h>
#include <string.h>

int64_t resolve_ordinal(const char *host, size_t *ret_stem)
{
    size_t label = strcspn(host, "."), stem = label;
    while (stem > 0 && isdigit((unsigned char)host[stem - 1]))
        stem--;
    if (stem < 2 || stem == label || label - stem > 9 || host[stem - 1] != '-')
        return MST_UNKNOWN;
    const char *digits = host + stem;
    if (ret_stem)
        *ret_stem = stem - 1;
    return resolve_digits(&digits, INT32_MAX);
}

int64_t resolve_worker_number(const char *host)
{
    static const char role[] = "-worker";
    size_t stem = 0, size = sizeof role - 1;
    int64_t number = resolve_ordinal(host, &stem);
    return stem > size && strncmp(host + stem - size, role, size) == 0 ? number : MST_UNKNOWN;
}

bool resolve_is_address(const char *host)
{
    return strchr(host, ':') || host[strspn(host, "0123456789.")] == '\0';
}

static bool starts_with(const char *longer, const char *shorter, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (tolower((unsigned char)longer[i]) != tolower((unsigned char)shorter[i]))
            return false;
    }
    return longer[size] == '\0' || longer[size] == '.';
}

bool resolve_same_host(const char *a, const char *b)
{
    size_t a_size = strlen(a), b_size = strlen(b);
    if (a_size == 0 || b_size == 0)
        return false;
    if (resolve_is_address(a) || resolve_is_address(b))
        return strcmp(a, b) == 0;
    return a_size >= b_size ? starts_with(a, b, b_size) : starts_with(b, a, a_size);
}

bool resolve_is_self(const struct mst_machine *machine, const char *host)
{
    return resolve_same_host(machine->hostname, host) || resolve_same_host(machine->pod_ip, host);
}

int64_t resolve_rank_by_name(const struct mst_machine *machine, const char *master)
{
    size_t own_stem, master_stem;
    int64_t own = resolve_ordinal(machine->hostname, &own_stem);
    if (resolve_is_self(machine, master))
        return 0;
    if (own < 0 || resolve_ordinal(master, &master_stem) != 0 || own_stem != master_stem ||
        strncmp(machine->hostname, master, own_stem) != 0)
        return MST_UNKNOWN;
    return own;
}

void resolve_master_by_name(const struct mst_machine *machine, struct mst_plan *plan)
{
    size_t stem;
    if (resolve_ordinal(machine->hostname, &stem) < 0 || stem + sizeof "-0" > MST_HOST_BYTES)
        return;
    memcpy(plan->master_host, machine->hostname, stem);
    memcpy(plan->master_host + stem, "-0", sizeof "-0");
    plan->host_is_derived = true;
}

/* What a row of the table of families says of an environment. */
/* pure */
#include "muster/core/resolve/hosts.h"
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <string.h>

/* An operator's variable that is empty is one it could not fill; a rank has a number. */
static bool has_sign(const struct resolve_family *family, const struct mst_machine *machine,
                     const char *names)
{
    if (family->mode != MST_PLAN_RANK)
        return resolve_any_set(machine, names);
    char name[64];
    while (resolve_names_next(&names, name, sizeof name, NULL) > 0) {
        if (resolve_text(machine, name))
            return true;
    }
    return false;
}

static bool is_there(const struct resolve_family *family, const struct mst_machine *machine)
{
    return has_sign(family, machine, family->signs) &&
           (!family->with || has_sign(family, machine, family->with)) &&
           (!family->unless || !resolve_any_set(machine, family->unless));
}

/* An empty address matters where others are to be found by it: not on one node, nor to a rank,
 * whose launcher finds them. */
static int read_host(const struct resolve_family *family, const struct mst_machine *machine,
                     struct mst_plan *plan, struct mst_err *err)
{
    bool may_be_empty = plan->node_count == 1 || plan->mode == MST_PLAN_RANK;
    const char *hosts = family->hosts ? resolve_text(machine, family->hosts) : NULL;
    int rc = 0;
    if (family->host && (resolve_text(machine, family->host) || !may_be_empty))
        rc = resolve_master(machine, family->host, plan, err);
    if (rc >= 0 && hosts)
        rc = resolve_place(machine, family->hosts, hosts, plan, err);
    if (plan->master_host[0] && family->port > 0)
        plan->default_port = family->port;
    return rc < 0 ? rc : 0;
}

static int read_row(const struct resolve_family *family, const struct mst_machine *machine,
                    struct mst_plan *plan, struct mst_err *err)
{
    int rc = family->nodes ? resolve_nodes(machine, family->nodes, plan, err) : 0;
    if (rc >= 0)
        rc = resolve_numbers(machine, family->numbers, RESOLVE_COUNT(family->numbers), plan, err);
    if (rc >= 0 && family->local_size)
        rc = resolve_local_size(machine, family->local_size, plan, err);
    if (plan->mode == MST_PLAN_UNSET && (plan->node_count > 0 || plan->elastic_min > 0))
        plan->mode = MST_PLAN_SPAWN;
    if (family->roles[0])
        resolve_role(plan, family->roles[plan->node_rank != 0]);
    return rc < 0 ? rc : read_host(family, machine, plan, err);
}

int resolve_family_read(const struct resolve_family *family, const struct mst_machine *machine,
                        struct mst_plan *plan, struct mst_err *err)
{
    if (family->signs && !is_there(family, machine))
        return 0;
    plan->mode = family->mode;
    if (family->ranks_per_node > 0)
        plan->local_size = family->ranks_per_node;
    int rc = read_row(family, machine, plan, err);
    if (rc < 0)
        return rc;
    return family->parse ? family->parse(machine, plan, err) : 1;
}

const char *mst_candidate_variables(const struct mst_candidate *candidate, uint32_t index)
{
    const struct resolve_family *family = candidate->family;
    const char *const texts[] = {family->nodes, family->local_size, family->host, family->hosts,
                                 family->more};
    for (size_t i = 0; i < RESOLVE_COUNT(texts); i++) {
        if (texts[i] && index-- == 0)
            return texts[i];
    }
    for (size_t i = 0; i < RESOLVE_COUNT(family->numbers) && family->numbers[i].name; i++) {
        if (index-- == 0)
            return family->numbers[i].name;
    }
    return NULL;
}

/* How what the families of variables say becomes one answer. */
/* pure */
#include "muster/core/resolve/resolve.h"

#include "muster/core/host.h"
#include "muster/core/resolve/parser.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* ---- candidates ------------------------------------------------------------------------------ */

const struct mst_plan mst_plan_unknown = {
    .world_size = MST_UNKNOWN,
    .node_count = MST_UNKNOWN,
    .node_rank = MST_UNKNOWN,
    .local_size = MST_UNKNOWN,
    .rank = MST_UNKNOWN,
    .local_rank = MST_UNKNOWN,
    .elastic_min = MST_UNKNOWN,
    .elastic_max = MST_UNKNOWN,
    .max_restarts = MST_UNKNOWN,
    .incarnation = MST_UNKNOWN,
    .master_port = MST_UNKNOWN,
    .default_port = MST_UNKNOWN,
    .device_count = MST_UNKNOWN,
    .loose_count = MST_UNKNOWN,
};

const char *mst_plan_mode_name(enum mst_plan_mode mode)
{
    switch (mode) {
    case MST_PLAN_UNSET: return "part";
    case MST_PLAN_SPAWN: return "spawn";
    case MST_PLAN_RANK: return "rank";
    case MST_PLAN_CONTROL: return "control";
    case MST_PLAN_NO_COLLECTIVE: return "no_collective";
    case MST_PLAN_WAIT_FOR_LAUNCHER: return "wait_for_launcher";
    case MST_PLAN_ELASTIC_UNKNOWN_SIZE: return "elastic_unknown_size";
    case MST_PLAN_ERROR: break;
    }
    return "error";
}

static bool is_asked(const struct resolve_family *family, const char *from)
{
    return !from || strcmp(from, family->scheme) == 0 || strcmp(family->scheme, "muster") == 0;
}

static void collect(const struct mst_machine *machine, const char *from, struct mst_answer *answer)
{
    for (const struct resolve_family *family = resolve_families; family->scheme; family++) {
        if (!is_asked(family, from))
            continue;
        assert(answer->candidate_count < MST_CANDIDATES_MAX);
        struct mst_candidate *candidate = &answer->candidates[answer->candidate_count];
        *candidate = (struct mst_candidate){.plan = mst_plan_unknown, .family = family};
        candidate->plan.scheme = family->scheme;
        candidate->plan.scheduler = family->scheduler;
        if (resolve_family_read(family, machine, &candidate->plan, &candidate->err) != 0)
            answer->candidate_count++;
    }
}

static int check_from(const char *from, const struct mst_answer *answer, struct mst_err *err)
{
    const struct resolve_family *family = resolve_families;
    while (family->scheme && strcmp(family->scheme, from) != 0)
        family++;
    if (!family->scheme)
        return mst_err_set(err, -EINVAL, "MST_FROM=%.40s: no such scheme, see muster-env(7)", from);
    for (uint32_t i = 0; i < answer->candidate_count; i++) {
        if (strcmp(answer->candidates[i].plan.scheme, from) == 0)
            return 0;
    }
    return mst_err_set(err, -EINVAL,
                       "--from or MST_FROM says %s, and none of its variables is set (%.120s)",
                       from, family->signs ? family->signs : family->more);
}

static bool has_rank(const struct mst_answer *answer)
{
    for (uint32_t i = 0; i < answer->candidate_count; i++) {
        if (answer->candidates[i].plan.mode == MST_PLAN_RANK)
            return true;
    }
    return false;
}

static bool is_single(const struct mst_plan *plan)
{
    return plan->scheme && strcmp(plan->scheme, "single") == 0;
}

/* A process that is a rank is what its launcher says; the variables of its pod, which it inherited,
 * describe the launcher. Who wants to be alone asks nobody. */
static void set_apart(struct mst_answer *answer)
{
    bool is_alone = answer->candidate_count > 0 && is_single(&answer->candidates[0].plan);
    bool is_rank = !is_alone && has_rank(answer);
    for (uint32_t i = 0; i < answer->candidate_count; i++) {
        struct mst_candidate *candidate = &answer->candidates[i];
        candidate->is_passed_over = (is_alone && i > 0) ||
                                    (is_rank && candidate->plan.mode != MST_PLAN_RANK);
    }
}

/* The first candidate that is wrong in itself. */
static int check_candidates(const struct mst_answer *answer, struct mst_plan *plan,
                            struct mst_err *err)
{
    for (uint32_t i = 0; i < answer->candidate_count; i++) {
        const struct mst_candidate *candidate = &answer->candidates[i];
        if (candidate->err.code == 0 || candidate->is_passed_over)
            continue;
        *plan = candidate->plan;
        *err = candidate->err;
        return err->code;
    }
    return 0;
}

/* ---- merging --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    {"number of nodes", offsetof(struct mst_plan, node_count)},
    {"node rank", offsetof(struct mst_plan, node_rank)},
    {"number of ranks per node", offsetof(struct mst_plan, local_size)},
    {"world size", offsetof(struct mst_plan, world_size)},
    {"rank", offsetof(struct mst_plan, rank)},
    {"local rank", offsetof(struct mst_plan, local_rank)},
    {"minimum of nodes", offsetof(struct mst_plan, elastic_min)},
    {"maximum of nodes", offsetof(struct mst_plan, elastic_max)},
    {"master's port", offsetof(struct mst_plan, master_port)},
    {"restart limit", offsetof(struct mst_plan, max_restarts)},
    {"incarnation", offsetof(struct mst_plan, incarnation)},
    {NULL, offsetof(struct mst_plan, default_port)}, /* the strongest one's counts */
    {NULL, offsetof(struct mst_plan, device_count)},
    {NULL, offsetof(struct mst_plan, loose_count)},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

struct merge {
    struct mst_plan plan;
    const char *givers[FIELD_COUNT], *host_giver; /* schemes, for the text of a contradiction */
};

static int merge_number(struct merge *merge, size_t field, const struct mst_plan *from,
                        struct mst_err *err)
{
    int64_t *value = (int64_t *)((char *)&merge->plan + fields[field].offset);
    int64_t other = *(const int64_t *)((const char *)from + fields[field].offset);
    if (other < 0)
        return 0;
    if (*value < 0) {
        *value = other;
        merge->givers[field] = from->scheme;
        return 0;
    }
    if (*value == other || !fields[field].name)
        return 0;
    return mst_err_set(
        err, -EINVAL,
        "the %s is %lld by %s but %lld by %s: unset the wrong one's variables (muster "
        "env --explain), or choose by --from %s",
        fields[field].name, (long long)*value, merge->givers[field], (long long)other, from->scheme,
        merge->givers[field]);
}

/* A name and an address may well be one host; nothing here looks that up. */
static bool is_comparable(const char *a, const char *b)
{
    return resolve_is_address(a) == resolve_is_address(b) && !mst_host_is_local(a) &&
           !mst_host_is_local(b);
}

static int merge_host(struct merge *merge, const struct mst_plan *from, struct mst_err *err)
{
    char *host = merge->plan.master_host;
    if (!from->master_host[0])
        return 0;
    if (!host[0]) {
        memcpy(host, from->master_host, sizeof from->master_host);
        merge->plan.host_is_derived = from->host_is_derived;
        merge->host_giver = from->scheme;
        return 0;
    }
    if (!is_comparable(host, from->master_host) || resolve_same_host(host, from->master_host))
        return 0;
    return mst_err_set(
        err, -EINVAL,
        "the master is %.60s by %s but %.60s by %s: unset the wrong one's variables, "
        "or choose by --from %s",
        host, merge->host_giver, from->master_host, from->scheme, merge->host_giver);
}

static void merge_words(struct merge *merge, const struct mst_plan *from)
{
    struct mst_plan *plan = &merge->plan;
    if (plan->mode == MST_PLAN_UNSET && from->mode != MST_PLAN_UNSET) {
        plan->mode = from->mode;
        plan->scheme = from->scheme;
        plan->scheduler = from->scheduler;
    }
    if (!plan->scheme) {
        plan->scheme = from->scheme;
        plan->scheduler = from->scheduler;
    }
    if (!plan->role[0])
        memcpy(plan->role, from->role, sizeof plan->role);
    if (!plan->rdzv_id[0])
        memcpy(plan->rdzv_id, from->rdzv_id, sizeof plan->rdzv_id);
}

static int merge_candidate(struct merge *merge, const struct mst_plan *from, struct mst_err *err)
{
    for (size_t field = 0; field < FIELD_COUNT; field++) {
        int rc = merge_number(merge, field, from, err);
        if (rc)
            return rc;
    }
    int rc = merge_host(merge, from, err);
    if (rc)
        return rc;
    merge_words(merge, from);
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int decide(const struct mst_machine *machine, const char *from, struct mst_answer *answer,
                  struct mst_err *err)
{
    struct merge merge = {.plan = mst_plan_unknown};
    int rc = from ? check_from(from, answer, err) : 0;
    if (rc == 0)
        rc = check_candidates(answer, &merge.plan, err);
    for (uint32_t i = 0; rc == 0 && i < answer->candidate_count; i++) {
        if (!answer->candidates[i].is_passed_over)
            rc = merge_candidate(&merge, &answer->candidates[i].plan, err);
    }
    if (rc == 0)
        rc = resolve_complete(machine, &merge.plan, err);
    answer->plan = merge.plan;
    return rc;
}

/* Of a plan that is refused only this is still true: who the pod says it is, and what the job is
 * called. */
static void blank(struct mst_plan *plan)
{
    struct mst_plan rest = mst_plan_unknown;
    rest.mode = MST_PLAN_ERROR;
    rest.scheme = plan->scheme;
    rest.scheduler = plan->scheduler;
    rest.node_rank = plan->node_rank;
    memcpy(rest.role, plan->role, sizeof rest.role);
    memcpy(rest.job_id, plan->job_id, sizeof rest.job_id);
    memcpy(rest.step_id, plan->step_id, sizeof rest.step_id);
    *plan = rest;
}

int mst_resolve(const struct mst_machine *machine, const char *from, struct mst_answer *ret_answer)
{
    ret_answer->err = (struct mst_err){0};
    ret_answer->candidate_count = 0;
    collect(machine, from, ret_answer);
    set_apart(ret_answer);
    int rc = decide(machine, from, ret_answer, &ret_answer->err);
    mst_plan_name_job(machine, &ret_answer->plan);
    if (rc)
        blank(&ret_answer->plan);
    return rc;
}

/* ---- what the answer says -------------------------------------------------------------------- */

static bool counts_others(const struct mst_plan *plan)
{
    return plan->local_size > 1 || plan->world_size > 1 || plan->loose_count > 1;
}

/* The plan's own count of ranks may be that of this node's GPUs: what variables say is in the
 * candidates. */
static bool has_neighbours(const struct mst_answer *answer)
{
    for (uint32_t i = 0; i < answer->candidate_count; i++) {
        const struct mst_candidate *candidate = &answer->candidates[i];
        if (!candidate->is_passed_over && counts_others(&candidate->plan))
            return true;
    }
    return false;
}

bool mst_answer_has_others(const struct mst_answer *answer)
{
    const struct mst_plan *plan = &answer->plan;
    if (plan->mode == MST_PLAN_NO_COLLECTIVE)
        return false;
    if (plan->mode == MST_PLAN_RANK)
        return plan->world_size != 1;
    if (plan->mode != MST_PLAN_SPAWN)
        return true;
    return !is_single(plan) && (plan->node_count != 1 || has_neighbours(answer));
}

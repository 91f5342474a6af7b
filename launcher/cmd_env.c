#include "muster/launcher/cmd.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/json_text.h"
#include "muster/launcher/opts.h"

#include "muster/core/cli/options.h"
#include "muster/core/err.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define VARIABLE_SHOWN 160 /* bytes; TF_CONFIG of a large job fills screens */

static json_t *number(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

static json_t *word(const char *text)
{
    return text && *text ? json_text(text) : json_null();
}

static json_t *candidate_json(const struct mst_candidate *candidate)
{
    const struct mst_plan *plan = &candidate->plan;
    return json_pack("{s:s, s:s, s:s, s:b, s:o}", "scheme", plan->scheme, "scheduler",
                     plan->scheduler, "mode", mst_plan_mode_name(plan->mode), "passed_over",
                     candidate->is_passed_over, "error", word(candidate->err.text));
}

static json_t *candidates_json(const struct mst_answer *answer)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < answer->candidate_count; i++)
        json_array_append_new(list, candidate_json(&answer->candidates[i]));
    return list;
}

static json_t *missing_json(const struct opts *opts)
{
    json_t *list = json_array();
    for (const char *const *what = opts->missing; *what; what++)
        json_array_append_new(list, json_text(*what));
    return list;
}

/* `refusal` is why `muster run` would start nothing; empty if it would. */
static void print_json(const struct opts *opts, const char *refusal)
{
    const struct mst_answer *answer = opts->answer;
    const struct mst_plan *plan = &answer->plan;
    bool is_rank = plan->mode == MST_PLAN_RANK;
    const struct {
        const char *key;
        json_t *value;
    } members[] = {
        {"mode", json_string(mst_plan_mode_name(plan->mode))},
        {"scheme", word(plan->scheme)},
        {"scheduler", word(plan->scheduler)},
        {"world_size", number(plan->world_size)},
        {"node_rank", number(plan->node_rank)},
        {"nnodes", number(plan->node_count)},
        {"nproc_per_node", number(plan->local_size)},
        {"master_addr", word(plan->master_host)},
        {"master_port", number(plan->master_port)},
        {"role", word(plan->role)},
        {"elastic_min", number(plan->elastic_min)},
        {"elastic_max", number(plan->elastic_max)},
        {"rank", number(plan->rank)},
        {"local_rank", number(plan->local_rank)},
        {"local_size", number(is_rank ? plan->local_size : MST_UNKNOWN)},
        {"max_restarts", number(plan->max_restarts)},
        {"rdzv_id", word(plan->rdzv_id)},
        {"incarnation", number(plan->incarnation)},
        {"job_id", word(plan->job_id)},
        {"candidates", candidates_json(answer)},
        {"error", word(answer->err.text)},
        {"refused", word(refusal)},
        {"exit_profile", word(exitcode_profiles[opts->profile])},
        {"overruled", word(opts->overruled)},
        {"missing", missing_json(opts)},
    };
    json_t *root = json_object();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        json_object_set_new(root, members[i].key, members[i].value);
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

static void print_number(const char *name, int64_t value)
{
    if (value >= 0)
        printf("%-15s %lld\n", name, (long long)value);
}

static void print_word(const char *name, const char *text)
{
    if (text && *text)
        printf("%-15s %s\n", name, text);
}

static void print_plan(const struct mst_plan *plan)
{
    print_word("mode", mst_plan_mode_name(plan->mode));
    print_word("scheme", plan->scheme);
    print_word("scheduler", plan->scheduler);
    print_word("role", plan->role);
    print_number("world_size", plan->world_size);
    print_number("nnodes", plan->node_count);
    print_number("elastic_min", plan->elastic_min);
    print_number("elastic_max", plan->elastic_max);
    print_number("node_rank", plan->node_rank);
    print_number("nproc_per_node", plan->local_size);
    print_number("rank", plan->rank);
    print_number("local_rank", plan->local_rank);
    print_word("master_addr", plan->master_host);
    print_number("master_port", plan->master_port);
    print_number("max_restarts", plan->max_restarts);
    print_number("incarnation", plan->incarnation);
    print_word("rdzv_id", plan->rdzv_id);
    print_word("job_id", plan->job_id);
}

static void print_opts(const struct opts *opts)
{
    char list[128];
    print_plan(&opts->answer->plan);
    print_word("exit_profile", exitcode_profiles[opts->profile]);
    print_word("overruled", opts->overruled);
    print_word("missing", opts_join_missing(opts, list, sizeof list));
}

/* Every variable of `names` that is set; "VC_*" names all that begin so. */
static void print_variables(char **env, const char *names)
{
    for (size_t size; *names; names += size + strspn(names + size, " ")) {
        size = strcspn(names, " ");
        bool is_prefix = names[size - 1] == '*';
        size_t given = is_prefix ? size - 1 : size;
        for (char **var = env; *var; var++) {
            if (strncmp(*var, names, given) == 0 && (is_prefix || (*var)[given] == '='))
                printf("    %.*s\n", VARIABLE_SHOWN, *var);
        }
    }
}

static const char *meaning(const struct mst_candidate *candidate)
{
    if (candidate->err.text[0])
        return candidate->err.text;
    switch (candidate->plan.mode) {
    case MST_PLAN_SPAWN: return "start ranks here";
    case MST_PLAN_RANK: return "this process is a rank already; nothing is to be started";
    case MST_PLAN_CONTROL: return "a launcher's pod, which runs no rank";
    case MST_PLAN_NO_COLLECTIVE: return "a pod beside the world of ranks";
    case MST_PLAN_WAIT_FOR_LAUNCHER: return "a worker whose launcher knows the rest";
    case MST_PLAN_ELASTIC_UNKNOWN_SIZE: return "one of a world whose size is not said";
    default: return "a part of the answer only";
    }
}

static void explain_candidate(const struct mst_candidate *candidate, char **env)
{
    printf("found: %s, scheme %s\n", candidate->plan.scheduler, candidate->plan.scheme);
    const char *names;
    for (uint32_t i = 0; (names = mst_candidate_variables(candidate, i)); i++)
        print_variables(env, names);
    printf("  means: %s%s\n", meaning(candidate),
           candidate->is_passed_over ? " (not asked: a rank is what its own launcher says)" : "");
    if (candidate->plan.node_count >= 0)
        printf("  nodes: %lld\n", (long long)candidate->plan.node_count);
    else if (candidate->plan.elastic_min >= 0)
        printf("  nodes: %lld to %lld\n", (long long)candidate->plan.elastic_min,
               (long long)candidate->plan.elastic_max);
    if (candidate->plan.node_rank >= 0)
        printf("  this node: %lld\n", (long long)candidate->plan.node_rank);
    if (candidate->plan.rank >= 0)
        printf("  this rank: %lld\n", (long long)candidate->plan.rank);
    if (candidate->plan.master_host[0])
        printf("  node 0: %s\n", candidate->plan.master_host);
}

/* The strongest stands first; the others only complete it, or contradict it. */
static void explain(const struct opts *opts)
{
    const struct mst_answer *answer = opts->answer;
    for (uint32_t i = 0; i < answer->candidate_count; i++)
        explain_candidate(&answer->candidates[i], opts->env);
    if (answer->candidate_count == 0)
        printf("found: no variable of an operator or launcher\n");
    if (answer->err.text[0]) {
        printf("\nrefused: %s\n", answer->err.text);
        return;
    }
    printf("\nwon: %s%s\n", answer->plan.scheme,
           answer->candidate_count > 1 ? "; what the others say agrees or was not asked" : "");
    printf("exit codes: as %s wants them (%s)\n\n", exitcode_profiles[opts->profile],
           opts->profile_by);
    print_opts(opts);
}

int cmd_env(int argc, char **argv)
{
    struct mst_answer answer;
    struct opts opts = {.answer = &answer};
    struct mst_err err = {0};
    int rc = opts_read(&env_options, argc, argv, &opts, &err);
    if (rc == EXITCODE_CONFIG)
        fprintf(stderr, "muster env: %s\n", err.text);
    if (rc)
        return rc == EXITCODE_CONFIG ? rc : options_answer(&env_options, rc, &err);
    struct mst_err refusal = {0};
    bool is_refused = opts_check(&opts, &refusal) != 0;
    bool is_error = opts.answer->plan.mode == MST_PLAN_ERROR;
    if (opts.json)
        print_json(&opts, refusal.text);
    else if (opts.explain)
        explain(&opts);
    else if (!is_error)
        print_opts(&opts);
    if (is_refused && !opts.json && !(is_error && opts.explain))
        fprintf(stderr, "muster env: %s\n", refusal.text);
    bool is_short = opts.check && opts.missing[0];
    return options_finish(&env_options, is_refused || is_short ? EXITCODE_CONFIG : EXITCODE_OK);
}

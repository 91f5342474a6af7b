#include "muster/launcher/agent.h"
#include "muster/launcher/cause.h"
#include "muster/launcher/cmd.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/inherited.h"
#include "muster/launcher/json_text.h"
#include "muster/launcher/log.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/program.h"
#include "muster/launcher/rankenv.h"

#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/world/answer.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The ranks of this node; on the others the same program runs with theirs. */
static void plan_facts(const struct opts *opts, struct rankenv_facts *facts)
{
    static char kv_addr[OPTS_HOST_BYTES + 16];
    (void)mst_sock_join(opts->rdzv_host, opts->rdzv_ports[0], kv_addr,
                        sizeof kv_addr); /* it fits */
    *facts = (struct rankenv_facts){.rank = opts->node_rank * opts->local_size,
                                    .world_size = opts->node_count * opts->local_size,
                                    .local_size = opts->local_size,
                                    .node = opts->node_rank,
                                    .node_count = opts->node_count,
                                    .max_restarts = opts->max_restarts,
                                    .kv_addr = kv_addr,
                                    .master_host = opts->rdzv_host,
                                    .job_id = opts->job_id,
                                    .secret_fd = -1,
                                    .page_fd = -1,
                                    .shm_fd = -1,
                                    .take_root = opts->take_root,
                                    .is_beside = opts->is_beside};
}

/* Ports and fds are not known before the start. */
static bool is_known(const char *var)
{
    static const char *const later[] = {
        "MST_SECRET_FD=",
        "MST_PAGE_FD=",
        "MST_SHM_FD=",
        "MASTER_PORT=",
        "COORDINATOR_PORT=",
        "DMLC_TRACKER_PORT=",
        "JAX_COORDINATOR_ADDRESS=",
        "PADDLE_MASTER=",
    };
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (strncmp(var, later[i], strlen(later[i])) == 0)
            return false;
    }
    return true;
}

static json_t *rank_json(const struct rankenv *env, uint32_t rank)
{
    json_t *vars = json_object();
    for (size_t i = 0; i < env->own_count; i++) {
        const char *equals = strchr(env->own[i], '=');
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(equals - env->own[i]), env->own[i]);
        if (is_known(env->own[i]))
            json_object_set_new(vars, name, json_text(equals + 1));
    }
    return json_pack("{s:i, s:o}", "rank", (int)rank, "env", vars);
}

static void print_json(const struct opts *opts, json_t *ranks)
{
    json_t *program = json_array();
    for (char **arg = opts->argv; *arg; arg++)
        json_array_append_new(program, json_text(*arg));
    json_t *root = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o}", "scheme",
                             opts->scheme, "nodes", (int)opts->node_count, "node",
                             (int)opts->node_rank, "local_size", (int)opts->local_size,
                             "world_size", (int)(opts->node_count * opts->local_size),
                             "max_restarts", (int)opts->max_restarts, "grace_s",
                             (int)(opts->grace_ms / 1000), "program", program, "ranks", ranks);
    if (opts->node_least)
        json_object_set_new(root, "nodes_min", json_integer(opts->node_least));
    if (opts->spare_count)
        json_object_set_new(root, "spares", json_integer(opts->spare_count));
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

/* "4", or "1 to 4, and 1 spare". */
static const char *name_nodes(const struct opts *opts, char *text, size_t cap)
{
    char least[24] = "", spares[32] = "";
    if (opts->node_least)
        snprintf(least, sizeof least, "%u to ", opts->node_least);
    if (opts->spare_count)
        snprintf(spares, sizeof spares, ", beside %u spares,", opts->spare_count);
    snprintf(text, cap, "%s%u nodes%s", least, opts->node_count, spares);
    return text;
}

static void print_text(const struct opts *opts, const struct rankenv *env, uint32_t rank)
{
    char nodes[96];
    if (rank == opts->node_rank * opts->local_size) {
        if (opts->is_beside)
            printf("beside the world: %s (scheme %s), one program\nprogram:",
                   opts->answer->plan.role, opts->scheme);
        else
            printf("world: %s%u ranks on %s (scheme %s), %u here (%s), this is node %u\n"
                   "program:",
                   opts->node_least ? "up to " : "", opts->node_count * opts->local_size,
                   name_nodes(opts, nodes, sizeof nodes), opts->scheme, opts->local_size,
                   opts->local_size_reason, opts->node_rank);
        for (char **arg = opts->argv; *arg; arg++)
            printf(" %s", *arg);
        printf("\nat most %u restarts without progress; %u s to drain\n", opts->max_restarts,
               opts->grace_ms / 1000);
    }
    printf("rank %u:", rank);
    for (size_t i = 0; i < env->own_count; i++) {
        if (is_known(env->own[i]))
            printf(" %s", env->own[i]);
    }
    putchar('\n');
}

/* Whether the program could be started, to end a dry run with; where another machine is described,
 * it has its own programs. */
static int check_program(const struct opts *opts)
{
    char file[PROGRAM_PATH_BYTES];
    struct mst_err err = {0};
    int rc = opts->elsewhere ? 0 : program_find(opts->argv[0], opts->path, file);
    if (rc == 0)
        return EXITCODE_OK;
    (void)program_refuse(opts->argv[0], rc, &err); /* it is rc */
    log_line(LOG_ERROR, err.text, NULL);
    return exitcode_of_exec(-rc);
}

/* Assumes that every node has as many ranks as this one; the start itself does not. */
static int dry_run(const struct opts *opts)
{
    struct rankenv env;
    struct rankenv_facts facts;
    json_t *ranks = json_array();
    plan_facts(opts, &facts);
    for (uint32_t i = 0; i < opts->local_size; i++) {
        if (rankenv_init(&env, opts->env, &facts)) {
            log_line(LOG_ERROR, "no memory for the plan", " of_rank=%u", facts.rank);
            json_decref(ranks);
            return EXITCODE_INTERNAL;
        }
        if (opts->json)
            json_array_append_new(ranks, rank_json(&env, facts.rank));
        else
            print_text(opts, &env, facts.rank);
        rankenv_fini(&env);
        facts.rank++;
        facts.local_rank++;
    }
    if (opts->json)
        print_json(opts, ranks);
    else
        json_decref(ranks);
    return check_program(opts);
}

static uint32_t known_or_0(int64_t number)
{
    return number > 0 ? (uint32_t)number : 0;
}

/* What its own launcher says, in the words of the others, too: if that is `muster run`, all is
 * said, and without a size of the world nothing can be. 0; -ENOMEM. */
static int translate(const struct opts *opts, struct rankenv *env)
{
    const struct mst_plan *plan = &opts->answer->plan;
    if (plan->world_size < 0 || strcmp(plan->scheme, "muster-rank") == 0)
        return 0;
    const struct rankenv_facts facts = {
        .rank = (uint32_t)plan->rank,
        .world_size = known_or_0(plan->world_size),
        .local_rank = known_or_0(plan->local_rank),
        .local_size = plan->local_rank >= 0 ? known_or_0(plan->local_size) : 0,
        .node = known_or_0(plan->node_rank),
        .node_count = plan->node_rank >= 0 ? known_or_0(plan->node_count) : 0,
        .master_host = plan->master_host,
        .master_port = known_or_0(plan->master_port),
        .take_root = opts->take_root};
    return rankenv_init_foreign(env, opts->env, &facts, world_launcher(opts->answer));
}

/* A rank of another launcher stays one: its program takes this process's place, as itself. */
static int become_rank(const struct opts *opts)
{
    const struct mst_plan *plan = &opts->answer->plan;
    struct rankenv env = {.vars = opts->env};
    if (opts->idle[0])
        log_line(LOG_WARN, "its own launcher cares for this rank: these options do nothing",
                 " options=%s", log_quote(opts->idle).text);
    if (opts->dry_run) {
        printf("rank %lld already, by %s: the program would take this process's place\n",
               (long long)plan->rank, plan->scheme);
        return options_finish(&run_options, check_program(opts));
    }
    if (translate(opts, &env)) {
        log_line(LOG_ERROR, "no memory for the program's environment", NULL);
        return EXITCODE_INTERNAL;
    }
    inherited_give_back();
    execvpe(opts->argv[0], opts->argv, env.vars);
    struct mst_err err = {0};
    int rc = program_refuse(opts->argv[0], -errno, &err);
    log_line(LOG_ERROR, err.text, NULL);
    return exitcode_of_exec(-rc);
}

static int start(const struct opts *opts)
{
    if (opts->overruled[0])
        log_line(LOG_WARN, "flags overrule what the environment says", " overruled=%s",
                 log_quote(opts->overruled).text);
    if (opts->answer->plan.mode == MST_PLAN_RANK)
        return become_rank(opts);
    if (opts->is_beside)
        log_line(LOG_INFO, "beside the world of ranks: the program runs alone", " role=%s",
                 log_quote(opts->answer->plan.role).text);
    if (opts->idle[0])
        log_line(LOG_WARN,
                 opts->is_beside ? "there are no ranks here: these options do nothing"
                                 : "one node meets no other: these options do nothing",
                 " options=%s", log_quote(opts->idle).text);
    return opts->dry_run ? options_finish(&run_options, dry_run(opts)) : agent_run(opts);
}

int cmd_run(int argc, char **argv)
{
    struct mst_answer answer; /* too large to be copied around, most of it never touched */
    struct opts opts = {.answer = &answer};
    struct mst_err err = {0};
    int rc = opts_parse(argc, argv, &opts, &err);
    if (rc && rc != EXITCODE_CONFIG)
        return options_answer(&run_options, rc, &err);
    log_init(opts.log_level, opts.log_format);
    if (rc) {
        log_line(LOG_ERROR, err.text, NULL);
        (void)cause_write(CAUSE_PATH, -1, err.text, ""); /* it is in the log, too */
    } else {
        rc = start(&opts);
    }
    opts_fini(&opts);
    return rc;
}

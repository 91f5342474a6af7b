#include "muster/launcher/opts.h"

#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/host.h"
#include "muster/core/kv/sock.h"
#include "muster/core/resolve/resolve.h"
#include "muster/core/words.h"
#include "muster/core/world/page.h"
#include "muster/core/world/secret.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/flags.h"
#include "muster/launcher/foreign.h"
#include "muster/launcher/msg.h"
#include "muster/launcher/opts_mpi.h"
#include "muster/launcher/place.h"
#include "muster/launcher/plan.h"
#include "muster/launcher/prefix.h"
#include "muster/launcher/settle.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MAX_RESTARTS_DEFAULT 3
#define GRACE_S_DEFAULT 30
#define RDZV_TIMEOUT_S_DEFAULT 300
#define PEER_TIMEOUT_S_DEFAULT 20
#define LAST_CALL_S_DEFAULT 30 /* as torchrun's */
#define SECONDS_MAX 864000
#define DEADLINE_S_MAX 4000000 /* 46 days */
static_assert(OPTS_HOST_BYTES == MST_HOST_BYTES, "host names are copied whole");

/* ---- tables ---------------------------------------------------------------------------------- */

struct words {
    struct flags flags;
    struct opts opts; /* what is settled by a flag, or by its default */
};

static const char *const nproc_words[] = {"auto", "gpu", "cpu", NULL}; /* as enum flags_nproc */
static const char *const input_words[] = {"none", "0", NULL};
static const char *const bind_words[] = {"auto", "none", NULL};
static const char *const term_words[] = {"program", "agent", NULL}; /* as enum opts_term */

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

static const char *const nproc_spelt[] = {"--nproc-per-node", NULL};
static const char *const total_spelt[] = {"-np", NULL};
static const char *const rdzv_spelt[] = {"--rdzv-endpoint", NULL};
static const char *const job_id_spelt[] = {"--rdzv-id", NULL};

static bool is_job_id(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size < MSG_JOB_ID_BYTES && strspn(text, MST_NAME_LETTERS) == size;
}

static bool is_nodes(const char *text)
{
    int64_t least, most;
    return flags_read_nodes(text, &least, &most);
}

/* A name alone is one that is set: a mistyped one would be missed where it hurts. */
static bool is_export(const char *text)
{
    size_t length = strcspn(text, "=");
    bool is_name = length > 0 && strspn(text, NAME_LETTERS) == length &&
                   !isdigit((unsigned char)*text);
    return is_name && (text[length] == '=' || getenv(text));
}

static const struct option world_options[] = {
    {"nproc", OPTION_COUNT, OPTION_AT(struct words, flags.local_size), .value = "N|auto",
     .help = "ranks on this node (auto: one per GPU, else one per core; gpu, cpu: one per GPU, per "
             "core); without it what the operator says; without an operator, auto",
     .least = 1, .most = MST_PAGE_RANKS_MAX, .words = nproc_words, .also = nproc_spelt},
    {"np", OPTION_COUNT, OPTION_AT(struct words, flags.total), .value = "N",
     .help = "ranks of the whole job, as many on each node", .letter = 'n', .least = 1,
     .most = (double)MST_PAGE_RANKS_MAX * MSG_NODES_MAX, .also = total_spelt},
    {"standalone", OPTION_FLAG, OPTION_AT(struct words, flags.standalone),
     .help = "one node, as by --nnodes 1"},
    {"nnodes", OPTION_TEXT, OPTION_AT(struct words, flags.nodes), .value = "N|MIN:MAX",
     .help = "nodes of the job, MIN:MAX where they may come and go; with it, the operator's "
             "variables do not count",
     .accepts = is_nodes, .wanted = "a whole number from 1 to 16384, or MIN:MAX of them",
     .proposes = options_nothing},
    {"node-rank", OPTION_COUNT, OPTION_AT(struct words, flags.node_rank), .value = "R",
     .help = "this node, 0 … N-1; node 0 coordinates", .most = 2 * MSG_NODES_MAX - 1},
    {"spares", OPTION_COUNT, OPTION_AT(struct words, opts.spare_count), .value = "N",
     .help = "nodes above them, which wait for the place of one that is lost (0)",
     .most = MSG_NODES_MAX},
    {"rdzv", OPTION_TEXT, OPTION_AT(struct words, flags.rdzv), .value = "HOST:PORT",
     .help = "where node 0 listens", .also = rdzv_spelt, .proposes = options_nothing},
    {"master-addr", OPTION_TEXT, OPTION_AT(struct words, flags.master_addr), .value = "HOST",
     .help = "the same, and its port apart (29500)", .proposes = options_nothing},
    {"master-port", OPTION_COUNT, OPTION_AT(struct words, flags.master_port), .value = "PORT",
     .help = "of --master-addr", .least = 1, .most = 65535},
    {"from", OPTION_TEXT, OPTION_AT(struct words, flags.from), .value = "SCHEME",
     .help = "believe one scheme of variables where several contradict one another, or none; see "
             "muster env --explain",
     .proposes = mst_schemes},
    {"job-id", OPTION_TEXT, OPTION_AT(struct words, flags.job_id), .value = "ID",
     .help = "names the job, alike on all nodes (what the scheduler calls it)",
     .accepts = is_job_id, .wanted = "1 … 127 letters, digits, - _ .", .also = job_id_spelt,
     .proposes = options_nothing},
    {"insecure", OPTION_FLAG, OPTION_AT(struct words, opts.insecure),
     .help = "several nodes without a job secret"},
    {0},
};

static const struct option care_options[] = {
    {"rdzv-timeout", OPTION_SECONDS, OPTION_AT(struct words, opts.rdzv_timeout_ms), .value = "S",
     .help = "how long nodes wait for one another (300)", .least = 1, .most = SECONDS_MAX},
    {"last-call", OPTION_SECONDS, OPTION_AT(struct words, opts.last_call_ms), .value = "S",
     .help = "of --nnodes MIN:MAX: how long MIN nodes wait for more (30)", .most = SECONDS_MAX},
    {"peer-timeout", OPTION_SECONDS, OPTION_AT(struct words, opts.peer_timeout_ms), .value = "S",
     .help = "how long a node that is silent may stay away (20)", .least = 1, .most = SECONDS_MAX},
    {"max-restarts", OPTION_COUNT, OPTION_AT(struct words, flags.max_restarts), .value = "K",
     .help = "restarts without progress before giving up, with growing pauses (3)",
     .most = 1000000},
    {"grace", OPTION_SECONDS, OPTION_AT(struct words, opts.grace_ms), .value = "S",
     .help = "seconds between SIGTERM and SIGKILL of this node (30)", .least = 1,
     .most = SECONDS_MAX},
    {"take-root", OPTION_FLAG, OPTION_AT(struct words, opts.take_root),
     .help = "at its first start the job takes a checkpoints' root from another job that lives"},
    {"report-bindings", OPTION_FLAG, OPTION_AT(struct words, opts.report_bindings),
     .help = "say which CPUs and which GPU each rank got"},
    {"deadline", OPTION_SECONDS, OPTION_AT(struct words, opts.deadline_ms), .value = "S",
     .help = "the job's own time, restarts included: then it is drained, and ends with 124. Counts "
             "from MST_JOB_START, seconds since 1970, else from this start",
     .least = 1, .most = DEADLINE_S_MAX},
    {"exit-profile", OPTION_CHOICE, OPTION_AT(struct words, flags.profile), .value = "NAME",
     .help = "whose exit codes: kubeflow, jobset, flyte, slurm, volcano, paddle, batch or plain "
             "(his whose variables are found, else plain)",
     .words = exitcode_profiles},
    {"term", OPTION_CHOICE, OPTION_AT(struct words, flags.term), .value = "agent|program",
     .help = "who hears a SIGTERM to all processes: the agent, while ranks ignore it, or each "
             "program (agent under Slurm, LSF, PBS, systemd, else program)",
     .words = term_words},
    {"ignore-save-errors", OPTION_FLAG, OPTION_AT(struct words, opts.ignores_save_errors),
     .help = "end with 0 even if the last checkpoint was lost, not with 74"},
    {"bind", OPTION_CHOICE, OPTION_AT(struct words, flags.bind), .value = "auto|none",
     .help =
         "auto: each rank gets its share of the cores, near its GPU, if there are enough (auto)",
     .words = bind_words},
    {"mpi", OPTION_CHOICE, OPTION_AT(struct words, flags.mpi), .value = "auto|none|pmi1|pmix",
     .help = "pmi1: connect ranks of MPICH, Intel MPI or MVAPICH; pmix: those of Open MPI; none: "
             "start programs of MPI, though each rank would be alone to it; auto: as the library "
             "asks that the program is linked with, or mpi4py would load (auto)",
     .words = opts_mpi_words},
    {"export", OPTION_LIST, OPTION_AT(struct words, opts.exports), .value = "NAME[=VALUE]",
     .help = "a variable for the ranks; they inherit what is set here anyway. May be repeated",
     .letter = 'x', .accepts = is_export,
     .wanted = "the name of a variable that is set, or "
               "NAME=VALUE",
     .proposes = options_nothing},
    {"dry-run", OPTION_FLAG, OPTION_AT(struct words, opts.dry_run),
     .help = "print the plan and start nothing"},
    {0},
};

static const struct option output_options[] = {
    {"prefix", OPTION_TEXT, OPTION_AT(struct words, opts.prefix), .value = "TEMPLATE",
     .help = "in front of each line of a rank (\"[%r] \"): " PREFIX_LETTERS,
     .accepts = prefix_is_valid, .wanted = PREFIX_LETTERS "; and no end of a line",
     .proposes = options_nothing},
    {"no-prefix", OPTION_FLAG, OPTION_AT(struct words, flags.no_prefix),
     .help = "the ranks' bytes as they are"},
    {"raw", OPTION_FLAG, OPTION_AT(struct words, flags.raw),
     .help = "rank 0's bytes as they are; what the others print goes to stderr, in lines"},
    {"stdin", OPTION_CHOICE, OPTION_AT(struct words, flags.input), .value = "0|none",
     .help = "which rank reads this program's standard input (none)", .words = input_words},
    {"log-dir", OPTION_TEXT, OPTION_AT(struct words, opts.log_dir), .value = "DIR",
     .help = "also keep each rank's bytes in a new folder of DIR, in rank_<r>.gen_<g>.log"},
    {"log-format", OPTION_CHOICE, OPTION_AT(struct words, flags.log_format), .value = "text|json",
     .help = "what muster says, and the ranks' lines: as they are, or a JSON object each (text)",
     .words = log_formats},
    {"log-level", OPTION_CHOICE, OPTION_AT(struct words, flags.log_level), .value = "LEVEL",
     .help = "how much muster says: error, warn, info or debug (info)", .words = log_levels},
    {0},
};

static const struct option machine_options[] = {
    {"hostname", OPTION_TEXT, OPTION_AT(struct words, flags.hostname), .value = "NAME",
     .help = "as if this machine were called so", .proposes = options_nothing},
    {"local-gpus", OPTION_COUNT, OPTION_AT(struct words, flags.gpu_count), .value = "N",
     .help = "as if it had N GPUs", .most = MST_PAGE_RANKS_MAX},
    {"pod-ip", OPTION_TEXT, OPTION_AT(struct words, flags.pod_ip), .value = "ADDRESS",
     .help = "as if this were its address", .proposes = options_nothing},
    {"root", OPTION_TEXT, OPTION_AT(struct words, flags.root), .value = "DIR",
     .help = "as if DIR were / for files such as /etc/mpi/hostfile"},
    {0},
};

static const struct option plan_options[] = {
    {"json", OPTION_FLAG, OPTION_AT(struct words, opts.json), .help = "the plan as JSON"},
    {0},
};

static const struct option answer_options[] = {
    {"json", OPTION_FLAG, OPTION_AT(struct words, opts.json),
     .help = "one object; null is what nobody said"},
    {"explain", OPTION_FLAG, OPTION_AT(struct words, opts.explain),
     .help = "which variables were found, what they mean, and who won"},
    {"check", OPTION_FLAG, OPTION_AT(struct words, opts.check),
     .help = "end with 78, too, if a start lacks what only the command line or a secret gives"},
    {0},
};

const struct options run_options = {
    .program = "muster run",
    .synopsis = "[OPTIONS] [--] PROGRAM [ARGS]",
    .about = "Starts the ranks of a job on this node, restarts them all when one fails, and drains "
             "them when this node is preempted (SIGTERM). One node needs no option.",
    .groups = {{"The world:", world_options},
               {"Care for the ranks:", care_options},
               {"Output:", output_options},
               {"The plan of another machine, for --dry-run:", machine_options},
               {"Answers:", plan_options}},
    .notes =
        "Exit codes: 0 finished; the first failing rank's code, or 128 + its signal; 64 usage; "
        "74 finished, but the last checkpoint is lost; 78 configuration; 126 not executable; "
        "124 deadline; 127 not found; 138 rendezvous failed or node 0 lost; 143 preempted: run the "
        "same command again to resume. With another --exit-profile than plain some differ: "
        "muster(1).\n"
        "Environment: muster-env(7). Several nodes share a secret by MST_JOB_SECRET_FILE.",
    .foreign = foreign_options,
    .operand = "program",
    .operands_least = 1,
    .operands_most = INT_MAX,
    .stops_at_operand = true,
};

const struct options env_options = {
    .program = "muster env",
    .synopsis = "[--json | --explain] [--check] [OPTIONS of muster run]",
    .about = "Shows which world the environment (and options) mean: how many nodes and ranks, who "
             "this node is, and where node 0 listens.",
    .groups = {{"Answers:", answer_options},
               {"As if this machine were another:", machine_options},
               {"The world, as for muster run:", world_options},
               {"Understood, as muster run has them:", care_options},
               {"Output, likewise:", output_options}},
    .notes = "Exit codes: 0; 64 usage; 78 where muster run would end with it: if the environment "
             "contradicts itself, leaves the world open, or has no rank to be started here.\n"
             "Schemes and their variables: muster-env(7).",
    .foreign = foreign_options,
    .stops_at_operand = true,
};

/* ---- a start --------------------------------------------------------------------------------- */

/* One node without a secret gets a random one; several must be given one, as they cannot agree on
 * it in the open. */
static int supply_secret(struct opts *opts, struct mst_err *err)
{
    if (place_slots(opts) == 1) {
        opts->secret_bytes = 32;
        if (getrandom(opts->secret, opts->secret_bytes, 0) != (ssize_t)opts->secret_bytes)
            return mst_err_set(err, -EIO, "no random bytes for the job secret");
        return 0;
    }
    if (opts->insecure || mst_host_is_local(opts->rdzv_host))
        return 0;
    return mst_err_set(err, -EACCES,
                       "%u nodes and no job secret: put the same random bytes on every node and "
                       "set MST_JOB_SECRET_FILE to their path (a Kubernetes Secret), or accept "
                       "unauthenticated connections with --insecure",
                       place_slots(opts));
}

static int read_secret(struct opts *opts, struct mst_err *err)
{
    int size = mst_secret_from_env(opts->secret, err);
    if (size == 0)
        return supply_secret(opts, err);
    opts->secret_bytes = size > 0 ? (uint32_t)size : 0;
    return size < 0 ? size : 0;
}

/* ---- both together --------------------------------------------------------------------------- */

/* Which of the words the flag says, else the variable, else `otherwise`; -EINVAL with text if the
 * variable says another. */
static int log_word(int flag, const char *variable, const char *const *words, int otherwise,
                    struct mst_err *err)
{
    const char *text = getenv(variable);
    if (flag >= 0)
        return flag;
    if (!text || !*text)
        return otherwise;
    int word = mst_words_find(words, text);
    char known[64];
    return word >= 0 ? word
                     : mst_err_set(err, -EINVAL, "%s=%.64s is none of %s", variable, text,
                                   mst_words_join(words, known, sizeof known));
}

/* Even a refused start is told in the form that was asked for. */
static int settle_log(const struct flags *flags, struct opts *opts, struct mst_err *err)
{
    int level = log_word(flags->log_level, "MST_LOG_LEVEL", log_levels, LOG_INFO, err);
    int format = log_word(flags->log_format, "MST_LOG_FORMAT", log_formats, LOG_TEXT, err);
    opts->log_level = level < 0 ? LOG_INFO : (enum log_level)level;
    opts->log_format = format < 0 ? LOG_TEXT : (enum log_format)format;
    return level < 0 || format < 0 ? EXITCODE_CONFIG : 0;
}

/* A variable's text, NULL if it is absent or empty. */
static const char *set_text(const char *name)
{
    const char *text = getenv(name);
    return text && *text ? text : NULL;
}

/* These launchers end a job by a signal to every process of it. */
static enum opts_term settle_term(void)
{
    static const char *const signs[] = {"SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID", "INVOCATION_ID"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (getenv(signs[i]))
            return OPTS_TERM_AGENT;
    }
    return OPTS_TERM_PROGRAM;
}

/* Who names the job names its start, too: nothing is known of the step within that. */
static void settle_names(const char *job_id, struct opts *opts)
{
    const struct mst_plan *plan = &opts->answer->plan;
    const char *step = job_id ? "" : plan->step_id;
    char meeting[MST_JOB_ID_BYTES + MST_STEP_ID_BYTES];
    snprintf(opts->job_id, sizeof opts->job_id, "%s", job_id ? job_id : plan->job_id);
    snprintf(meeting, sizeof meeting, "%s%s%s", opts->job_id, step[0] ? "." : "",
             step); /* it fits */
    mst_name_fit(meeting, opts->meeting, sizeof opts->meeting);
}

/* Of a rank of another launcher what else is given is that launcher's business. */
static bool serves_a_rank(const char *name)
{
    static const char *const names[] = {"nproc",     "np",      "standalone", "nnodes",
                                        "node-rank", "from",    "export",     "take-root",
                                        "log-level", "dry-run", NULL};
    return mst_words_find(names, name) >= 0;
}

static bool serves_beside(const char *name)
{
    static const char *const names[] = {
        "nproc",        "np",          "standalone",  "rdzv",
        "node-rank",    "master-addr", "master-port", "rdzv-timeout",
        "peer-timeout", "last-call",   "spares",      "take-root",
        "mpi",          NULL};
    return mst_words_find(names, name) < 0;
}

static bool serves_one_node(const char *name)
{
    static const char *const names[] = {"rdzv", "master-addr", "master-port", "last-call", NULL};
    return mst_words_find(names, name) < 0;
}

/* By code, as a table of them would be 50 KB of zeros in the program. */
static void set_defaults(struct words *words)
{
    *words = (struct words){
        .flags = {.node_rank = -1,
                  .max_restarts = -1,
                  .gpu_count = -1,
                  .log_level = -1,
                  .log_format = -1,
                  .term = -1,
                  .profile = -1},
        .opts = {.grace_ms = GRACE_S_DEFAULT * 1000,
                 .rdzv_timeout_ms = RDZV_TIMEOUT_S_DEFAULT * 1000,
                 .peer_timeout_ms = PEER_TIMEOUT_S_DEFAULT * 1000,
                 .last_call_ms = LAST_CALL_S_DEFAULT * 1000},
    };
}

/* Names the options that do not serve and whose values are not their defaults; cut if there are
 * many. */
static void name_idle(const struct words *given, bool (*serves)(const char *name),
                      struct opts *opts)
{
    char *text = opts->idle;
    size_t cap = sizeof opts->idle;
    static const struct option *const groups[] = {world_options, care_options, output_options};
    size_t used = 0;
    struct words untouched;
    set_defaults(&untouched);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        for (const struct option *option = groups[i]; option->name && used < cap; option++) {
            const char *value = (const char *)given + option->offset;
            if (serves(option->name) ||
                memcmp(value, (const char *)&untouched + option->offset, option->size_bytes) == 0)
                continue;
            used += (size_t)snprintf(text + used, cap - used, "%s--%s", used ? ", " : "",
                                     option->name);
        }
    }
}

static int settle_words(struct words *words, struct mst_err *err)
{
    int rc = flags_settle(&words->flags, err);
    if (rc == 0)
        rc = flags_settle_output(&words->flags, &words->opts, err);
    return rc ? rc : flags_check_exports(&words->opts.exports, err);
}

static bool is_elsewhere(const struct flags *flags)
{
    return flags->hostname || flags->gpu_count >= 0 || flags->pod_ip || flags->root;
}

int opts_read(const struct options *options, int argc, char **argv, struct opts *ret_opts,
              struct mst_err *err)
{
    struct words words;
    struct command_line line;
    set_defaults(&words);
    words.opts.env = environ;
    int rc = options_parse(options, argc, argv, &words, &line, err);
    const struct words given = words;
    if (rc == 0)
        rc = settle_words(&words, err);
    if (rc)
        return rc;
    rc = settle_log(&words.flags, &words.opts, err);
    words.opts.answer = ret_opts->answer;
    *ret_opts = words.opts;
    if (!words.flags.from)
        words.flags.from = set_text("MST_FROM");
    if (rc == 0)
        rc = plan_read(&words.flags, ret_opts, err);
    if (rc)
        return rc;
    const struct mst_plan *plan = &ret_opts->answer->plan;
    if (plan->mode == MST_PLAN_RANK)
        name_idle(&given, serves_a_rank, ret_opts);
    else if (plan->mode == MST_PLAN_NO_COLLECTIVE)
        name_idle(&given, serves_beside, ret_opts);
    else if (plan->node_count == 1 && ret_opts->spare_count == 0)
        name_idle(&given, serves_one_node, ret_opts);
    ret_opts->argv = line.operands;
    ret_opts->term = words.flags.term >= 0 ? (enum opts_term)words.flags.term : settle_term();
    ret_opts->path = getenv("PATH");
    ret_opts->elsewhere = is_elsewhere(&words.flags);
    ret_opts->unbound = words.flags.bind != 0;
    ret_opts->mpi = (enum opts_mpi)words.flags.mpi;
    settle_profile(ret_opts, words.flags.profile);
    settle_names(words.flags.job_id, ret_opts);
    ret_opts->max_restarts = plan->max_restarts >= 0 ? (uint32_t)plan->max_restarts
                                                     : MAX_RESTARTS_DEFAULT;
    plan_find_missing(ret_opts, set_text("MST_JOB_SECRET") || set_text("MST_JOB_SECRET_FILE"));
    return 0;
}

const char *opts_join_missing(const struct opts *opts, char *text, size_t cap)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < OPTS_MISSING_MAX && opts->missing[i]; i++) {
        const char *comma = i > 0 ? "; " : "";
        used += (size_t)snprintf(text + used, cap - used, "%s%s", comma, opts->missing[i]);
        assert(used < cap);
    }
    return text;
}

int opts_check(const struct opts *opts, struct mst_err *err)
{
    const struct mst_plan *plan = &opts->answer->plan;
    if (plan->mode == MST_PLAN_RANK)
        return 0;
    if (plan->mode == MST_PLAN_ERROR)
        return mst_err_set(err, opts->answer->err.code, "%s", opts->answer->err.text);
    return plan_check(plan, err);
}

/* Flags that go together: what is missing is told at once, the secret too. */
static int check_complete(const struct opts *opts, struct mst_err *err)
{
    char list[128], least[24] = "";                      /* any 64-bit number fits */
    if (!opts->missing[0] || opts->missing[0][0] != '-') /* the secret's fault has its own text */
        return 0;
    const struct mst_plan *plan = &opts->answer->plan;
    if (plan->elastic_min > 0 && plan->elastic_min < plan_most_nodes(plan))
        (void)snprintf(least, sizeof least, "%lld:", (long long)plan->elastic_min);
    return mst_err_set(err, -EINVAL, "--nnodes %s%lld needs %s", least,
                       (long long)plan_most_nodes(plan),
                       opts_join_missing(opts, list, sizeof list));
}

/* A start shows no plan, and is of this machine. */
static int check_shown(const struct opts *opts, struct mst_err *err)
{
    if (opts->dry_run || !(opts->json || opts->elsewhere))
        return 0;
    return mst_err_set(err, -EINVAL, "%s: for --dry-run only: add it, or leave that out",
                       opts->json ? "--json" : "--hostname, --local-gpus, --pod-ip, --root");
}

int opts_parse(int argc, char **argv, struct opts *ret_opts, struct mst_err *err)
{
    int rc = opts_read(&run_options, argc, argv, ret_opts, err);
    if (rc == 0)
        rc = check_shown(ret_opts, err);
    if (rc == 0 && opts_check(ret_opts, err))
        return EXITCODE_CONFIG;
    if (rc == 0)
        rc = check_complete(ret_opts, err);
    if (rc == 0 && flags_export(ret_opts, err))
        return EXITCODE_CONFIG;
    if (rc || ret_opts->answer->plan.mode == MST_PLAN_RANK)
        return rc;
    place_node(ret_opts);
    if (opts_settle_mpi(ret_opts, err) || settle_end(ret_opts, set_text("MST_JOB_START"), err))
        return EXITCODE_CONFIG;
    return read_secret(ret_opts, err) ? EXITCODE_CONFIG : 0;
}

void opts_fini(struct opts *opts)
{
    free(opts->merged_env);
    opts->merged_env = NULL;
}

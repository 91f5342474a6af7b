#include "launcher/opts.h"

#include "core/err.h"
#include "core/page.h"
#include "core/resolve.h"
#include "core/sock.h"
#include "launcher/exitcode.h"
#include "launcher/hardware.h"
#include "launcher/msg.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MAX_RESTARTS_DEFAULT 3
#define GRACE_S_DEFAULT 30
#define RDZV_TIMEOUT_S_DEFAULT 300
#define SECONDS_MAX 864000

/* What the command line said; -1 and NULL: nothing. */
struct flags {
    int64_t local_size; /* 0: auto */
    int64_t node_count, node_rank, max_restarts, grace_s, rdzv_timeout_s;
    const char *rdzv, *job_id;
};

enum flag {
    FLAG_NPROC,
    FLAG_NNODES,
    FLAG_NODE_RANK,
    FLAG_RDZV,
    FLAG_MAX_RESTARTS,
    FLAG_GRACE,
    FLAG_LOG_DIR,
    FLAG_BIND,
    FLAG_RDZV_TIMEOUT,
    FLAG_JOB_ID,
    FLAG_DRY_RUN,
    FLAG_JSON,
    FLAG_INSECURE,
    FLAG_HELP
};

static const struct option options[] = {
    {"nproc", required_argument, NULL, FLAG_NPROC},
    {"nnodes", required_argument, NULL, FLAG_NNODES},
    {"node-rank", required_argument, NULL, FLAG_NODE_RANK},
    {"rdzv", required_argument, NULL, FLAG_RDZV},
    {"max-restarts", required_argument, NULL, FLAG_MAX_RESTARTS},
    {"grace", required_argument, NULL, FLAG_GRACE},
    {"log-dir", required_argument, NULL, FLAG_LOG_DIR},
    {"bind", required_argument, NULL, FLAG_BIND},
    {"rdzv-timeout", required_argument, NULL, FLAG_RDZV_TIMEOUT},
    {"job-id", required_argument, NULL, FLAG_JOB_ID},
    {"dry-run", no_argument, NULL, FLAG_DRY_RUN},
    {"json", no_argument, NULL, FLAG_JSON},
    {"insecure", no_argument, NULL, FLAG_INSECURE},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

static const char *get_env(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

bool opts_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || !strcmp(host, "::1") || !strcmp(host, "localhost");
}

static int usage(struct mst_err *err, const char *flag, const char *value, const char *wanted)
{
    mst_err_set(err, -EINVAL, "--%s %s: give %s", flag, value, wanted);
    return EXITCODE_USAGE;
}

static int number(const char *flag, const char *text, int64_t low, int64_t high, int64_t *ret_value,
                  struct mst_err *err)
{
    char wanted[64];
    char *end;

    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || value < low || value > high) {
        snprintf(wanted, sizeof wanted, "a number, %lld … %lld", (long long)low, (long long)high);
        return usage(err, flag, text, wanted);
    }
    *ret_value = value;
    return EXITCODE_OK;
}

static bool is_job_id(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size < MSG_JOB_ID_BYTES &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               size;
}

static int take_flag(enum flag flag, const char *value, struct flags *flags, struct opts *opts,
                     struct mst_err *err)
{
    switch (flag) {
    case FLAG_NPROC:
        flags->local_size = 0;
        if (strcmp(value, "auto") == 0)
            return EXITCODE_OK;
        return number("nproc", value, 1, MST_PAGE_RANKS_MAX, &flags->local_size, err);
    case FLAG_NNODES: return number("nnodes", value, 1, MSG_NODES_MAX, &flags->node_count, err);
    case FLAG_NODE_RANK:
        return number("node-rank", value, 0, MSG_NODES_MAX - 1, &flags->node_rank, err);
    case FLAG_MAX_RESTARTS:
        return number("max-restarts", value, 0, 1000000, &flags->max_restarts, err);
    case FLAG_GRACE: return number("grace", value, 1, SECONDS_MAX, &flags->grace_s, err);
    case FLAG_RDZV_TIMEOUT:
        return number("rdzv-timeout", value, 1, SECONDS_MAX, &flags->rdzv_timeout_s, err);
    case FLAG_RDZV: flags->rdzv = value; return EXITCODE_OK;
    case FLAG_JOB_ID:
        flags->job_id = value;
        return is_job_id(value) ? EXITCODE_OK
                                : usage(err, "job-id", value, "1 … 63 letters, digits, - _ .");
    case FLAG_LOG_DIR: opts->log_dir = value; return EXITCODE_OK;
    case FLAG_BIND:
        opts->unbound = strcmp(value, "none") == 0;
        return opts->unbound || strcmp(value, "auto") == 0
                   ? EXITCODE_OK
                   : usage(err, "bind", value, "auto or none");
    case FLAG_DRY_RUN: opts->dry_run = true; return EXITCODE_OK;
    case FLAG_JSON: opts->json = true; return EXITCODE_OK;
    case FLAG_INSECURE: opts->insecure = true; return EXITCODE_OK;
    case FLAG_HELP: opts->help = true; return EXITCODE_OK;
    }
    return EXITCODE_USAGE;
}

static int parse_flags(int argc, char **argv, struct flags *flags, struct opts *opts,
                       struct mst_err *err)
{
    int flag;

    optind = 1;
    opterr = 0;
    while ((flag = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
        if (flag == '?' || flag == ':') {
            mst_err_set(err, -EINVAL, flag == '?' ? "unknown option %s" : "option %s needs a value",
                        argv[optind - 1]);
            return EXITCODE_USAGE;
        }
        int code = take_flag(flag == 'h' ? FLAG_HELP : (enum flag)flag, optarg, flags, opts, err);
        if (code)
            return code;
    }
    opts->argv = argv + optind;
    return EXITCODE_OK;
}

static int read_plan(const struct flags *flags, struct mst_plan *plan, struct mst_err *err)
{
    if (flags->node_count < 0)
        return mst_resolve(get_env, NULL, plan, err) ? EXITCODE_CONFIG : EXITCODE_OK;
    *plan = (struct mst_plan){.source = "flags", .node_count = (uint32_t)flags->node_count};
    if (plan->node_count > 1 && (flags->node_rank < 0 || !flags->rdzv)) {
        mst_err_set(err, -EINVAL, "--nnodes %u needs --node-rank R and --rdzv HOST:PORT",
                    plan->node_count);
        return EXITCODE_USAGE;
    }
    return EXITCODE_OK;
}

/* PyTorchJob's old master was told that it is "localhost"; its workers know it by its name. */
static void name_own_host(struct opts *opts)
{
    char name[OPTS_HOST_BYTES];

    if (gethostname(name, sizeof name) == 0 && memchr(name, '\0', sizeof name))
        snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "%s", name);
}

static int place_node(const struct flags *flags, const struct mst_plan *plan, struct opts *opts,
                      struct mst_err *err)
{
    opts->source = plan->source;
    opts->node_count = plan->node_count;
    opts->node_rank = flags->node_rank >= 0 ? (uint32_t)flags->node_rank : plan->node_rank;
    if (opts->node_rank >= opts->node_count) {
        mst_err_set(err, -EINVAL,
                    "node rank %u is not below the number of nodes, %u: correct "
                    "--node-rank or --nnodes",
                    opts->node_rank, opts->node_count);
        return EXITCODE_CONFIG;
    }
    if (opts->node_count == 1) {
        snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "127.0.0.1");
        return EXITCODE_OK;
    }
    snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "%s", plan->master_host);
    opts->rdzv_port = plan->master_port;
    if (strcmp(opts->rdzv_host, "localhost") == 0)
        name_own_host(opts);
    if (!flags->rdzv)
        return EXITCODE_OK;
    if (mst_sock_split(flags->rdzv, opts->rdzv_host, sizeof opts->rdzv_host, &opts->rdzv_port) ||
        opts->rdzv_port == 0)
        return usage(err, "rdzv", flags->rdzv, "HOST:PORT of node 0");
    return EXITCODE_OK;
}

static void count_ranks(const struct flags *flags, const struct mst_plan *plan, struct opts *opts)
{
    opts->local_size = flags->local_size >= 0 ? (uint32_t)flags->local_size : plan->local_size;
    opts->local_size_reason = "given";
    if (opts->local_size > 0)
        return;
    opts->local_size = hardware_gpu_count("/dev", getenv("CUDA_VISIBLE_DEVICES"),
                                          getenv("NVIDIA_VISIBLE_DEVICES"));
    opts->local_size_reason = "GPUs";
    if (opts->local_size > 0)
        return;
    opts->local_size = hardware_core_count("");
    opts->local_size_reason = "cores";
    if (opts->local_size > MST_PAGE_RANKS_MAX)
        opts->local_size = MST_PAGE_RANKS_MAX;
}

/* Returns the secret's size; a trailing newline is none of it. Any byte may be in it. */
static int read_secret_file(const char *path, uint8_t *secret, size_t cap, struct mst_err *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return mst_err_set(err, -errno, "MST_JOB_SECRET_FILE=%s: %s", path, strerror(errno));
    setbuf(file, NULL); /* no copy of the secret stays in a buffer */
    size_t size = fread(secret, 1, cap, file);
    fclose(file);
    while (size > 0 && (secret[size - 1] == '\n' || secret[size - 1] == '\r'))
        size--;
    if (size == 0)
        return mst_err_set(err, -EINVAL, "MST_JOB_SECRET_FILE=%s holds no secret", path);
    return (int)size;
}

/* One node without a secret gets a random one; several must be given one, as they cannot agree on
 * it in the open. */
static int supply_secret(struct opts *opts, struct mst_err *err)
{
    if (opts->node_count == 1) {
        opts->secret_bytes = 32;
        if (getrandom(opts->secret, opts->secret_bytes, 0) != (ssize_t)opts->secret_bytes)
            return mst_err_set(err, -EIO, "no random bytes for the job secret");
        return 0;
    }
    if (opts->insecure || opts_is_loopback(opts->rdzv_host))
        return 0;
    return mst_err_set(err, -EACCES,
                       "%u nodes and no job secret: put the same random bytes on every node and "
                       "set MST_JOB_SECRET_FILE to their path (a Kubernetes Secret), or accept "
                       "unauthenticated connections with --insecure",
                       opts->node_count);
}

static int read_secret(struct opts *opts, struct mst_err *err)
{
    uint8_t secret[MST_SECRET_BYTES_MAX + 1]; /* one more, so that a longer secret is seen */
    const char *text = getenv("MST_JOB_SECRET");
    const char *path = getenv("MST_JOB_SECRET_FILE");
    int size = 0;

    if (path && *path) {
        size = read_secret_file(path, secret, sizeof secret, err);
    } else if (text) {
        size = (int)strnlen(text, sizeof secret);
        memcpy(secret, text, (size_t)size);
    }
    if (size < 0)
        return size;
    if (size == 0)
        return supply_secret(opts, err);
    if (size > MST_SECRET_BYTES_MAX)
        return mst_err_set(err, -EINVAL, "the job secret is over %d bytes: shorten it",
                           MST_SECRET_BYTES_MAX);
    memcpy(opts->secret, secret, (size_t)size);
    opts->secret_bytes = (uint32_t)size;
    explicit_bzero(secret, sizeof secret);
    return 0;
}

static int name_job(const struct flags *flags, struct opts *opts, struct mst_err *err)
{
    uint64_t id;

    if (flags->job_id) {
        snprintf(opts->job_id, sizeof opts->job_id, "%s", flags->job_id);
        return 0;
    }
    if (getrandom(&id, sizeof id, 0) != sizeof id)
        return mst_err_set(err, -EIO, "no random bytes for the job id");
    snprintf(opts->job_id, sizeof opts->job_id, "job-%016llx", (unsigned long long)id);
    return 0;
}

static uint32_t given_or(int64_t given, uint32_t otherwise)
{
    return given >= 0 ? (uint32_t)given : otherwise;
}

int opts_parse(int argc, char **argv, struct opts *ret_opts, struct mst_err *err)
{
    struct opts opts = {.env = environ};
    struct flags flags = {-1, -1, -1, -1, -1, -1, NULL, NULL};
    struct mst_plan plan;

    int code = parse_flags(argc, argv, &flags, &opts, err);
    if (code == EXITCODE_OK && !opts.help) {
        if ((code = read_plan(&flags, &plan, err)) ||
            (code = place_node(&flags, &plan, &opts, err)))
            return code;
        count_ranks(&flags, &plan, &opts);
        opts.max_restarts = given_or(
            flags.max_restarts, plan.has_max_restarts ? plan.max_restarts : MAX_RESTARTS_DEFAULT);
        opts.grace_ms = given_or(flags.grace_s, GRACE_S_DEFAULT) * 1000;
        opts.rdzv_timeout_ms = given_or(flags.rdzv_timeout_s, RDZV_TIMEOUT_S_DEFAULT) * 1000;
        if (read_secret(&opts, err) || name_job(&flags, &opts, err))
            return EXITCODE_CONFIG;
    }
    if (code == EXITCODE_OK)
        *ret_opts = opts;
    return code;
}

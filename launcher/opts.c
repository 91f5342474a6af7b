#include "muster/launcher/opts.h"

#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/resolve/hardware.h"
#include "muster/core/resolve/machine.h"
#include "muster/core/resolve/resolve.h"
#include "muster/core/world/page.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/msg.h"

#include <assert.h>
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
static_assert(OPTS_HOST_BYTES == MST_HOST_BYTES, "host names are copied whole");
#define RDZV_PORT_DEFAULT 29500 /* of a scheme that has none of its own */

/* What the command line said; -1 and NULL: nothing. */
struct flags {
    int64_t local_size; /* 0: auto */
    int64_t node_count, node_rank, max_restarts, grace_s, rdzv_timeout_s;
    int64_t gpu_count;
    const char *rdzv, *job_id, *hostname, *pod_ip, *root, *from;
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
    FLAG_FROM,
    FLAG_EXPLAIN,
    FLAG_HOSTNAME,
    FLAG_LOCAL_GPUS,
    FLAG_POD_IP,
    FLAG_ROOT,
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
    {"from", required_argument, NULL, FLAG_FROM},
    {"explain", no_argument, NULL, FLAG_EXPLAIN},
    {"hostname", required_argument, NULL, FLAG_HOSTNAME},
    {"local-gpus", required_argument, NULL, FLAG_LOCAL_GPUS},
    {"pod-ip", required_argument, NULL, FLAG_POD_IP},
    {"root", required_argument, NULL, FLAG_ROOT},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

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
    case FLAG_FROM: flags->from = value; return EXITCODE_OK;
    case FLAG_EXPLAIN: opts->explain = true; return EXITCODE_OK;
    case FLAG_HOSTNAME: flags->hostname = value; return EXITCODE_OK;
    case FLAG_LOCAL_GPUS:
        return number("local-gpus", value, 0, MST_PAGE_RANKS_MAX, &flags->gpu_count, err);
    case FLAG_POD_IP: flags->pod_ip = value; return EXITCODE_OK;
    case FLAG_ROOT: flags->root = value; return EXITCODE_OK;
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

static int64_t one_per_device(const struct machine *machine)
{
    uint32_t count = machine->gpu_count ? machine->gpu_count : machine->core_count;
    if (count > MST_PAGE_RANKS_MAX)
        return MST_PAGE_RANKS_MAX;
    return count ? count : 1;
}

/* Without anybody's word on the number of nodes the flags' count, and all else with it. */
static void plan_from_flags(const struct flags *flags, const struct machine *machine,
                            struct mst_plan *plan)
{
    *plan = (struct mst_plan){.mode = MST_PLAN_SPAWN,
                              .scheme = "flags",
                              .scheduler = "none",
                              .role = "worker",
                              .node_count = flags->node_count,
                              .node_rank = flags->node_count == 1 ? 0 : MST_UNKNOWN,
                              .local_size = one_per_device(machine),
                              .rank = MST_UNKNOWN,
                              .local_rank = MST_UNKNOWN,
                              .elastic_min = MST_UNKNOWN,
                              .elastic_max = MST_UNKNOWN,
                              .max_restarts = MST_UNKNOWN,
                              .incarnation = MST_UNKNOWN,
                              .master_port = MST_UNKNOWN};
}

static int apply_place(const struct flags *flags, struct opts *opts, struct mst_err *err)
{
    struct mst_plan *plan = &opts->answer.plan;
    uint16_t port = 0;

    if (flags->rdzv &&
        (mst_sock_split(flags->rdzv, plan->master_host, sizeof plan->master_host, &port) ||
         port == 0))
        return usage(err, "rdzv", flags->rdzv, "HOST:PORT of node 0");
    if (flags->rdzv) {
        plan->master_port = port;
        memcpy(opts->rdzv_host, plan->master_host, sizeof opts->rdzv_host);
    }
    if (flags->node_rank >= 0)
        plan->node_rank = flags->node_rank;
    if (plan->node_count > 0 && plan->node_rank >= plan->node_count) {
        mst_err_set(err, -EINVAL,
                    "node rank %lld is not below the number of nodes, %lld: correct --node-rank or "
                    "--nnodes",
                    (long long)plan->node_rank, (long long)plan->node_count);
        return EXITCODE_CONFIG;
    }
    return EXITCODE_OK;
}

/* Why there are as many ranks as there are, before --nproc. */
static const char *environment_reason(const struct mst_plan *plan, const struct machine *machine)
{
    if (strcmp(plan->scheme, "single") != 0 && strcmp(plan->scheme, "flags") != 0)
        return "environment";
    return machine->gpu_count ? "GPUs" : "cores";
}

static void apply_local_size(const struct flags *flags, const struct machine *machine,
                             struct opts *opts)
{
    struct mst_plan *plan = &opts->answer.plan;

    if (flags->local_size > 0) {
        plan->local_size = flags->local_size;
        opts->local_size_reason = "given";
    } else if (flags->local_size == 0) {
        plan->local_size = one_per_device(machine);
        opts->local_size_reason = machine->gpu_count ? "GPUs" : "cores";
    }
    plan->world_size = plan->node_count > 0 ? plan->node_count * plan->local_size : MST_UNKNOWN;
}

/* What a flag says stands above the environment. A rank that runs already is what it is. */
static int apply_flags(const struct flags *flags, const struct machine *machine, struct opts *opts,
                       struct mst_err *err)
{
    struct mst_plan *plan = &opts->answer.plan;
    bool has_flag = flags->local_size >= 0 || flags->node_count >= 0;

    if (flags->max_restarts >= 0)
        plan->max_restarts = flags->max_restarts;
    if (plan->mode != MST_PLAN_SPAWN)
        return EXITCODE_OK;
    opts->local_size_reason = environment_reason(plan, machine);
    if (has_flag)
        apply_local_size(flags, machine, opts);
    return apply_place(flags, opts, err);
}

/* Which GPUs, cores, names and files there are; flags stand for what the machine would say. */
static void look_around(const struct flags *flags, struct machine *machine)
{
    const char *pod_ip = getenv("POD_IP");

    machine_init(machine, flags->root ? flags->root : "");
    if (flags->hostname)
        snprintf(machine->hostname, sizeof machine->hostname, "%s", flags->hostname);
    machine->pod_ip = flags->pod_ip ? flags->pod_ip : pod_ip ? pod_ip : "";
    machine->gpu_count = flags->gpu_count >= 0
                             ? (uint32_t)flags->gpu_count
                             : hardware_gpu_count("/dev", getenv("CUDA_VISIBLE_DEVICES"),
                                                  getenv("NVIDIA_VISIBLE_DEVICES"));
    /* whoever describes another machine has said nothing of its cores */
    machine->core_count = flags->gpu_count >= 0 ? 0 : hardware_core_count("");
}

static int read_plan(const struct flags *flags, struct opts *opts, struct mst_err *err)
{
    struct machine machine;

    if (flags->node_count > 1 && (flags->node_rank < 0 || !flags->rdzv)) {
        mst_err_set(err, -EINVAL, "--nnodes %lld needs --node-rank R and --rdzv HOST:PORT",
                    (long long)flags->node_count);
        return EXITCODE_USAGE;
    }
    look_around(flags, &machine);
    if (flags->node_count >= 0)
        plan_from_flags(flags, &machine, &opts->answer.plan);
    else
        (void)machine_resolve(&machine, opts->env, flags->from,
                              &opts->answer); /* it has the error */
    int code = apply_flags(flags, &machine, opts, err);
    machine_fini(&machine);
    return code;
}

/* What is to be done where there is nothing to start. */
static const char *advice(enum mst_plan_mode mode)
{
    switch (mode) {
    case MST_PLAN_CONTROL:
        return "this is a launcher's pod, which runs no rank: start the program with mpirun here, "
               "or "
               "set runLauncherAsWorker";
    case MST_PLAN_NO_COLLECTIVE:
        return "this pod stands beside the world of ranks: start its program without muster run";
    case MST_PLAN_WAIT_FOR_LAUNCHER:
        return "this worker is told nothing but its role: let its launcher start ranks here "
               "(sshd), "
               "or set MST_NNODES and MST_MASTER_ADDR";
    default: return "the number of nodes is not known: set MST_NNODES and MST_MASTER_ADDR";
    }
}

static int check_plan(const struct mst_plan *plan, struct mst_err *err)
{
    if (plan->mode != MST_PLAN_SPAWN)
        return mst_err_set(err, -EINVAL, "%s, role %s: %s", plan->scheduler, plan->role,
                           advice(plan->mode));
    if (plan->node_count < 0)
        return mst_err_set(
            err, -ENOTSUP,
            "%s asks for %lld to %lld nodes, and worlds that grow and shrink are not "
            "formed: set one number of nodes",
            plan->scheduler, (long long)plan->elastic_min, (long long)plan->elastic_max);
    if (plan->node_count > MSG_NODES_MAX)
        return mst_err_set(err, -EINVAL, "%lld nodes are over the limit of %d",
                           (long long)plan->node_count, MSG_NODES_MAX);
    if (plan->node_rank < 0 || (plan->node_count > 1 && !plan->master_host[0]))
        return mst_err_set(err, -EINVAL,
                           "%s says %lld nodes, but not which one this is or where node 0 is: set "
                           "MST_NODE_RANK and MST_MASTER_ADDR",
                           plan->scheduler, (long long)plan->node_count);
    return 0;
}

/* An operator that names itself "localhost" means this pod, which the others know by its name. */
static void name_own_host(struct opts *opts)
{
    char name[OPTS_HOST_BYTES];

    if (gethostname(name, sizeof name) == 0 && memchr(name, '\0', sizeof name))
        snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "%s", name);
}

static void place_node(struct opts *opts)
{
    const struct mst_plan *plan = &opts->answer.plan;

    opts->source = plan->scheme;
    opts->node_count = (uint32_t)plan->node_count;
    opts->node_rank = (uint32_t)plan->node_rank;
    opts->local_size = (uint32_t)plan->local_size;
    if (opts->node_count == 1) {
        snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "127.0.0.1");
        return;
    }
    opts->rdzv_port = plan->master_port > 0 ? (uint16_t)plan->master_port : RDZV_PORT_DEFAULT;
    if (opts->rdzv_host[0]) /* by a flag, which means what it says */
        return;
    snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "%s", plan->master_host);
    if (opts_is_loopback(opts->rdzv_host))
        name_own_host(opts);
}

/* Returns the secret's size; a trailing newline is none of it. Any byte may be in it. */
static int read_secret_file(const char *path, uint8_t *secret, size_t cap, struct mst_err *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return mst_err_set(err, -errno, "MST_JOB_SECRET_FILE=%s: %s", path, strerror(errno));
    setbuf(file, NULL); /* no copy of the secret stays in a buffer */
    size_t size = fread(secret, 1, cap, file);
    int code = ferror(file) ? -errno : 0;
    fclose(file);
    if (code)
        return mst_err_set(err, code, "MST_JOB_SECRET_FILE=%s: %s", path, strerror(-code));
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

static int name_job(struct opts *opts, struct mst_err *err)
{
    uint64_t id;

    if (opts->job_id[0])
        return 0;
    if (getrandom(&id, sizeof id, 0) != sizeof id)
        return mst_err_set(err, -EIO, "no random bytes for the job id");
    snprintf(opts->job_id, sizeof opts->job_id, "job-%016llx", (unsigned long long)id);
    return 0;
}

static uint32_t given_or(int64_t given, uint32_t otherwise)
{
    return given >= 0 ? (uint32_t)given : otherwise;
}

int opts_read(int argc, char **argv, struct opts *ret_opts, struct mst_err *err)
{
    struct opts opts = {.env = environ};
    struct flags flags = {-1, -1, -1, -1, -1, -1, -1, NULL, NULL, NULL, NULL, NULL, NULL};

    int code = parse_flags(argc, argv, &flags, &opts, err);
    if (code == EXITCODE_OK && !opts.help) {
        code = read_plan(&flags, &opts, err);
        if (flags.job_id)
            snprintf(opts.job_id, sizeof opts.job_id, "%s", flags.job_id);
        opts.grace_ms = given_or(flags.grace_s, GRACE_S_DEFAULT) * 1000;
        opts.rdzv_timeout_ms = given_or(flags.rdzv_timeout_s, RDZV_TIMEOUT_S_DEFAULT) * 1000;
        opts.max_restarts = given_or(opts.answer.plan.max_restarts, MAX_RESTARTS_DEFAULT);
    }
    if (code == EXITCODE_OK)
        *ret_opts = opts;
    return code;
}

int opts_parse(int argc, char **argv, struct opts *ret_opts, struct mst_err *err)
{
    int code = opts_read(argc, argv, ret_opts, err);

    if (code || ret_opts->help || ret_opts->answer.plan.mode == MST_PLAN_RANK)
        return code;
    if (ret_opts->answer.plan.mode == MST_PLAN_ERROR) {
        if (err)
            *err = ret_opts->answer.err;
        return EXITCODE_CONFIG;
    }
    if (check_plan(&ret_opts->answer.plan, err))
        return EXITCODE_CONFIG;
    place_node(ret_opts);
    return read_secret(ret_opts, err) || name_job(ret_opts, err) ? EXITCODE_CONFIG : EXITCODE_OK;
}

#include "muster/launcher/opts.h"

#include "muster/launcher/exitcode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit/opts_fixture.h"

static const char *const variables[] = {
    "PET_NNODES",      "PET_NODE_RANK",       "PET_NPROC_PER_NODE",
    "PET_MASTER_ADDR", "WORLD_SIZE",          "RANK",
    "MASTER_ADDR",     "MASTER_PORT",         "LOCAL_RANK",
    "MST_JOB_SECRET",  "MST_JOB_SECRET_FILE", "PET_MAX_RESTARTS",
    "MST_LOG_LEVEL",   "MST_LOG_FORMAT",      "MST_FROM",
    "SLURM_JOB_ID",    "LSB_JOBID",           "PBS_JOBID",
    "INVOCATION_ID",   "LOCAL_WORLD_SIZE",    "MST_JOB_ID",
    "SLURM_STEP_ID"};

static int clear(void **state)
{
    (void)state;
    opts_fini(&opts);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    return 0;
}

static void test_who_hears_a_signal_to_all(void **state)
{
    (void)state;
    static const char *const signs[] = {"SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID", "INVOCATION_ID"};
    assert_int_equal(parse("run prog"), EXITCODE_OK);
    assert_int_equal(opts.term, OPTS_TERM_PROGRAM);
    assert_false(opts.ignores_save_errors);
    assert_int_equal(parse("run --term agent --ignore-save-errors prog"), EXITCODE_OK);
    assert_int_equal(opts.term, OPTS_TERM_AGENT);
    assert_true(opts.ignores_save_errors);
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        setenv(signs[i], "7", 1);
        (void)parse("run --nnodes 1 prog"); /* whatever else it may mean */
        assert_int_equal(opts.term, OPTS_TERM_AGENT);
        (void)parse("run --nnodes 1 --term program prog");
        assert_int_equal(opts.term, OPTS_TERM_PROGRAM);
        unsetenv(signs[i]);
    }
}

static void test_defaults_of_one_node(void **state)
{
    (void)state;
    assert_int_equal(parse("run prog --nproc 9"), EXITCODE_OK);
    assert_string_equal(opts.argv[0], "prog");
    assert_string_equal(opts.argv[1], "--nproc"); /* after the program nothing is ours */
    assert_int_equal(opts.node_count, 1);
    assert_true(opts.local_size >= 1);
    assert_string_equal(opts.rdzv_host, "127.0.0.1");
    assert_int_equal(opts.rdzv_ports[0], 0);
    assert_int_equal(opts.max_restarts, 3);
    assert_int_equal(opts.grace_ms, 30000);
    assert_int_equal(opts.rdzv_timeout_ms, 300000);
    assert_int_equal(opts.secret_bytes, 32);
    assert_string_equal(opts.job_id, "");
}

static void test_every_flag(void **state)
{
    (void)state;
    setenv("MST_JOB_SECRET", "hush", 1);
    assert_int_equal(parse("run --nproc 2 --nnodes 3 --node-rank 1 --rdzv [fe80::1]:99 "
                           "--max-restarts 0 --grace 5 --log-dir logs --job-id j-1 "
                           "--rdzv-timeout 7 --insecure --dry-run --json --take-root -- prog"),
                     EXITCODE_OK);
    assert_int_equal(opts.local_size, 2);
    assert_int_equal(opts.node_count, 3);
    assert_int_equal(opts.node_rank, 1);
    assert_string_equal(opts.rdzv_host, "fe80::1");
    assert_int_equal(opts.rdzv_ports[0], 99);
    assert_int_equal(opts.max_restarts, 0);
    assert_int_equal(opts.grace_ms, 5000);
    assert_int_equal(opts.rdzv_timeout_ms, 7000);
    assert_string_equal(opts.log_dir, "logs");
    assert_string_equal(opts.job_id, "j-1");
    assert_true(opts.insecure && opts.dry_run && opts.json && opts.take_root);
    assert_int_equal(opts.secret_bytes, 4);
    assert_string_equal(opts.argv[0], "prog");
}

static void refuse(const char *line, int code, const char *word)
{
    assert_int_equal(parse(line), code);
    assert_non_null(strstr(err.text, word));
}

static void test_wrong_usage(void **state)
{
    (void)state;
    refuse("run --nproc 0 -- p", -EINVAL, "--nproc 0");
    refuse("run --nproc 1025 -- p", -EINVAL, "1024");
    refuse("run --nproc two -- p", -EINVAL, "two");
    refuse("run --nproc -1 -- p", -EINVAL, "-1");
    refuse("run --grace 1x -- p", -EINVAL, "1x");
    refuse("run --what -- p", -EINVAL, "--what");
    refuse("run --json -- p", -EINVAL, "--json: for --dry-run only");
    refuse("run --hostname other-1 -- p", -EINVAL, "--hostname");
    refuse("run --root /other -- p", -EINVAL, "--root: for --dry-run only");
    refuse("run --nproc", -EINVAL, "needs a value");
    refuse("run --nproc 2", -EINVAL, "no program given");
    refuse("run --job-id a/b -- p", -EINVAL, "a/b");
    refuse("run --nnodes 2 -- p", -EINVAL, "--node-rank R; --rdzv HOST:PORT; MST_JOB_SECRET_FILE");
    refuse("run --nnodes 2 --node-rank 0 --rdzv head -- p", -EINVAL, "HOST:PORT");
}

/* The name of a file of so many bytes; one of two, in turn. */
static const char *file_of(size_t size_bytes)
{
    static char names[2][32];
    static int fds[2] = {-1, -1};
    static int next;
    int i = next++ % 2;
    close(fds[i]);
    fds[i] = memfd_create("secret", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fds[i], (off_t)size_bytes), 0);
    (void)snprintf(names[i], sizeof names[i], "/proc/self/fd/%d", fds[i]);
    return names[i];
}

static size_t wiped_bytes;

void __real_explicit_bzero(void *bytes, size_t size_bytes);
void __wrap_explicit_bzero(void *bytes, size_t size_bytes);

void __wrap_explicit_bzero(void *bytes, size_t size_bytes)
{
    wiped_bytes += size_bytes;
    __real_explicit_bzero(bytes, size_bytes);
}

/* However the start ends: what was read of a secret is not left on the stack. */
static void test_secret_is_wiped(void **state)
{
    const char *const files[] = {file_of(MST_SECRET_BYTES_MAX + 1), file_of(0)};
    (void)state;
    wiped_bytes = 0;
    setenv("MST_JOB_SECRET", "hush", 1);
    assert_int_equal(parse("run -- p"), EXITCODE_OK);
    assert_int_equal(wiped_bytes, MST_SECRET_BYTES_MAX + 1);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        wiped_bytes = 0;
        setenv("MST_JOB_SECRET_FILE", files[i], 1);
        assert_int_equal(parse("run -- p"), EXITCODE_CONFIG);
        assert_int_equal(wiped_bytes, MST_SECRET_BYTES_MAX + 1);
    }
}

/* Nodes that have it by a variable and by a file have the same. */
static void test_secret_ends_before_its_newline(void **state)
{
    (void)state;
    setenv("MST_JOB_SECRET", "hush\r\n", 1);
    assert_int_equal(parse("run -- p"), EXITCODE_OK);
    assert_int_equal(opts.secret_bytes, 4);
    assert_memory_equal(opts.secret, "hush", 4);
    setenv("MST_JOB_SECRET", "\n", 1);
    refuse("run --nnodes 2 --node-rank 0 --rdzv h:1 -- p", EXITCODE_CONFIG, "no job secret");
}

static void test_contradictions(void **state)
{
    (void)state;
    refuse("run --nnodes 2 --node-rank 2 --rdzv h:1 -- p", -EINVAL, "node rank 2");
    refuse("run --nnodes 2 --node-rank 0 --rdzv h:1 -- p", EXITCODE_CONFIG, "MST_JOB_SECRET_FILE");
    assert_int_equal(parse("run --nnodes 2 --node-rank 0 --rdzv h:1 --insecure -- p"), EXITCODE_OK);
    assert_int_equal(opts.secret_bytes, 0);
    assert_int_equal(parse("run --nnodes 2 --node-rank 0 --rdzv localhost:1 -- p"), EXITCODE_OK);
    setenv("MST_JOB_SECRET_FILE", "/nowhere", 1);
    refuse("run -- p", EXITCODE_CONFIG, "/nowhere");
    setenv("MST_JOB_SECRET_FILE", "/", 1);
    refuse("run -- p", EXITCODE_CONFIG, "Is a directory");
    setenv("MST_JOB_SECRET_FILE", "/dev/zero", 1);
    refuse("run -- p", EXITCODE_CONFIG, "is no regular file");
    setenv("MST_JOB_SECRET_FILE", file_of(0), 1);
    refuse("run -- p", EXITCODE_CONFIG, "holds no secret");
    setenv("MST_JOB_SECRET_FILE", file_of(MST_SECRET_BYTES_MAX + 1), 1);
    refuse("run -- p", EXITCODE_CONFIG, "over 256 bytes");
    unsetenv("MST_JOB_SECRET_FILE");
    setenv("RANK", "5", 1);
    setenv("WORLD_SIZE", "4", 1);
    refuse("run -- p", EXITCODE_CONFIG, "RANK=5");
}

static void test_operator_and_flags(void **state)
{
    (void)state;
    setenv("PET_NNODES", "2", 1);
    setenv("PET_NODE_RANK", "1", 1);
    setenv("PET_NPROC_PER_NODE", "8", 1);
    setenv("PET_MASTER_ADDR", "head", 1);
    setenv("PET_MAX_RESTARTS", "12", 1);
    setenv("MST_JOB_SECRET", "hush", 1);
    assert_int_equal(parse("run -- p"), EXITCODE_OK);
    assert_int_equal(opts.local_size, 8);
    assert_int_equal(opts.max_restarts, 12);
    assert_string_equal(opts.rdzv_host, "head");
    assert_int_equal(opts.rdzv_ports[0], 29500);
    assert_int_equal(parse("run --nproc 2 --rdzv other:5 -- p"), EXITCODE_OK);
    assert_int_equal(opts.local_size, 2);
    assert_string_equal(opts.rdzv_host, "other");
    assert_int_equal(parse("run --nnodes 1 --nproc 1 -- p"), EXITCODE_OK);
    assert_string_equal(opts.scheme, "flags");
    assert_string_equal(opts.answer->plan.role, "worker");
    assert_int_equal(opts.answer->plan.default_port, MST_UNKNOWN);
    assert_int_equal(opts.answer->plan.loose_count, MST_UNKNOWN);
    assert_int_equal(opts.max_restarts, 3);
    setenv("PET_NODE_RANK", "0", 1);
    setenv("PET_MASTER_ADDR", "localhost", 1); /* what an old master is told of itself */
    assert_int_equal(parse("run -- p"), EXITCODE_OK);
    assert_string_not_equal(opts.rdzv_host, "localhost");
}

/* What another launcher started is run as it is; a job without a size is refused, but may be looked
 * at. */
static void test_other_modes(void **state)
{
    (void)state;
    setenv("RANK", "1", 1);
    setenv("WORLD_SIZE", "2", 1);
    setenv("LOCAL_RANK", "1", 1);
    assert_int_equal(parse("run -- p"), EXITCODE_OK);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_RANK);
    refuse("run --nproc 3 -- p", -EINVAL, "--from none");
    assert_int_equal(parse("run --nproc 3 --from none -- p"), EXITCODE_OK);
    assert_int_equal(opts.local_size, 3);
    unsetenv("LOCAL_RANK");
    unsetenv("RANK");
    refuse("run -- p", EXITCODE_CONFIG, "nothing says which one this is");
    assert_int_equal(parse("run --nnodes 1 -- p"), EXITCODE_OK); /* a flag is an answer */
    char json[] = "env", *argv[] = {json, NULL};
    assert_int_equal(opts_read(&env_options, 1, argv, &opts, &err), EXITCODE_OK);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_ERROR);
    assert_int_equal(opts_check(&opts, &err), -EINVAL);
}

static void test_from_is_a_variable_too(void **state)
{
    (void)state;
    setenv("RANK", "0", 1);
    setenv("WORLD_SIZE", "2", 1);
    setenv("LOCAL_RANK", "0", 1);
    setenv("MST_FROM", "none", 1);
    assert_int_equal(parse("run -- p"), EXITCODE_OK);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_SPAWN);
    assert_int_equal(parse("run --from torchrun -- p"), EXITCODE_OK);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_RANK);
}

/* What torchrun and mpirun call it. */
static void test_other_launchers_spellings(void **state)
{
    (void)state;
    assert_int_equal(parse("run --nproc_per_node=2 --standalone -- p"), EXITCODE_OK);
    assert_int_equal(opts.local_size, 2);
    assert_string_equal(opts.scheme, "flags");
    assert_int_equal(parse("run --nnodes 2 --node_rank 1 --master_addr fe80::1 --master_port 5 "
                           "--nproc-per-node 4 --rdzv-id j-2 --insecure p"),
                     EXITCODE_OK);
    assert_int_equal(opts.node_rank, 1);
    assert_string_equal(opts.rdzv_host, "fe80::1");
    assert_int_equal(opts.rdzv_ports[0], 5);
    assert_string_equal(opts.job_id, "j-2");
    assert_int_equal(parse("run --nnodes 2 --node-rank 1 --master-addr h --insecure p"),
                     EXITCODE_OK);
    assert_int_equal(opts.rdzv_ports[0], 29500);
    assert_int_equal(parse("run --nnodes 2 --node-rank 1 --rdzv_endpoint h:7 --insecure p"),
                     EXITCODE_OK);
    assert_int_equal(opts.rdzv_ports[0], 7);
    refuse("run --master-addr h --rdzv h:1 p", -EINVAL, "--master-addr and --rdzv contradict");
    refuse("run --master-port 5 p", -EINVAL, "--master-port needs --master-addr");
    refuse("run --standalone --nnodes 2 p", -EINVAL, "--standalone and --nnodes contradict");
    refuse("run --rdzv_backend=c10d p", -EINVAL, "--rdzv_backend: there is one rendezvous");
    refuse("run -hostfile h p", -EINVAL, "-hostfile: start muster run on each host");
    refuse("run --nproc 2 --nproc-per-node 3 p", -EINVAL,
           "--nproc 2 and --nproc-per-node 3 are one option");
    refuse("run --nnodes 2:1 p", -EINVAL, "or MIN:MAX of them");
    refuse("run --nnodes 0 p", -EINVAL, "from 1 to 16384");
    refuse("run --nproc-per-node=gpu --local-gpus 0 p", -EINVAL, "shows no GPU");
    assert_int_equal(parse("run --nproc-per-node=gpu --local-gpus 3 --dry-run p"), EXITCODE_OK);
    assert_int_equal(opts.local_size, 3);
    assert_string_equal(opts.local_size_reason, "GPUs");
    assert_int_equal(parse("run --nproc-per-node=cpu p"), EXITCODE_OK);
    assert_string_equal(opts.local_size_reason, "cores");
    refuse("run --hostfile h p", -EINVAL, "start muster run on each host");
    refuse("run -m module", -EINVAL, "python -m MODULE");
}

/* A rank of another launcher is told which of its options are of no use. */
static void test_options_that_do_nothing_for_a_rank_are_named(void **state)
{
    (void)state;
    setenv("RANK", "1", 1);
    setenv("WORLD_SIZE", "2", 1);
    setenv("LOCAL_RANK", "1", 1);
    setenv("LOCAL_WORLD_SIZE", "2", 1);
    assert_int_equal(parse("run --nproc 2 --take-root --log-level debug -x A=1 p"), EXITCODE_OK);
    assert_int_equal(opts.answer->plan.mode, MST_PLAN_RANK);
    assert_string_equal(opts.idle, "");
    assert_int_equal(parse("run --rdzv h:1 --job-id j --max-restarts 0 --stdin none --grace 5 "
                           "--raw --log-format json --bind none p"),
                     EXITCODE_OK);
    assert_string_equal(opts.idle, "--rdzv, --job-id, --max-restarts, --grace, --bind, --raw, "
                                   "--log-format");
    assert_int_equal(parse("run --master-addr h --insecure p"), EXITCODE_OK);
    assert_string_equal(opts.idle, "--master-addr, --insecure");
}

/* One node has nobody to meet. */
static void test_options_that_do_nothing_for_one_node_are_named(void **state)
{
    (void)state;
    assert_int_equal(parse("run --rdzv h:1 --nproc 2 --grace 5 p"), EXITCODE_OK);
    assert_string_equal(opts.idle, "--rdzv");
    assert_int_equal(parse("run --master-addr h --master-port 7 p"), EXITCODE_OK);
    assert_string_equal(opts.idle, "--master-addr, --master-port");
    assert_int_equal(parse("run --nnodes 2 --node-rank 1 --rdzv h:1 --insecure p"), EXITCODE_OK);
    assert_string_equal(opts.idle, "");
}

/* Two starts of one name meet at their steps' names; two names that are long do not become one. */
static void test_starts_of_long_names_stay_apart(void **state)
{
    (void)state;
    char id[MST_JOB_ID_BYTES], first[MST_JOB_ID_BYTES];
    memset(id, 'a', sizeof id);
    id[120] = '\0';
    setenv("SLURM_STEP_ID", "1234567", 1);
    setenv("MST_JOB_ID", id, 1);
    assert_int_equal(parse("run p"), EXITCODE_OK);
    assert_string_equal(opts.job_id, id);
    memcpy(first, opts.meeting, sizeof first);
    id[119] = 'b';
    setenv("MST_JOB_ID", id, 1);
    assert_int_equal(parse("run p"), EXITCODE_OK);
    assert_string_not_equal(opts.meeting, first);
    setenv("MST_JOB_ID", "short", 1);
    assert_int_equal(parse("run p"), EXITCODE_OK);
    assert_string_equal(opts.meeting, "short.1234567");
}

/* A port that is given counts, where the job's name would give others, too. */
static void test_a_port_by_flag_stands_above_the_job_s(void **state)
{
    (void)state;
    setenv("PET_NNODES", "2", 1);
    setenv("PET_NODE_RANK", "1", 1);
    setenv("PET_MASTER_ADDR", "h", 1);
    assert_int_equal(parse("run --job-id j --insecure p"), EXITCODE_OK);
    assert_int_equal(opts.rdzv_port_count, MST_PORTS_COUNT);
    assert_int_equal(parse("run --job-id j --rdzv h:7 --insecure p"), EXITCODE_OK);
    assert_int_equal(opts.rdzv_port_count, 1);
    assert_int_equal(opts.rdzv_ports[0], 7);
}

/* -n counts the ranks of the job. */
static void test_totals(void **state)
{
    (void)state;
    assert_int_equal(parse("run -np 3 p"), EXITCODE_OK);
    assert_int_equal(opts.local_size, 3);
    assert_string_equal(opts.local_size_reason, "given");
    assert_int_equal(parse("run -n4 --nnodes 2 --node-rank 0 --rdzv h:1 --insecure p"),
                     EXITCODE_OK);
    assert_int_equal(opts.local_size, 2);
    assert_int_equal(parse("run -n 4 --nproc 2 --nnodes 2 --node-rank 0 --rdzv h:1 --insecure p"),
                     EXITCODE_OK);
    refuse("run -n 5 --nnodes 2 --node-rank 0 --rdzv h:1 p", -EINVAL, "-n 5");
    refuse("run -n 5 --nproc 2 --nnodes 2 --node-rank 0 --rdzv h:1 p", -EINVAL, "--nproc");
    refuse("run -n 1025 p", -EINVAL, "-n 1025");
    setenv("PET_NNODES", "2", 1);
    setenv("PET_NODE_RANK", "1", 1);
    setenv("PET_NPROC_PER_NODE", "8", 1);
    setenv("PET_MASTER_ADDR", "head", 1);
    setenv("MST_JOB_SECRET", "hush", 1);
    assert_int_equal(parse("run -n 6 p"), EXITCODE_OK);
    assert_int_equal(opts.world_size, 6);
    assert_int_equal(opts.local_size, 3);
}

static const char *variable(const char *name)
{
    const char *value = NULL;
    for (char **var = opts.env; *var; var++) {
        if (strncmp(*var, name, strlen(name)) == 0 && (*var)[strlen(name)] == '=') {
            assert_null(value);
            value = *var + strlen(name) + 1;
        }
    }
    return value;
}

static void test_exports(void **state)
{
    (void)state;
    assert_int_equal(parse("run -x HOME -x MUSTER_A=1=2 --export=PATH=/new -x MUSTER_B= p"),
                     EXITCODE_OK);
    assert_string_equal(variable("HOME"), getenv("HOME"));
    assert_string_equal(variable("MUSTER_A"), "1=2");
    assert_string_equal(variable("PATH"), "/new");
    assert_string_equal(variable("MUSTER_B"), "");
    assert_null(getenv("MUSTER_A"));
    refuse("run -x MUSTER_C p", -EINVAL, "-x MUSTER_C: the name of a variable that is set");
    refuse("run -x =1 p", -EINVAL, "-x =1");
    refuse("run -x A=1 -x RANK=7 p", -EINVAL, "--export RANK=7");
    refuse("run -x 1A=1 p", -EINVAL, "-x 1A=1");
}

static void test_output(void **state)
{
    (void)state;
    assert_int_equal(parse("run p"), EXITCODE_OK);
    assert_int_equal(opts.output, OUTLOG_LINES);
    assert_string_equal(opts.prefix, "[%r] ");
    assert_false(opts.feeds_rank0);
    assert_int_equal(parse("run --raw --prefix %n/%r: p"), EXITCODE_OK);
    assert_int_equal(opts.output, OUTLOG_RAW);
    assert_string_equal(opts.prefix, "%n/%r:");
    assert_int_equal(parse("run --no-prefix p"), EXITCODE_OK);
    assert_int_equal(opts.output, OUTLOG_PLAIN);
    refuse("run --prefix %x p", -EINVAL, "--prefix %x: %r rank");
    refuse("run --raw --no-prefix p", -EINVAL, "--raw and --no-prefix contradict");
    refuse("run --prefix x --no-prefix p", -EINVAL, "--prefix and --no-prefix contradict");
    refuse("run --stdin 1 p", -EINVAL, "--stdin 1: none or 0");
}

static int is_a_terminal;

int __wrap_isatty(int fd);

int __wrap_isatty(int fd)
{
    return is_a_terminal && fd == 0;
}

static void test_stdin(void **state)
{
    (void)state;
    assert_int_equal(parse("run --stdin 0 p"), EXITCODE_OK);
    assert_true(opts.feeds_rank0);
    is_a_terminal = 1;
    refuse("run --stdin 0 p", -EINVAL, "standard input is a terminal");
    assert_int_equal(parse("run --stdin none p"), EXITCODE_OK);
    is_a_terminal = 0;
}

/* The flag stands above the variable; a start that is refused is told as asked for, too. */
static void test_log(void **state)
{
    (void)state;
    assert_int_equal(parse("run -- p"), EXITCODE_OK);
    assert_int_equal(opts.log_level, LOG_INFO);
    assert_int_equal(opts.log_format, LOG_TEXT);
    setenv("MST_LOG_LEVEL", "warn", 1);
    setenv("MST_LOG_FORMAT", "json", 1);
    assert_int_equal(parse("run -- p"), EXITCODE_OK);
    assert_int_equal(opts.log_level, LOG_WARN);
    assert_int_equal(opts.log_format, LOG_JSON);
    assert_int_equal(parse("run --log-level debug --log-format text -- p"), EXITCODE_OK);
    assert_int_equal(opts.log_level, LOG_DEBUG);
    assert_int_equal(opts.log_format, LOG_TEXT);
    refuse("run --nnodes 2 --node-rank 2 --rdzv h:1 -- p", -EINVAL, "node rank 2");
    assert_int_equal(opts.log_format, LOG_JSON);
    setenv("MST_LOG_LEVEL", "loud", 1);
    refuse("run -- p", EXITCODE_CONFIG, "MST_LOG_LEVEL=loud is none of error, warn, info or debug");
    assert_int_equal(opts.log_level, LOG_INFO);
    assert_int_equal(opts.log_format, LOG_JSON);
    refuse("run --log-level loud -- p", -EINVAL, "--log-level loud: error, warn, info or debug");
}

/* What mpi4py is told to load decides; muster-pmix is found in PATH, or is not. */
static void test_how_ranks_of_mpi_are_connected(void **state)
{
    (void)state;
    char folder[] = "/tmp/muster-opts-XXXXXX", file[64], path[4096];
    const char *found = getenv("PATH");
    (void)snprintf(path, sizeof path, "%s", found ? found : "");
    assert_int_equal(parse("run --nproc 2 p"), EXITCODE_OK);
    assert_int_equal(opts.mpi, OPTS_MPI_AUTO);
    setenv("MPI4PY_MPIABI", "mpich", 1);
    assert_int_equal(parse("run --nproc 2 p"), EXITCODE_OK);
    assert_int_equal(opts.mpi, OPTS_MPI_PMI1);
    refuse("run --nproc 2 --mpi=pmix p", EXITCODE_CONFIG, "--mpi=pmi1");
    setenv("MPI4PY_MPIABI", "openmpi", 1);
    setenv("PATH", "/nowhere", 1);
    refuse("run --nproc 2 p", EXITCODE_CONFIG, "libpmix-dev");
    refuse("run --nproc 2 --mpi=pmi1 p", EXITCODE_CONFIG, "--mpi=pmix");
    assert_int_equal(parse("run --nproc 1 p"), EXITCODE_OK);
    assert_int_equal(parse("run --nproc 2 --mpi=none p"), EXITCODE_OK);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(file, sizeof file, "%s/muster-pmix", folder);
    assert_int_equal(symlink("/bin/true", file), 0);
    setenv("PATH", folder, 1);
    assert_int_equal(parse("run --nproc 2 p"), EXITCODE_OK);
    assert_int_equal(opts.mpi, OPTS_MPI_PMIX);
    assert_string_equal(opts.pmix, file);
    unsetenv("MPI4PY_MPIABI");
    setenv("PATH", "/nowhere", 1);
    refuse("run --nproc 1 --mpi=pmix p", EXITCODE_CONFIG, "libpmix-dev");
    setenv("PATH", path, 1);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_hears_a_signal_to_all, clear, clear),
        cmocka_unit_test_setup_teardown(test_defaults_of_one_node, clear, clear),
        cmocka_unit_test_setup_teardown(test_every_flag, clear, clear),
        cmocka_unit_test_setup_teardown(test_wrong_usage, clear, clear),
        cmocka_unit_test_setup_teardown(test_secret_is_wiped, clear, clear),
        cmocka_unit_test_setup_teardown(test_secret_ends_before_its_newline, clear, clear),
        cmocka_unit_test_setup_teardown(test_contradictions, clear, clear),
        cmocka_unit_test_setup_teardown(test_operator_and_flags, clear, clear),
        cmocka_unit_test_setup_teardown(test_other_modes, clear, clear),
        cmocka_unit_test_setup_teardown(test_from_is_a_variable_too, clear, clear),
        cmocka_unit_test_setup_teardown(test_other_launchers_spellings, clear, clear),
        cmocka_unit_test_setup_teardown(test_options_that_do_nothing_for_a_rank_are_named, clear,
                                        clear),
        cmocka_unit_test_setup_teardown(test_options_that_do_nothing_for_one_node_are_named, clear,
                                        clear),
        cmocka_unit_test_setup_teardown(test_starts_of_long_names_stay_apart, clear, clear),
        cmocka_unit_test_setup_teardown(test_a_port_by_flag_stands_above_the_job_s, clear, clear),
        cmocka_unit_test_setup_teardown(test_totals, clear, clear),
        cmocka_unit_test_setup_teardown(test_exports, clear, clear),
        cmocka_unit_test_setup_teardown(test_output, clear, clear),
        cmocka_unit_test_setup_teardown(test_stdin, clear, clear),
        cmocka_unit_test_setup_teardown(test_log, clear, clear),
        cmocka_unit_test_setup_teardown(test_how_ranks_of_mpi_are_connected, clear, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "muster/perf/bench_opts.h"

#include "muster/core/err.h"
#include "muster/perf/nccl_format.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define NPROC 256 /* --nproc has no letter: `muster run` has none either */
#define BYTES_MAX (UINT64_C(1) << 42)
#define COUNT_MAX UINT64_C(1000000000)
#define RANK_MAX UINT64_C(4096)

static const struct option long_options[] = {
    {"minbytes", required_argument, NULL, 'b'},
    {"maxbytes", required_argument, NULL, 'e'},
    {"stepbytes", required_argument, NULL, 'i'},
    {"stepfactor", required_argument, NULL, 'f'},
    {"iters", required_argument, NULL, 'n'},
    {"warmup_iters", required_argument, NULL, 'w'},
    {"agg_iters", required_argument, NULL, 'm'},
    {"check", required_argument, NULL, 'c'},
    {"average", required_argument, NULL, 'a'},
    {"per_iter_timing", required_argument, NULL, 'I'},
    {"datatype", required_argument, NULL, 'd'},
    {"op", required_argument, NULL, 'o'},
    {"root", required_argument, NULL, 'r'},
    {"nthreads", required_argument, NULL, 't'},
    {"ngpus", required_argument, NULL, 'g'},
    {"output_file", required_argument, NULL, 'J'},
    {"nproc", required_argument, NULL, NPROC},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Options that are one number. */
static const struct number_option {
    int letter;
    bool bytes; /* takes K, M, G and a fraction */
    size_t offset;
    uint64_t min, max;
} number_options[] = {
    {'b', true, offsetof(struct bench_opts, min_bytes), 0, BYTES_MAX},
    {'e', true, offsetof(struct bench_opts, max_bytes), 0, BYTES_MAX},
    {'i', true, offsetof(struct bench_opts, step_bytes), 1, BYTES_MAX},
    {'f', false, offsetof(struct bench_opts, step_factor), 1, 1 << 20},
    {'n', false, offsetof(struct bench_opts, iters), 1, COUNT_MAX},
    {'w', false, offsetof(struct bench_opts, warmup_iters), 0, COUNT_MAX},
    {'m', false, offsetof(struct bench_opts, agg_iters), 1, COUNT_MAX},
    {'c', false, offsetof(struct bench_opts, check_iters), 0, COUNT_MAX},
    {'a', false, offsetof(struct bench_opts, average), BENCH_RANK0, BENCH_MAX},
    {'I', false, offsetof(struct bench_opts, per_iter), 0, 1},
    {'t', false, offsetof(struct bench_opts, threads), 1, 1},
    {'g', false, offsetof(struct bench_opts, devices), 1, 1},
    {'r', false, offsetof(struct bench_opts, root), 0, RANK_MAX - 1},
    {NPROC, false, offsetof(struct bench_opts, nproc), 1, RANK_MAX},
};

const char *bench_opts_usage(void)
{
    return "  -b, --minbytes SIZE      first size (8); K, M and G are powers of 1024\n"
           "  -e, --maxbytes SIZE      last size (64M)\n"
           "  -f, --stepfactor N       multiply the size by N (4)\n"
           "  -i, --stepbytes SIZE     or add SIZE (1M)\n"
           "  -n, --iters N            timed iterations (20)\n"
           "  -w, --warmup_iters N     untimed iterations of every size beforehand (5)\n"
           "  -m, --agg_iters N        calls per iteration (1)\n"
           "  -c, --check N            checked iterations after the timing; 0 = none (1)\n"
           "  -a, --average 0|1|2|3    time of rank 0, mean, minimum, maximum of ranks (1)\n"
           "  -I, --per_iter_timing 0|1  also tell how iterations spread (0)\n"
           "  -d, --datatype TYPE|all  int32 int64 half float double bfloat16 (float)\n"
           "  -o, --op OP|all          sum max min avg (sum)\n"
           "  -r, --root RANK|all      of broadcast (0)\n"
           "  -J, --output_file FILE   also write the results as JSON\n"
           "  -t, -g 1                 accepted: a rank is one thread and one device\n"
           "      --nproc N            ranks, when not started by a launcher (2, or 1 on one "
           "core)\n"
           "  -h, --help\n";
}

static const char *option_name(int letter)
{
    for (const struct option *o = long_options; o->name; o++)
        if (o->val == letter)
            return o->name;
    return "?";
}

static int parse_bytes(const char *text, uint64_t *ret_value)
{
    char *end;
    double value = strtod(text, &end);
    const char *units = "KMG";
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    for (; unit && unit >= units; unit--)
        value *= 1024;
    bool trailing = *end && (!strchr("KMGkmg", *end) || end[1]);
    if (end == text || trailing || !(value >= 0 && value <= (double)BYTES_MAX))
        return -EINVAL;
    *ret_value = (uint64_t)value;
    return 0;
}

static int parse_count(const char *text, uint64_t *ret_value)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || errno != 0 || strchr(text, '-'))
        return -EINVAL;
    *ret_value = value;
    return 0;
}

static int set_number(const struct number_option *option, const char *text, struct bench_opts *opts,
                      struct mst_err *err)
{
    uint64_t value;
    int rc = option->bytes ? parse_bytes(text, &value) : parse_count(text, &value);
    if (rc < 0 || value < option->min || value > option->max)
        return mst_err_set(err, -EINVAL, "--%s %s: expected a %s from %" PRIu64 " to %" PRIu64,
                           option_name(option->letter), text, option->bytes ? "size" : "number",
                           option->min, option->max);
    memcpy((char *)opts + option->offset, &value, sizeof(value));
    return 0;
}

static int set_named(int letter, const char *text, struct bench_opts *opts, struct mst_err *err)
{
    bool all = strcmp(text, "all") == 0;
    if (letter == 'd') {
        opts->all_types = all;
        if (!all && nccl_type_parse(text, &opts->dtype) < 0)
            return mst_err_set(err, -EINVAL,
                               "--datatype %s: the host back end has int32, int64, half, float, "
                               "double, bfloat16, and all",
                               text);
    } else {
        opts->all_ops = all;
        if (!all && nccl_op_parse(text, &opts->op) < 0)
            return mst_err_set(err, -EINVAL,
                               "--op %s: the host back end has sum, max, min, avg, and all", text);
    }
    return 0;
}

static int set_option(int letter, const char *text, struct bench_opts *opts, struct mst_err *err)
{
    if (letter == 'd' || letter == 'o')
        return set_named(letter, text, opts, err);
    opts->all_roots = letter == 'r' ? strcmp(text, "all") == 0 : opts->all_roots;
    if (letter == 'r' && opts->all_roots)
        return 0;
    for (size_t i = 0; i < sizeof(number_options) / sizeof(number_options[0]); i++)
        if (number_options[i].letter == letter)
            return set_number(&number_options[i], text, opts, err);
    if (letter == 'J')
        opts->json_path = text;
    else
        opts->help = true;
    return 0;
}

/* getopt names a letter in optopt and a long name nowhere. */
static int option_fault(int letter, const char *word, struct mst_err *err)
{
    char name[3] = {'-', (char)optopt, '\0'};
    bool known_letter = optopt > 0 && optopt < NPROC;
    return mst_err_set(err, -EINVAL, "%s: %s; see --help", known_letter ? name : word,
                       letter == '?' ? "no such option" : "needs a value");
}

static int parse_words(int argc, char *const *argv, struct bench_opts *opts, struct mst_err *err)
{
    int letter;
    optind = 0; /* glibc: start over, with another argv */
    while ((letter = getopt_long(argc, argv, "+:b:e:i:f:n:w:m:c:a:I:d:o:r:t:g:J:h", long_options,
                                 NULL)) != -1) {
        if (letter == '?' || letter == ':')
            return option_fault(letter, argv[optind - 1], err);
        int rc = set_option(letter, optarg, opts, err);
        if (rc < 0)
            return rc;
    }
    if (optind < argc)
        return mst_err_set(err, -EINVAL, "%s: not an option; see --help", argv[optind]);
    return 0;
}

/* What was not given depends on what was. */
static int settle_sizes(struct bench_opts *opts, struct mst_err *err)
{
    if (opts->step_factor == 0)
        opts->step_factor = opts->step_bytes > 0 ? 1 : 4;
    if (opts->step_bytes == 0)
        opts->step_bytes = UINT64_C(1) << 20;
    if (opts->min_bytes > opts->max_bytes)
        return mst_err_set(err, -EINVAL,
                           "--minbytes %" PRIu64 " is over --maxbytes %" PRIu64 ": swap them",
                           opts->min_bytes, opts->max_bytes);
    return 0;
}

int bench_opts_parse(int argc, char *const *argv, struct bench_opts *ret_opts, struct mst_err *err)
{
    struct bench_opts opts = {
        .min_bytes = 8,
        .max_bytes = UINT64_C(64) << 20,
        .iters = 20,
        .warmup_iters = 5,
        .agg_iters = 1,
        .check_iters = 1,
        .average = BENCH_MEAN,
        .threads = 1,
        .devices = 1,
        .dtype = MST_F32,
        .op = MST_SUM,
    };
    int rc = parse_words(argc, argv, &opts, err);
    if (rc == 0)
        rc = settle_sizes(&opts, err);
    if (rc == 0)
        *ret_opts = opts;
    return rc;
}

uint64_t bench_opts_next_size(const struct bench_opts *opts, uint64_t size_bytes)
{
    if (opts->step_factor == 1)
        return size_bytes + opts->step_bytes;
    return size_bytes > 0 ? size_bytes * opts->step_factor : 1;
}

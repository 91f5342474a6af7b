/* The command line of the benchmarks. */
#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/perf/bench_opts.h"
#include "muster/perf/nccl_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ARGS_MAX 16

/* Parses "allreduce" and the given words. */
static int parse(struct bench_opts *opts, struct mst_err *err, char *const *words)
{
    char *argv[ARGS_MAX] = {"allreduce"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = words[argc - 1];
    return bench_opts_parse(argc, argv, opts, err);
}

#define PARSE(opts, err, ...) parse(opts, err, (char *[]){__VA_ARGS__, NULL})

static void test_defaults(void **state)
{
    (void)state;
    struct bench_opts opts;
    assert_int_equal(PARSE(&opts, NULL, NULL), 0);
    assert_int_equal(opts.min_bytes, 8);
    assert_int_equal(opts.max_bytes, 64 << 20);
    assert_int_equal(opts.step_factor, 4);
    assert_int_equal(opts.check_iters, 1);
    assert_int_equal(opts.dtype, MST_F32);
    assert_int_equal(opts.op, MST_SUM);
    assert_int_equal(opts.nproc, 0);
    assert_false(opts.all_types || opts.all_ops || opts.all_roots);
}

static void test_letters_and_names(void **state)
{
    (void)state;
    struct bench_opts opts;
    assert_int_equal(PARSE(&opts, NULL, "-b", "1.5K", "--maxbytes=2m", "-f", "2", "-n", "3", "-w",
                           "0", "--datatype", "half"),
                     0);
    assert_int_equal(opts.min_bytes, 1536);
    assert_int_equal(opts.max_bytes, 2 << 20);
    assert_int_equal(opts.step_factor, 2);
    assert_int_equal(opts.iters, 3);
    assert_int_equal(opts.warmup_iters, 0);
    assert_int_equal(opts.dtype, MST_F16);
    assert_int_equal(PARSE(&opts, NULL, "-e1G", "-o", "avg", "-a3", "-c0", "--nproc", "4", "-J",
                           "x.json", "-g", "1"),
                     0);
    assert_int_equal(opts.max_bytes, 1 << 30);
    assert_int_equal(opts.op, MST_AVG);
    assert_int_equal(opts.average, BENCH_MAX);
    assert_int_equal(opts.check_iters, 0);
    assert_int_equal(opts.nproc, 4);
    assert_string_equal(opts.json_path, "x.json");
}

static void test_all(void **state)
{
    (void)state;
    struct bench_opts opts;
    assert_int_equal(PARSE(&opts, NULL, "-d", "all", "-o", "all", "-r", "all"), 0);
    assert_true(opts.all_types && opts.all_ops && opts.all_roots);
    assert_int_equal(PARSE(&opts, NULL, "-d", "all", "-d", "double", "-r", "all", "-r", "2"), 0);
    assert_false(opts.all_types || opts.all_roots);
    assert_int_equal(opts.root, 2);
}

static void test_sizes(void **state)
{
    (void)state;
    struct bench_opts opts;
    assert_int_equal(PARSE(&opts, NULL, "-f", "3"), 0);
    assert_int_equal(bench_opts_next_size(&opts, 8), 24);
    assert_int_equal(bench_opts_next_size(&opts, 0), 1);
    assert_int_equal(PARSE(&opts, NULL, "-i", "1K"), 0);
    assert_int_equal(bench_opts_next_size(&opts, 0), 1024);
    assert_int_equal(bench_opts_next_size(&opts, 1024), 2048);
    assert_int_equal(PARSE(&opts, NULL, "-i", "1K", "-f", "2"), 0);
    assert_int_equal(bench_opts_next_size(&opts, 1024), 2048);
}

static void test_faults_are_named(void **state)
{
    (void)state;
    static const struct {
        char *words[3];
        const char *named;
    } cases[] = {
        {{"-b", "1Q", NULL}, "-b 1Q"},
        {{"-b", "1KB", NULL}, "-b 1KB"},
        {{"-b", "", NULL}, "-b"},
        {{"-e", "-1", NULL}, "-e -1"},
        {{"-e", "nan", NULL}, "-e nan"},
        {{"-e", "5000G", NULL}, "-e 5000G"},
        {{"-i", "0", NULL}, "-i 0"},
        {{"-f", "0", NULL}, "-f 0"},
        {{"-n", "0", NULL}, "-n 0"},
        {{"-n", "-1", NULL}, "-n -1"},
        {{"-n", "3x", NULL}, "-n 3x"},
        {{"-a", "4", NULL}, "-a 4"},
        {{"-d", "int8", NULL}, "-d int8: int32, int64, half, float, double, bfloat16 or all"},
        {{"-d", "al", NULL}, "-d al: "},
        {{"-o", "prod", NULL}, "-o prod: sum, max, min, avg or all"},
        {{"-r", "4096", NULL}, "-r 4096"},
        {{"-g", "2", NULL}, "-g 2"},
        {{"--nproc", "0", NULL}, "--nproc 0"},
        {{"--none", NULL, NULL}, "--none"},
        {{"-n", NULL, NULL}, "-n: needs a value"},
        {{"-x5", NULL, NULL}, "unknown option -x5"},
        {{"word", NULL, NULL}, "word"},
        {{"-b", "65M", NULL}, "--minbytes 68157440"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench_opts opts = {.iters = 4711};
        struct mst_err err = {0};
        assert_true(parse(&opts, &err, cases[i].words) < 0);
        assert_non_null(strstr(err.text, cases[i].named));
        assert_int_equal(opts.iters, 4711);
    }
}

/* Each word is understood, and --help has it. */
static void test_words(void **state)
{
    (void)state;
    static char help[OPTIONS_HELP_MAX];
    options_help(&bench_options, help);
    for (size_t i = 0; nccl_type_words[i]; i++) {
        struct bench_opts opts;
        assert_int_equal(PARSE(&opts, NULL, "-d", (char *)nccl_type_words[i]), 0);
        assert_string_equal(opts.all_types ? "all" : nccl_type_name(opts.dtype),
                            nccl_type_words[i]);
        assert_non_null(strstr(help, nccl_type_words[i]));
    }
    for (size_t i = 0; nccl_op_words[i]; i++) {
        struct bench_opts opts;
        assert_int_equal(PARSE(&opts, NULL, "-o", (char *)nccl_op_words[i]), 0);
        assert_string_equal(opts.all_ops ? "all" : nccl_op_name(opts.op), nccl_op_words[i]);
        assert_non_null(strstr(help, nccl_op_words[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_letters_and_names),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_faults_are_named),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The text and the JSON of the benchmarks against what nccl-tests 2.19.6 prints. */
#include "muster/perf/nccl_format.h"
#include "muster/perf/nccl_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct nccl_config config = {
    .program = "all_reduce_perf",
    .min_bytes = 8,
    .max_bytes = 67108864,
    .step_factor = 4,
    .step_bytes = 1048576,
    .iters = 20,
    .agg_iters = 1,
    .warmup_iters = 5,
    .check_iters = 1,
};

static const struct nccl_device device = {
    .rank = 1, .pid = 4242, .device = 1, .host = "node-a", .info = "cpu"};

static const struct nccl_row row = {
    .size_bytes = 1048576,
    .count = 262144,
    .type = "float",
    .op = "sum",
    .root = -1,
    .checked = true,
    .out_of_place = {41.25, 25.42, 25.42, 0, NULL},
    .in_place = {123456.7, 1234.5, 0.004, 17, NULL},
};

/* What is printed between capture_start and capture_end. */
struct capture {
    FILE *file;
    char *text;
    size_t length;
};

static FILE *capture_start(struct capture *capture)
{
    capture->file = open_memstream(&capture->text, &capture->length);
    assert_non_null(capture->file);
    return capture->file;
}

static void capture_end(struct capture *capture, const char *expected)
{
    assert_int_equal(fclose(capture->file), 0);
    assert_string_equal(capture->text, expected);
    free(capture->text);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        int width;
        const char *text;
    } cases[] = {
        {0, 7, "   0.00"},        {41.25, 7, "  41.25"},    {1234.567, 7, "1234.57"},
        {12345.67, 7, "12345.7"}, {123456.7, 7, " 123457"}, {1234567, 7, "1234567"},
        {12345678, 7, "1.2e+07"}, {9999.996, 7, "10000.0"}, {25.42, 6, " 25.42"},
        {999.994, 6, "999.99"},   {999.996, 6, "1000.0"},   {12345.6, 6, " 12346"},
        {999999.4, 6, "999999"},  {1234567, 6, " 1e+06"},   {0.004, 6, "  0.00"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[NCCL_NUMBER_CAP];
        nccl_number(cases[i].value, cases[i].width, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_preamble_by_factor(void **state)
{
    (void)state;
    struct capture capture;
    nccl_text_preamble(capture_start(&capture), &config);
    capture_end(&capture, "# nccl-tests version 2.19.6 nccl-headers=0 nccl-library=0\n"
                          "# Collective test starting: all_reduce_perf\n"
                          "# nThread 1 nGpus 1 minBytes 8 maxBytes 67108864 step: 4(factor) "
                          "warmup iters: 5 iters: 20 agg iters: 1 validation: 1 graph: 0 "
                          "unalign: 0\n"
                          "#\n"
                          "# Using devices\n");
}

static void test_preamble_by_bytes(void **state)
{
    (void)state;
    struct capture capture;
    struct nccl_config by_bytes = config;
    by_bytes.step_factor = 1;
    nccl_text_preamble(capture_start(&capture), &by_bytes);
    assert_int_equal(fflush(capture.file), 0);
    assert_non_null(strstr(capture.text, " step: 1048576(bytes) warmup"));
    (void)fclose(capture.file);
    free(capture.text);
}

static void test_device(void **state)
{
    (void)state;
    struct capture capture;
    nccl_text_device(capture_start(&capture), &device);
    capture_end(&capture,
                "#  Rank  1 Group  0 Pid   4242 on     node-a device  1 [0000:00:00] cpu\n");
}

static void test_header(void **state)
{
    (void)state;
    struct capture capture;
    nccl_text_header(capture_start(&capture), &config);
    capture_end(&capture,
                "#\n"
                "#                                                              out-of-place       "
                "                in-place          \n"
                "#       size         count      type   redop    root     time   algbw   busbw  "
                "#wrong     time   algbw   busbw  #wrong \n"
                "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)     "
                "        (us)  (GB/s)  (GB/s)         \n");
}

static void test_row(void **state)
{
    (void)state;
    struct capture capture;
    nccl_text_row(capture_start(&capture), &row);
    capture_end(&capture,
                "     1048576        262144     float     sum      -1    41.25   25.42   25.42     "
                "  0   123457  1234.5    0.00      17\n");
}

static void test_row_unchecked(void **state)
{
    (void)state;
    struct capture capture;
    struct nccl_row unchecked = row;
    unchecked.checked = false;
    unchecked.in_place = row.out_of_place;
    nccl_text_row(capture_start(&capture), &unchecked);
    capture_end(&capture,
                "     1048576        262144     float     sum      -1    41.25   25.42   25.42    "
                "N/A    41.25   25.42   25.42    N/A\n");
}

static void test_footer(void **state)
{
    (void)state;
    struct capture capture;
    struct nccl_summary summary = {.wrong_row_count = 0, .bus_bw = 2.68429};
    nccl_text_footer(capture_start(&capture), &config, &summary);
    capture_end(&capture, "# Out of bounds values : 0 OK\n"
                          "# Avg bus bandwidth    : 2.68429 \n"
                          "#\n"
                          "# Collective test concluded: all_reduce_perf\n"
                          "#\n"
                          "\n");
}

static void test_footer_of_failure(void **state)
{
    (void)state;
    struct capture capture;
    struct nccl_summary summary = {.wrong_row_count = 3, .bus_bw = 0};
    nccl_text_footer(capture_start(&capture), &config, &summary);
    assert_int_equal(fflush(capture.file), 0);
    assert_memory_equal(capture.text, "# Out of bounds values : 3 FAILED\n", 34);
    (void)fclose(capture.file);
    free(capture.text);
}

/* Two ranks, four iterations: the slowest are 4, 2, 8 and 2 us. */
static const double rank_us[8] = {1, 2, 8, 1, 4, 1, 3, 2};

static void summarise(struct nccl_iters *iters, double times_us[4])
{
    double scratch[4];
    *iters = (struct nccl_iters){.iter_count = 4, .rank_count = 2, .rank_us = rank_us};
    nccl_iters_summarise(iters, times_us, scratch);
}

static void test_iters(void **state)
{
    (void)state;
    struct nccl_iters iters;
    double times_us[4], expected_us[4] = {4, 2, 8, 2};
    summarise(&iters, times_us);
    assert_memory_equal(iters.times_us, expected_us, sizeof(expected_us));
    assert_true(iters.min_us == 2 && iters.max_us == 8 && iters.avg_us == 4);
    assert_true(iters.p50_us == 4 && iters.p95_us == 8 && iters.p99_us == 8);
    assert_true(iters.stdev_us * iters.stdev_us > 5.99 && iters.stdev_us * iters.stdev_us < 6.01);
}

static void test_iters_text(void **state)
{
    (void)state;
    struct capture capture;
    struct nccl_iters iters;
    double times_us[4];
    struct nccl_config per_iter = config;
    struct nccl_row spread = row;
    per_iter.per_iter = true;
    summarise(&iters, times_us);
    spread.in_place = spread.out_of_place;
    spread.out_of_place.iters = spread.in_place.iters = &iters;
    FILE *out = capture_start(&capture);
    nccl_text_header(out, &per_iter);
    nccl_text_row(out, &spread);
    capture_end(
        &capture,
        "#\n"
        "#                                                                 out-of-place (+ "
        "per-iteration)                                in-place (+ per-iteration)\n"
        "#       size         count      type   redop    root     time   algbw   busbw  #wrong    "
        "i_min    i_max    i_p99    i_cv%     time   algbw   busbw  #wrong    i_min    i_max    "
        "i_p99    i_cv% \n"
        "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             "
        "(us)     (us)     (us)      (%)     (us)  (GB/s)  (GB/s)             (us)     (us)     "
        "(us)      (%) \n"
        "     1048576        262144     float     sum      -1    41.25   25.42   25.42       0     "
        "2.00     8.00     8.00    61.24    41.25   25.42   25.42       0     2.00     8.00     "
        "8.00    61.24\n");
}

static void test_names(void **state)
{
    (void)state;
    enum mst_dtype dtype;
    enum mst_op op;
    size_t type_count = 0, op_count = 0;
    for (; nccl_type_at(type_count, &dtype); type_count++) {
        enum mst_dtype parsed;
        assert_int_equal(nccl_type_parse(nccl_type_name(dtype), &parsed), 0);
        assert_int_equal(parsed, dtype);
    }
    for (; nccl_op_at(op_count, &op); op_count++) {
        enum mst_op parsed;
        assert_int_equal(nccl_op_parse(nccl_op_name(op), &parsed), 0);
        assert_int_equal(parsed, op);
    }
    assert_int_equal(type_count, 6);
    assert_int_equal(op_count, MST_OP_COUNT);
    assert_true(nccl_type_parse("int8", &dtype) < 0);
    assert_true(nccl_op_parse("prod", &op) < 0);
}

/* The document of one device and one row, dumped. The caller frees. */
static char *dump_document(const struct nccl_config *of, const struct nccl_row *with)
{
    char *argv[] = {"muster-bench", "allreduce"};
    struct nccl_summary summary = {.wrong_row_count = 1, .bus_bw = 0.5};
    json_t *doc = nccl_json_start(2, argv, "2026-01-02 03:04:05");
    assert_non_null(doc);
    assert_int_equal(nccl_json_config(doc, of, &device, 1), 0);
    assert_int_equal(nccl_json_row(doc, of, with), 0);
    assert_int_equal(nccl_json_finish(doc, &summary, "2026-01-02 03:05:06"), 0);
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    assert_non_null(text);
    return text;
}

static void test_json(void **state)
{
    (void)state;
    struct nccl_row exact = row;
    exact.out_of_place = (struct nccl_timing){41.25, 25.5, 25.5, 0, NULL};
    exact.in_place = (struct nccl_timing){82.5, 12.75, 12.75, 17, NULL};
    char *text = dump_document(&config, &exact);
    assert_string_equal(
        text,
        "{\"version\":3,\"start_time\":\"2026-01-02 03:04:05\","
        "\"args\":[\"muster-bench\",\"allreduce\"],\"env\":[],\"nccl_version\":0,"
        "\"config\":{\"nthreads\":1,\"ngpus\":1,\"minimum_bytes\":8,\"maximum_bytes\":67108864,"
        "\"step_factor\":4,\"warmup_iters\":5,\"iterations\":20,\"aggregated_iterations\":1,"
        "\"validation\":1,\"graph\":0,\"blocking_collectives\":\"false\","
        "\"per_iter_timing\":\"false\",\"per_iter_skip\":0,\"parallel_init\":\"false\","
        "\"devices\":[{\"rank\":1,\"group\":0,\"pid\":4242,\"hostname\":\"node-a\",\"device\":1,"
        "\"device_hex\":\"0000:00:00\",\"device_info\":\"cpu\"}]},"
        "\"results\":[{\"size\":1048576,\"count\":262144,\"type\":\"float\",\"redop\":\"sum\","
        "\"root\":\"    -1\","
        "\"out_of_place\":{\"time\":41.25,\"alg_bw\":25.5,\"bus_bw\":25.5,\"nwrong\":0.0},"
        "\"in_place\":{\"time\":82.5,\"alg_bw\":12.75,\"bus_bw\":12.75,\"nwrong\":17.0},"
        "\"actual_iterations\":20,\"experiment_name\":\"\"}],"
        "\"out_of_bounds\":{\"count\":1,\"okay\":\"false\"},"
        "\"average_bus_bandwidth\":{\"bandwidth\":0.5,\"okay\":\"unchecked\"},"
        "\"errors\":[],\"end_time\":\"2026-01-02 03:05:06\"}");
    free(text);
}

static void test_json_unchecked_by_bytes(void **state)
{
    (void)state;
    struct nccl_config by_bytes = config;
    by_bytes.step_factor = 1;
    struct nccl_row unchecked = row;
    unchecked.checked = false;
    char *text = dump_document(&by_bytes, &unchecked);
    assert_non_null(strstr(text, "\"step_bytes\":1048576,"));
    assert_null(strstr(text, "step_factor"));
    assert_non_null(strstr(text, "\"nwrong\":null"));
    free(text);
}

static void test_json_iters(void **state)
{
    (void)state;
    struct nccl_iters iters;
    double times_us[4];
    struct nccl_row spread = row;
    summarise(&iters, times_us);
    spread.in_place.iters = &iters;
    char *text = dump_document(&config, &spread);
    assert_null(strstr(text, "out_of_place_per_iter"));
    assert_non_null(strstr(text, "\"in_place_per_iter\":{\"skipped_iterations\":0,\"min_us\":2.0,"
                                 "\"max_us\":8.0,\"avg_us\":4.0,\"p50_us\":4.0,\"p95_us\":8.0,"
                                 "\"p99_us\":8.0,\"stdev_us\":2.449"));
    assert_non_null(strstr(text, "\"times_us\":[4.0,2.0,8.0,2.0],\"per_process_max_times_us\":"
                                 "[[1.0,2.0,8.0,1.0],[4.0,1.0,3.0,2.0]]},"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_preamble_by_factor),
        cmocka_unit_test(test_preamble_by_bytes),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_row),
        cmocka_unit_test(test_row_unchecked),
        cmocka_unit_test(test_footer),
        cmocka_unit_test(test_footer_of_failure),
        cmocka_unit_test(test_iters),
        cmocka_unit_test(test_iters_text),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_unchecked_by_bytes),
        cmocka_unit_test(test_json_iters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

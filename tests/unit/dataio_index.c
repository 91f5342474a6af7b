#include "megatron.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/dataio/index.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sources.h"

#include <errno.h>

#define SIZE 300000u

static struct feed *feed;
static uint8_t data[SIZE];

struct opts {
    const char *uri;
    struct index_opts index;
};

static struct opts opts_of(const char *uri, enum mst_format format, uint32_t elems)
{
    return (struct opts){.uri = uri,
                         .index = {.shape = {.format = format, .dtype = MST_U8, .elems = elems},
                                   .scratch_dir = scratch_dir}};
}

static struct index *open_index(const struct opts *opts)
{
    struct index *index = NULL;
    struct mst_err err = {0};
    if (sources_index(opts->uri, opts->index, feed, &index, &err))
        fail_msg("%s", err.text);
    return index;
}

static uint64_t fingerprint(const struct opts *opts)
{
    struct index *index = open_index(opts);
    uint64_t value = index->fingerprint;
    index_close(index);
    return value;
}

static void refuse(const struct opts *opts, int rc, const char *why)
{
    struct index *index = NULL;
    struct mst_err err = {0};
    assert_int_equal(sources_index(opts->uri, opts->index, feed, &index, &err), rc);
    assert_null(index);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
}

/* The dataset file that names these, which lie beside it. */
static const char *list(const char *a, const char *b, const char *c)
{
    char text[200];
    snprintf(text, sizeof text,
             "{\"version\": 1, \"sources\": [{\"name\": \"%s\"}, {\"name\": \"%s\"}%s%s%s]}", a, b,
             c ? ", {\"name\": \"" : "", c ? c : "", c ? "\"}" : "");
    return scratch_write("list.dataset.json", text, strlen(text));
}

static void test_samples_run_over_all_sources(void **state)
{
    (void)state;
    struct opts opts = opts_of(list("a", "b", "c"), MST_FORMAT_AUTO, 10);
    static const struct place places[] = {
        {0, 0, 10}, {0, 10, 10}, {2, 0, 10}, {2, 10, 10}, {2, 20, 10}};
    scratch_write("a", data, 25);
    scratch_write("b", data, 4);
    scratch_write("c", data, 31);
    for (uint64_t resident = 0; resident <= 60; resident += 60) {
        opts.index.resident_bytes = resident;
        struct index *index = open_index(&opts);
        assert_int_equal(index->shape.format, MST_FORMAT_RAW);
        assert_int_equal(index->shard_count, 3);
        assert_int_equal(index->size_bytes, 60);
        assert_int_equal(index->sample_count, 5);
        assert_int_equal(index->record_bytes_max, 10);
        assert_true(!index->resident == !resident);
        for (uint64_t i = 0; i < 5; i++) {
            struct place place = index_locate(index, i);
            assert_int_equal(place.shard, places[i].shard);
            assert_int_equal(place.offset, places[i].offset);
            assert_int_equal(place.size_bytes, places[i].size_bytes);
            if (resident)
                assert_memory_equal(index->shards[place.shard].resident + place.offset,
                                    data + place.offset, 10);
        }
        index_close(index);
    }
}

/* The line table must not depend on whether the text is in memory, nor on where pieces end. */
static void test_lines_in_memory_and_not(void **state)
{
    (void)state;
    size_t size = (3u << 20) + 77;
    char *text = malloc(size);
    size_t newlines = 0;
    for (size_t i = 0; i < size; i++)
        newlines += (text[i] = mst_mix64(i) % 40 ? 'x' : '\n') == '\n';
    text[size - 1] = 'y';
    struct opts opts = opts_of(scratch_write("lines.txt", text, size), MST_FORMAT_AUTO, 0);
    struct index *index = open_index(&opts);
    opts.index.resident_bytes = size;
    struct index *resident = open_index(&opts);
    assert_int_equal(index->shape.format, MST_FORMAT_LINES);
    assert_in_range(index->sample_count, newlines, newlines + 1);
    assert_int_equal(index->sample_count, resident->sample_count);
    assert_int_equal(index->fingerprint, resident->fingerprint);
    assert_int_equal(index->record_bytes_max, resident->record_bytes_max);
    assert_memory_equal(index->shards[0].starts, resident->shards[0].starts,
                        (index->sample_count + 1) * 8);
    for (uint64_t i = 0; i < index->sample_count; i++) {
        struct place place = index_locate(index, i);
        assert_null(memchr(text + place.offset, '\n', place.size_bytes));
        assert_true(place.offset == 0 || text[place.offset - 1] == '\n');
    }
    index_close(resident);
    index_close(index);
    free(text);
}

static void test_fingerprint_sees_what_matters(void **state)
{
    (void)state;
    uint8_t *copy = malloc(SIZE);
    struct opts opts = opts_of(scratch_write("f", data, SIZE), MST_FORMAT_RAW, 10);
    uint64_t first = fingerprint(&opts);
    assert_int_equal(fingerprint(&opts), first);
    opts.index.resident_bytes = SIZE;
    assert_int_equal(fingerprint(&opts), first);
    memcpy(copy, data, SIZE);
    copy[0] ^= 1;
    scratch_write("f", copy, SIZE);
    assert_true(fingerprint(&opts) != first);
    copy[0] ^= 1;
    copy[SIZE - 1] ^= 1;
    scratch_write("f", copy, SIZE);
    assert_true(fingerprint(&opts) != first);
    scratch_write("f", data, SIZE - 1);
    assert_true(fingerprint(&opts) != first);
    scratch_write("f", data, SIZE);
    assert_int_equal(fingerprint(&opts), first);
    opts.index.shape.elems = 11;
    assert_true(fingerprint(&opts) != first);
    opts = opts_of(scratch_write("g", data, SIZE), MST_FORMAT_RAW, 10);
    assert_true(fingerprint(&opts) != first); /* another name */
    free(copy);
}

/* The directory is not part of a dataset: it may be mounted elsewhere. */
static void test_fingerprint_is_the_same_elsewhere(void **state)
{
    (void)state;
    struct opts opts = opts_of(scratch_write("moved", data, 1000), MST_FORMAT_RAW, 10);
    uint64_t first = fingerprint(&opts);
    assert_int_equal(mkdir(scratch_path("sub"), 0700), 0);
    opts.uri = scratch_write("sub/moved", data, 1000);
    assert_int_equal(fingerprint(&opts), first);
}

static void test_megatron_pairs(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {100, 50};
    uint8_t idx[42 + 20 * 2];
    size_t idx_bytes = megatron_index(idx, 8, 2, lengths, 2);
    const char *bin = scratch_write("corpus.bin", data, 300);
    struct opts opts = opts_of(bin, MST_FORMAT_AUTO, 30);
    scratch_write("corpus.idx", idx, idx_bytes);
    struct index *index = open_index(&opts);
    assert_int_equal(index->shape.format, MST_FORMAT_MEGATRON);
    assert_int_equal(index->shape.dtype, MST_U16);
    assert_int_equal(index->sample_count, 5);
    index_close(index);
    scratch_write("corpus.bin", data, 298); /* truncated data */
    refuse(&opts, -EBADMSG, "corpus.bin");
    refuse(&opts, -EBADMSG, "corpus.idx");
    refuse(&opts, -EBADMSG, "300");
    refuse(&opts, -EBADMSG, "298");
    scratch_write("corpus.bin", data, 300);
    scratch_write("corpus.idx", idx, idx_bytes - 1); /* truncated index */
    refuse(&opts, -EBADMSG, "corpus.idx");
    assert_int_equal(unlink(scratch_path("corpus.idx")), 0);
    opts.index.shape.format = MST_FORMAT_MEGATRON;
    refuse(&opts, -ENOENT, "corpus.idx");
}

static void test_megatron_types_must_agree(void **state)
{
    (void)state;
    static const uint32_t length = 10;
    struct opts opts = opts_of(list("one.bin", "two.bin", NULL), MST_FORMAT_AUTO, 2);
    uint8_t idx[42 + 20];
    scratch_write("one.idx", idx, megatron_index(idx, 8, 2, &length, 1));
    scratch_write("two.idx", idx, megatron_index(idx, 4, 4, &length, 1));
    scratch_write("one.bin", data, 20);
    scratch_write("two.bin", data, 40);
    refuse(&opts, -EINVAL, "two.bin holds i32");
}

static void test_bad_options_are_refused(void **state)
{
    (void)state;
    const char *raw = scratch_write("raw", data, 99);
    struct opts opts = opts_of(raw, MST_FORMAT_RAW, 0);
    refuse(&opts, -EINVAL, "record_elems");
    opts.index.shape.elems = 100;
    refuse(&opts, -EINVAL, "no sample");
    opts.index.shape.elems = 1;
    opts.index.shape.dtype = MST_I32;
    refuse(&opts, -EBADMSG, "99 bytes");
    opts.index.shape.dtype = (enum mst_dtype)77;
    refuse(&opts, -EINVAL, "dtype 77");
    opts.index.shape.dtype = MST_U8;
    opts.index.shape.format = (enum mst_format)9;
    refuse(&opts, -EINVAL, "format 9");
    scratch_write("other.txt", "a\n", 2);
    opts = opts_of(list("raw", "other.txt", NULL), MST_FORMAT_AUTO, 1);
    refuse(&opts, -EINVAL, "different formats");
    char uri[700];
    snprintf(uri, sizeof uri, "%s,", raw);
    opts = opts_of(uri, MST_FORMAT_RAW, 1);
    refuse(&opts, -EINVAL, "empty URI");
}

static int setup(void **state)
{
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)mst_mix64(i);
    feed = sources_feed("auto");
    return scratch_setup(state);
}

static int teardown(void **state)
{
    feed_destroy(feed);
    return scratch_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples_run_over_all_sources),
        cmocka_unit_test(test_lines_in_memory_and_not),
        cmocka_unit_test(test_fingerprint_sees_what_matters),
        cmocka_unit_test(test_fingerprint_is_the_same_elsewhere),
        cmocka_unit_test(test_megatron_pairs),
        cmocka_unit_test(test_megatron_types_must_agree),
        cmocka_unit_test(test_bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

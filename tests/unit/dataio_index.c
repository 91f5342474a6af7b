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
#include "unit/http_files.h"

#include <errno.h>

#include <fcntl.h>

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
    uint64_t value = index->fingerprint.sampled;
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
    assert_int_equal(index->fingerprint.sampled, resident->fingerprint.sampled);
    assert_int_equal(index->fingerprint.named, resident->fingerprint.named);
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

static bool is_kept_by_a_look(struct opts opts)
{
    opts.index.look_only = true;
    opts.index.resident_bytes = UINT64_MAX;
    struct index *index = open_index(&opts);
    bool kept = index->resident != NULL;
    index_close(index);
    return kept;
}

static void test_what_a_look_keeps(void **state)
{
    (void)state;
    struct opts raw = opts_of(list("a", "b", "c"), MST_FORMAT_RAW, 10), lines = raw, full = raw;
    lines.index.shape.format = MST_FORMAT_LINES;
    full.index.full = true;
    assert_false(is_kept_by_a_look(raw));
    assert_true(is_kept_by_a_look(lines));
    assert_true(is_kept_by_a_look(full));
    uint8_t *large = calloc(2, 1 << 20);
    lines.uri = scratch_write("long.txt", large, 2 << 20);
    assert_false(is_kept_by_a_look(lines));
    free(large);
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
    assert_int_equal(fingerprint(&opts), first); /* whatever it is called */
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

static void compare_with_resident(struct opts opts)
{
    struct index *index = open_index(&opts);
    opts.index.resident_bytes = index->size_bytes;
    struct index *resident = open_index(&opts);
    assert_non_null(resident->resident);
    assert_int_equal(index->fingerprint.sampled, resident->fingerprint.sampled);
    assert_int_equal(index->fingerprint.named, resident->fingerprint.named);
    index_close(resident);
    index_close(index);
}

/* Of sizes that are read whole and in blocks, empty ones among them: more than is read at once. */
static void test_the_fingerprint_of_many_sources(void **state)
{
    (void)state;
    enum { COUNT = 90 };
    assert_int_equal(mkdir(scratch_path("many"), 0700), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "many/%02u", i);
        scratch_write(name, data + i, i % 8 == 5 ? 0 : SIZE - 3000 * i);
    }
    char uri[320];
    snprintf(uri, sizeof uri, "%s/", scratch_path("many"));
    compare_with_resident(opts_of(uri, MST_FORMAT_RAW, 10));
}

/* An object comes in one request where a file is read in blocks. */
static void test_the_fingerprint_of_an_object(void **state)
{
    (void)state;
    static uint8_t large[(1 << 20) + 1];
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)mst_mix64(i);
    for (size_t size = sizeof large - 1; size <= sizeof large; size++) {
        struct http_files server;
        files_start(&server, "object", large, size);
        struct opts remote = opts_of(server.uri, MST_FORMAT_RAW, 10);
        struct opts local = opts_of(scratch_write("object", large, size), MST_FORMAT_RAW, 10);
        compare_with_resident(remote);
        atomic_store(&server.requests, 0);
        assert_int_equal(fingerprint(&remote), fingerprint(&local));
        assert_true(size == sizeof large ? server.requests > 16 : server.requests == 2);
        files_stop(&server);
    }
}

/* A patch that lies between the blocks of a large source is seen by the full one, in memory and
 * not. */
static void test_full_fingerprint_sees_every_byte(void **state)
{
    (void)state;
    size_t size = (size_t)4 << 20;
    uint8_t *bytes = calloc(1, size);
    uint32_t count = fingerprint_block_count(size, 1);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) { /* the first byte that is in no block */
        uint64_t offset;
        for (uint32_t k = 0; k < count; k++) {
            size_t block_bytes = fingerprint_block(size, count, k, &offset);
            at = at >= offset && at < offset + block_bytes ? (size_t)offset + block_bytes : at;
        }
    }
    struct opts opts = opts_of(scratch_write("large", bytes, size), MST_FORMAT_RAW, 10);
    opts.index.full = true;
    struct index *index = open_index(&opts);
    struct fingerprint first = index->fingerprint;
    index_close(index);
    opts.index.resident_bytes = size;
    index = open_index(&opts);
    assert_memory_equal(&index->fingerprint, &first, sizeof first);
    index_close(index);
    bytes[at] = 1;
    scratch_write("large", bytes, size);
    for (uint64_t resident = 0; resident <= size; resident += size) {
        opts.index.resident_bytes = resident;
        index = open_index(&opts);
        assert_int_equal(index->fingerprint.sampled, first.sampled);
        assert_true(index->fingerprint.full != first.full);
        index_close(index);
    }
    opts.index.full = false;
    index = open_index(&opts);
    assert_int_equal(index->fingerprint.full, 0);
    index_close(index);
    free(bytes);
}

/* Where the sources lie and when they were written is told apart from what they hold. */
static void test_pins(void **state)
{
    (void)state;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000}};
    const char *path = scratch_write("pinned", data, 1000);
    struct opts opts = opts_of(path, MST_FORMAT_RAW, 10);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    struct index *index = open_index(&opts);
    uint32_t place = index->place, pin = index->pin;
    index_close(index);
    times[1].tv_nsec = 1;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    index = open_index(&opts);
    assert_int_equal(index->place, place);
    assert_true(index->pin && pin && index->pin != pin);
    index_close(index);
    opts.uri = scratch_write("elsewhere", data, 1000);
    index = open_index(&opts);
    assert_true(index->place != place);
    index_close(index);
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

static const char *forbidden; /* to be read */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (!forbidden || !strstr(path, forbidden))
        return __real_open(path, flags, mode);
    errno = EACCES;
    return -1;
}

/* An index that is there makes it Megatron's, though we may not read it: no raw bytes. */
static void test_an_index_that_may_not_be_read(void **state)
{
    (void)state;
    scratch_write("secret.idx", data, 100);
    struct opts opts = opts_of(scratch_write("secret.bin", data, 100), MST_FORMAT_AUTO, 10);
    forbidden = "secret.idx";
    refuse(&opts, -EACCES, "secret.idx");
    forbidden = NULL;
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
        cmocka_unit_test(test_what_a_look_keeps),
        cmocka_unit_test(test_fingerprint_sees_what_matters),
        cmocka_unit_test(test_fingerprint_is_the_same_elsewhere),
        cmocka_unit_test(test_the_fingerprint_of_many_sources),
        cmocka_unit_test(test_the_fingerprint_of_an_object),
        cmocka_unit_test(test_full_fingerprint_sees_every_byte),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_megatron_pairs),
        cmocka_unit_test(test_an_index_that_may_not_be_read),
        cmocka_unit_test(test_megatron_types_must_agree),
        cmocka_unit_test(test_bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

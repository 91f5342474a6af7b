/* Gzip streams as other programs write them, whole and damaged, fed in pieces of every size. */
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/dataio/inflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define CAP ((size_t)3 << 20)

struct pipe {
    const uint8_t *in;
    size_t in_bytes, at, piece_bytes;
    uint8_t *out;
    size_t out_bytes;
    int read_error, write_error;
};

static int64_t give(void *arg, void *data, size_t cap)
{
    struct pipe *pipe = arg;
    size_t count = pipe->in_bytes - pipe->at;
    if (pipe->read_error)
        return pipe->read_error;
    if (count > pipe->piece_bytes)
        count = pipe->piece_bytes;
    if (count > cap)
        count = cap;
    memcpy(data, pipe->in + pipe->at, count);
    pipe->at += count;
    return (int64_t)count;
}

static int take(void *arg, const void *data, size_t size_bytes)
{
    struct pipe *pipe = arg;
    if (pipe->write_error)
        return pipe->write_error;
    assert_true(pipe->out_bytes + size_bytes <= CAP);
    memcpy(pipe->out + pipe->out_bytes, data, size_bytes);
    pipe->out_bytes += size_bytes;
    return 0;
}

static int64_t inflate_pipe(struct pipe *pipe, struct mst_err *err)
{
    struct inflate_io io = {.read = give, .write = take, .arg = pipe};
    pipe->at = pipe->out_bytes = 0;
    return inflate_gzip(&io, err);
}

/* One gzip member around `size_bytes` of text, by zlib; dictzip's extra field if asked. */
static size_t deflate_member(const uint8_t *data, size_t size_bytes, bool extra, uint8_t *out)
{
    uint8_t field[] = {'R', 'A', 4, 0, 1, 0, 2, 0};
    gz_header header = {.extra = field, .extra_len = sizeof field, .name = (Bytef *)"n"};
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    if (extra)
        assert_int_equal(deflateSetHeader(&z, &header), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size_bytes;
    z.next_out = out;
    z.avail_out = CAP;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return CAP - z.avail_out;
}

static uint8_t *text(size_t size_bytes)
{
    uint8_t *data = malloc(CAP);
    struct mst_rng rng;
    mst_rng_init(&rng, 1, 2);
    assert_non_null(data);
    for (size_t i = 0; i < size_bytes; i++)
        data[i] = (uint8_t)("the quick brown fox\n"[mst_rng_below(&rng, 20)]);
    return data;
}

static void test_pieces_of_every_size(void **state)
{
    (void)state;
    size_t size = 5000;
    uint8_t *data = text(size), *gz = malloc(CAP), *out = malloc(CAP);
    size_t gz_bytes = deflate_member(data, size, true, gz);
    for (size_t piece = 1; piece <= gz_bytes; piece = piece < 40 ? piece + 1 : piece * 2) {
        struct pipe pipe = {.in = gz, .in_bytes = gz_bytes, .piece_bytes = piece, .out = out};
        assert_int_equal(inflate_pipe(&pipe, NULL), size);
        assert_memory_equal(out, data, size);
    }
    free(out);
    free(gz);
    free(data);
}

static void test_members_follow_one_another(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 0, 300, 7, 70000, 2};
    uint8_t *data = text(100000), *gz = malloc(CAP), *out = malloc(CAP);
    size_t gz_bytes = 0, size = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *member = malloc(CAP);
        size_t member_bytes = deflate_member(data + size, sizes[i], i % 2, member);
        memcpy(gz + gz_bytes, member, member_bytes);
        gz_bytes += member_bytes;
        size += sizes[i];
        free(member);
    }
    for (size_t piece = 1; piece < 2000; piece = piece * 2 + 1) {
        struct pipe pipe = {.in = gz, .in_bytes = gz_bytes, .piece_bytes = piece, .out = out};
        assert_int_equal(inflate_pipe(&pipe, NULL), size);
        assert_memory_equal(out, data, size);
    }
    free(out);
    free(gz);
    free(data);
}

static void test_larger_than_the_buffers(void **state)
{
    (void)state;
    size_t size = CAP - 100;
    uint8_t *data = text(size), *gz = malloc(CAP), *out = malloc(CAP);
    struct pipe pipe = {.in = gz, .piece_bytes = CAP, .out = out};
    pipe.in_bytes = deflate_member(data, size, false, gz);
    assert_int_equal(inflate_pipe(&pipe, NULL), size);
    assert_memory_equal(out, data, size);
    memset(data, 0, size); /* tiny input, long output */
    pipe.in_bytes = deflate_member(data, size, false, gz);
    assert_int_equal(inflate_pipe(&pipe, NULL), size);
    assert_memory_equal(out, data, size);
    free(out);
    free(gz);
    free(data);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    uint8_t *data = text(2000), *gz = malloc(CAP), *out = malloc(CAP);
    size_t gz_bytes = deflate_member(data, 2000, true, gz);
    for (size_t length = 0; length < gz_bytes; length++) {
        struct pipe pipe = {.in = gz, .in_bytes = length, .piece_bytes = 100, .out = out};
        struct mst_err err = {0};
        assert_int_equal(inflate_pipe(&pipe, &err), -EBADMSG);
        assert_non_null(strstr(err.text, "ends in the middle"));
    }
    free(out);
    free(gz);
    free(data);
}

/* After the header's free fields, the only bits that may flip unseen are those that pad the last
 * block to a byte: they change nothing. */
static void test_no_flipped_bit_changes_the_contents(void **state)
{
    (void)state;
    uint8_t *data = text(700), *gz = malloc(CAP), *out = malloc(CAP);
    size_t gz_bytes = deflate_member(data, 700, false, gz);
    for (size_t bit = 10 * 8; bit < gz_bytes * 8; bit++) {
        struct pipe pipe = {.in = gz, .in_bytes = gz_bytes, .piece_bytes = 64, .out = out};
        gz[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (inflate_pipe(&pipe, NULL) != -EBADMSG) {
            assert_in_range(bit, gz_bytes * 8 - 64 - 7, gz_bytes * 8 - 64 - 1);
            assert_int_equal(pipe.out_bytes, 700);
            assert_memory_equal(out, data, 700);
        }
        gz[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(out);
    free(gz);
    free(data);
}

static void test_what_follows_must_be_gzip(void **state)
{
    (void)state;
    uint8_t *data = text(700), *gz = malloc(CAP), *out = malloc(CAP);
    size_t gz_bytes = deflate_member(data, 700, false, gz);
    struct pipe pipe = {.in = gz, .out = out};
    char where[64];
    (void)snprintf(where, sizeof where, "from compressed byte %zu,", gz_bytes); /* fits */
    memset(gz + gz_bytes, 'x', 20);
    for (size_t junk_bytes = 1; junk_bytes <= 20; junk_bytes++)
        for (size_t piece = 1; piece < 2000; piece = piece * 2 + 1) {
            struct mst_err err = {0};
            char count[32];
            (void)snprintf(count, sizeof count, "%zu bytes after", junk_bytes); /* fits */
            pipe.in_bytes = gz_bytes + junk_bytes;
            pipe.piece_bytes = piece;
            assert_int_equal(inflate_pipe(&pipe, &err), -EBADMSG);
            assert_non_null(strstr(err.text, count));
            assert_non_null(strstr(err.text, where));
            assert_null(strstr(err.text, "in the middle"));
        }
    free(out);
    free(gz);
    free(data);
}

/* As gzip, Python and igzip read it: zeros may follow the last member, and nothing else them. */
static void test_padding_is_passed_over(void **state)
{
    (void)state;
    uint8_t *data = text(700), *gz = calloc(1, CAP), *out = malloc(CAP);
    size_t gz_bytes = deflate_member(data, 700, false, gz);
    for (size_t zeros = 1; zeros <= 600000; zeros = zeros * 3 + 1)
        for (size_t piece = 1; piece < 2000; piece = piece * 5 + 2) {
            struct pipe pipe = {.in = gz, .piece_bytes = piece, .out = out};
            pipe.in_bytes = gz_bytes + zeros;
            assert_int_equal(inflate_pipe(&pipe, NULL), 700);
            assert_memory_equal(out, data, 700);
            gz[gz_bytes + zeros - 1] = 1;
            assert_int_equal(inflate_pipe(&pipe, NULL), -EBADMSG);
            gz[gz_bytes + zeros - 1] = 0;
        }
    uint8_t *member = malloc(CAP);
    size_t member_bytes = deflate_member(data, 700, false, member);
    memcpy(gz + gz_bytes + 512, member, member_bytes);
    struct pipe pipe = {.in = gz, .piece_bytes = CAP, .out = out};
    pipe.in_bytes = gz_bytes + 512 + member_bytes;
    assert_int_equal(inflate_pipe(&pipe, NULL), -EBADMSG);
    free(member);
    free(out);
    free(gz);
    free(data);
}

static void test_what_is_no_gzip_at_all_is_told_so(void **state)
{
    (void)state;
    uint8_t zeros[512] = {0}, *out = malloc(CAP);
    struct pipe pipe = {.in = zeros, .in_bytes = sizeof zeros, .piece_bytes = CAP, .out = out};
    struct mst_err err = {0};
    assert_int_equal(inflate_pipe(&pipe, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "no gzip header"));
    free(out);
}

static void test_errors_of_read_and_write_come_back(void **state)
{
    (void)state;
    uint8_t *data = text(700), *gz = malloc(CAP), *out = malloc(CAP);
    struct pipe pipe = {.in = gz, .piece_bytes = CAP, .out = out, .read_error = -EIO};
    pipe.in_bytes = deflate_member(data, 700, false, gz);
    struct mst_err err = {0};
    assert_int_equal(inflate_pipe(&pipe, &err), -EIO);
    pipe.read_error = 0;
    pipe.write_error = -ENOSPC;
    assert_int_equal(inflate_pipe(&pipe, &err), -ENOSPC);
    assert_non_null(strstr(err.text, "writing"));
    free(out);
    free(gz);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_of_every_size),
        cmocka_unit_test(test_members_follow_one_another),
        cmocka_unit_test(test_larger_than_the_buffers),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_no_flipped_bit_changes_the_contents),
        cmocka_unit_test(test_what_follows_must_be_gzip),
        cmocka_unit_test(test_padding_is_passed_over),
        cmocka_unit_test(test_what_is_no_gzip_at_all_is_told_so),
        cmocka_unit_test(test_errors_of_read_and_write_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

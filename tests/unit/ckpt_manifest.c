#include "unit/ckpt_fixture.h"

#include "muster/ckpt/manifest.h"
#include "muster/ckpt/reshard.h"
#include "muster/core/crc32c.h"

#include <errno.h>
#include <inttypes.h>

#define BLOCK LAYOUT_BLOCK_BYTES

/* Two tensors, split unevenly over two files; the caller frees nothing. */
struct sample {
    struct layout_tensor tensors[2];
    struct layout_part parts[3];
    uint32_t crcs[4];
    struct manifest_file files[2];
    struct manifest manifest;
};

static void make(struct sample *sample)
{
    uint64_t big[2] = {20, BLOCK / 40}, small[1] = {3};
    memset(sample, 0, sizeof *sample);
    assert_int_equal(layout_tensor_init(&sample->tensors[0], "model/w", MST_F32, 2, big, NULL), 0);
    assert_int_equal(layout_tensor_init(&sample->tensors[1], "b", MST_BF16, 1, small, NULL), 0);
    sample->parts[0] = (struct layout_part){0,    0, 12, 12 * sample->tensors[0].row_bytes,
                                            4096, 0, 2};
    sample->parts[1] = (struct layout_part){1, 0, 3, 6, 2048, 0, 1};
    sample->parts[2] = (struct layout_part){0, 12, 8, 8 * sample->tensors[0].row_bytes, 8192, 1, 1};
    for (uint32_t i = 0; i < 4; i++)
        sample->crcs[i] = 0x01020304 * i;
    sample->files[0] = (struct manifest_file){4096 + 2 * BLOCK, 0xdeadbeef, &sample->parts[0], 1,
                                              sample->crcs,     2};
    sample->files[1] = (struct manifest_file){8192 + BLOCK,     7, &sample->parts[1], 2,
                                              &sample->crcs[2], 2};
    sample->manifest = (struct manifest){.step = 400,
                                         .world_size = 2,
                                         .generation = 3,
                                         .attempt = 1,
                                         .commit = "3.1.00000000000000af",
                                         .cursor = {0, 0xab, 0xff},
                                         .cursor_bytes = 3,
                                         .tensors = sample->tensors,
                                         .tensor_count = 2,
                                         .files = sample->files};
}

static void test_round_trip(void **state)
{
    (void)state;
    struct sample sample;
    make(&sample);
    char *text;
    size_t size;
    assert_int_equal(manifest_encode(&sample.manifest, &text, &size), 0);
    struct manifest back = {0};
    struct mst_err err = {0};
    assert_int_equal(manifest_decode(text, size, &back, &err), 0);
    assert_int_equal(back.step, 400);
    assert_int_equal(back.generation, 3);
    assert_string_equal(back.commit, "3.1.00000000000000af");
    assert_int_equal(back.cursor_bytes, 3);
    assert_memory_equal(back.cursor, sample.manifest.cursor, 3);
    assert_true(layout_tensor_equal(&back.tensors[1], &sample.tensors[1]));
    assert_int_equal(back.files[1].parts[1].block_first, 1);
    assert_int_equal(back.files[1].crcs[1], sample.crcs[3]);
    char *again;
    size_t again_size;
    assert_int_equal(manifest_encode(&back, &again, &again_size), 0);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, text, size);
    assert_int_equal(manifest_check_cover(&back, &err), 0);
    free(text);
    free(again);
    manifest_fini(&back);
}

/* Every single bit is under the checksum, or is part of it. */
static void test_every_bit_counts(void **state)
{
    (void)state;
    struct sample sample;
    make(&sample);
    char *text;
    size_t size;
    assert_int_equal(manifest_encode(&sample.manifest, &text, &size), 0);
    struct manifest back;
    for (size_t bit = 0; bit < size * 8; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(manifest_decode(text, size, &back, NULL), -EBADMSG);
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t shorter = 0; shorter < size; shorter++)
        assert_int_equal(manifest_decode(text, shorter, &back, NULL), -EBADMSG);
    free(text);
}

/* Decodes `text` with its checksum made right, after one replacement. */
static int decode_changed(const char *from, const char *to, struct mst_err *err)
{
    struct sample sample;
    make(&sample);
    char *text;
    size_t size;
    assert_int_equal(manifest_encode(&sample.manifest, &text, &size), 0);
    char *changed = calloc(1, size + 256);
    assert_non_null(changed);
    char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(changed, size + 256, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    snprintf(changed + 11, 9, "%08" PRIx32, mst_crc32c(0, changed + 20, strlen(changed) - 20));
    changed[19] = '"';
    struct manifest back = {0};
    int rc = manifest_decode(changed, strlen(changed), &back, err);
    if (rc == 0)
        manifest_fini(&back);
    free(changed);
    free(text);
    return rc;
}

static void test_limits(void **state)
{
    static const char *const changes[][3] = {
        {"muster-checkpoint", "other", "format"},
        {"\"version\":1", "\"version\":0", "version"},
        {"\"step\":400", "\"step\":-1", "step"},
        {"\"step\":400", "\"stop\":400", "step"},
        {"\"world_size\":2", "\"world_size\":0", "world_size"},
        {"\"world_size\":2", "\"world_size\":3", "files"},
        {"\"world_size\":2", "\"world_size\":1", "files"},
        {"\"world_size\":2", "\"world_size\":65537", "world_size"},
        {"3.1.00000000000000af", "", "commit"},
        {"3.1.00000000000000af", "../1.00000000000000af", "commit"},
        {"3.1.00000000000000af", "..", "commit"},
        {"3.1.00000000000000af", "3.1.00000000000000AF", "commit"},
        {"\"3.1.00000000000000af\"", "[]", "commit"},
        {"\"block_bytes\":4194304", "\"block_bytes\":4096", "block_bytes"},
        {"\"cursor\":\"00abff\"", "\"cursor\":\"00abf\"", "cursor"},
        {"\"cursor\":\"00abff\"", "\"cursor\":\"00abfg\"", "cursor"},
        {"\"dtype\":\"f32\"", "\"dtype\":\"f33\"", "dtype"},
        {"\"name\":\"model/w\"", "\"name\":\"/w\"", "name"},
        {"\"shape\":[3]", "\"shape\":[-3]", "shape"},
        {"\"shape\":[3]", "\"shape\":[1,1,1,1,1,1,1,1,1]", "shape"},
        {"\"shape\":[3]", "\"shape\":[9223372036854775807]", "2^63"},
        {"\"tensor\":1", "\"tensor\":2", "tensor"},
        {"\"row\":12", "\"row\":21", "row"},
        {"\"row\":12,\"rows\":8", "\"row\":12,\"rows\":9", "rows"},
        {"\"rows\":3", "\"rows\":0", "rows"},
        {"\"rows\":3", "\"rows\":2.5", "rows"},
        {"\"offset\":8192", "\"offset\":99999999", "offset"},
        {"\"offset\":8192", "\"offset\":2050", "offset"},
        {"\"offset\":8192", "\"offset\":2053", "offset"},
        {"\"offset\":8192", "\"offset\":-1", "offset"},
        {"\"frame_crc32c\":\"deadbeef\"", "\"frame_crc32c\":\"DEADBEEF\"", "frame_crc32c"},
        {"\"bytes\":", "\"bytes\":9223372036854775808, \"x\":", "line"},
        {"\"generation\":3", "\"generation\":3,\"generation\":3", "line"},
    };
    (void)state;
    assert_int_equal(decode_changed("400", "401", NULL), 0);
    assert_int_equal(decode_changed("\"name\":\"model/w\"", "\"name\":\"/w\"", NULL), -EBADMSG);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct mst_err err = {0};
        assert_int_equal(decode_changed(changes[i][0], changes[i][1], &err), -EBADMSG);
        if (!strstr(err.text, changes[i][2]))
            print_error("%s → %s: %s\n", changes[i][0], changes[i][1], err.text);
        assert_non_null(strstr(err.text, changes[i][2]));
    }
    assert_int_equal(
        decode_changed("\"offset\":4096,\"crc32c\":\"0", "\"offset\":4096,\"crc32c\":\"", NULL),
        -EBADMSG);
}

/* It is no damage, for which an older checkpoint would do. */
static void test_later_version(void **state)
{
    struct mst_err err = {0};
    (void)state;
    assert_int_equal(decode_changed("\"version\":1", "\"version\":2", &err), -ENOTSUP);
    assert_string_equal(err.text, "version 2: this build reads 1, use the one that wrote it");
}

static void test_cover(void **state)
{
    (void)state;
    struct sample sample;
    make(&sample);
    sample.parts[2].row_start = 13;
    sample.parts[2].row_count = 7;
    struct mst_err err = {0};
    assert_int_equal(manifest_check_cover(&sample.manifest, &err), -EINVAL);
    assert_non_null(strstr(err.text, "model/w: row 12"));
    sample.files[1].part_count = 0;
    sample.parts[0].row_count = 20;
    assert_int_equal(manifest_check_cover(&sample.manifest, &err), -EINVAL);
    assert_non_null(strstr(err.text, "b: row 0"));
    uint64_t no_rows[1] = {0};
    assert_int_equal(layout_tensor_init(&sample.tensors[1], "b", MST_BF16, 1, no_rows, NULL), 0);
    assert_int_equal(manifest_check_cover(&sample.manifest, &err), 0);
}

static uint32_t cursor_of_rank_0 = 5;

static int decode_vote(const struct sample *sample, size_t tensor_count, uint32_t fingerprint,
                       const char *text, struct manifest_vote *vote)
{
    const struct manifest_ballot ballot = {.tensors = sample->tensors,
                                           .tensor_count = tensor_count,
                                           .fingerprint = fingerprint,
                                           .cursor = cursor_of_rank_0};
    struct mst_err err = {0};
    int rc = manifest_vote_decode(&ballot, text, strlen(text), vote, &err);
    assert_int_equal(err.code, rc);
    return rc;
}

static void test_vote(void **state)
{
    struct manifest_vote vote = {.fingerprint = 9, .cursor = 5};
    (void)state;
    struct sample sample;
    make(&sample);
    vote.file = sample.files[0];
    char *text;
    size_t size;
    assert_int_equal(manifest_vote_encode(&vote, &text, &size), 0);
    struct manifest_vote back = {0};
    assert_int_equal(decode_vote(&sample, 2, 8, text, &back), -EINVAL);
    assert_int_equal(decode_vote(&sample, 0, 9, text, &back), -EBADMSG);
    cursor_of_rank_0 = 6;
    assert_int_equal(decode_vote(&sample, 2, 9, text, &back), -EINVAL);
    cursor_of_rank_0 = 5;
    assert_int_equal(decode_vote(&sample, 2, 9, text, &back), 0);
    assert_int_equal(back.file.frame_crc, 0xdeadbeef);
    assert_memory_equal(back.file.crcs, sample.crcs, 8);
    manifest_file_fini(&back.file);
    free(text);
    mst_err_set(&vote.failure, -ENOSPC, "a \"quote\"\n\\ and \xc3\xa4");
    vote.file = (struct manifest_file){0};
    assert_int_equal(manifest_vote_encode(&vote, &text, &size), 0);
    assert_int_equal(decode_vote(&sample, 2, 9, text, &back), 0);
    assert_int_equal(back.failure.code, -ENOSPC);
    assert_memory_equal(back.failure.text, "a \"quote\"\n\\ and", 15);
    free(text);
    static const char *const bad[] = {"[]", "{\"code\":1,\"text\":\"\"}",
                                      "{\"code\":-4096,\"text\":\"\"}",
                                      "{\"code\":\"-5\",\"text\":\"\"}", "{\"code\":-5}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(decode_vote(&sample, 2, 9, bad[i], &back), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_later_version),
        cmocka_unit_test(test_cover),      cmocka_unit_test(test_vote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

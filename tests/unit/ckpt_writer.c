/* A file through the writer and back through the reader, over both back ends of core/aio. */
#include "soon.h"
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/reader.h"
#include "muster/ckpt/shard.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/writer.h"
#include "muster/core/aio/aio.h"
#include "muster/core/least.h"

#include <errno.h>

struct bench {
    struct mst_aio *aio;
    struct tier *tier;
    int root_fd, step_fd;
    struct fixture_model model;
    struct shard shard;
    struct manifest_file file;
    struct manifest manifest;
};

static void bench_open(struct bench *bench, const char *backend)
{
    struct mst_aio_opts opts = {.backend = backend};
    *bench = (struct bench){.shard.world_size = 1};
    if (mst_aio_create(&opts, &bench->aio, NULL) < 0)
        skip();
    assert_int_equal(
        tier_open(&(struct tier_opts){.uri = fixture_root, .aio = backend}, &bench->tier, NULL), 0);
    bench->root_fd = open(fixture_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(bench->root_fd, "step_3", 0777), 0);
    bench->step_fd = openat(bench->root_fd, "step_3", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture_big_rows = FIXTURE_MANY_ROWS;
    fixture_open_model(&bench->model, 0, 1);
    fixture_fill(&bench->model, 3);
    const struct state state = {.tensors = bench->model.tensors, .tensor_count = FIXTURE_TENSORS};
    assert_int_equal(shard_describe(&bench->shard, &state, NULL), 0);
    assert_int_equal(shard_reserve(&bench->shard, NULL), 0);
    assert_int_equal(shard_snapshot(&bench->shard, 3, &state, NULL), 0);
}

static int bench_write(struct bench *bench, uint64_t deadline_ns, struct mst_err *err)
{
    struct shard *shard = &bench->shard;
    int fd = writer_open_direct(bench->step_fd, "rank_0.h5", O_WRONLY | O_CREAT | O_TRUNC);
    struct writer_job job = {.fd = fd,
                             .name = "rank_0.h5",
                             .image = shard->pool.base,
                             .skeleton = &shard->skeleton,
                             .parts = shard->parts,
                             .part_count = shard->part_count};
    int rc = writer_write(bench->aio, &job, deadline_ns, err);
    assert_int_equal(close(fd), 0);
    bench->file = (struct manifest_file){
        .size_bytes = shard->skeleton.size_bytes,
        .frame_crc = job.frame_crc,
        .parts = shard->parts,
        .part_count = shard->part_count,
        .crcs = (uint32_t *)(void *)(shard->pool.base + shard->skeleton.crc_offset),
        .crc_count = shard->skeleton.crc_count};
    bench->manifest = (struct manifest){.step = 3,
                                        .world_size = 1,
                                        .tensors = shard->tensors,
                                        .tensor_count = shard->tensor_count,
                                        .files = &bench->file};
    return rc;
}

static void bench_close(struct bench *bench)
{
    shard_fini(&bench->shard);
    fixture_close_model(&bench->model);
    close(bench->step_fd);
    close(bench->root_fd);
    tier_close(bench->tier);
    mst_aio_destroy(bench->aio);
}

/* Reads every block: how many were good and how many damaged. */
static void read_all(struct bench *bench, size_t *ret_good, size_t *ret_damaged)
{
    struct reader_span spans[FIXTURE_TENSORS];
    for (uint32_t i = 0; i < bench->file.part_count; i++)
        spans[i] = (struct reader_span){.part = i, .block_count = bench->file.parts[i].block_count};
    struct reader *reader;
    assert_int_equal(reader_create(bench->tier, &bench->manifest, &reader), 0);
    reader_start(reader, spans, bench->file.part_count);
    struct reader_block block;
    struct mst_err err;
    int rc;
    *ret_good = *ret_damaged = 0;
    while ((rc = reader_next(reader, soon(), &block, &err)) != 0) {
        assert_true(rc == 1 || rc == -EBADMSG);
        *ret_good += rc == 1;
        *ret_damaged += rc < 0;
    }
    reader_destroy(reader);
}

static int check_frame(struct bench *bench)
{
    struct reader *reader;
    assert_int_equal(reader_create(bench->tier, &bench->manifest, &reader), 0);
    int rc = reader_check_frame(reader, 0, NULL);
    reader_destroy(reader);
    return rc;
}

static void round_trip(const char *backend)
{
    struct bench bench;
    bench_open(&bench, backend);
    assert_int_equal(bench_write(&bench, soon(), NULL), 0);
    size_t good, damaged;
    read_all(&bench, &good, &damaged);
    assert_int_equal(good, bench.file.crc_count);
    assert_int_equal(damaged, 0);
    assert_int_equal(check_frame(&bench), 0);
    bench_close(&bench);
}

/* Bytes from `start` to `end` of the big tensor are wanted: whole blocks come to their place, and
 * nothing else is written there. */
static void read_to_place(struct bench *bench, uint64_t start, uint64_t end, size_t placed)
{
    uint32_t big = 0;
    while (bench->file.parts[big].tensor != FIXTURE_BIG)
        big++;
    const struct layout_part *part = &bench->file.parts[big];
    size_t page = start % 4096, room = mst_round_up(page + end - start, 4096);
    uint8_t *memory = aligned_alloc(4096, room + 4096);
    assert_non_null(memory);
    memset(memory, 0xee, room + 4096);
    uint64_t first = start / LAYOUT_BLOCK_BYTES;
    const struct reader_span span = {.part = big,
                                     .block_first = first,
                                     .block_count = layout_block_count(end) - first,
                                     .into = memory + page,
                                     .start = start,
                                     .end = end};
    struct reader *reader;
    assert_int_equal(reader_create(bench->tier, &bench->manifest, &reader), 0);
    reader_start(reader, &span, 1);
    struct reader_block block;
    while (reader_next(reader, soon(), &block, NULL) == 1) {
        uint64_t at = layout_block_start(block.block);
        assert_memory_equal(block.data, bench->shard.pool.base + part->offset + at,
                            block.size_bytes);
        placed -= block.data == span.into + at - start;
    }
    reader_destroy(reader);
    assert_int_equal(placed, 0);
    assert_true(start % LAYOUT_BLOCK_BYTES == 0 || memory[page] == 0xee);
    assert_int_equal(memory[room], 0xee);
    free(memory);
}

static void test_places(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, "threads");
    assert_int_equal(bench_write(&bench, soon(), NULL), 0);
    uint64_t size = FIXTURE_MANY_ROWS * UINT64_C(4096);
    read_to_place(&bench, 0, size, 2);
    read_to_place(&bench, 0, size - 1, 1);
    read_to_place(&bench, 4096, size, 1);
    read_to_place(&bench, 4096 + 17, size - 4096, 0);
    bench_close(&bench);
}

static void test_threads(void **state)
{
    (void)state;
    round_trip("threads");
}

static void test_uring(void **state)
{
    (void)state;
    round_trip("uring");
}

/* A flip in any part damages one block of it; a flip between the parts damages the frame. */
static void test_every_part_is_watched(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, "threads");
    assert_int_equal(bench_write(&bench, soon(), NULL), 0);
    for (size_t i = 0; i < bench.file.part_count; i++) {
        off_t last = (off_t)(bench.file.parts[i].offset + bench.file.parts[i].size_bytes - 1);
        fixture_flip("step_3/rank_0.h5", last);
        size_t damaged, good;
        read_all(&bench, &good, &damaged);
        assert_int_equal(damaged, 1);
        assert_int_equal(good, bench.file.crc_count - 1);
        assert_int_equal(check_frame(&bench), 0);
        fixture_flip("step_3/rank_0.h5", last);
    }
    fixture_flip("step_3/rank_0.h5", 60);
    assert_int_equal(check_frame(&bench), -EBADMSG);
    bench_close(&bench);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, "threads");
    assert_int_equal(bench_write(&bench, soon(), NULL), 0);
    assert_int_equal(unlinkat(bench.step_fd, "rank_0.h5", 0), 0);
    size_t good, damaged;
    read_all(&bench, &good, &damaged);
    assert_int_equal(good, 0);
    assert_int_equal(damaged, bench.file.crc_count);
    assert_int_equal(check_frame(&bench), -EBADMSG);
    bench_close(&bench);
}

static void test_write_faults(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, "threads");
    struct mst_err err = {0};
    assert_int_equal(bench_write(&bench, 1, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "rank_0.h5"));
    assert_int_equal(mst_aio_in_flight(bench.aio), 0);
    bench_close(&bench);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_places),       CASE(test_threads),
        CASE(test_uring),        CASE(test_every_part_is_watched),
        CASE(test_missing_file), CASE(test_write_faults),
    };
    fixture_base = "/tmp"; /* mostly a disk, where O_DIRECT is taken */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

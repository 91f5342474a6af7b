/* The loader as a training program uses it: bytes, order, resume, errors. Every test that reads
 * runs with the data in memory and read ahead, over both aio back ends. */
#include "failing_memory.h"
#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"
#include "muster/dataio/dataio.h"
#include "scratch.h"
#include "soon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <zlib.h>

#define SAMPLES 1009u
#define ELEMS 448u
#define STRIDE 401u
#define SIZE ((size_t)(SAMPLES - 1) * STRIDE + ELEMS)
#define WORLD_MAX 7u
#define SMALL_BUDGET (400u << 10) /* less than twice the data: it is read ahead */

struct mode {
    const char *backend;
    uint64_t budget_bytes;
};

static const struct mode modes[] = {
    {"auto", 0}, {"auto", SMALL_BUDGET}, {"threads", SMALL_BUDGET}, {"threads", 0}};
#define MODE_COUNT (sizeof modes / sizeof modes[0])

static uint8_t data[SIZE];
static const char *path;

/* ---- help ------------------------------------------------------------------------------------ */

static struct mst_loader_opts opts_of(uint32_t batch)
{
    return (struct mst_loader_opts){.struct_bytes = sizeof(struct mst_loader_opts),
                                    .uri = path,
                                    .format = MST_FORMAT_RAW,
                                    .dtype = MST_U8,
                                    .record_elems = ELEMS,
                                    .record_stride = STRIDE,
                                    .global_batch = batch,
                                    .seed = 17,
                                    .scratch_dir = scratch_dir};
}

static struct mst_world world_of(const struct mode *mode, uint32_t rank, uint32_t size)
{
    struct mst_world world;
    world_init_single(&world);
    world.rank = rank;
    world.size = size;
    snprintf(world.tuning.aio, sizeof world.tuning.aio, "%s", mode->backend);
    return world;
}

static struct mst_loader *open_loader(struct mst_loader_opts opts, const struct mode *mode,
                                      uint32_t rank, uint32_t size)
{
    struct mst_world world = world_of(mode, rank, size);
    opts.budget_bytes = mode->budget_bytes;
    struct mst_loader *loader = NULL;
    struct mst_err err = {0};
    if (mst_loader_open(&opts, &world, &loader, &err))
        fail_msg("%s", err.text);
    return loader;
}

static struct mst_batch next(struct mst_loader *loader)
{
    struct mst_batch batch = MST_BATCH_INIT;
    assert_int_equal(mst_loader_next(loader, &batch, soon()), 0);
    return batch;
}

static struct mst_dataset_info info_of(const struct mst_loader *loader)
{
    struct mst_dataset_info info = MST_DATASET_INFO_INIT;
    assert_int_equal(mst_loader_info(loader, &info), 0);
    return info;
}

static struct mst_loader_stats stats_of(const struct mst_loader *loader)
{
    struct mst_loader_stats stats = MST_LOADER_STATS_INIT;
    assert_int_equal(mst_loader_get_stats(loader, &stats), 0);
    return stats;
}

static void check_bytes(const struct mst_batch *batch)
{
    for (uint32_t i = 0; i < batch->sample_count; i++) {
        const struct mst_sample *sample = &batch->samples[i];
        assert_true(sample->index < SAMPLES);
        assert_int_equal(sample->data.size_bytes, ELEMS);
        assert_memory_equal(sample->data.data, data + sample->index * STRIDE, ELEMS);
    }
}

/* ---- bytes and order ------------------------------------------------------------------------- */

static void test_every_sample_once_per_epoch(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        enum { BATCH = 10, EPOCHS = 3 };
        struct mst_loader *loader = open_loader(opts_of(BATCH), &modes[m], 0, 1);
        uint8_t seen[SAMPLES] = {0};
        for (uint64_t position = 0; position < (uint64_t)EPOCHS * SAMPLES; position += BATCH) {
            struct mst_batch batch = next(loader);
            check_bytes(&batch);
            assert_int_equal(batch.sample_count, BATCH);
            assert_int_equal(batch.position, position);
            assert_int_equal(batch.step, position / BATCH);
            assert_int_equal(batch.epoch, position / SAMPLES);
            for (uint64_t i = 0; i < BATCH && position + i < (uint64_t)EPOCHS * SAMPLES; i++) {
                uint64_t epoch = (position + i) / SAMPLES;
                assert_int_equal(seen[batch.samples[i].index]++, epoch);
            }
        }
        mst_loader_close(loader);
    }
}

static void test_info_and_stats(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader *loader = open_loader(opts_of(10), &modes[m], 0, 1);
        struct mst_dataset_info info = info_of(loader);
        assert_int_equal(info.sample_count, SAMPLES);
        assert_int_equal(info.size_bytes, SIZE);
        assert_int_equal(info.source_count, 1);
        assert_int_equal(info.format, MST_FORMAT_RAW);
        assert_int_equal(info.dtype, MST_U8);
        next(loader);
        next(loader);
        struct mst_loader_stats stats = stats_of(loader);
        assert_int_equal(stats.batch_count, 2);
        assert_true(stats.bytes_read >= 20 * ELEMS);
        mst_loader_close(loader);
    }
    mst_loader_close(NULL);
}

/* The ranks' parts, one after the other, are the batch of a world of one, for every world. */
static void test_world_size_does_not_change_the_batch(void **state)
{
    (void)state;
    enum { BATCH = 5, STEPS = 30 };
    struct mst_loader *single = open_loader(opts_of(BATCH), &modes[0], 0, 1);
    uint64_t want[STEPS][BATCH];
    for (int step = 0; step < STEPS; step++) {
        struct mst_batch batch = next(single);
        for (uint32_t i = 0; i < BATCH; i++)
            want[step][i] = batch.samples[i].index;
    }
    mst_loader_close(single);
    for (size_t m = 0; m < MODE_COUNT; m++)
        for (uint32_t size = 1; size <= WORLD_MAX; size++)
            for (uint32_t rank = 0; rank < size; rank++) {
                uint32_t first = rank * BATCH / size, end = (rank + 1) * BATCH / size;
                struct mst_loader *loader = open_loader(opts_of(BATCH), &modes[m], rank, size);
                for (int step = 0; step < STEPS; step++) {
                    struct mst_batch batch = next(loader);
                    check_bytes(&batch);
                    assert_int_equal(batch.sample_count, end - first);
                    for (uint32_t i = 0; i < batch.sample_count; i++)
                        assert_int_equal(batch.samples[i].index, want[step][first + i]);
                }
                mst_loader_close(loader);
            }
}

static void test_sequential_order(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader_opts opts = opts_of(20);
        opts.sequential = 1;
        struct mst_loader *loader = open_loader(opts, &modes[m], 0, 1);
        for (uint64_t step = 0; step < 120; step++) {
            struct mst_batch batch = next(loader);
            check_bytes(&batch);
            for (uint32_t i = 0; i < 20; i++)
                assert_int_equal(batch.samples[i].index, (step * 20 + i) % SAMPLES);
        }
        mst_loader_close(loader);
    }
}

/* The same text as lines, plain and gzip, in memory and not. */
static void test_gzip_gives_the_same_lines(void **state)
{
    (void)state;
    static char text[500000];
    const char *packed = scratch_path("lines.txt.gz");
    gzFile gz = gzopen(packed, "wb");
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = mst_mix64(i) % 50 ? (char)('a' + i % 26) : '\n';
    assert_int_equal(gzwrite(gz, text, sizeof text), sizeof text);
    assert_int_equal(gzclose(gz), Z_OK);
    const char *plain = scratch_write("lines.txt", text, sizeof text);
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader_opts opts = opts_of(6);
        opts.format = MST_FORMAT_AUTO;
        opts.uri = plain;
        struct mst_loader *a = open_loader(opts, &modes[m], 0, 1);
        opts.uri = packed;
        struct mst_loader *b = open_loader(opts, &modes[m], 0, 1);
        assert_int_equal(info_of(b).format, MST_FORMAT_LINES);
        assert_int_equal(info_of(a).sample_count, info_of(b).sample_count);
        for (int step = 0; step < 1000; step++) {
            struct mst_batch x = next(a), y = next(b);
            for (uint32_t i = 0; i < 6; i++) {
                assert_int_equal(x.samples[i].index, y.samples[i].index);
                assert_int_equal(x.samples[i].data.size_bytes, y.samples[i].data.size_bytes);
                assert_memory_equal(x.samples[i].data.data, y.samples[i].data.data,
                                    x.samples[i].data.size_bytes);
            }
        }
        mst_loader_close(b);
        mst_loader_close(a);
    }
}

/* ---- resume ---------------------------------------------------------------------------------- */

struct job {
    const struct mode *mode;
    uint32_t batch;
    uint8_t cursor[MST_CURSOR_BYTES];
    uint64_t committed; /* positions behind the cursor */
    uint8_t seen[SAMPLES];
};

static void count_samples(struct job *job, const struct mst_batch *batch, uint32_t first,
                          uint64_t end)
{
    for (uint32_t i = 0; i < batch->sample_count; i++)
        if (batch->position + first + i < end)
            job->seen[batch->samples[i].index]++;
}

/* One life of a job: ranks of a world of `size` do `steps` steps; a checkpoint is taken after
 * `kept` of them and the rest is lost with the processes. */
static void live(struct job *job, uint32_t size, uint64_t steps, uint64_t kept, uint64_t end)
{
    uint8_t cursors[WORLD_MAX][MST_CURSOR_BYTES];
    for (uint32_t rank = 0; rank < size; rank++) {
        struct mst_loader *loader = open_loader(opts_of(job->batch), job->mode, rank, size);
        if (job->committed)
            assert_int_equal(mst_loader_seek(loader, job->cursor, MST_CURSOR_BYTES, NULL), 0);
        for (uint64_t step = 0; step < steps; step++) {
            if (step == kept)
                mst_loader_cursor(loader, cursors[rank]);
            struct mst_batch batch = next(loader);
            check_bytes(&batch);
            if (step < kept)
                count_samples(job, &batch, rank * job->batch / size, end);
        }
        if (kept == steps)
            mst_loader_cursor(loader, cursors[rank]);
        mst_loader_close(loader);
        assert_memory_equal(cursors[rank], cursors[0], MST_CURSOR_BYTES);
    }
    memcpy(job->cursor, cursors[0], MST_CURSOR_BYTES);
    job->committed += kept * job->batch;
}

static void test_exactly_once_over_kills_and_resizes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        enum { EPOCHS = 2 };
        struct job job = {.mode = &modes[seed % MODE_COUNT], .batch = 11};
        struct mst_rng rng;
        mst_rng_init(&rng, seed, 0);
        print_message("seed %u\n", (unsigned)seed);
        while (job.committed < (uint64_t)EPOCHS * SAMPLES) {
            uint64_t steps = 1 + mst_rng_below(&rng, 60);
            live(&job, 1 + mst_rng_below(&rng, WORLD_MAX), steps,
                 mst_rng_below(&rng, (uint32_t)steps + 1), (uint64_t)EPOCHS * SAMPLES);
        }
        for (uint32_t i = 0; i < SAMPLES; i++)
            assert_int_equal(job.seen[i], EPOCHS);
    }
}

static void test_seek_back_and_forth(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
        for (int i = 0; i < 200; i++)
            next(loader);
        uint8_t cursor[MST_CURSOR_BYTES];
        mst_loader_cursor(loader, cursor);
        uint64_t want[7];
        for (int round = 0; round < 4; round++) {
            struct mst_batch batch = next(loader);
            assert_int_equal(batch.step, 200);
            for (int i = 0; i < 7; i++) {
                assert_true(round == 0 || batch.samples[i].index == want[i]);
                want[i] = batch.samples[i].index;
            }
            next(loader);
            assert_int_equal(mst_loader_seek(loader, cursor, sizeof cursor, NULL), 0);
        }
        mst_loader_close(loader);
    }
}

static void refuse_cursor(struct mst_loader_opts opts, const struct mode *mode,
                          const uint8_t *cursor, int rc, const char *why)
{
    struct mst_loader *loader = open_loader(opts, mode, 0, 1);
    next(loader);
    struct mst_err err = {0};
    assert_int_equal(mst_loader_seek(loader, cursor, MST_CURSOR_BYTES, &err), rc);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
    struct mst_batch batch = next(loader); /* stays where it was */
    assert_int_equal(batch.step, 1);
    mst_loader_close(loader);
}

/* No restart makes the data that of the checkpoint, which is told the agent; a program that goes on
 * from here all the same has found its way. */
static void test_a_refused_cursor_is_a_verdict(void **state)
{
    (void)state;
    struct mst_page *page;
    struct mst_loader *loader;
    uint8_t cursor[MST_CURSOR_BYTES];
    struct mst_world world = world_of(&modes[0], 0, 1);
    struct mst_loader_opts opts = opts_of(7);
    assert_int_equal(mst_page_create(1, &world.page_fd, &page, NULL), 0);
    atomic_int *verdict = &mst_page_slot(page, 0)->verdict;
    assert_int_equal(mst_loader_open(&opts, &world, &loader, NULL), 0);
    mst_loader_cursor(loader, cursor);
    mst_loader_close(loader);
    opts.seed = 18;
    assert_int_equal(mst_loader_open(&opts, &world, &loader, NULL), 0);
    assert_int_equal(mst_loader_seek(loader, cursor, sizeof cursor, NULL), -EINVAL);
    assert_int_equal(atomic_load(verdict), -EINVAL);
    next(loader);
    assert_int_equal(atomic_load(verdict), 0);
    mst_loader_close(loader);
    mst_page_unmap(page);
    close(world.page_fd);
}

static void test_foreign_cursors_are_refused(void **state)
{
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
        struct mst_loader_opts opts = opts_of(7);
        next(loader);
        uint8_t cursor[MST_CURSOR_BYTES];
        mst_loader_cursor(loader, cursor);
        mst_loader_close(loader);
        opts.seed = 18;
        refuse_cursor(opts, &modes[m], cursor, -EINVAL, "seed 17, not 18");
        opts = opts_of(7);
        opts.sequential = 1;
        refuse_cursor(opts, &modes[m], cursor, -EINVAL, "order");
        opts = opts_of(7);
        opts.record_elems--;
        refuse_cursor(opts, &modes[m], cursor, -EINVAL, "record shape");
        opts = opts_of(7);
        data[SIZE / 2] ^= 1;
        opts.uri = scratch_write("other", data, SIZE);
        data[SIZE / 2] ^= 1;
        refuse_cursor(opts, &modes[m], cursor, -EINVAL, "another dataset");
        cursor[9] ^= 1;
        refuse_cursor(opts_of(7), &modes[m], cursor, -EBADMSG, "damaged");
    }
}

struct fixture {
    const char *uri, *cursor;
    struct mst_loader_opts opts;
    uint64_t step;
    uint64_t samples[5]; /* of the batch that is next */
};

static void read_fixture(const char *name, uint8_t cursor[MST_CURSOR_BYTES])
{
    char where[512];
    (void)snprintf(where, sizeof where, "%s/v1/%s", MUSTER_TEST_DATA, name); /* fits */
    FILE *file = fopen(where, "re");
    assert_non_null(file);
    assert_int_equal(fread(cursor, 1, MST_CURSOR_BYTES, file), MST_CURSOR_BYTES);
    fclose(file);
}

static void check_fixture(const struct fixture *fixture, const struct mode *mode)
{
    uint8_t cursor[MST_CURSOR_BYTES];
    struct mst_loader_opts opts = fixture->opts;
    char where[512];
    (void)snprintf(where, sizeof where, "%s/v1/%s", MUSTER_TEST_DATA, fixture->uri); /* fits */
    opts.uri = *fixture->uri == '/' ? fixture->uri + 1 : where;
    read_fixture(fixture->cursor, cursor);
    struct mst_loader *loader = open_loader(opts, mode, 0, 1);
    struct mst_err err = {0};
    if (mst_loader_seek(loader, cursor, sizeof cursor, &err))
        fail_msg("%s: %s", fixture->uri, err.text);
    assert_string_equal(mst_loader_warning(loader), "");
    struct mst_batch batch = next(loader);
    assert_int_equal(batch.step, fixture->step);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(batch.samples[i].index, fixture->samples[i]);
    mst_loader_close(loader);
}

/* Cursors, byte for byte as the builds of version 1 write them over these files (tests/data/v1), go
 * on where they stood. */
static void test_cursors_of_version_1_go_on(void **state)
{
    (void)state;
    size_t size = 300000;
    uint8_t *large = malloc(size);
    for (size_t i = 0; i < size; i++)
        large[i] = (uint8_t)((uint32_t)(i * 2654435761u) >> 24);
    char place[400];
    (void)snprintf(place, sizeof place, "/%s", scratch_write("large.raw", large, size)); /* fits */
    struct mst_loader_opts lines = MST_LOADER_OPTS_INIT, tokens = lines, raw = lines;
    lines.global_batch = 7;
    lines.seed = 11;
    tokens.global_batch = 5;
    tokens.record_elems = 17;
    tokens.record_stride = 16;
    tokens.seed = 12;
    raw.global_batch = 32;
    raw.dtype = MST_U8;
    raw.record_elems = 65;
    raw.record_stride = 64;
    raw.seed = 13;
    raw.sequential = 1;
    const struct fixture fixtures[] = {
        {"corpus.dataset.json", "corpus.cursor", lines, 3, {86, 77, 12, 91, 58}},
        {"tokens.bin", "tokens.cursor", tokens, 4, {17, 3, 27, 9, 1}},
        {place, "large.cursor", raw, 5, {160, 161, 162, 163, 164}},
    };
    const struct mode ahead[] = {{"auto", 550u << 10}, {"threads", 550u << 10}};
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        check_fixture(&fixtures[i], &modes[0]);
        check_fixture(&fixtures[i], &ahead[i % 2]);
    }
    large[1] ^= 1;
    scratch_write("large.raw", large, size);
    uint8_t cursor[MST_CURSOR_BYTES];
    read_fixture("large.cursor", cursor);
    raw.uri = place + 1;
    refuse_cursor(raw, &modes[0], cursor, -EINVAL, "version 1: names count");
    free(large);
}

/* What is not refused is told: a file that was written anew, bytes that were not compared. */
static void test_doubts_are_told(void **state)
{
    (void)state;
    struct mst_loader_opts opts = opts_of(7);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    opts.uri = scratch_write("touched", data, SIZE);
    opts.fingerprint = MST_FINGERPRINT_FULL;
    struct mst_loader *full = open_loader(opts, &modes[0], 0, 1);
    opts.fingerprint = MST_FINGERPRINT_SAMPLED;
    struct mst_loader *sampled = open_loader(opts, &modes[1], 0, 1);
    uint8_t of_full[MST_CURSOR_BYTES], of_sampled[MST_CURSOR_BYTES];
    mst_loader_cursor(full, of_full);
    mst_loader_cursor(sampled, of_sampled);
    assert_int_equal(info_of(full).fingerprint_kind, MST_FINGERPRINT_FULL);
    assert_int_equal(info_of(sampled).fingerprint_kind, MST_FINGERPRINT_SAMPLED);
    assert_true(info_of(full).fingerprint != info_of(sampled).fingerprint);
    assert_int_equal(mst_loader_seek(full, of_sampled, sizeof of_sampled, NULL), 0);
    assert_string_equal(mst_loader_warning(full), "");
    assert_int_equal(mst_loader_seek(sampled, of_full, sizeof of_full, NULL), 0);
    assert_non_null(strstr(mst_loader_warning(sampled), "not every byte"));
    assert_int_equal(mst_loader_seek(sampled, of_sampled, sizeof of_sampled, NULL), 0);
    assert_string_equal(mst_loader_warning(sampled), "");
    mst_loader_close(full);
    mst_loader_close(sampled);
    assert_int_equal(utimensat(AT_FDCWD, opts.uri, times, 0), 0);
    sampled = open_loader(opts, &modes[1], 0, 1);
    assert_int_equal(mst_loader_seek(sampled, of_sampled, sizeof of_sampled, NULL), 0);
    assert_non_null(strstr(mst_loader_warning(sampled), "time or ETag"));
    mst_loader_close(sampled);
    opts.uri = scratch_write("moved", data, SIZE);
    sampled = open_loader(opts, &modes[1], 0, 1);
    assert_int_equal(mst_loader_seek(sampled, of_sampled, sizeof of_sampled, NULL), 0);
    assert_string_equal(mst_loader_warning(sampled), "");
    mst_loader_close(sampled);
}

/* A resumed job may change its batch: the cursor counts samples. */
/* Data in memory does not miss them. */
static void test_a_process_without_huge_pages_is_told(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        assert_int_equal(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
        struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
        assert_int_equal(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
        bool told = strstr(mst_loader_warning(loader), "no huge pages") != NULL;
        assert_int_equal(told, modes[m].budget_bytes == SMALL_BUDGET);
        uint8_t cursor[MST_CURSOR_BYTES];
        mst_loader_cursor(loader, cursor);
        assert_int_equal(mst_loader_seek(loader, cursor, sizeof cursor, NULL), 0);
        assert_string_equal(mst_loader_warning(loader), ""); /* once is enough */
        struct mst_batch batch = next(loader);
        check_bytes(&batch);
        mst_loader_close(loader);
    }
}

static void test_batch_may_change_on_resume(void **state)
{
    (void)state;
    struct mst_loader *a = open_loader(opts_of(10), &modes[0], 0, 1);
    struct mst_loader *b = open_loader(opts_of(4), &modes[1], 0, 1);
    next(a);
    next(a);
    uint8_t cursor[MST_CURSOR_BYTES];
    mst_loader_cursor(a, cursor);
    assert_int_equal(mst_loader_seek(b, cursor, sizeof cursor, NULL), 0);
    struct mst_batch x = next(a), y = next(b);
    assert_int_equal(y.position, 20);
    assert_int_equal(y.step, 5);
    for (int i = 0; i < 4; i++)
        assert_int_equal(x.samples[i].index, y.samples[i].index);
    mst_loader_close(b);
    mst_loader_close(a);
}

/* ---- programs built with another header ------------------------------------------------------ */

/* Of a program's own form of the samples: its bytes, and zeros behind what the library knows. */
static void check_form(const struct mst_batch *batch)
{
    assert_int_equal(batch->sample_count, 7);
    for (uint32_t i = 0; i < batch->sample_count; i++) {
        const uint8_t *at = (const uint8_t *)batch->samples + (size_t)i * batch->sample_bytes;
        struct mst_sample sample = {0};
        memcpy(&sample, at,
               batch->sample_bytes < sizeof sample ? batch->sample_bytes : sizeof sample);
        assert_int_equal(sample.data.size_bytes, ELEMS);
        if (batch->sample_bytes >= sizeof sample)
            assert_memory_equal(sample.data.data, data + sample.index * STRIDE, ELEMS);
        for (size_t k = sizeof sample; k < batch->sample_bytes; k++)
            assert_int_equal(at[k], 0);
    }
}

static void give_forms(struct mst_loader *loader, uint32_t sample_bytes, uint64_t first_step)
{
    struct mst_batch batch = MST_BATCH_INIT;
    batch.sample_bytes = sample_bytes;
    for (uint64_t step = first_step; step < first_step + 300; step++) {
        if (step > first_step)
            fail_allocations_after(0); /* once it has room for samples of that size */
        int rc = mst_loader_next(loader, &batch, soon());
        allow_allocations();
        assert_int_equal(rc, 0);
        assert_int_equal(batch.sample_bytes, sample_bytes);
        assert_int_equal(batch.step, step);
        check_form(&batch);
    }
}

static void test_samples_lie_as_the_program_knows_them(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
        give_forms(loader, sizeof(struct mst_sample) + 8, 0);
        give_forms(loader, sizeof(struct mst_cspan), 300); /* a header without the index */
        give_forms(loader, sizeof(struct mst_sample), 600);
        give_forms(loader, 4096, 900);
        mst_loader_close(loader);
    }
}

static void refuse_batch(struct mst_loader *loader, struct mst_batch *batch, int rc,
                         const char *why)
{
    assert_int_equal(mst_loader_next(loader, batch, soon()), rc);
    assert_null(batch->samples);
    if (!strstr(mst_loader_error(loader), why))
        fail_msg("\"%s\" lacks \"%s\"", mst_loader_error(loader), why);
}

static void test_a_batch_that_the_macro_did_not_begin_is_refused(void **state)
{
    (void)state;
    const uint32_t sizes[] = {0, 12, 4104, UINT32_MAX};
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
        struct mst_batch unset = {.sample_bytes = sizeof(struct mst_sample)};
        refuse_batch(loader, &unset, -EINVAL, "MST_BATCH_INIT");
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct mst_batch batch = {.struct_bytes = sizeof batch, .sample_bytes = sizes[i]};
            refuse_batch(loader, &batch, -EINVAL, "MST_BATCH_INIT");
        }
        assert_int_equal(next(loader).step, 0); /* none was lost */
        mst_loader_close(loader);
    }
}

static void test_larger_samples_without_memory_lose_no_batch(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
        struct mst_batch batch = MST_BATCH_INIT;
        batch.sample_bytes = 64;
        fail_allocations_after(0);
        refuse_batch(loader, &batch, -ENOMEM, "batch of 7 samples");
        allow_allocations();
        assert_int_equal(mst_loader_next(loader, &batch, soon()), 0);
        assert_int_equal(batch.step, 0);
        check_form(&batch);
        mst_loader_close(loader);
    }
}

static void test_results_of_other_sizes(void **state)
{
    (void)state;
    struct mst_loader *loader = open_loader(opts_of(7), &modes[0], 0, 1);
    struct {
        struct mst_batch known;
        uint64_t later;
    } batch = {.known = {.struct_bytes = sizeof batch, .sample_bytes = sizeof(struct mst_sample)}};
    assert_int_equal(mst_loader_next(loader, &batch.known, soon()), 0);
    check_bytes(&batch.known);
    assert_int_equal(batch.known.struct_bytes, sizeof batch);
    batch.later = 1;
    assert_int_equal(mst_loader_next(loader, &batch.known, soon()), -ENOTSUP);
    struct {
        uint32_t struct_bytes, source_count;
        uint64_t guard;
    } older = {.struct_bytes = 8, .guard = 5};
    assert_int_equal(mst_loader_info(loader, (void *)&older), 0);
    assert_int_equal(older.source_count, 1);
    assert_int_equal(older.guard, 5);
    struct mst_dataset_info info = {0};
    assert_int_equal(mst_loader_info(loader, &info), -EINVAL);
    struct mst_loader_stats stats = {0};
    assert_int_equal(mst_loader_get_stats(loader, &stats), -EINVAL);
    mst_loader_close(loader);
}

/* ---- trouble --------------------------------------------------------------------------------- */

static struct {
    pthread_t opener; /* whose reads are let through */
    sem_t gate;
    unsigned count, fail_at;
} trouble;

static int hold_worker(void *arg, const struct mst_aio_op *op)
{
    (void)arg;
    (void)op;
    if (pthread_equal(pthread_self(), trouble.opener))
        return 1;
    while (sem_wait(&trouble.gate))
        continue;
    return sem_post(&trouble.gate) ? -EIO : 1; /* once open, open for all */
}

static void check_late(const struct mst_loader *loader, unsigned waited_ms, const char *what)
{
    static const char begin[] = "no batch by the deadline: waited ";
    const char *text = mst_loader_error(loader);
    char *rest = NULL;
    if (strncmp(text, begin, sizeof begin - 1) != 0 ||
        strtoul(text + sizeof begin - 1, &rest, 10) < waited_ms ||
        strncmp(rest, what, strlen(what)) != 0 || !strstr(rest, path))
        fail_msg("\"%s\"", text);
}

static void test_deadline_loses_no_batch(void **state)
{
    (void)state;
    trouble.opener = pthread_self();
    for (size_t m = 1; m < 3; m++) {
        assert_int_equal(sem_init(&trouble.gate, 0, 0), 0);
        mst_aio_set_tap(hold_worker, NULL);
        struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
        struct mst_batch batch = MST_BATCH_INIT;
        assert_int_equal(mst_loader_next(loader, &batch, mst_now_ns()), -ETIMEDOUT);
        assert_string_not_equal(mst_loader_error(loader), "");
        assert_int_equal(mst_loader_next(loader, &batch, mst_deadline_ms(3)), -ETIMEDOUT);
        check_late(loader, 3, " ms on step 0,");
        assert_int_equal(sem_post(&trouble.gate), 0);
        batch = next(loader);
        assert_string_equal(mst_loader_error(loader), "");
        assert_int_equal(batch.step, 0);
        check_bytes(&batch);
        assert_true(stats_of(loader).stall_ns >= 3 * MST_NS_PER_MS);
        batch = next(loader);
        assert_int_equal(batch.step, 1);
        mst_loader_close(loader);
        mst_aio_set_tap(NULL, NULL);
        assert_int_equal(sem_destroy(&trouble.gate), 0);
    }
}

static int fail_worker(void *arg, const struct mst_aio_op *op)
{
    (void)arg;
    (void)op;
    if (pthread_equal(pthread_self(), trouble.opener))
        return 1;
    return ++trouble.count == trouble.fail_at ? -EIO : 1;
}

/* What was read before the failure is given, then the error; a seek starts anew. */
static void test_read_error_comes_after_what_was_read(void **state)
{
    (void)state;
    trouble.opener = pthread_self();
    for (size_t m = 1; m < 3; m++)
        for (unsigned fail_at = 1; fail_at < 400; fail_at = fail_at * 2 + 1) {
            trouble.count = 0;
            trouble.fail_at = fail_at;
            mst_aio_set_tap(fail_worker, NULL);
            struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
            struct mst_batch batch = MST_BATCH_INIT;
            unsigned steps = 0;
            int rc;
            while ((rc = mst_loader_next(loader, &batch, soon())) == 0) {
                assert_int_equal(batch.step, steps++);
                check_bytes(&batch);
            }
            assert_int_equal(rc, -EIO);
            assert_in_range(steps, (fail_at - 1) / 7, fail_at); /* a read brings 1 to 7 samples */
            assert_non_null(strstr(mst_loader_error(loader), path));
            assert_int_equal(mst_loader_next(loader, &batch, soon()), -EIO);
            assert_non_null(strstr(mst_loader_error(loader), path));
            uint8_t cursor[MST_CURSOR_BYTES];
            mst_loader_cursor(loader, cursor);
            assert_int_equal(mst_loader_seek(loader, cursor, sizeof cursor, NULL), 0);
            batch = next(loader);
            assert_string_equal(mst_loader_error(loader), "");
            assert_int_equal(batch.step, steps);
            check_bytes(&batch);
            mst_loader_close(loader);
            mst_aio_set_tap(NULL, NULL);
        }
}

static void test_truncation_in_use_is_noticed(void **state)
{
    (void)state;
    for (size_t m = 1; m < 3; m++) {
        struct mst_loader_opts opts = opts_of(7);
        opts.uri = scratch_write("cut", data, SIZE);
        struct mst_loader *loader = open_loader(opts, &modes[m], 0, 1);
        next(loader);
        assert_int_equal(truncate(opts.uri, 100), 0);
        struct mst_batch batch = MST_BATCH_INIT;
        int rc;
        while ((rc = mst_loader_next(loader, &batch, soon())) == 0)
            continue;
        assert_int_equal(rc, -EBADMSG);
        assert_non_null(strstr(mst_loader_error(loader), "became shorter"));
        mst_loader_close(loader);
    }
}

static void refuse(const struct mst_loader_opts *opts, const char *backend, int rc, const char *why)
{
    struct mode mode = {.backend = backend};
    struct mst_world world = world_of(&mode, 0, 1);
    struct mst_loader *loader = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_loader_open(opts, &world, &loader, &err), rc);
    assert_null(loader);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
}

static void test_bad_options_are_refused(void **state)
{
    (void)state;
    struct mst_loader_opts opts = opts_of(0);
    refuse(&opts, "auto", -EINVAL, "global_batch");
    refuse(NULL, "auto", -EINVAL, "uri");
    opts.struct_bytes = 0;
    refuse(&opts, "auto", -EINVAL, "MST_LOADER_OPTS_INIT");
    opts = opts_of(1);
    opts.uri = "";
    refuse(&opts, "auto", -EINVAL, "uri");
    opts.uri = NULL;
    refuse(&opts, "auto", -EINVAL, "uri");
    opts.uri = "gopher://host/x";
    refuse(&opts, "auto", -ENOTSUP, "hdfs");
    opts.uri = "/nonexistent/file";
    refuse(&opts, "auto", -ENOENT, "/nonexistent/file");
    opts = opts_of(1);
    opts.budget_bytes = 10000;
    refuse(&opts, "auto", -ENOMEM, "two batches of 1 samples need 16384");
    refuse(&opts, "tape", -EINVAL, "tape");
}

/* The n-th allocation fails, for every n: an error with a text, and nothing left behind. */
static void test_open_without_memory(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_world world = world_of(&modes[m], 0, 1);
        struct mst_loader_opts opts = opts_of(7);
        int rc = -ENOMEM;
        opts.format = MST_FORMAT_LINES;
        opts.budget_bytes = modes[m].budget_bytes;
        struct mst_loader *loader = NULL;
        for (size_t n = 0; rc; n++) {
            fail_allocations_after(n);
            struct mst_err err = {0};
            rc = mst_loader_open(&opts, &world, &loader, &err);
            allow_allocations();
            assert_true(rc == 0 || (rc == -ENOMEM && err.text[0]));
            assert_true(n < 1000 && (n > 3 || rc));
        }
        mst_loader_close(loader);
    }
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader *loader = open_loader(opts_of(7), &modes[m], 0, 1);
        uint8_t cursor[MST_CURSOR_BYTES];
        mst_loader_cursor(loader, cursor);
        fail_allocations_after(0);
        for (int step = 0; step < 300; step++)
            next(loader);
        assert_int_equal(mst_loader_seek(loader, cursor, sizeof cursor, NULL), 0);
        next(loader);
        allow_allocations();
        mst_loader_close(loader);
    }
}

static void test_more_ranks_than_samples_in_a_batch(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODE_COUNT; m++) {
        struct mst_loader *loader = open_loader(opts_of(2), &modes[m], 0, 5);
        for (uint64_t step = 0; step < 100; step++) {
            struct mst_batch batch = next(loader);
            assert_int_equal(batch.sample_count, 0);
            assert_int_equal(batch.step, step);
        }
        mst_loader_close(loader);
    }
}

static int setup(void **state)
{
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)mst_mix64(i);
    if (scratch_setup(state))
        return -1;
    path = strdup(scratch_write("data", data, SIZE));
    return path ? 0 : -1;
}

static int teardown(void **state)
{
    free((void *)(uintptr_t)path);
    return scratch_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_sample_once_per_epoch),
        cmocka_unit_test(test_info_and_stats),
        cmocka_unit_test(test_world_size_does_not_change_the_batch),
        cmocka_unit_test(test_sequential_order),
        cmocka_unit_test(test_gzip_gives_the_same_lines),
        cmocka_unit_test(test_exactly_once_over_kills_and_resizes),
        cmocka_unit_test(test_seek_back_and_forth),
        cmocka_unit_test(test_foreign_cursors_are_refused),
        cmocka_unit_test(test_a_refused_cursor_is_a_verdict),
        cmocka_unit_test(test_cursors_of_version_1_go_on),
        cmocka_unit_test(test_doubts_are_told),
        cmocka_unit_test(test_a_process_without_huge_pages_is_told),
        cmocka_unit_test(test_batch_may_change_on_resume),
        cmocka_unit_test(test_samples_lie_as_the_program_knows_them),
        cmocka_unit_test(test_a_batch_that_the_macro_did_not_begin_is_refused),
        cmocka_unit_test(test_larger_samples_without_memory_lose_no_batch),
        cmocka_unit_test(test_results_of_other_sizes),
        cmocka_unit_test(test_deadline_loses_no_batch),
        cmocka_unit_test(test_read_error_comes_after_what_was_read),
        cmocka_unit_test(test_truncation_in_use_is_noticed),
        cmocka_unit_test(test_bad_options_are_refused),
        cmocka_unit_test(test_open_without_memory),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_more_ranks_than_samples_in_a_batch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* Ranks as threads over one key-value store, a directory of their own, and tensors whose every byte
 * is known: what the tests of ckpt share. */
#ifndef MUSTER_TESTS_UNIT_CKPT_FIXTURE_H
#define MUSTER_TESTS_UNIT_CKPT_FIXTURE_H

#include "muster/ckpt/ckpt.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/store.h"
#include "muster/core/world/state.h"
#include "soon.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURE_RANKS_MAX 8
#define FIXTURE_TENSORS 9

/* ---- a directory ----------------------------------------------------------------------------- */

static char fixture_root[256];
static const char *fixture_base = "/dev/shm"; /* memory: most tests do not care for a disk */

/* Remote: the same folder, used as a store of objects. */
static bool fixture_remote;
static char fixture_uri[300];

static inline void fixture_make_root(void)
{
    const char *base = access(fixture_base, W_OK) == 0 ? fixture_base : "/tmp";
    snprintf(fixture_root, sizeof fixture_root, "%s/mst-ckpt-XXXXXX", base);
    assert_non_null(mkdtemp(fixture_root));
    snprintf(fixture_uri, sizeof fixture_uri, fixture_remote ? "file://%s?staged=1" : "%s",
             fixture_root);
}

static inline void fixture_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char child[768];
        assert_in_range(snprintf(child, sizeof child, "%s/%s", path, entry->d_name), 1,
                        sizeof child - 1);
        if (unlink(child) < 0)
            fixture_remove(child);
    }
    if (dir)
        closedir(dir);
    (void)rmdir(path);
}

static inline int fixture_setup(void **state)
{
    (void)state;
    fixture_make_root();
    return 0;
}

static inline int fixture_teardown(void **state)
{
    (void)state;
    fixture_remove(fixture_root);
    return 0;
}

/* Whether a step that is neither published nor removed lies there. */
static inline bool fixture_has_temp(const char *step)
{
    DIR *dir = opendir(fixture_root);
    assert_non_null(dir);
    bool found = false;
    struct dirent *entry;
    while ((entry = readdir(dir)))
        found = found || (strncmp(entry->d_name, step, strlen(step)) == 0 &&
                          strncmp(entry->d_name + strlen(step), ".tmp.", 5) == 0);
    closedir(dir);
    return found;
}

static inline bool fixture_has(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture_root, name);
    return access(path, F_OK) == 0;
}

/* Flips one bit of a file. */
static inline void fixture_flip(const char *name, off_t offset)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture_root, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* ---- tensors --------------------------------------------------------------------------------- */

struct fixture_model {
    struct mst_tensor tensors[FIXTURE_TENSORS];
    uint64_t row_bytes[FIXTURE_TENSORS];
};

static const struct mst_tensor fixture_tensors[FIXTURE_TENSORS] = {
    {.name = "model/embedding", .dtype = MST_F32, .dim_count = 2, .shape = {37, 16}},
    {.name = "model/w1", .dtype = MST_BF16, .dim_count = 2, .shape = {1000, 64}},
    {.name = "model/big", .dtype = MST_F32, .dim_count = 3, .shape = {1201, 16, 64}},
    {.name = "optimizer/m", .dtype = MST_F32, .dim_count = 2, .shape = {101, 33}, .sharded = true},
    {.name = "optimizer/v", .dtype = MST_F64, .dim_count = 1, .shape = {40001}, .sharded = true},
    {.name = "lr", .dtype = MST_F64},
    {.name = "rng/state", .dtype = MST_U8, .dim_count = 1, .shape = {5000}},
    {.name = "empty", .dtype = MST_I64, .dim_count = 2, .shape = {0, 4}},
    {.name = "model/half", .dtype = MST_F16, .dim_count = 2, .shape = {3, 3}},
};

static inline uint8_t fixture_byte(uint64_t seed, size_t tensor, uint64_t at)
{
    uint64_t x = (seed * 31 + tensor) * UINT64_C(0x9e3779b97f4a7c15) + at;
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return (uint8_t)(x >> 32);
}

/* Rows, 4 KiB each, of model/big: few by default, so that a test under a sanitizer can save often;
 * many where it must be over one block, or most of a file. */
#define FIXTURE_BIG 2
#define FIXTURE_MANY_ROWS 1201
#define FIXTURE_FEW_ROWS 37
static uint64_t fixture_big_rows = FIXTURE_FEW_ROWS;

/* Uneven on purpose: rank 1 of more than two holds nothing. */
static inline void fixture_shard(struct mst_tensor *tensor, uint32_t rank, uint32_t world_size)
{
    uint64_t rows = tensor->shape[0];
    uint64_t last = rows * rank * rank / (world_size * world_size);
    uint64_t next = rows * (rank + 1) * (rank + 1) / (world_size * world_size);
    if (world_size > 2 && rank == 1)
        next = last;
    if (world_size > 2 && rank == 2)
        last = rows / (world_size * world_size);
    tensor->row_start = last;
    tensor->row_count = next - last;
}

static inline void fixture_open_model(struct fixture_model *model, uint32_t rank,
                                      uint32_t world_size)
{
    for (size_t i = 0; i < FIXTURE_TENSORS; i++) {
        struct mst_tensor *tensor = &model->tensors[i];
        *tensor = fixture_tensors[i];
        if (i == FIXTURE_BIG)
            tensor->shape[0] = fixture_big_rows;
        model->row_bytes[i] = mst_dtype_size(tensor->dtype);
        for (uint32_t d = 1; d < tensor->dim_count; d++)
            model->row_bytes[i] *= tensor->shape[d];
        uint64_t rows = tensor->dim_count ? tensor->shape[0] : 1;
        if (tensor->sharded) {
            fixture_shard(tensor, rank, world_size);
            rows = tensor->row_count;
        }
        tensor->data.size_bytes = rows * model->row_bytes[i];
        tensor->data.data = calloc(1, tensor->data.size_bytes + 1);
        assert_non_null(tensor->data.data);
    }
}

static inline void fixture_fill(struct fixture_model *model, uint64_t seed)
{
    for (size_t i = 0; i < FIXTURE_TENSORS; i++) {
        struct mst_tensor *tensor = &model->tensors[i];
        uint8_t *bytes = tensor->data.data;
        uint64_t first = tensor->row_start * model->row_bytes[i];
        for (size_t b = 0; b < tensor->data.size_bytes; b++)
            bytes[b] = fixture_byte(seed, i, first + b);
    }
}

/* Whether every byte is that of `seed`. */
static inline bool fixture_is(const struct fixture_model *model, uint64_t seed)
{
    for (size_t i = 0; i < FIXTURE_TENSORS; i++) {
        const struct mst_tensor *tensor = &model->tensors[i];
        const uint8_t *bytes = tensor->data.data;
        uint64_t first = tensor->row_start * model->row_bytes[i];
        for (size_t b = 0; b < tensor->data.size_bytes; b++)
            if (bytes[b] != fixture_byte(seed, i, first + b))
                return false;
    }
    return true;
}

static inline void fixture_close_model(struct fixture_model *model)
{
    for (size_t i = 0; i < FIXTURE_TENSORS; i++)
        free(model->tensors[i].data.data);
}

static inline struct mst_state fixture_state(const struct fixture_model *model, const char *cursor)
{
    struct mst_state state = MST_STATE_INIT;
    state.tensors = model->tensors;
    state.tensor_count = FIXTURE_TENSORS;
    state.cursor = (struct mst_cspan){.data = cursor, .size_bytes = strlen(cursor)};
    return state;
}

/* ---- ranks ----------------------------------------------------------------------------------- */

struct fixture_rank {
    struct mst_world world;
    struct mst_kv *kv;
    struct mst_ckpt *ckpt;
    struct fixture_model model;
    void *arg;
    void (*fn)(struct fixture_rank *rank);
    uint32_t keep, timeout_ms;
    /* What the function found. */
    int result;
    struct mst_err err;
    struct mst_ckpt_loaded loaded;
    struct mst_ckpt_status status;
    bool matches;
};

static uint64_t fixture_device; /* mst_ckpt_opts.device */

static inline void fixture_look(struct fixture_rank *rank)
{
    rank->status = (struct mst_ckpt_status)MST_CKPT_STATUS_INIT;
    assert_int_equal(mst_ckpt_get_status(rank->ckpt, &rank->status), 0);
}

static inline void *fixture_main(void *arg)
{
    struct fixture_rank *rank = arg;
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    opts.uri = fixture_uri;
    opts.keep = rank->keep;
    opts.timeout_ms = rank->timeout_ms;
    opts.device = fixture_device;
    fixture_open_model(&rank->model, rank->world.rank, rank->world.size);
    rank->result = mst_ckpt_open(&opts, &rank->world, rank->kv, &rank->ckpt, &rank->err);
    if (rank->result == 0) {
        rank->fn(rank);
        fixture_look(rank);
        mst_ckpt_close(rank->ckpt);
    }
    fixture_close_model(&rank->model);
    return NULL;
}

static const char *fixture_job = "fixture"; /* "": the job has no id */
static bool fixture_take_root;
static int fixture_page_fd = -1; /* the page of the node, if there is one */
static uint32_t fixture_generation, fixture_keep, fixture_timeout_ms = SOON_MS;

/* Runs `fn` on `world_size` ranks at once, each with an open mst_ckpt; ranks[r] tells what came of
 * it. */
static inline void fixture_run(struct fixture_rank *ranks, uint32_t world_size,
                               void (*fn)(struct fixture_rank *rank), void *arg)
{
    struct mst_kv_store *store;
    assert_int_equal(mst_kv_store_create(&store), 0);
    pthread_t threads[FIXTURE_RANKS_MAX];
    for (uint32_t r = 0; r < world_size; r++) {
        ranks[r] = (struct fixture_rank){
            .arg = arg, .fn = fn, .keep = fixture_keep, .timeout_ms = fixture_timeout_ms};
        world_init_single(&ranks[r].world);
        ranks[r].world.rank = r;
        ranks[r].world.size = world_size;
        ranks[r].world.generation = fixture_generation;
        ranks[r].world.local_rank = r;
        strcpy(ranks[r].world.job_id, fixture_job);
        ranks[r].world.tuning.take_root = fixture_take_root;
        ranks[r].world.page_fd = fixture_page_fd;
        strcpy(ranks[r].world.tuning.aio, "threads");
        assert_int_equal(mst_kv_local(store, fixture_generation, &ranks[r].kv), 0);
        assert_int_equal(pthread_create(&threads[r], NULL, fixture_main, &ranks[r]), 0);
    }
    for (uint32_t r = 0; r < world_size; r++) {
        assert_int_equal(pthread_join(threads[r], NULL), 0);
        mst_kv_close(ranks[r].kv);
    }
    mst_kv_store_destroy(store);
}

/* Saves the steps of a list that ends with 0, each filled with its own number; drains each. */
static inline void fixture_save_steps(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "cursor");
    for (const uint64_t *step = rank->arg; *step; step++) {
        fixture_fill(&rank->model, *step);
        rank->result = mst_ckpt_save(rank->ckpt, *step, &state, soon());
        if (rank->result == 0)
            rank->result = mst_ckpt_drain(rank->ckpt, soon());
    }
}

/* Loads the newest; `matches` says whether it is bit-exact the step it claims to be. */
static inline void fixture_load_newest(struct fixture_rank *rank)
{
    const struct mst_state state = fixture_state(&rank->model, "");
    rank->loaded = (struct mst_ckpt_loaded)MST_CKPT_LOADED_INIT;
    rank->result = mst_ckpt_load(rank->ckpt, &state, &rank->loaded, soon(), &rank->err);
    rank->matches = rank->result == 0 && fixture_is(&rank->model, rank->loaded.step) &&
                    rank->loaded.cursor_bytes == 6 && memcmp(rank->loaded.cursor, "cursor", 6) == 0;
}

static inline void fixture_save(uint32_t world_size, const uint64_t *steps)
{
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, world_size, fixture_save_steps, (void *)(uintptr_t)steps);
    for (uint32_t r = 0; r < world_size; r++) {
        if (ranks[r].result != 0)
            print_error("rank %u: %d %s %s\n", r, ranks[r].result, ranks[r].err.text,
                        ranks[r].status.failed_text);
        assert_int_equal(ranks[r].result, 0);
    }
}

/* Loads on `world_size` ranks, which must agree, and returns the step; 0 if there is none. */
static inline uint64_t fixture_load(uint32_t world_size, struct fixture_rank *ranks)
{
    fixture_run(ranks, world_size, fixture_load_newest, NULL);
    for (uint32_t r = 0; r < world_size; r++) {
        if (ranks[r].result != ranks[0].result || (ranks[r].result == 0 && !ranks[r].matches))
            print_error("rank %u: %d %s\n", r, ranks[r].result, ranks[r].err.text);
        assert_int_equal(ranks[r].result, ranks[0].result);
        if (ranks[r].result == 0) {
            assert_true(ranks[r].matches);
            assert_int_equal(ranks[r].loaded.step, ranks[0].loaded.step);
        }
    }
    return ranks[0].result == 0 ? ranks[0].loaded.step : 0;
}

#endif

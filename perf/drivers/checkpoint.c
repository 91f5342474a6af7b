/* checkpoint: saves and loads MIB of floats in 64 tensors, sharded over the ranks.
 *
 *   checkpoint save DIR MIB TRAIN_S   two saves, the first after so many seconds of steps, where
 *                                     something is made ready behind them. Prints how long training
 *                                     stood still for the first and the second, and from the start
 *                                     of the second until it is committed
 *   checkpoint load DIR MIB           loads the newest, whose files are dropped from memory before,
 *                                     into fresh memory. Prints how long; every element is checked
 *
 * Seconds, the slowest rank's. */
#include "muster/perf/drivers/api.h"
#include "muster/perf/drivers/stopwatch.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TENSORS 64
#define COLUMNS 1024

enum { WAIT_MS = 120000 };

static struct {
    struct mst_world *world;
    struct mst_kv *kv;
    struct mst_comm *comm;
    struct mst_ckpt *ckpt;
} job;

static struct mst_tensor tensors[TENSORS];
static char names[TENSORS][32];

static void check(int rc, const char *what, const char *text)
{
    if (rc == 0)
        return;
    fprintf(stderr, "checkpoint: %s: %s\n", what, text);
    exit(1);
}

static void open_job(const char *dir)
{
    struct mst_err err = {0};
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    opts.uri = dir;
    opts.keep = 1;
    check(mst_world_from_env(&job.world, &err), "world", err.text);
    check(mst_kv_dial(job.world, mst_deadline_ms(WAIT_MS), &job.kv, &err), "kv", err.text);
    check(mst_comm_create(job.world, job.kv, NULL, &job.comm, &err), "comm", err.text);
    check(mst_ckpt_open(&opts, job.world, job.kv, &job.ckpt, &err), dir, err.text);
}

static void close_job(void)
{
    mst_ckpt_close(job.ckpt);
    mst_comm_destroy(job.comm);
    mst_kv_close(job.kv);
    mst_world_destroy(job.world);
}

static void make_tensors(size_t mib)
{
    uint64_t ranks = mst_world_size(job.world), rank = mst_world_rank(job.world);
    uint64_t rows = (mib << 20) / TENSORS / COLUMNS / sizeof(float) / ranks;
    size_t bytes = rows * COLUMNS * sizeof(float);
    for (int i = 0; i < TENSORS; i++) {
        void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(data == MAP_FAILED, "tensors", "no memory");
        (void)snprintf(names[i], sizeof(names[i]), "layer%02d/weight", i);
        tensors[i] = (struct mst_tensor){.name = names[i],
                                         .dtype = MST_F32,
                                         .dim_count = 2,
                                         .shape = {rows * ranks, COLUMNS},
                                         .sharded = true,
                                         .row_start = rows * rank,
                                         .row_count = rows,
                                         .data = {.data = data, .size_bytes = bytes}};
    }
}

/* What element i of this rank's part of a tensor is. */
static float element(int tensor, size_t i)
{
    uint32_t key = (uint32_t)i + (uint32_t)tensor * 40503U + mst_world_rank(job.world) * 977U;
    return (float)(key * 2654435761U >> 8);
}

static void fill(void)
{
    for (int t = 0; t < TENSORS; t++) {
        float *data = tensors[t].data.data;
        for (size_t i = 0; i < tensors[t].data.size_bytes / sizeof(float); i++)
            data[i] = element(t, i);
    }
}

static void compare(void)
{
    int wrong = 0;
    for (int t = 0; t < TENSORS; t++) {
        const float *data = tensors[t].data.data;
        for (size_t i = 0; i < tensors[t].data.size_bytes / sizeof(float); i++)
            wrong |= data[i] != element(t, i);
    }
    check(wrong, "load", "wrong bytes");
}

static void barrier(void)
{
    check(mst_comm_barrier(job.comm, NULL), "barrier", mst_comm_error(job.comm));
}

static double slowest(double seconds)
{
    int rc = mst_comm_allreduce(job.comm, &seconds, &seconds, 1, MST_F64, MST_MAX, NULL);
    check(rc, "times", mst_comm_error(job.comm));
    return seconds;
}

/* Prepares for saves, and works as training does: all tensors are read in a step, and ranks meet.
 * A tree that cannot prepare gains nothing by waiting. */
static void train(const struct mst_state *state, double train_s)
{
#ifdef PERF_CKPT_PREPARE
    static double loss;
    double began_s = stopwatch_s();
    check(mst_ckpt_prepare(job.ckpt, state), "prepare", mst_ckpt_error(job.ckpt));
    while (slowest(stopwatch_s() - began_s) < train_s) {
        for (int t = 0; t < TENSORS; t++) {
            const float *data = tensors[t].data.data;
            for (size_t i = 0; i < tensors[t].data.size_bytes / sizeof(float); i++)
                loss += (double)data[i];
        }
    }
#else
    (void)state;
    (void)train_s;
#endif
}

/* Seconds that the save stood in the way; until it is committed in *ret_durable_s. */
static double save(uint64_t step, const struct mst_state *state, double *ret_durable_s)
{
    barrier();
    double began_s = stopwatch_s();
    int rc = mst_ckpt_save(job.ckpt, step, state, mst_deadline_ms(WAIT_MS));
    check(rc, "save", mst_ckpt_error(job.ckpt));
    double stall_s = stopwatch_s() - began_s;
    check(mst_ckpt_drain(job.ckpt, mst_deadline_ms(WAIT_MS)), "drain", mst_ckpt_error(job.ckpt));
    *ret_durable_s = slowest(stopwatch_s() - began_s);
    return slowest(stall_s);
}

static void save_twice(const struct mst_state *state, double train_s)
{
    double first_s, second_s, durable_s;
    fill();
    train(state, train_s);
    first_s = save(1, state, &durable_s);
    second_s = save(2, state, &durable_s);
    if (mst_world_rank(job.world) == 0)
        printf("%.6f %.6f %.6f\n", first_s, second_s, durable_s);
}

static int drop(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)walk;
    int fd = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    int rc = fsync(fd) < 0 ? -1 : posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return rc;
}

static void load(const char *dir, const struct mst_state *state)
{
    struct mst_err err = {0};
    static struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    if (mst_world_rank(job.world) == 0)
        check(nftw(dir, drop, 8, FTW_PHYS), dir, "is not dropped from memory");
    barrier();
    double began_s = stopwatch_s();
    int rc = mst_ckpt_load(job.ckpt, state, &loaded, mst_deadline_ms(WAIT_MS), &err);
    check(rc, "load", err.text);
    double took_s = slowest(stopwatch_s() - began_s);
    compare();
    if (mst_world_rank(job.world) == 0)
        printf("%.6f\n", took_s);
}

int main(int argc, char **argv)
{
    bool saves = argc == 5 && strcmp(argv[1], "save") == 0;
    check(argc != 4 && !saves, "usage", "checkpoint save DIR MIB TRAIN_S | load DIR MIB");
    struct mst_state state = MST_STATE_INIT;
    state.tensors = tensors;
    state.tensor_count = TENSORS;
    open_job(argv[2]);
    make_tensors(strtoul(argv[3], NULL, 10));
    if (saves)
        save_twice(&state, strtod(argv[4], NULL));
    else
        load(argv[2], &state);
    barrier();
    close_job();
    return 0;
}

/* checkpoint: copies between the device and registered memory of the host, on a stream of their own
 * while a kernel computes in another, as ckpt makes them, beside the same copies of pinned memory
 * without a kernel; then a checkpoint of the device's memory, saved while a kernel computes, and
 * loaded again.
 *
 *   checkpoint URI BYTES     where it is saved; of a tensor, of which there are four */
#include "muster/ckpt/ckpt.h"
#include "muster/core/clock.h"
#include "muster/core/huge.h"
#include "muster/core/kv/kv.h"
#include "muster/core/world/world.h"
#include "muster/perf/drivers/stopwatch.h"
#include "muster/perf/gpu/rig.h"
#include "muster/perf/gpu/row.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 7
#define PIECES 4 /* that one time is taken of */
#define TRIES 6
#define TENSORS 4
#define KERNEL_MOVES 3 /* bytes that it reads and writes, for each of a buffer */
#define SAVES 3
#define TIMEOUT_MS 60000
#define COPY_WANTED 0.9
#define KERNEL_WANTED 0.95

/* A queue and the one kind of work that is put into it. */
struct side {
    int (*put)(struct mst_gpu_queue *queue);
    struct mst_gpu_queue *queue;
};

static struct {
    struct rig rig; /* its queue computes */
    struct mst_gpu_queue *copies;
    size_t bytes;
    struct mst_span pinned, sum, addend;
    struct mst_span tensors[TENSORS];
    void *registered; /* of `bytes`, in huge pages */
    struct mst_ckpt *ckpt;
    struct mst_state state;
    struct mst_tensor described[TENSORS];
} all;

/* ---- work ------------------------------------------------------------------------------------ */

static int put_kernel(struct mst_gpu_queue *queue)
{
    const void *in[] = {all.sum.data, all.addend.data};
    return mst_gpu_sum(queue, all.sum.data, in, 2, MST_F32, all.bytes / sizeof(float));
}

static int put_to_pinned(struct mst_gpu_queue *queue)
{
    return mst_gpu_copy(queue, all.pinned.data, all.tensors[0].data, all.bytes);
}

static int put_from_pinned(struct mst_gpu_queue *queue)
{
    return mst_gpu_copy(queue, all.tensors[1].data, all.pinned.data, all.bytes);
}

static int put_to_registered(struct mst_gpu_queue *queue)
{
    return mst_gpu_copy(queue, all.registered, all.tensors[0].data, all.bytes);
}

static int put_from_registered(struct mst_gpu_queue *queue)
{
    return mst_gpu_copy(queue, all.tensors[1].data, all.registered, all.bytes);
}

static int put_many(const struct side *side, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = side->put(side->queue);
    return rc;
}

static int end(const struct side *side)
{
    return mst_gpu_queue_wait(side->queue, mst_deadline_ms(TIMEOUT_MS));
}

/* Seconds of `count` pieces; 0 if the device failed. */
static double time_pieces(const struct side *side, size_t count)
{
    double began_s = stopwatch_s();
    int rc = put_many(side, count);
    return rc == 0 && end(side) == 0 ? stopwatch_s() - began_s : 0;
}

/* The same while the other side works all the time, of which `more` pieces are enough; 0 if they
 * are not, or the device failed. */
static double time_while(const struct side *side, size_t count, const struct side *other,
                         size_t more)
{
    if (put_many(other, more) < 0)
        return 0;
    double took_s = time_pieces(side, count);
    bool was_busy = mst_gpu_queue_query(other->queue) == -EAGAIN;
    return end(other) == 0 && was_busy ? took_s : 0;
}

/* How many pieces of a side take as long as `seconds`. */
static size_t count_in(const struct side *side, double seconds)
{
    double piece_s = time_pieces(side, 1);
    return piece_s > 0 ? (size_t)(seconds / piece_s) + 1 : 1;
}

static double time_beside(const struct side *side, size_t count, const struct side *other)
{
    double took_s = 0;
    size_t more = count_in(other, 2 * time_pieces(side, count)) + 1;
    for (int i = 0; i < TRIES && took_s <= 0; i++, more *= 2)
        took_s = time_while(side, count, other, more);
    return took_s;
}

/* ---- copies beside a kernel ------------------------------------------------------------------ */

static double rate(double seconds, double bytes)
{
    return seconds > 0 ? bytes / seconds / 1e9 : 0;
}

static const char *words_of(bool is_right)
{
    const char *words = mst_gpu_error(all.rig.gpu);
    return is_right ? NULL : *words ? words : "one of the two has ended before the other";
}

static void print_ratio(const char *what, double *figures, double *ratios, size_t count,
                        double wanted)
{
    double figure = rig_median(figures, count), ratio = rig_median(ratios, count);
    bool is_right = figure > 0 && ratio > 0;
    row_print(&(struct row){.result = is_right ? ROW_RIGHT : ROW_WRONG,
                            .what = what,
                            .figure = figure,
                            .unit = "GB/s",
                            .ratio = ratio,
                            .wanted = wanted,
                            .words = words_of(is_right)});
}

struct direction {
    const char *limit, *copy, *kernel; /* rows */
    int (*put_pinned)(struct mst_gpu_queue *queue), (*put_registered)(struct mst_gpu_queue *queue);
};

/* Alone and beside take turns, so that what slows down both is in both. */
static void time_direction(const struct direction *direction)
{
    const struct side pinned = {direction->put_pinned, all.copies};
    const struct side copies = {direction->put_registered, all.copies};
    const struct side kernel = {put_kernel, all.rig.queue};
    double bytes = (double)all.bytes * PIECES, limits[SAMPLES], rates[SAMPLES], shares[SAMPLES];
    double kernels[SAMPLES], slower[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) {
        limits[i] = rate(time_pieces(&pinned, PIECES), bytes);
        rates[i] = rate(time_beside(&copies, PIECES, &kernel), bytes);
        shares[i] = limits[i] > 0 ? rates[i] / limits[i] : 0;
        size_t count = count_in(&kernel, time_pieces(&copies, PIECES));
        double alone_s = time_pieces(&kernel, count);
        double beside_s = time_beside(&kernel, count, &copies);
        kernels[i] = rate(beside_s, KERNEL_MOVES * (double)(count * all.bytes));
        slower[i] = beside_s > 0 ? alone_s / beside_s : 0;
    }
    row_print(&(struct row){
        .what = direction->limit, .figure = rig_median(limits, SAMPLES), .unit = "GB/s"});
    print_ratio(direction->copy, rates, shares, SAMPLES, COPY_WANTED);
    print_ratio(direction->kernel, kernels, slower, SAMPLES, KERNEL_WANTED);
}

static void overlap(void)
{
    static const struct direction directions[] = {
        {"limit: copy to pinned memory", "copy to registered memory beside a kernel",
         "that kernel beside copies to the host", put_to_pinned, put_to_registered},
        {"limit: copy from pinned memory", "copy from registered memory beside a kernel",
         "that kernel beside copies from the host", put_from_pinned, put_from_registered},
    };
    int rc = put_kernel(all.rig.queue);
    for (size_t d = 0; d < 2; d++) {
        if (!rig_lacks_kernels(&all.rig, rc))
            time_direction(&directions[d]);
        else
            row_print(
                &(struct row){ROW_NOT_RUN, directions[d].copy, .words = "built without nvcc"});
    }
}

/* ---- a checkpoint ---------------------------------------------------------------------------- */

static uint64_t stall_ns(void)
{
    struct mst_ckpt_status status = MST_CKPT_STATUS_INIT;
    (void)mst_ckpt_get_status(all.ckpt, &status); /* of its own size */
    return status.stall_ns;
}

/* Seconds that one save kept its caller; 0 if it failed, or the kernels ended before it. */
static double save(uint64_t step, size_t kernels)
{
    const struct side kernel = {put_kernel, all.rig.queue};
    uint64_t before_ns = stall_ns();
    bool is_right = put_many(&kernel, kernels) == 0 &&
                    mst_ckpt_save(all.ckpt, step, &all.state, mst_deadline_ms(TIMEOUT_MS)) == 0;
    is_right = is_right && (kernels == 0 || mst_gpu_queue_query(kernel.queue) == -EAGAIN);
    double took_s = (double)(stall_ns() - before_ns) / 1e9;
    is_right = end(&kernel) == 0 && is_right;
    return mst_ckpt_drain(all.ckpt, mst_deadline_ms(TIMEOUT_MS)) == 0 && is_right ? took_s : 0;
}

/* The first save makes the pool. */
static void time_saves(void)
{
    const struct side pinned = {put_to_pinned, all.copies};
    const struct side kernel = {put_kernel, all.rig.queue};
    uint64_t step = 1;
    bool has_kernels = !rig_lacks_kernels(&all.rig, put_kernel(kernel.queue));
    row_check("what is on the device is saved", save(step, 0) > 0, mst_ckpt_error(all.ckpt));
    double bytes = (double)all.bytes * TENSORS, rates[SAVES] = {0}, ratios[SAVES] = {0};
    for (size_t i = 0; i < SAVES && has_kernels; i++) {
        double limit = rate(time_pieces(&pinned, PIECES), (double)all.bytes * PIECES);
        size_t kernels = limit > 0 ? count_in(&kernel, 2 * bytes / 1e9 / limit) + 1 : 1;
        for (int t = 0; t < TRIES && rates[i] <= 0; t++, kernels *= 2)
            rates[i] = rate(save(++step, kernels), bytes);
        ratios[i] = limit > 0 ? rates[i] / limit : 0;
    }
    if (has_kernels)
        print_ratio("a save beside a kernel: its stall", rates, ratios, SAVES, COPY_WANTED);
    else
        row_print(&(struct row){ROW_NOT_RUN, "a save beside a kernel: its stall",
                                .words = "built without nvcc"});
}

static uint32_t word_at(size_t tensor, size_t i)
{
    return (uint32_t)i * 2654435761U + (uint32_t)tensor;
}

static int fill_tensors(void)
{
    uint32_t *words = all.pinned.data;
    int rc = 0;
    for (size_t t = 0; t < TENSORS && rc == 0; t++) {
        for (size_t i = 0; i < all.bytes / sizeof *words; i++)
            words[i] = word_at(t, i);
        rc = rig_copy(&all.rig, all.tensors[t].data, words, all.bytes);
    }
    return rc;
}

static bool tensors_are_right(void)
{
    const uint32_t *words = all.pinned.data;
    for (size_t t = 0; t < TENSORS; t++) {
        if (rig_copy(&all.rig, all.pinned.data, all.tensors[t].data, all.bytes) < 0)
            return false;
        for (size_t i = 0; i < all.bytes / sizeof *words; i++)
            if (words[i] != word_at(t, i))
                return false;
    }
    return true;
}

static void load(void)
{
    struct mst_err err = {0};
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    int rc = 0;
    for (size_t t = 0; t < TENSORS && rc == 0; t++)
        rc = mst_gpu_clear(all.rig.queue, all.tensors[t].data, all.bytes);
    if (rc == 0)
        rc = rig_wait(&all.rig);
    double began_s = stopwatch_s();
    if (rc == 0)
        rc = mst_ckpt_load(all.ckpt, &all.state, &loaded, mst_deadline_ms(TIMEOUT_MS), &err);
    double took_s = stopwatch_s() - began_s;
    bool is_right = rc == 0 && tensors_are_right();
    row_print(&(struct row){.result = is_right ? ROW_RIGHT : ROW_WRONG,
                            .what = "what was saved is loaded, read and checked",
                            .figure = is_right ? rate(took_s, (double)all.bytes * TENSORS) : 0,
                            .unit = "GB/s",
                            .words = is_right ? "most of it is the disk"
                                     : rc < 0 ? err.text
                                              : "the device has other bytes than were saved"});
}

static void describe(void)
{
    static const char *const names[TENSORS] = {"weights", "gradients", "means", "squares"};
    all.state = (struct mst_state)MST_STATE_INIT;
    for (size_t t = 0; t < TENSORS; t++)
        all.described[t] = (struct mst_tensor){.name = names[t],
                                               .dtype = MST_U32,
                                               .dim_count = 1,
                                               .shape = {all.bytes / sizeof(uint32_t)},
                                               .data = all.tensors[t]};
    all.state.tensors = all.described;
    all.state.tensor_count = TENSORS;
    all.state.stream = mst_gpu_queue_native(all.copies);
}

static int checkpoint(const char *uri, struct mst_err *err)
{
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    struct mst_world *world = NULL;
    struct mst_kv *kv = NULL;
    opts.uri = uri;
    opts.keep = 1;
    describe();
    int rc = fill_tensors(); /* a copy went there */
    if (rc == 0)
        rc = mst_world_from_env(&world, err);
    if (rc == 0)
        rc = mst_kv_dial(world, mst_deadline_ms(TIMEOUT_MS), &kv, err);
    if (rc == 0)
        rc = mst_ckpt_open(&opts, world, kv, &all.ckpt, err);
    if (rc == 0) {
        time_saves();
        load();
    }
    mst_ckpt_close(all.ckpt);
    mst_kv_close(kv);
    mst_world_destroy(world);
    return rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int open_memory(void)
{
    struct mst_gpu *gpu = all.rig.gpu;
    int rc = mst_gpu_alloc(gpu, all.bytes, MST_MEM_PINNED, &all.pinned);
    if (rc == 0)
        rc = mst_gpu_alloc(gpu, all.bytes, MST_MEM_DEVICE, &all.sum);
    if (rc == 0)
        rc = mst_gpu_alloc(gpu, all.bytes, MST_MEM_DEVICE, &all.addend);
    for (size_t t = 0; t < TENSORS && rc == 0; t++)
        rc = mst_gpu_alloc(gpu, all.bytes, MST_MEM_DEVICE, &all.tensors[t]);
    if (rc == 0)
        rc = mst_gpu_clear(all.rig.queue, all.sum.data, all.bytes);
    if (rc == 0)
        rc = mst_gpu_clear(all.rig.queue, all.addend.data, all.bytes);
    return rc;
}

static int open_registered(void)
{
    void *data = mst_huge_map(all.bytes);
    int rc = data ? mst_gpu_register(all.rig.gpu, data, all.bytes) : -ENOMEM;
    if (rc < 0)
        mst_huge_unmap(data, all.bytes);
    else
        all.registered = data;
    return rc;
}

static int open_all(struct mst_err *err)
{
    int rc = rig_open(&all.rig, "cuda", err);
    if (rc < 0)
        return rc;
    rc = mst_gpu_queue_create(all.rig.gpu, &all.copies);
    if (rc == 0)
        rc = open_memory();
    if (rc == 0)
        rc = open_registered();
    return rc == 0 ? 0 : mst_err_set(err, rc, "%s", rig_error(&all.rig));
}

static void close_all(void)
{
    mst_gpu_queue_destroy(all.copies);
    mst_gpu_unregister(all.rig.gpu, all.registered);
    mst_huge_unmap(all.registered, all.bytes);
    for (size_t t = 0; t < TENSORS; t++)
        mst_gpu_free(all.rig.gpu, &all.tensors[t]);
    mst_gpu_free(all.rig.gpu, &all.pinned);
    mst_gpu_free(all.rig.gpu, &all.sum);
    mst_gpu_free(all.rig.gpu, &all.addend);
    rig_close(&all.rig);
}

int main(int argc, char **argv)
{
    struct mst_err err = {0};
    char *last = NULL;
    all.bytes = argc == 3 ? strtoul(argv[2], &last, 10) : 0;
    if (all.bytes < 65536 || all.bytes % 4096 != 0 || *last) {
        fprintf(stderr, "usage: checkpoint URI BYTES, of whole pages\n");
        return 64;
    }
    int rc = open_all(&err);
    if (rc == 0) {
        row_print(&(struct row){.what = "card", .words = mst_gpu_name(all.rig.gpu)});
        overlap();
        rc = checkpoint(argv[1], &err);
        close_all();
    }
    if (rc < 0)
        fprintf(stderr, "checkpoint: %s\n", err.text);
    return rc < 0;
}

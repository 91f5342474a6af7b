/* What every back end of gpu must do: the same cases on host threads and on the CUDA driver's
 * interface, with a fake driver. */
#include "muster/gpu/gpu.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/gpu/fatbin.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 100000

struct device {
    const char *backend;
    bool has_kernels;
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue, *other;
    struct mst_gpu_event *event;
    struct mst_span device, second, pinned;
};

static struct device host = {.backend = "host", .has_kernels = true};
static struct device cuda = {.backend = "cuda"};

static int open_device(void **state)
{
    struct device *d = *state;
    struct mst_err err = {0};
    struct mst_gpu_opts opts = {.backend = d->backend, .device = 1};
    if (mst_gpu_open(&opts, &d->gpu, &err) < 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    return mst_gpu_queue_create(d->gpu, &d->queue) || mst_gpu_queue_create(d->gpu, &d->other) ||
           mst_gpu_event_create(d->gpu, &d->event) ||
           mst_gpu_alloc(d->gpu, COUNT * 4, MST_MEM_DEVICE, &d->device) ||
           mst_gpu_alloc(d->gpu, COUNT * 4, MST_MEM_DEVICE, &d->second) ||
           mst_gpu_alloc(d->gpu, COUNT * 4, MST_MEM_PINNED, &d->pinned);
}

static int close_device(void **state)
{
    struct device *d = *state;
    mst_gpu_event_destroy(d->event);
    mst_gpu_queue_destroy(d->queue);
    mst_gpu_queue_destroy(d->other);
    mst_gpu_free(d->gpu, &d->device);
    mst_gpu_free(d->gpu, &d->second);
    mst_gpu_free(d->gpu, &d->pinned);
    mst_gpu_close(d->gpu);
    return 0;
}

static void wait_for(struct device *d, struct mst_gpu_queue *queue)
{
    assert_int_equal(mst_gpu_event_record(d->event, queue), 0);
    assert_int_equal(mst_gpu_event_wait(d->event, soon()), 0);
    assert_int_equal(mst_gpu_event_query(d->event), 0);
}

/* Host memory to the device and back, on one queue. */
static void through(struct device *d, const void *in, struct mst_span *at, size_t bytes)
{
    memcpy(d->pinned.data, in, bytes);
    assert_int_equal(mst_gpu_copy(d->queue, at->data, d->pinned.data, bytes), 0);
    wait_for(d, d->queue);
}

static void fetch(struct device *d, void *out, const void *from, size_t bytes)
{
    assert_int_equal(mst_gpu_copy(d->queue, d->pinned.data, from, bytes), 0);
    wait_for(d, d->queue);
    memcpy(out, d->pinned.data, bytes);
}

static void tells_what_it_is(void **state)
{
    struct device *d = *state;
    int here;
    assert_string_equal(mst_gpu_backend(d->gpu), d->backend);
    assert_true(strlen(mst_gpu_name(d->gpu)) > 0);
    assert_string_equal(mst_gpu_error(d->gpu), "");
    assert_int_equal(mst_gpu_enter(d->gpu), 0);
    mst_gpu_leave(d->gpu);
    assert_int_equal(mst_gpu_mem(d->gpu, &here), MST_MEM_HOST);
    assert_int_equal(mst_gpu_mem(d->gpu, (char *)d->device.data + 1000), MST_MEM_DEVICE);
    assert_int_equal(mst_gpu_mem(d->gpu, d->pinned.data), MST_MEM_PINNED);
    assert_true(mst_gpu_has(d->gpu, d->device.data, d->device.size_bytes));
    assert_false(mst_gpu_has(d->gpu, d->device.data, (size_t)1 << 46));
    assert_false(mst_gpu_has(d->gpu, d->pinned.data, 1));
    assert_int_equal((uintptr_t)d->device.data % 256, 0);
    assert_true((mst_gpu_queue_native(d->queue) != NULL) == (strcmp(d->backend, "cuda") == 0));
}

static void refuses_bad_arguments(void **state)
{
    struct device *d = *state;
    struct mst_span span;
    const void *in[] = {d->device.data};
    assert_int_equal(mst_gpu_alloc(d->gpu, 0, MST_MEM_DEVICE, &span), -EINVAL);
    assert_int_equal(mst_gpu_alloc(d->gpu, 1, MST_MEM_HOST, &span), -EINVAL);
    assert_int_equal(mst_gpu_sum(d->queue, d->device.data, in, 0, MST_F32, 1), -EINVAL);
    assert_int_equal(mst_gpu_sum(d->queue, d->device.data, in, 65, MST_F32, 1), -EINVAL);
    assert_int_equal(mst_gpu_sum(d->queue, d->device.data, in, 1, MST_I32, 1), -EINVAL);
    assert_int_equal(mst_gpu_cast(d->queue, d->device.data, MST_F64, d->device.data, MST_F32, 1),
                     -EINVAL);
    assert_int_equal(mst_gpu_adamw(d->queue, &(struct mst_gpu_adamw){.count = 1}), -EINVAL);
    uint32_t *sums = d->second.data;
    assert_int_equal(mst_gpu_crc32c(d->queue, sums, d->device.data, 1, 0), -EINVAL);
    assert_int_equal(mst_gpu_crc32c(d->queue, sums, d->device.data, 1, 65537), -EINVAL);
    assert_int_equal(mst_gpu_copy(d->queue, NULL, NULL, 0), 0);
    assert_int_equal(mst_gpu_clear(d->queue, NULL, 0), 0);
}

/* Registered memory is reached as pinned memory is, while it is registered. */
static void registers_memory(void **state)
{
    struct device *d = *state;
    static _Alignas(4096) uint8_t pages[2][4096];
    bool has_kinds = strcmp(d->backend, "cuda") == 0;
    memset(pages[0], 0x5a, 4096);
    assert_int_equal(mst_gpu_register(d->gpu, pages, sizeof pages), 0);
    assert_int_equal(mst_gpu_mem(d->gpu, pages[1]), has_kinds ? MST_MEM_PINNED : MST_MEM_HOST);
    assert_int_equal(mst_gpu_copy(d->queue, d->device.data, pages[0], 4096), 0);
    assert_int_equal(mst_gpu_copy(d->queue, pages[1], d->device.data, 4096), 0);
    assert_int_equal(mst_gpu_queue_wait(d->queue, MST_NEVER), 0);
    assert_memory_equal(pages[1], pages[0], 4096);
    mst_gpu_unregister(d->gpu, pages);
    assert_int_equal(mst_gpu_mem(d->gpu, pages), MST_MEM_HOST);
}

static void copies_in_order(void **state)
{
    struct device *d = *state;
    int *in = d->pinned.data;
    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    size_t half = COUNT / 2 * sizeof *in;
    assert_int_equal(mst_gpu_copy(d->queue, d->device.data, in, 2 * half), 0);
    assert_int_equal(mst_gpu_copy(d->queue, d->second.data, d->device.data, 2 * half), 0);
    assert_int_equal(mst_gpu_copy(d->queue, in, (char *)d->second.data + half, half), 0);
    assert_int_equal(mst_gpu_copy(d->queue, in + COUNT / 2, d->second.data, half), 0);
    wait_for(d, d->queue);
    while (mst_gpu_queue_query(d->queue) == -EAGAIN) /* the mark itself may still be under way */
        ;
    assert_int_equal(mst_gpu_queue_query(d->queue), 0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(in[i], (i + COUNT / 2) % COUNT);
}

/* More work than a queue has room for. */
static void takes_any_amount(void **state)
{
    struct device *d = *state;
    uint32_t *counter = d->pinned.data;
    for (uint32_t i = 0; i < 1000; i++) {
        counter[i] = i;
        assert_int_equal(mst_gpu_copy(d->queue, d->device.data, &counter[i], 4), 0);
    }
    uint32_t last = 0;
    fetch(d, &last, d->device.data, sizeof last);
    assert_int_equal(last, 999);
}

static void events_order_queues(void **state)
{
    struct device *d = *state;
    char *in = d->pinned.data;
    size_t bytes = COUNT * 2;
    for (char round = 1; round < 50; round++) {
        memset(in, round, bytes);
        assert_int_equal(mst_gpu_copy(d->queue, d->device.data, in, bytes), 0);
        assert_int_equal(mst_gpu_event_record(d->event, d->queue), 0);
        assert_int_equal(mst_gpu_queue_wait_event(d->other, d->event), 0);
        assert_int_equal(mst_gpu_copy(d->other, in + bytes, d->device.data, bytes), 0);
        wait_for(d, d->other);
        assert_int_equal(in[bytes], round);
        assert_int_equal(in[2 * bytes - 1], round);
    }
}

/* The program's stream comes after what we have put into ours. */
static void streams_of_the_program_wait(void **state)
{
    struct device *d = *state;
    void *stream = mst_gpu_queue_native(d->other);
    char *in = d->pinned.data;
    size_t bytes = COUNT * 2;
    for (char round = 1; round < 50 && stream; round++) {
        memset(in, round, bytes);
        assert_int_equal(mst_gpu_copy(d->queue, d->device.data, in, bytes), 0);
        assert_int_equal(mst_gpu_event_record(d->event, d->queue), 0);
        assert_int_equal(mst_gpu_stream_wait_event(stream, d->event), 0);
        assert_int_equal(mst_gpu_copy(d->other, in + bytes, d->device.data, bytes), 0);
        wait_for(d, d->other);
        assert_int_equal(in[2 * bytes - 1], round);
    }
}

/* What a library or the program itself has put into a stream of the driver's. */
static void streams_of_the_program_have_marks(void **state)
{
    struct device *d = *state;
    struct mst_gpu_event *mark = NULL;
    static char no_stream[512];
    void *stream = mst_gpu_queue_native(d->queue);
    if (!stream) {
        assert_int_equal(mst_gpu_event_of_stream(d->gpu, no_stream, &mark), -ENOTSUP);
        assert_int_equal(mst_gpu_stream_wait_event(no_stream, d->event), -ENOTSUP);
        return;
    }
    assert_int_equal(mst_gpu_event_of_stream(d->gpu, no_stream, &mark), -EINVAL);
    assert_null(mark);
    assert_string_equal(mst_gpu_error(d->gpu), "");
    for (int i = 0; i < 200; i++)
        assert_int_equal(mst_gpu_copy(d->queue, d->second.data, d->device.data, COUNT * 4), 0);
    assert_int_equal(mst_gpu_event_of_stream(d->gpu, stream, &mark), 0);
    assert_int_equal(mst_gpu_event_wait(mark, mst_now_ns()), -ETIMEDOUT);
    assert_int_equal(mst_gpu_queue_wait_event(d->other, mark), 0);
    mst_gpu_event_destroy(mark); /* both streams still hold it */
    wait_for(d, d->other);
    while (mst_gpu_queue_query(d->queue) == -EAGAIN) /* the mark itself may still be under way */
        ;
    assert_int_equal(mst_gpu_queue_query(d->queue), 0);
}

/* A queue that waits for an event is held by it, and the host's wait by its deadline. */
static void waits_end_by_their_deadline(void **state)
{
    struct device *d = *state;
    struct mst_gpu_event *never = NULL;
    assert_int_equal(mst_gpu_event_create(d->gpu, &never), 0);
    assert_int_equal(mst_gpu_event_query(never), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(mst_gpu_copy(d->queue, d->second.data, d->device.data, COUNT * 4), 0);
    assert_int_equal(mst_gpu_event_record(never, d->queue), 0);
    assert_int_equal(mst_gpu_event_wait(never, mst_now_ns()), -ETIMEDOUT);
    assert_int_equal(mst_gpu_event_query(never), -EAGAIN);
    assert_int_equal(mst_gpu_queue_query(d->queue), -EAGAIN);
    assert_int_equal(mst_gpu_queue_wait(d->queue, mst_now_ns()), -ETIMEDOUT);
    mst_gpu_event_destroy(never); /* the queue still holds it */
    wait_for(d, d->queue);
}

static void casts_and_sums(void **state)
{
    struct device *d = *state;
    float in[1000], out[1000];
    for (int i = 0; i < 1000; i++)
        in[i] = (float)(i - 500); /* exact in bf16 up to 256, in f16 always */
    through(d, in, &d->device, sizeof in);
    int rc = mst_gpu_cast(d->queue, d->second.data, MST_F16, d->device.data, MST_F32, 1000);
    assert_int_equal(rc, d->has_kernels ? 0 : -ENOTSUP);
    if (rc < 0)
        return;
    const void *streams[] = {d->second.data, d->second.data, d->second.data};
    assert_int_equal(mst_gpu_sum(d->queue, d->second.data, streams, 3, MST_F16, 1000), 0);
    assert_int_equal(mst_gpu_cast(d->queue, d->device.data, MST_F32, d->second.data, MST_F16, 1000),
                     0);
    fetch(d, out, d->device.data, sizeof out);
    for (int i = 0; i < 1000; i++)
        assert_true(out[i] == 3 * in[i]);
    assert_int_equal(mst_gpu_cast(d->queue, d->second.data, MST_BF16, d->device.data, MST_F32, 0),
                     0);
}

static void clears(void **state)
{
    struct device *d = *state;
    char out[64];
    memset(out, 7, sizeof out);
    through(d, out, &d->device, sizeof out);
    assert_int_equal(mst_gpu_clear(d->queue, (char *)d->device.data + 1, 62), 0);
    fetch(d, out, d->device.data, sizeof out);
    assert_int_equal(out[0], 7);
    for (int i = 1; i < 63; i++)
        assert_int_equal(out[i], 0);
    assert_int_equal(out[63], 7);
}

/* From one start: the gradient 2, and steps of numbers that are exact. */
static void optimisers_take_a_step(void **state)
{
    struct device *d = *state;
    enum { N = 10 };
    float values[4 * N] = {0}, *at = d->device.data;
    for (int i = 0; i < N; i++) {
        values[i] = 1;
        values[3 * N + i] = 2;
    }
    through(d, values, &d->device, sizeof values);
    struct mst_gpu_sgd sgd = {.params = at,
                              .momentum = at + N,
                              .grads = at + 3 * N,
                              .count = N,
                              .grad_scale = 0.5F,
                              .momentum_decay = 0.9F,
                              .lr = 0.25F};
    int rc = mst_gpu_sgd(d->queue, &sgd);
    assert_int_equal(rc, d->has_kernels ? 0 : -ENOTSUP);
    if (rc < 0)
        return;
    fetch(d, values, at, sizeof values);
    assert_true(values[0] == 0.75F && values[N - 1] == 0.75F && values[N] == 1);
    struct mst_gpu_adamw adamw = {.params = at,
                                  .means = at + N,
                                  .squares = at + 2 * N,
                                  .grads = at + 3 * N,
                                  .count = N,
                                  .step = 1,
                                  .grad_scale = 1,
                                  .lr = 0.25F,
                                  .mean_decay = 0.5F,
                                  .square_decay = 0.75F,
                                  .weight_decay = 1};
    assert_int_equal(mst_gpu_clear(d->queue, at + N, N * sizeof *at), 0);
    assert_int_equal(mst_gpu_adamw(d->queue, &adamw), 0);
    fetch(d, values, at, sizeof values);
    /* both moments are without bias at step 1: the step is lr, whatever the gradient */
    assert_true(values[0] == 0.75F * 0.75F - 0.25F && values[N - 1] == values[0]);
    assert_true(values[N] == 1 && values[2 * N] == 1);
}

static void checks_blocks(void **state)
{
    struct device *d = *state;
    enum { BLOCK = 2 * MST_GPU_CRC_BYTES, BLOCKS = COUNT * 4 / BLOCK + 1 };
    char *in = malloc(COUNT * 4);
    uint32_t sums[BLOCKS];
    assert_non_null(in);
    for (size_t i = 0; i < COUNT * 4; i++)
        in[i] = (char)(i * 13 + i / 1021);
    memset(d->pinned.data, 0xff, sizeof sums); /* what was there is no part of it */
    through(d, d->pinned.data, &d->second, sizeof sums);
    through(d, in, &d->device, COUNT * 4);
    int rc = mst_gpu_crc32c(d->queue, d->second.data, d->device.data, COUNT * 4, BLOCK);
    assert_int_equal(rc, d->has_kernels ? 0 : -ENOTSUP);
    if (rc == 0) {
        fetch(d, sums, d->second.data, sizeof sums);
        for (size_t b = 0; b < BLOCKS; b++) {
            size_t left = COUNT * 4 - b * BLOCK;
            assert_int_equal(sums[b], mst_crc32c(0, in + b * BLOCK, left < BLOCK ? left : BLOCK));
        }
    }
    free(in);
}

static void opens_by_name(void **state)
{
    struct mst_gpu *gpu = NULL;
    struct mst_err err = {0};
    struct mst_gpu_opts opts = {.backend = "abacus"};
    (void)state;
    assert_int_equal(mst_gpu_open(&opts, &gpu, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "abacus"));
    opts.backend = "auto"; /* finds something on every machine */
    assert_int_equal(mst_gpu_open(&opts, &gpu, &err), 0);
    mst_gpu_close(gpu);
    mst_gpu_close(NULL);
    mst_gpu_queue_destroy(NULL);
    mst_gpu_event_destroy(NULL);
}

#define CASE(test, device)                                                                         \
    {                                                                                              \
#test " on " #device, test, open_device, close_device, &(device)                           \
    }
#define CASES(device)                                                                              \
    CASE(tells_what_it_is, device), CASE(refuses_bad_arguments, device),                           \
        CASE(registers_memory, device), CASE(copies_in_order, device),                             \
        CASE(takes_any_amount, device), CASE(events_order_queues, device),                         \
        CASE(streams_of_the_program_have_marks, device),                                           \
        CASE(streams_of_the_program_wait, device), CASE(waits_end_by_their_deadline, device),      \
        CASE(casts_and_sums, device), CASE(clears, device), CASE(optimisers_take_a_step, device),  \
        CASE(checks_blocks, device)

int main(void)
{
    const struct CMUnitTest on_host[] = {cmocka_unit_test(opens_by_name), CASES(host)};
    const struct CMUnitTest on_cuda[] = {CASES(cuda)};
    struct mst_gpu *gpu = NULL;
    struct mst_err err = {0};
    cuda.has_kernels = gpu_fatbin != NULL;
    int failed = cmocka_run_group_tests_name("gpu_gpu on host", on_host, NULL, NULL);
    if (mst_gpu_open(&(struct mst_gpu_opts){.backend = "cuda"}, &gpu, &err) == -ENOTSUP) {
        print_message("not on cuda: %s\n", err.text);
        return failed;
    }
    mst_gpu_close(gpu);
    return failed + cmocka_run_group_tests_name("gpu_gpu on cuda", on_cuda, NULL, NULL);
}

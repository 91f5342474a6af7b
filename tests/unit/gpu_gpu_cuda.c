/* The CUDA back end's errors, on a fake driver. */
#include "muster/gpu/gpu.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/gpu/fatbin.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fakes/fake_cuda.h"
#include "unit/fake_driver.h"

static const struct mst_gpu_opts cuda = {.backend = "cuda"};

static void script(const char *text)
{
    assert_int_equal(setenv("FAKE_CUDA", text, 1), 0);
}

static void expect_no_device(const char *text, const char *words)
{
    struct mst_gpu *gpu = NULL;
    struct mst_err err = {0};
    script(text);
    assert_int_equal(mst_gpu_open(&cuda, &gpu, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, words));
    assert_int_equal(mst_gpu_open(&(struct mst_gpu_opts){0}, &gpu, &err), 0); /* auto: the host */
    assert_string_equal(mst_gpu_backend(gpu), "host");
    mst_gpu_close(gpu);
}

static void no_device_is_no_cuda(void **state)
{
    (void)state;
    expect_no_device("driver=0", "the driver is too old");
    expect_no_device("devices=0", "no device");
}

static void names_the_number_of_devices(void **state)
{
    struct mst_gpu *gpu = NULL;
    struct mst_err err = {0};
    struct mst_gpu_opts opts = {.backend = "cuda", .device = 2};
    (void)state;
    script("devices=2");
    assert_int_equal(mst_gpu_open(&opts, &gpu, &err), -EINVAL);
    assert_non_null(strstr(err.text, "device 2: this process sees 2"));
}

/* A rank that sees one device has it to itself; of several each local rank has its own. */
static void a_local_rank_has_a_device_of_its_own(void **state)
{
    static const struct {
        const char *script, *name; /* NULL: refused */
        uint32_t local_rank;
    } cases[] = {
        {"devices=1", "FAKE device 0", 0},
        {"devices=1", "FAKE device 0", 5},
        {"devices=2", "FAKE device 1", 1},
        {"devices=2", NULL, 2},
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct mst_gpu *gpu = NULL;
        struct mst_err err = {0};
        struct mst_gpu_opts opts = {
            .backend = "cuda", .device = MST_GPU_BY_RANK, .local_rank = cases[c].local_rank};
        script(cases[c].script);
        assert_int_equal(mst_gpu_open(&opts, &gpu, &err), cases[c].name ? 0 : -EINVAL);
        if (cases[c].name)
            assert_string_equal(mst_gpu_name(gpu), cases[c].name);
        else
            assert_non_null(
                strstr(err.text, "local rank 2 has no CUDA device: this process sees 2"));
        mst_gpu_close(gpu);
    }
}

/* Whatever the driver has against the kernels, memory and copies work, and its words are kept. */
static void kernels_may_be_refused(void **state)
{
    static const int codes[] = {CUDA_ERROR_INVALID_IMAGE,
                                CUDA_ERROR_NO_BINARY_FOR_GPU,
                                CUDA_ERROR_INVALID_PTX,
                                CUDA_ERROR_JIT_COMPILER_NOT_FOUND,
                                CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                                CUDA_ERROR_JIT_COMPILATION_DISABLED,
                                CUDA_ERROR_INVALID_SOURCE};
    (void)state;
    if (!gpu_fatbin)
        skip();
    for (size_t c = 0; c < 2 * sizeof codes / sizeof codes[0]; c++) {
        struct mst_gpu *gpu = NULL;
        struct mst_gpu_queue *queue = NULL;
        float from[4] = {1}, to[4];
        char text[64], words[64];
        (void)snprintf(text, sizeof text, "%s=%d", c % 2 ? "launch" : "module", codes[c / 2]);
        (void)snprintf(words, sizeof words, "(%d)", codes[c / 2]);
        script(text);
        assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
        assert_int_equal(mst_gpu_queue_create(gpu, &queue), 0);
        assert_int_equal(mst_gpu_cast(queue, to, MST_F32, from, MST_F32, 4), -ENOTSUP);
        assert_non_null(strstr(mst_gpu_error(gpu), words));
        assert_int_equal(mst_gpu_copy(queue, to, from, sizeof to), 0);
        mst_gpu_queue_destroy(queue);
        assert_true(to[0] == 1);
        mst_gpu_close(gpu);
    }
}

/* ---- the program's own context --------------------------------------------------------------- */

static CUresult (*set_current)(CUcontext context);
static CUresult (*get_current)(CUcontext *ret_context);

static CUresult (*exchange_mode)(int *mode);
static CUresult (*stream_create)(CUstream *ret_stream, unsigned flags);
static CUresult (*stream_destroy)(CUstream stream);
static CUresult (*stream_query)(CUstream stream);

static bool find_fakes(void)
{
    return find_fake("cuCtxSetCurrent", &set_current) &&
           find_fake("cuCtxGetCurrent", &get_current) &&
           find_fake("cuThreadExchangeStreamCaptureMode", &exchange_mode) &&
           find_fake("cuStreamCreate", &stream_create) &&
           find_fake("cuStreamDestroy_v2", &stream_destroy) &&
           find_fake("cuStreamQuery", &stream_query);
}

#define LEAVES(context, call)                                                                      \
    do {                                                                                           \
        CUcontext after = NULL;                                                                    \
        call;                                                                                      \
        assert_int_equal(get_current(&after), 0);                                                  \
        assert_ptr_equal(after, context);                                                          \
    } while (0)

static void every_call_in_context(struct mst_gpu *gpu, CUcontext mine)
{
    struct mst_gpu_queue *queue = NULL;
    struct mst_gpu_event *event = NULL, *mark = NULL;
    struct mst_span span = {0}, pinned = {0};
    static _Alignas(4096) char page[4096];
    LEAVES(mine, assert_int_equal(mst_gpu_alloc(gpu, 64, MST_MEM_DEVICE, &span), 0));
    LEAVES(mine, assert_int_equal(mst_gpu_alloc(gpu, 64, MST_MEM_PINNED, &pinned), 0));
    LEAVES(mine, assert_int_equal(mst_gpu_mem(gpu, span.data), MST_MEM_DEVICE));
    LEAVES(mine, assert_int_equal(mst_gpu_queue_create(gpu, &queue), 0));
    LEAVES(mine, assert_int_equal(mst_gpu_event_create(gpu, &event), 0));
    LEAVES(mine, assert_int_equal(mst_gpu_copy(queue, span.data, pinned.data, 64), 0));
    LEAVES(mine, assert_int_equal(mst_gpu_clear(queue, span.data, 64), 0));
    LEAVES(mine, (void)mst_gpu_cast(queue, span.data, MST_F32, span.data, MST_F32, 4));
    LEAVES(mine, assert_int_equal(mst_gpu_event_record(event, queue), 0));
    LEAVES(mine, assert_int_equal(mst_gpu_queue_wait_event(queue, event), 0));
    LEAVES(mine,
           assert_int_equal(mst_gpu_event_of_stream(gpu, mst_gpu_queue_native(queue), &mark), 0));
    LEAVES(mine,
           assert_int_equal(mst_gpu_stream_wait_event(mst_gpu_queue_native(queue), event), 0));
    LEAVES(mine, assert_int_equal(mst_gpu_event_wait(event, MST_NEVER), 0));
    LEAVES(mine, (void)mst_gpu_queue_query(queue));
    LEAVES(mine, assert_int_equal(mst_gpu_queue_wait(queue, MST_NEVER), 0));
    LEAVES(mine, assert_int_equal(mst_gpu_register(gpu, page, sizeof page), 0));
    LEAVES(mine, mst_gpu_unregister(gpu, page));
    LEAVES(mine, mst_gpu_event_destroy(mark));
    LEAVES(mine, mst_gpu_event_destroy(event));
    LEAVES(mine, mst_gpu_queue_destroy(queue));
    LEAVES(mine, mst_gpu_free(gpu, &pinned));
    LEAVES(mine, mst_gpu_free(gpu, &span));
}

static void the_programs_context_stays(void **state)
{
    CUcontext contexts[] = {NULL, (CUcontext)(uintptr_t)99}, inside = NULL;
    (void)state;
    script("devices=1");
    for (size_t c = 0; c < 2; c++) {
        struct mst_gpu *gpu = NULL;
        CUcontext mine = contexts[c];
        assert_int_equal(set_current(mine), 0);
        LEAVES(mine, assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0));
        every_call_in_context(gpu, mine);
        assert_int_equal(mst_gpu_enter(gpu), 0);
        assert_int_equal(get_current(&inside), 0);
        assert_true(inside && inside != mine);
        LEAVES(mine, mst_gpu_leave(gpu));
        LEAVES(mine, mst_gpu_close(gpu));
    }
    assert_int_equal(set_current(NULL), 0);
}

static void a_device_knows_its_own_memory(void **state)
{
    struct mst_gpu *gpu = NULL, *other = NULL;
    struct mst_span span = {0};
    struct mst_gpu_opts second = {.backend = "cuda", .device = 1};
    (void)state;
    script("");
    assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_open(&second, &other, NULL), 0);
    assert_int_equal(mst_gpu_alloc(gpu, 100, MST_MEM_DEVICE, &span), 0);
    assert_true(mst_gpu_has(gpu, span.data, 100));
    assert_false(mst_gpu_has(other, span.data, 100));
    mst_gpu_free(gpu, &span);
    mst_gpu_close(other);
    mst_gpu_close(gpu);
}

static void memory_runs_out(void **state)
{
    struct mst_gpu *gpu = NULL;
    struct mst_span span = {0};
    (void)state;
    script("memory=2");
    assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_alloc(gpu, 100, MST_MEM_DEVICE, &span), 0);
    mst_gpu_free(gpu, &span);
    assert_null(span.data);
    assert_int_equal(mst_gpu_alloc(gpu, 100, MST_MEM_PINNED, &span), -ENOMEM);
    assert_non_null(strstr(mst_gpu_error(gpu), "cuMemHostAlloc: out of memory (2)"));
    mst_gpu_free(gpu, &span);
    mst_gpu_close(gpu);
}

/* Work of any stream of the device, which the host looks at only once its memory is gone. */
static void memory_goes_once_nothing_uses_it(void **state)
{
    struct mst_gpu *gpu = NULL;
    struct mst_gpu_queue *queue = NULL, *other = NULL;
    struct mst_span spans[2] = {{0}}, pinned = {0};
    size_t bytes = (size_t)1 << 20;
    (void)state;
    script("");
    assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_queue_create(gpu, &queue), 0);
    assert_int_equal(mst_gpu_queue_create(gpu, &other), 0);
    for (int round = 0; round < 20; round++) {
        for (int s = 0; s < 2; s++)
            assert_int_equal(mst_gpu_alloc(gpu, bytes, MST_MEM_DEVICE, &spans[s]), 0);
        assert_int_equal(mst_gpu_alloc(gpu, bytes, MST_MEM_PINNED, &pinned), 0);
        for (int i = 0; i < 20; i++) {
            assert_int_equal(mst_gpu_copy(queue, spans[0].data, spans[1].data, bytes), 0);
            assert_int_equal(mst_gpu_clear(other, pinned.data, bytes), 0);
        }
        mst_gpu_free(gpu, round % 2 ? &pinned : &spans[1]);
        assert_int_equal(mst_gpu_queue_query(queue), 0);
        assert_int_equal(mst_gpu_queue_query(other), 0);
        mst_gpu_free(gpu, &pinned);
        mst_gpu_free(gpu, &spans[0]);
        mst_gpu_free(gpu, &spans[1]);
    }
    mst_gpu_queue_destroy(queue);
    mst_gpu_queue_destroy(other);
    mst_gpu_close(gpu);
}

static void a_failure_of_the_device_shows_at_the_wait(void **state)
{
    struct mst_gpu *gpu = NULL;
    struct mst_gpu_queue *queue = NULL;
    char from[64] = {1}, to[64];
    int rc;
    (void)state;
    script("fail=2");
    assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_queue_create(gpu, &queue), 0);
    assert_int_equal(mst_gpu_copy(queue, to, from, sizeof to), 0);
    assert_int_equal(mst_gpu_copy(queue, to, from, sizeof to), 0);
    while ((rc = mst_gpu_queue_query(queue)) == -EAGAIN)
        ;
    assert_int_equal(rc, -EIO);
    assert_non_null(strstr(mst_gpu_error(gpu), "cuStreamQuery: an illegal memory access"));
    assert_int_equal(mst_gpu_copy(queue, to, from, sizeof to), -EIO);
    mst_gpu_queue_destroy(queue);
    mst_gpu_close(gpu);
}

/* ---- streams that the program captures ------------------------------------------------------- */

static void a_stream_that_is_captured_has_no_mark(void **state)
{
    struct mst_gpu *gpu = NULL;
    struct mst_gpu_queue *queue = NULL;
    struct mst_gpu_event *mark = NULL, *made;
    (void)state;
    script("");
    assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_queue_create(gpu, &queue), 0);
    void *stream = mst_gpu_queue_native(queue);
    assert_int_equal(begin_capture(stream, CU_STREAM_CAPTURE_MODE_RELAXED), 0);
    assert_int_equal(mst_gpu_event_of_stream(gpu, stream, &mark), -EBUSY);
    assert_null(mark);
    assert_int_equal(end_capture(stream), 0);
    assert_int_equal(mst_gpu_event_of_stream(gpu, stream, &mark), 0);
    made = mark;
    assert_int_equal(mst_gpu_event_of_stream(gpu, stream, &mark), 0);
    assert_ptr_equal(mark, made);
    mst_gpu_event_destroy(mark);
    mst_gpu_queue_destroy(queue);
    mst_gpu_close(gpu);
}

static void the_default_stream_has_marks(void **state)
{
    struct mst_gpu *gpu = NULL;
    struct mst_gpu_event *mark = NULL;
    CUstream captured = NULL;
    (void)state;
    script("");
    assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_enter(gpu), 0);
    assert_int_equal(stream_create(&captured, 0), 0);
    mst_gpu_leave(gpu);
    assert_int_equal(begin_capture(captured, CU_STREAM_CAPTURE_MODE_RELAXED), 0);
    assert_int_equal(mst_gpu_event_of_stream(gpu, CU_STREAM_LEGACY, &mark), -EBUSY);
    assert_int_equal(mst_gpu_event_of_stream(gpu, NULL, &mark), -EBUSY);
    assert_int_not_equal(begin_capture(captured, CU_STREAM_CAPTURE_MODE_RELAXED), 0);
    assert_int_equal(end_capture(captured), 0);
    assert_int_equal(mst_gpu_event_of_stream(gpu, CU_STREAM_LEGACY, &mark), 0);
    assert_int_equal(mst_gpu_event_wait(mark, MST_NEVER), 0);
    assert_int_equal(mst_gpu_event_of_stream(gpu, NULL, &mark), 0);
    assert_int_equal(mst_gpu_event_wait(mark, MST_NEVER), 0);
    mst_gpu_event_destroy(mark);
    assert_int_equal(stream_destroy(captured), 0);
    mst_gpu_close(gpu);
}

/* What the program's own thread must not call, by which is seen that the fake sees to it. */
static void a_call_of_the_programs_spoils_a_capture(void **state)
{
    struct mst_gpu *gpu = NULL;
    struct mst_gpu_queue *queue = NULL;
    (void)state;
    script("");
    assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_queue_create(gpu, &queue), 0);
    CUstream stream = mst_gpu_queue_native(queue);
    assert_int_equal(begin_capture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
    assert_int_equal(stream_query(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_not_equal(end_capture(stream), 0);
    mst_gpu_queue_destroy(queue);
    mst_gpu_close(gpu);
}

static void no_call_spoils_a_capture(void **state)
{
    struct mst_gpu *gpu = NULL, *second = NULL;
    struct mst_gpu_queue *queue = NULL;
    CUcontext inside = NULL;
    int mode = 1; /* for this thread's captures only */
    (void)state;
    script("");
    assert_int_equal(mst_gpu_open(&cuda, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_queue_create(gpu, &queue), 0);
    void *stream = mst_gpu_queue_native(queue);
    assert_int_equal(exchange_mode(&mode), 0);
    assert_int_equal(begin_capture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
    every_call_in_context(gpu, NULL);
    assert_int_equal(mst_gpu_open(&cuda, &second, NULL), 0);
    assert_int_equal(mst_gpu_enter(second), 0);
    assert_int_equal(get_current(&inside), 0);
    every_call_in_context(second, inside);
    mst_gpu_leave(second);
    mst_gpu_close(second);
    assert_int_equal(end_capture(stream), 0);
    assert_int_equal(exchange_mode(&mode), 0);
    assert_int_equal(mode, 1);
    mst_gpu_queue_destroy(queue);
    mst_gpu_close(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_device_is_no_cuda),
        cmocka_unit_test(names_the_number_of_devices),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(memory_goes_once_nothing_uses_it),
        cmocka_unit_test(a_device_knows_its_own_memory),
        cmocka_unit_test(a_local_rank_has_a_device_of_its_own),
        cmocka_unit_test(kernels_may_be_refused),
        cmocka_unit_test(the_programs_context_stays),
        cmocka_unit_test(a_failure_of_the_device_shows_at_the_wait),
        cmocka_unit_test(a_stream_that_is_captured_has_no_mark),
        cmocka_unit_test(the_default_stream_has_marks),
        cmocka_unit_test(a_call_of_the_programs_spoils_a_capture),
        cmocka_unit_test(no_call_spoils_a_capture),
    };
    if (!has_fake_driver())
        return 77;
    if (!find_fakes())
        return 1;
    return cmocka_run_group_tests_name("gpu_gpu_cuda", tests, NULL, NULL);
}

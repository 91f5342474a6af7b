/* The CUDA back end's errors, on a fake driver. */
#include "muster/gpu/gpu.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_device_is_no_cuda),
        cmocka_unit_test(names_the_number_of_devices),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(a_failure_of_the_device_shows_at_the_wait),
    };
    struct mst_gpu *gpu = NULL;
    struct mst_err err = {0};
    if (mst_gpu_open(&cuda, &gpu, &err) < 0 || !strstr(mst_gpu_name(gpu), "FAKE")) {
        print_message("the fake driver is not there: %s\n", err.text);
        mst_gpu_close(gpu);
        return 77;
    }
    mst_gpu_close(gpu);
    return cmocka_run_group_tests_name("gpu_gpu_cuda", tests, NULL, NULL);
}

/* Tests of devices run on the fake driver only: on a real one they would prove something else. */
#ifndef MUSTER_TESTS_UNIT_FAKE_DRIVER_H
#define MUSTER_TESTS_UNIT_FAKE_DRIVER_H

#include "muster/core/err.h"
#include "muster/gpu/gpu.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

/* Whether it is there; else the test program ends with 77. */
static bool has_fake_driver(void)
{
    struct mst_gpu *gpu = NULL;
    struct mst_err err = {0};
    bool is_fake = mst_gpu_open(&(struct mst_gpu_opts){.backend = "cuda"}, &gpu, &err) == 0 &&
                   strstr(mst_gpu_name(gpu), "FAKE");
    if (!is_fake)
        print_message("the fake driver is not there: %s\n", err.text);
    mst_gpu_close(gpu);
    return is_fake;
}

/* A function of a fake library's, which is loaded by then and stays, as *ret_function. Whether it
 * has it. */
static inline bool find_fake_in(const char *library, const char *name, void *ret_function)
{
    void *loaded = dlopen(library, RTLD_NOW | RTLD_NOLOAD), *symbol = NULL;
    if (loaded) {
        symbol = dlsym(loaded, name);
        (void)dlclose(loaded);
    }
    memcpy(ret_function, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* The same of the driver's. */
static inline bool find_fake(const char *name, void *ret_function)
{
    return find_fake_in("libcuda.so.1", name, ret_function);
}

/* Captures a stream on the calling thread, as the driver's own: 0 once that is under way for
 * sure. */
static inline int begin_capture(void *stream, int mode)
{
    int (*begin)(void *stream, int mode) = NULL;
    bool (*is_captured)(void *stream) = NULL;
    if (!find_fake("cuStreamBeginCapture_v2", &begin) ||
        !find_fake("fake_cuda_is_captured", &is_captured) || is_captured(stream))
        return -1;
    int rc = begin(stream, mode);
    return rc == 0 && !is_captured(stream) ? -1 : rc;
}

/* 0; else it was not under way, or is spoilt. */
static inline int end_capture(void *stream)
{
    int (*end)(void *stream, void **ret_graph) = NULL;
    void *graph;
    return find_fake("cuStreamEndCapture", &end) ? end(stream, &graph) : -1;
}

#endif

/* Tests of devices run on the fake driver only: on a real one they would prove something else. */
#ifndef MUSTER_TESTS_UNIT_FAKE_DRIVER_H
#define MUSTER_TESTS_UNIT_FAKE_DRIVER_H

#include "muster/core/err.h"
#include "muster/gpu/gpu.h"

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

#endif

/* device: what gpu/ asks of a driver, one after the other: its context beside the caller's, order,
 * memory, copies, code, and a second process on the same device.
 *
 *   device BYTES     of the buffers that are copied */
#include "muster/core/clock.h"
#include "muster/core/symbols.h"
#include "muster/perf/gpu/rig.h"
#include "muster/perf/gpu/row.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPEATS 20
#define LONG_REPEATS 200 /* until then the host has looked */
#define ROUNDS 50

/* What a program calls of the driver's by itself. */
static struct {
    int (*cuDriverGetVersion)(int *ret_version);
    int (*cuCtxCreate_v2)(void **ret_context, unsigned flags, int device);
    int (*cuCtxDestroy_v2)(void *context);
    int (*cuCtxGetCurrent)(void **ret_context);
} driver;

static struct {
    struct rig rig;
    struct mst_gpu_queue *second_queue;
    size_t bytes;
    struct mst_span device, second, pinned;
    void *registered; /* NULL: the driver did not */
} all;

static int load_driver(void)
{
    static const char *const names[] = {"cuDriverGetVersion", "cuCtxCreate_v2", "cuCtxDestroy_v2",
                                        "cuCtxGetCurrent"};
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    const char *missing = library ? mst_symbols_find(library, names, sizeof names / sizeof *names,
                                                     &driver)
                                  : dlerror();
    if (missing)
        fprintf(stderr, "device: libcuda.so.1: %s\n", missing);
    return missing ? -ENOTSUP : 0;
}

static void check(const char *what, bool is_right)
{
    row_check(what, is_right, rig_error(&all.rig));
}

/* ---- two processes --------------------------------------------------------------------------- */

#define SHARED_BYTES ((size_t)1 << 20)

static bool meet(const int *pipes)
{
    char byte = 0;
    return write(pipes[1], &byte, 1) == 1 && read(pipes[0], &byte, 1) == 1;
}

/* Each writes its own device memory, and finds it after the other has written. */
static bool hold_memory(int value, const int *pipes)
{
    struct rig rig;
    struct mst_err err = {0};
    struct mst_span span = {0};
    char *bytes = malloc(SHARED_BYTES);
    bool opened = rig_open(&rig, "cuda", &err) == 0;
    bool right = bytes && opened &&
                 mst_gpu_alloc(rig.gpu, SHARED_BYTES, MST_MEM_DEVICE, &span) == 0;
    if (right) {
        memset(bytes, value, SHARED_BYTES);
        right = rig_copy(&rig, span.data, bytes, SHARED_BYTES) == 0;
    }
    right = meet(pipes) && right;
    if (right) {
        memset(bytes, 0, SHARED_BYTES);
        right = rig_copy(&rig, bytes, span.data, SHARED_BYTES) == 0 && bytes[0] == value &&
                bytes[SHARED_BYTES - 1] == value;
    }
    right = meet(pipes) && right;
    if (opened) {
        mst_gpu_free(rig.gpu, &span);
        rig_close(&rig);
    } else {
        fprintf(stderr, "device: %s\n", err.text);
    }
    free(bytes);
    return right;
}

/* Before this process has a driver, which no child can inherit. */
static void two_processes(void)
{
    int there[2], back[2], status = 1;
    (void)signal(SIGPIPE, SIG_IGN); /* the other may have ended */
    bool right = pipe(there) == 0 && pipe(back) == 0;
    pid_t child = right ? fork() : -1;
    if (child == 0) {
        close(there[1]); /* so that the end of the other is seen */
        close(back[0]);
        _exit(hold_memory(2, (int[]){there[0], back[1]}) ? 0 : 1);
    }
    if (child > 0) {
        close(there[0]);
        close(back[1]);
        right = hold_memory(1, (int[]){back[0], there[1]});
        right = waitpid(child, &status, 0) == child && status == 0 && right;
    }
    row_check("two processes on one device", right && child > 0,
              "one of them has not found what it wrote");
}

/* ---- contexts -------------------------------------------------------------------------------- */

static bool has_current(const void *context)
{
    void *current = NULL;
    return driver.cuCtxGetCurrent(&current) == 0 && current == context;
}

/* Every kind of call, after each of which the caller has its own context, or none. */
static bool keeps(const void *context)
{
    struct rig rig;
    struct mst_err err = {0};
    struct mst_span span = {0};
    struct mst_gpu_event *mark = NULL;
    bool kept = rig_open(&rig, "cuda", &err) == 0;
    if (!kept)
        return false;
#define KEEPS(call) (kept = (call) == 0 && has_current(context) && kept)
    KEEPS(mst_gpu_alloc(rig.gpu, 4096, MST_MEM_DEVICE, &span));
    KEEPS(mst_gpu_mem(rig.gpu, span.data) != MST_MEM_DEVICE);
    KEEPS(mst_gpu_clear(rig.queue, span.data, 4096));
    KEEPS(mst_gpu_copy(rig.queue, span.data, (char *)span.data + 2048, 2048));
    KEEPS(mst_gpu_event_of_stream(rig.gpu, mst_gpu_queue_native(rig.queue), &mark));
    KEEPS(mst_gpu_queue_wait_event(rig.queue, mark));
    KEEPS(rig_wait(&rig));
    mst_gpu_event_destroy(mark);
    mst_gpu_free(rig.gpu, &span);
    rig_close(&rig);
    KEEPS(0);
#undef KEEPS
    return kept;
}

static void contexts(void)
{
    void *own = NULL;
    check("no context of the caller's stays none", keeps(NULL));
    bool made = driver.cuCtxCreate_v2(&own, 0, 0) == 0;
    check("the caller's own context stays current", made && keeps(own));
    if (made)
        (void)driver.cuCtxDestroy_v2(own); /* nothing was made in it */
}

/* ---- order ----------------------------------------------------------------------------------- */

static int put_long(struct mst_gpu_queue *queue)
{
    int rc = 0;
    for (int i = 0; i < LONG_REPEATS && rc == 0; i++)
        rc = mst_gpu_copy(queue, all.second.data, all.device.data, all.bytes);
    return rc;
}

static void waits(void)
{
    struct mst_gpu_event *event = all.rig.event;
    bool right = put_long(all.rig.queue) == 0 && mst_gpu_event_record(event, all.rig.queue) == 0;
    check("work goes on behind the caller", right && mst_gpu_event_query(event) == -EAGAIN);
    check("a wait ends by its deadline", mst_gpu_event_wait(event, mst_now_ns()) == -ETIMEDOUT);
    check("the work ends", rig_wait(&all.rig) == 0 && mst_gpu_queue_query(all.rig.queue) == 0);
}

/* Round by round a value goes to the device by one queue and back by another. */
static bool in_order(void)
{
    char *in = all.pinned.data;
    size_t half = all.bytes / 2;
    for (char round = 1; round < ROUNDS; round++) {
        memset(in, round, 4096);
        memset(in + half - 4096, round, 4096);
        if (mst_gpu_copy(all.rig.queue, all.device.data, in, half) < 0 ||
            mst_gpu_event_record(all.rig.event, all.rig.queue) < 0 ||
            mst_gpu_queue_wait_event(all.second_queue, all.rig.event) < 0 ||
            mst_gpu_copy(all.second_queue, in + half, all.device.data, half) < 0 ||
            mst_gpu_event_record(all.rig.event, all.second_queue) < 0 ||
            mst_gpu_event_wait(all.rig.event, mst_deadline_ms(60000)) < 0)
            return false;
        if (in[half] != round || in[2 * half - 1] != round)
            return false;
    }
    return true;
}

/* What the program has put into a stream of its own. */
static bool marks_streams(void)
{
    struct mst_gpu_event *mark = NULL;
    if (put_long(all.second_queue) < 0 ||
        mst_gpu_event_of_stream(all.rig.gpu, mst_gpu_queue_native(all.second_queue), &mark) < 0)
        return false;
    bool right = mst_gpu_event_query(mark) == -EAGAIN &&
                 mst_gpu_queue_wait_event(all.rig.queue, mark) == 0 && rig_wait(&all.rig) == 0 &&
                 mst_gpu_event_query(mark) == 0;
    mst_gpu_event_destroy(mark);
    return right;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void register_memory(void)
{
    all.registered = aligned_alloc(4096, all.bytes);
    if (all.registered && mst_gpu_register(all.rig.gpu, all.registered, all.bytes) < 0) {
        free(all.registered);
        all.registered = NULL;
    }
}

static void forget_memory(void)
{
    mst_gpu_unregister(all.rig.gpu, all.registered);
    free(all.registered);
}

static bool knows_memory(void)
{
    int here = 0;
    struct mst_gpu *gpu = all.rig.gpu;
    return mst_gpu_mem(gpu, &here) == MST_MEM_HOST &&
           mst_gpu_mem(gpu, (char *)all.device.data + 1000) == MST_MEM_DEVICE &&
           mst_gpu_mem(gpu, (char *)all.pinned.data + 1000) == MST_MEM_PINNED &&
           (uintptr_t)all.device.data % 256 == 0;
}

static bool has_pattern(const uint32_t *words, uint32_t seed)
{
    for (size_t i = 0; i < all.bytes / sizeof *words; i++)
        if (words[i] != (uint32_t)i * 2654435761U + seed)
            return false;
    return true;
}

/* From host memory by way of the device to the same place. */
static bool goes_around(void *memory, uint32_t seed)
{
    uint32_t *words = memory;
    for (size_t i = 0; i < all.bytes / sizeof *words; i++)
        words[i] = (uint32_t)i * 2654435761U + seed;
    if (rig_copy(&all.rig, all.device.data, memory, all.bytes) < 0 ||
        rig_copy(&all.rig, all.second.data, all.device.data, all.bytes) < 0)
        return false;
    memset(memory, 0, all.bytes);
    return rig_copy(&all.rig, memory, all.second.data, all.bytes) == 0 && has_pattern(words, seed);
}

struct copy {
    const char *what;
    void *to;
    const void *from;
    int sides; /* of the device: a copy there reads and writes */
};

static int put_copy(struct rig *rig, const void *arg)
{
    const struct copy *copy = arg;
    return mst_gpu_copy(rig->queue, copy->to, copy->from, all.bytes);
}

static void time_copy(struct copy copy)
{
    double took_s = rig_seconds(&all.rig, put_copy, &copy, REPEATS);
    double bytes = (double)all.bytes * copy.sides;
    row_print(&(struct row){.result = took_s > 0 ? ROW_RIGHT : ROW_WRONG,
                            .what = copy.what,
                            .figure = took_s > 0 ? bytes / took_s / 1e9 : 0,
                            .unit = "GB/s"});
}

static void copies(void)
{
    void *device = all.device.data, *second = all.second.data, *pinned = all.pinned.data;
    check("pinned memory comes back as it was", goes_around(pinned, 1));
    time_copy((struct copy){"copy on the device", second, device, 2});
    time_copy((struct copy){"copy from pinned memory", device, pinned, 1});
    time_copy((struct copy){"copy to pinned memory", pinned, device, 1});
    char *plain = malloc(all.bytes);
    if (plain) {
        check("ordinary memory comes back as it was", goes_around(plain, 2));
        time_copy((struct copy){"copy from ordinary memory", device, plain, 1});
    }
    free(plain);
}

static void registered(void)
{
    register_memory();
    check("registered memory is known",
          all.registered && mst_gpu_mem(all.rig.gpu, all.registered) == MST_MEM_PINNED);
    if (!all.registered)
        return;
    check("registered memory comes back as it was", goes_around(all.registered, 3));
    time_copy((struct copy){"copy from registered memory", all.device.data, all.registered, 1});
    time_copy((struct copy){"copy to registered memory", all.registered, all.device.data, 1});
    forget_memory();
}

/* ---- code ------------------------------------------------------------------------------------ */

static void code(void)
{
    float *in = all.pinned.data;
    uint16_t out[2] = {0, 0}, wanted[2] = {0x3fc0, 0xc040};
    in[0] = 1.5F;
    in[1] = -3;
    int rc = rig_copy(&all.rig, all.device.data, in, 2 * sizeof *in);
    if (rc == 0)
        rc = mst_gpu_cast(all.rig.queue, all.second.data, MST_BF16, all.device.data, MST_F32, 2);
    if (rc == 0)
        rc = rig_copy(&all.rig, out, all.second.data, sizeof out);
    if (rig_lacks_kernels(&all.rig, rc))
        row_print(&(struct row){ROW_NOT_RUN, "the driver loads the fatbin and runs a kernel",
                                .words = "built without nvcc"});
    else
        check("the driver loads the fatbin and runs a kernel",
              rc == 0 && memcmp(out, wanted, sizeof out) == 0);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void tell_driver(void)
{
    int version = 0;
    char words[32] = "";
    if (driver.cuDriverGetVersion(&version) == 0)
        (void)snprintf(words, sizeof words, "CUDA %d.%d", version / 1000, version % 1000 / 10);
    row_print(&(struct row){.what = "driver and context", .words = words});
}

static int open_all(struct mst_err *err)
{
    int rc = rig_open(&all.rig, "cuda", err);
    if (rc < 0)
        return rc;
    rc = mst_gpu_queue_create(all.rig.gpu, &all.second_queue);
    if (rc == 0)
        rc = mst_gpu_alloc(all.rig.gpu, all.bytes, MST_MEM_DEVICE, &all.device);
    if (rc == 0)
        rc = mst_gpu_alloc(all.rig.gpu, all.bytes, MST_MEM_DEVICE, &all.second);
    if (rc == 0)
        rc = mst_gpu_alloc(all.rig.gpu, all.bytes, MST_MEM_PINNED, &all.pinned);
    return rc == 0 ? 0 : mst_err_set(err, rc, "%s", rig_error(&all.rig));
}

static void close_all(void)
{
    mst_gpu_free(all.rig.gpu, &all.device);
    mst_gpu_free(all.rig.gpu, &all.second);
    mst_gpu_free(all.rig.gpu, &all.pinned);
    mst_gpu_queue_destroy(all.second_queue);
    rig_close(&all.rig);
}

int main(int argc, char **argv)
{
    struct mst_err err = {0};
    char *end = NULL;
    all.bytes = argc == 2 ? strtoul(argv[1], &end, 10) : 0;
    if (all.bytes < 16384 || all.bytes % 8192 != 0 || *end) {
        fprintf(stderr, "usage: device BYTES, of whole pairs of pages\n");
        return 64;
    }
    two_processes();
    if (load_driver() < 0)
        return 1;
    if (open_all(&err) < 0) {
        fprintf(stderr, "device: %s\n", err.text);
        return 1;
    }
    row_print(&(struct row){.what = "card", .words = mst_gpu_name(all.rig.gpu)});
    tell_driver();
    contexts();
    check("two queues are ordered by an event", in_order());
    waits();
    check("a stream of the program's has its mark", marks_streams());
    check("memory is known for what it is", knows_memory());
    copies();
    registered();
    code();
    close_all();
    return 0;
}

/* Tensors in memory of a device, on the fake driver: what is saved and loaded, what the program
 * computes meanwhile, and what fails. */
#include "unit/ckpt_fixture.h"

#include "muster/gpu/fatbin.h"
#include "muster/gpu/gpu_cuda_sym.h"
#include "unit/fake_driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#define ILLEGAL_ADDRESS 700

/* What is asked of the fake driver itself. */
static struct {
    CUresult (*cuCtxSetCurrent)(CUcontext context);
    CUresult (*cuCtxGetCurrent)(CUcontext *ret_context);
    CUresult (*cuStreamCreate)(CUstream *ret_stream, unsigned flags);
    CUresult (*cuStreamDestroy_v2)(CUstream stream);
    CUresult (*cuLaunchHostFunc)(CUstream stream, void (*function)(void *arg), void *arg);
    void *(*fake_cuda_bytes)(const void *address);
    void (*fake_cuda_at_query)(CUstream stream, void (*function)(void *arg), void *arg);
    void (*fake_cuda_fail_call)(long n, CUresult code, bool sticky);
    bool (*fake_cuda_has_failed)(void);
    size_t (*fake_cuda_block_count)(void);
} fake;

static bool find_fakes(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
#define FIND(name) (*(void **)&fake.name = library ? dlsym(library, #name) : NULL)
    return FIND(cuStreamCreate) && FIND(cuStreamDestroy_v2) && FIND(cuCtxSetCurrent) &&
           FIND(cuCtxGetCurrent) && FIND(cuLaunchHostFunc) && FIND(fake_cuda_bytes) &&
           FIND(fake_cuda_at_query) && FIND(fake_cuda_fail_call) && FIND(fake_cuda_has_failed) &&
           FIND(fake_cuda_block_count);
#undef FIND
}

static void script(const char *text)
{
    assert_int_equal(setenv("FAKE_CUDA", text, 1), 0);
}

static int setup(void **state)
{
    script("");
    fixture_device = 0;
    fixture_big_rows = FIXTURE_FEW_ROWS;
    assert_int_equal(fake.fake_cuda_block_count(), 0);
    return fixture_setup(state);
}

/* Every registration and allocation has been given back. */
static int teardown(void **state)
{
    fake.fake_cuda_fail_call(0, 0, false);
    assert_int_equal(fake.fake_cuda_block_count(), 0);
    return fixture_teardown(state);
}

/* ---- a rank's tensors on its device ---------------------------------------------------------- */

enum places { ALL_HERE, ALL_THERE, MIXED };

struct there {
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue; /* the program's stream */
    struct mst_tensor tensors[FIXTURE_TENSORS];
};

static void open_there(struct there *there, const struct fixture_rank *rank, enum places places)
{
    const struct mst_gpu_opts opts = {
        .backend = "cuda", .device = MST_GPU_BY_RANK, .local_rank = rank->world.local_rank};
    assert_int_equal(mst_gpu_open(&opts, &there->gpu, NULL), 0);
    assert_int_equal(mst_gpu_queue_create(there->gpu, &there->queue), 0);
    for (size_t i = 0; i < FIXTURE_TENSORS; i++) {
        there->tensors[i] = rank->model.tensors[i];
        struct mst_span *span = &there->tensors[i].data;
        size_t size_bytes = span->size_bytes;
        if (places == ALL_HERE || (places == MIXED && i % 2 == 1))
            continue;
        assert_int_equal(mst_gpu_alloc(there->gpu, size_bytes + 1, MST_MEM_DEVICE, span), 0);
        span->size_bytes = size_bytes;
    }
}

static void close_there(struct there *there)
{
    mst_gpu_queue_destroy(there->queue);
    for (size_t i = 0; i < FIXTURE_TENSORS; i++)
        if (there->tensors[i].data.mem == MST_MEM_DEVICE)
            mst_gpu_free(there->gpu, &there->tensors[i].data);
    mst_gpu_close(there->gpu);
}

/* Puts the model's bytes into the program's stream, and waits for nothing. */
static void upload(struct there *there, const struct fixture_model *model)
{
    for (size_t i = 0; i < FIXTURE_TENSORS; i++)
        if (there->tensors[i].data.mem == MST_MEM_DEVICE)
            assert_int_equal(mst_gpu_copy(there->queue, there->tensors[i].data.data,
                                          model->tensors[i].data.data,
                                          model->tensors[i].data.size_bytes),
                             0);
}

/* Whether the tensors are those of `seed`. */
static bool holds(struct there *there, struct fixture_model *model, uint64_t seed)
{
    for (size_t i = 0; i < FIXTURE_TENSORS; i++)
        if (there->tensors[i].data.mem == MST_MEM_DEVICE)
            assert_int_equal(mst_gpu_copy(there->queue, model->tensors[i].data.data,
                                          there->tensors[i].data.data,
                                          model->tensors[i].data.size_bytes),
                             0);
    assert_int_equal(mst_gpu_queue_wait(there->queue, soon()), 0);
    return fixture_is(model, seed);
}

/* The same, and waits until they are there. */
static void fill(struct there *there, struct fixture_model *model, uint64_t seed)
{
    fixture_fill(model, seed);
    upload(there, model);
    assert_int_equal(mst_gpu_queue_wait(there->queue, soon()), 0);
}

static struct mst_state state_of(const struct there *there)
{
    struct mst_state state = MST_STATE_INIT;
    state.tensors = there->tensors;
    state.tensor_count = FIXTURE_TENSORS;
    state.cursor = (struct mst_cspan){.data = "cursor", .size_bytes = 6};
    state.stream = mst_gpu_queue_native(there->queue);
    return state;
}

static int save(struct fixture_rank *rank, struct there *there, uint64_t step)
{
    fixture_fill(&rank->model, step);
    upload(there, &rank->model);
    const struct mst_state state = state_of(there);
    return mst_ckpt_save(rank->ckpt, step, &state, soon());
}

static int load(struct fixture_rank *rank, struct there *there)
{
    const struct mst_state state = state_of(there);
    rank->loaded = (struct mst_ckpt_loaded)MST_CKPT_LOADED_INIT;
    return mst_ckpt_load(rank->ckpt, &state, &rank->loaded, soon(), &rank->err);
}

/* ---- what is saved and loaded ---------------------------------------------------------------- */

struct plan {
    enum places places;
    uint64_t step;
};

static void save_one(struct fixture_rank *rank)
{
    const struct plan *plan = rank->arg;
    struct there there;
    open_there(&there, rank, plan->places);
    rank->result = save(rank, &there, plan->step);
    assert_int_equal(mst_gpu_clear(there.queue, there.tensors[0].data.data,
                                   there.tensors[0].data.mem == MST_MEM_DEVICE
                                       ? there.tensors[0].data.size_bytes
                                       : 0),
                     0); /* they are the program's again */
    if (rank->result == 0)
        rank->result = mst_ckpt_drain(rank->ckpt, soon());
    close_there(&there);
}

static void load_one(struct fixture_rank *rank)
{
    const struct plan *plan = rank->arg;
    struct there there;
    open_there(&there, rank, plan->places);
    rank->result = load(rank, &there);
    rank->matches = rank->result == 0 && rank->loaded.step == plan->step &&
                    holds(&there, &rank->model, plan->step);
    close_there(&there);
}

static void run(uint32_t world_size, void (*fn)(struct fixture_rank *rank), struct plan plan)
{
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, world_size, fn, &plan);
    for (uint32_t r = 0; r < world_size; r++) {
        if (ranks[r].result != 0)
            print_error("rank %u: %d %s %s\n", r, ranks[r].result, ranks[r].err.text,
                        ranks[r].status.failed_text);
        assert_int_equal(ranks[r].result, 0);
        assert_true(fn != load_one || ranks[r].matches);
    }
}

/* From the host, the device or both, by any world to any other, and to where it came from. */
static void test_every_way(void **unused)
{
    static const struct {
        enum places from, to;
        uint32_t saved, loaded;
    } cases[] = {
        {ALL_THERE, ALL_THERE, 1, 1}, {MIXED, MIXED, 1, 1},        {MIXED, ALL_THERE, 2, 3},
        {ALL_THERE, MIXED, 3, 2},     {ALL_THERE, ALL_HERE, 3, 1}, {ALL_HERE, ALL_THERE, 1, 3},
    };
    (void)unused;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        run(cases[c].saved, save_one, (struct plan){cases[c].from, c + 1});
        run(cases[c].loaded, load_one, (struct plan){cases[c].to, c + 1});
    }
}

/* Of more than one block a part: what begins and ends inside of one, too. */
static void test_many_blocks(void **unused)
{
    (void)unused;
    fixture_big_rows = 2 * FIXTURE_MANY_ROWS;
    run(1, save_one, (struct plan){ALL_THERE, 1});
    run(1, load_one, (struct plan){ALL_THERE, 1});
    run(2, save_one, (struct plan){ALL_THERE, 2});
    run(3, load_one, (struct plan){ALL_THERE, 2});
}

/* ---- the program's streams ------------------------------------------------------------------- */

/* A kernel that runs until it is released, and then writes a tensor. */
struct kernel {
    atomic_bool is_released;
    CUstream stream;
    int queries;     /* by which it was asked for */
    uint8_t *tensor; /* where its bytes are; NULL: none */
    const uint8_t *bytes;
    size_t size_bytes;
};

static void run_kernel(void *arg)
{
    struct kernel *kernel = arg;
    while (!atomic_load(&kernel->is_released))
        (void)sched_yield();
    if (kernel->tensor)
        memcpy(kernel->tensor, kernel->bytes, kernel->size_bytes);
}

static void release(void *arg)
{
    struct kernel *kernel = arg;
    atomic_store(&kernel->is_released, true);
}

/* Whoever asks for the stream once, and then goes on, has not waited. */
static void release_at_third_query(void *arg)
{
    struct kernel *kernel = arg;
    if (++kernel->queries == 3)
        release(kernel);
    else
        fake.fake_cuda_at_query(kernel->stream, release_at_third_query, kernel);
}

/* Puts a kernel into the program's stream that makes the big tensor what the model says. */
static void start_kernel(struct kernel *kernel, struct there *there,
                         const struct fixture_model *model)
{
    const struct mst_span *to = &there->tensors[FIXTURE_BIG].data;
    *kernel = (struct kernel){.stream = mst_gpu_queue_native(there->queue),
                              .tensor = fake.fake_cuda_bytes(to->data),
                              .bytes = model->tensors[FIXTURE_BIG].data.data,
                              .size_bytes = to->size_bytes};
    CUcontext context = (CUcontext)(uintptr_t)1;
    assert_int_equal(fake.cuCtxSetCurrent(context), 0);
    assert_int_equal(fake.cuLaunchHostFunc(kernel->stream, run_kernel, kernel), 0);
    assert_int_equal(fake.cuCtxSetCurrent(NULL), 0);
}

/* The kernel ends only once the save has asked for it. */
static void save_behind_kernel(struct fixture_rank *rank)
{
    struct there there;
    struct kernel kernel;
    open_there(&there, rank, ALL_THERE);
    fixture_fill(&rank->model, 7);
    upload(&there, &rank->model);
    assert_int_equal(mst_gpu_clear(there.queue, there.tensors[FIXTURE_BIG].data.data,
                                   there.tensors[FIXTURE_BIG].data.size_bytes),
                     0);
    start_kernel(&kernel, &there, &rank->model);
    fake.fake_cuda_at_query(kernel.stream, release_at_third_query, &kernel);
    const struct mst_state state = state_of(&there);
    rank->result = mst_ckpt_save(rank->ckpt, 7, &state, soon());
    assert_true(atomic_load(&kernel.is_released));
    if (rank->result == 0)
        rank->result = mst_ckpt_drain(rank->ckpt, soon());
    close_there(&there);
}

static void test_waits_for_the_stream(void **unused)
{
    (void)unused;
    run(1, save_behind_kernel, (struct plan){0});
    run(1, load_one, (struct plan){ALL_THERE, 7});
}

/* Neither save nor load waits for what runs in another stream, nor that for them. */
static void save_and_load_beside_kernel(struct fixture_rank *rank)
{
    struct there there, other;
    struct kernel kernel;
    open_there(&there, rank, ALL_THERE);
    open_there(&other, rank, ALL_THERE);
    start_kernel(&kernel, &other, &rank->model);
    kernel.tensor = NULL;
    rank->result = save(rank, &there, 3);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
    assert_int_equal(
        mst_gpu_clear(there.queue, there.tensors[0].data.data, there.tensors[0].data.size_bytes),
        0);
    assert_int_equal(load(rank, &there), 0);
    assert_true(holds(&there, &rank->model, 3));
    assert_int_equal(mst_gpu_queue_query(other.queue), -EAGAIN);
    release(&kernel);
    close_there(&other);
    close_there(&there);
}

static void test_beside_a_kernel(void **unused)
{
    (void)unused;
    run(1, save_and_load_beside_kernel, (struct plan){0});
}

/* A stream that does not come to its end ends the save, and nothing else. */
static void save_with_stuck_kernel(struct fixture_rank *rank)
{
    struct there there;
    struct kernel kernel;
    open_there(&there, rank, ALL_THERE);
    assert_int_equal(save(rank, &there, 1), 0);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
    start_kernel(&kernel, &there, &rank->model);
    const struct mst_state state = state_of(&there);
    assert_int_equal(mst_ckpt_save(rank->ckpt, 2, &state, mst_now_ns()), -ETIMEDOUT);
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "state.stream"));
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), -ETIMEDOUT);
    rank->loaded = (struct mst_ckpt_loaded)MST_CKPT_LOADED_INIT;
    assert_int_equal(
        mst_ckpt_load(rank->ckpt, &state, &rank->loaded, mst_now_ns() + 1000000, &rank->err),
        -ETIMEDOUT);
    release(&kernel);
    assert_int_equal(load(rank, &there), 0);
    assert_int_equal(rank->loaded.step, 1);
    assert_int_equal(save(rank, &there, 3), 0);
    rank->result = mst_ckpt_drain(rank->ckpt, soon());
    close_there(&there);
}

static void test_a_stream_that_is_stuck(void **unused)
{
    (void)unused;
    run(1, save_with_stuck_kernel, (struct plan){0});
    run(1, load_one, (struct plan){ALL_THERE, 3});
}

/* ---- the program's context ------------------------------------------------------------------- */

static void expect_context(CUcontext context)
{
    CUcontext is = NULL;
    assert_int_equal(fake.cuCtxGetCurrent(&is), 0);
    assert_ptr_equal(is, context);
}

static void every_entry_in_context(struct fixture_rank *rank)
{
    CUcontext mine = (CUcontext)(uintptr_t)99;
    struct there there;
    open_there(&there, rank, MIXED);
    const struct mst_state state = state_of(&there);
    assert_int_equal(fake.cuCtxSetCurrent(mine), 0);
    assert_int_equal(mst_ckpt_prepare(rank->ckpt, &state), 0);
    expect_context(mine);
    assert_int_equal(save(rank, &there, 1), 0);
    expect_context(mine);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), 0);
    assert_int_equal(load(rank, &there), 0);
    expect_context(mine);
    struct mst_state wrong = state;
    wrong.stream = &there;
    assert_int_equal(mst_ckpt_save(rank->ckpt, 2, &wrong, soon()), -EINVAL);
    expect_context(mine);
    close_there(&there);
    mst_ckpt_close(rank->ckpt);
    expect_context(mine);
    assert_int_equal(fake.cuCtxSetCurrent(NULL), 0);
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    opts.uri = fixture_uri;
    rank->result = mst_ckpt_open(&opts, &rank->world, rank->kv, &rank->ckpt, &rank->err);
}

static void test_the_programs_context_stays(void **unused)
{
    (void)unused;
    run(1, every_entry_in_context, (struct plan){0});
}

/* Behind prepare the pool is registered before a save needs it. */
static void prepare_only(struct fixture_rank *rank)
{
    struct there there;
    open_there(&there, rank, ALL_THERE);
    size_t before = fake.fake_cuda_block_count();
    const struct mst_state state = state_of(&there);
    rank->result = mst_ckpt_prepare(rank->ckpt, &state);
    uint64_t deadline_ns = soon();
    while (fake.fake_cuda_block_count() == before && !mst_deadline_passed(deadline_ns))
        (void)sched_yield();
    assert_int_equal(fake.fake_cuda_block_count(), before + 1);
    close_there(&there);
}

static void test_prepare_registers(void **unused)
{
    (void)unused;
    run(1, prepare_only, (struct plan){0});
}

/* ---- what is refused ------------------------------------------------------------------------- */

struct refusal {
    int code;
    bool names_stream;
    const char *words;
    void (*spoil)(struct mst_state *state, struct there *there);
};

static void name_host_memory(struct mst_state *state, struct there *there)
{
    (void)state;
    there->tensors[1].data.mem = MST_MEM_DEVICE;
}

static void name_too_much(struct mst_state *state, struct there *there)
{
    (void)state;
    there->tensors[0].shape[0] += 4096;
    there->tensors[0].data.size_bytes += 4096 * 16 * sizeof(float);
}

static void name_no_stream(struct mst_state *state, struct there *there)
{
    state->stream = there;
}

/* NULL: none is. */
static CUstream captured;

static void capture(struct mst_state *state, struct there *there)
{
    (void)there;
    captured = state->stream;
    assert_int_equal(begin_capture(captured, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
}

/* The default stream waits for the other, and is named. */
static void capture_beside(struct mst_state *state, struct there *there)
{
    assert_int_equal(mst_gpu_enter(there->gpu), 0);
    assert_int_equal(fake.cuStreamCreate(&captured, 0), 0);
    mst_gpu_leave(there->gpu);
    assert_int_equal(begin_capture(captured, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
    state->stream = NULL;
}

/* What was refused has not spoilt it. */
static void end_own_capture(const struct there *there)
{
    if (!captured)
        return;
    assert_int_equal(end_capture(captured), 0);
    if (captured != mst_gpu_queue_native(there->queue))
        assert_int_equal(fake.cuStreamDestroy_v2(captured), 0);
    captured = NULL;
}

static void expect_named(const struct refusal *refusal, const struct mst_state *state,
                         const char *text)
{
    char start[160] = "";
    if (refusal->names_stream)
        (void)snprintf(start, sizeof start,
                       "tensor model/embedding in memory of FAKE device 0: state.stream %p ",
                       state->stream);
    if (!strstr(text, start) || !strstr(text, refusal->words))
        fail_msg("%s", text);
}

/* The program says another device than it has given to ckpt. */
static void name_other_memory(struct mst_state *state, struct there *there)
{
    const struct mst_gpu_opts opts = {.backend = "cuda", .device = 5};
    struct mst_gpu *gpu = NULL;
    struct mst_span *span = &there->tensors[1].data;
    size_t size_bytes = span->size_bytes;
    (void)state;
    assert_int_equal(mst_gpu_open(&opts, &gpu, NULL), 0);
    assert_int_equal(mst_gpu_alloc(gpu, size_bytes, MST_MEM_DEVICE, span), 0);
    mst_gpu_close(gpu);
}

static void forget_stream(struct mst_state *state, struct there *there)
{
    (void)there;
    state->stream = NULL;
}

static void expect_refusal(struct fixture_rank *rank)
{
    const struct refusal *refusal = rank->arg;
    struct there there;
    open_there(&there, rank, MIXED);
    struct mst_tensor good[FIXTURE_TENSORS];
    memcpy(good, there.tensors, sizeof good);
    assert_int_equal(mst_gpu_queue_wait(there.queue, soon()), 0);
    struct mst_state state = state_of(&there);
    refusal->spoil(&state, &there);
    rank->loaded = (struct mst_ckpt_loaded)MST_CKPT_LOADED_INIT;
    assert_int_equal(mst_ckpt_load(rank->ckpt, &state, &rank->loaded, soon(), &rank->err),
                     refusal->code ? refusal->code : -ENOENT);
    rank->result = mst_ckpt_save(rank->ckpt, 1, &state, soon());
    assert_int_equal(rank->result, refusal->code);
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), refusal->code);
    if (refusal->code != 0) {
        expect_named(refusal, &state, mst_ckpt_error(rank->ckpt));
        expect_named(refusal, &state, rank->err.text);
    }
    end_own_capture(&there);
    for (size_t i = 0; i < FIXTURE_TENSORS; i++)
        if (there.tensors[i].data.data != good[i].data.data)
            mst_gpu_free(there.gpu, &there.tensors[i].data);
    memcpy(there.tensors, good, sizeof good);
    close_there(&there);
}

static void test_refusals(void **state)
{
    static const struct refusal refusals[] = {
        {-EINVAL, false, "model/w1: its", name_host_memory},
        {-EINVAL, false, "model/embedding: its", name_too_much},
        {-EINVAL, false, "are not in memory of FAKE device 0", name_other_memory},
        {-EINVAL, true, "is no stream of that device", name_no_stream},
        {-ENOTSUP, true, "is being captured into a graph: call outside the capture", capture},
        {-ENOTSUP, true, "is the default one, and one that it waits for is being captured",
         capture_beside},
        {0, false, "", forget_stream}, /* the default one */
    };
    for (size_t r = 0; r < sizeof refusals / sizeof refusals[0]; r++) {
        struct fixture_rank rank;
        fixture_run(&rank, 1, expect_refusal, (void *)(uintptr_t)&refusals[r]);
        teardown(state);
        setup(state);
    }
}

/* Which device it is: the other end has its tensors in host memory that is said to be there. */
static void expect_device(struct fixture_rank *rank)
{
    const char *words = rank->arg;
    struct mst_state state = fixture_state(&rank->model, "cursor");
    rank->model.tensors[0].data.mem = MST_MEM_DEVICE;
    rank->result = mst_ckpt_save(rank->ckpt, 1, &state, soon());
    if (rank->world.rank + 1 == rank->world.size && !strstr(mst_ckpt_error(rank->ckpt), words))
        fail_msg("%s", mst_ckpt_error(rank->ckpt));
    assert_true(mst_ckpt_drain(rank->ckpt, soon()) < 0);
}

static void test_which_device(void **state)
{
    static const struct {
        const char *script, *words;
        uint32_t world_size;
        uint64_t device;
        int code;
    } cases[] = {
        {"devices=1", "FAKE device 0", 2, 0, -EINVAL},
        {"devices=2", "FAKE device 1", 2, 0, -EINVAL},
        {"devices=2", "local rank 2 has no CUDA device: this process sees 2", 3, 0, -EINVAL},
        {"devices=2", "FAKE device 1", 1, MST_CKPT_DEVICE(1), -EINVAL},
        {"devices=2", "no CUDA device 2: this process sees 2", 1, MST_CKPT_DEVICE(2), -EINVAL},
        {"devices=2", "no CUDA device 4294967294", 1, UINT64_MAX, -EINVAL},
        {"driver=0", "no CUDA device: the driver is too old", 1, 0, -ENOTSUP},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct fixture_rank ranks[FIXTURE_RANKS_MAX];
        script(cases[c].script);
        fixture_device = cases[c].device;
        fixture_run(ranks, cases[c].world_size, expect_device, (void *)(uintptr_t)cases[c].words);
        assert_int_equal(ranks[cases[c].world_size - 1].result, cases[c].code);
        teardown(state);
        setup(state);
    }
}

/* ---- what fails ------------------------------------------------------------------------------ */

struct failure {
    long call;
    CUresult code;
    bool sticky, has_failed;
};

static void expect_words(const struct fixture_rank *rank, int rc, const char *words)
{
    bool says_which = strstr(words, "FAKE device 0") || strstr(words, "CUDA device 0");
    if ((rc != -ENOMEM && rc != -EIO && rc != -EINVAL) || !says_which)
        fail_msg("rank %u: %d %s", rank->world.rank, rc, words);
}

/* A step that fails is told, and is as if it had never been; the next one is saved. */
static void save_through_failure(struct fixture_rank *rank)
{
    struct failure *failure = rank->arg;
    struct there there;
    uint64_t step = 2 * (uint64_t)failure->call;
    open_there(&there, rank, MIXED);
    fill(&there, &rank->model, step);
    const struct mst_state state = state_of(&there);
    fake.fake_cuda_fail_call(failure->call, failure->code, failure->sticky);
    rank->result = mst_ckpt_save(rank->ckpt, step, &state, soon());
    failure->has_failed = fake.fake_cuda_has_failed();
    fake.fake_cuda_fail_call(0, 0, false);
    assert_int_equal(rank->result < 0, failure->has_failed);
    if (failure->has_failed)
        expect_words(rank, rank->result, mst_ckpt_error(rank->ckpt));
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), rank->result);
    if (failure->has_failed)
        rank->result = save(rank, &there, step + 1);
    if (rank->result == 0)
        rank->result = mst_ckpt_drain(rank->ckpt, soon());
    close_there(&there);
}

/* A load that fails before the ranks agree changes nothing; behind that it is told. */
static void load_through_failure(struct fixture_rank *rank)
{
    struct failure *failure = rank->arg;
    struct there there;
    open_there(&there, rank, MIXED);
    fake.fake_cuda_fail_call(failure->call, failure->code, failure->sticky);
    rank->result = load(rank, &there);
    failure->has_failed = fake.fake_cuda_has_failed();
    fake.fake_cuda_fail_call(0, 0, false);
    if (rank->result < 0)
        expect_words(rank, rank->result, rank->err.text);
    if (failure->has_failed) /* or the pool is registered behind */
        rank->result = load(rank, &there);
    rank->matches = rank->result == 0 && holds(&there, &rank->model, rank->loaded.step);
    close_there(&there);
}

static void run_failures(CUresult code, bool sticky, void (*fn)(struct fixture_rank *rank))
{
    struct failure failure = {.code = code, .sticky = sticky, .has_failed = true};
    while (failure.has_failed && failure.call < 1000) {
        struct fixture_rank rank;
        failure.call++;
        fixture_run(&rank, 1, fn, &failure);
        if (rank.result != 0)
            print_error("call %ld: %d %s %s\n", failure.call, rank.result, rank.err.text,
                        rank.status.failed_text);
        assert_int_equal(rank.result, 0);
        assert_true(fn != load_through_failure || rank.matches);
        if (fn == save_through_failure)
            run(1, load_one,
                (struct plan){ALL_HERE, 2 * (uint64_t)failure.call + failure.has_failed});
    }
    assert_in_range(failure.call, 10, 999);
}

static void test_a_call_fails_in_save(void **unused)
{
    (void)unused;
    run_failures(CUDA_ERROR_OUT_OF_MEMORY, false, save_through_failure);
}

static void test_a_device_is_lost_in_save(void **unused)
{
    (void)unused;
    run_failures(ILLEGAL_ADDRESS, true, save_through_failure);
}

static void test_a_call_fails_in_load(void **unused)
{
    (void)unused;
    run(2, save_one, (struct plan){MIXED, 1});
    run_failures(CUDA_ERROR_OUT_OF_MEMORY, false, load_through_failure);
}

static void test_a_device_is_lost_in_load(void **unused)
{
    (void)unused;
    run(2, save_one, (struct plan){MIXED, 1});
    run_failures(ILLEGAL_ADDRESS, true, load_through_failure);
}

/* Work that fails shows at the end of the copies. */
static void expect_lost_copy(struct fixture_rank *rank)
{
    struct there there;
    open_there(&there, rank, MIXED);
    fill(&there, &rank->model, 2);
    const struct mst_state state = state_of(&there);
    script("fail=2"); /* of a queue's; the program's is beyond that */
    assert_int_equal(mst_ckpt_save(rank->ckpt, 2, &state, soon()), -EIO);
    script("");
    assert_non_null(strstr(mst_ckpt_error(rank->ckpt), "illegal memory access"));
    assert_int_equal(mst_ckpt_drain(rank->ckpt, soon()), -EIO);
    close_there(&there);
}

static void test_a_copy_is_lost(void **unused)
{
    struct fixture_rank rank;
    (void)unused;
    run(1, save_one, (struct plan){ALL_HERE, 1});
    fixture_run(&rank, 1, expect_lost_copy, NULL);
    run(1, load_one, (struct plan){ALL_THERE, 1});
}

/* Bytes that change on their way to the device are found out there. */
static void expect_spoiled(struct fixture_rank *rank)
{
    struct there there;
    open_there(&there, rank, MIXED);
    script("spoil=1");
    assert_int_equal(load(rank, &there), -EIO);
    assert_non_null(strstr(rank->err.text, "FAKE device 0 does not hold what it was given"));
    assert_non_null(strstr(rank->err.text, "tensor "));
    script("");
    assert_int_equal(load(rank, &there), 0);
    assert_true(holds(&there, &rank->model, 1));
    close_there(&there);
}

static void test_bytes_change_on_their_way(void **unused)
{
    struct fixture_rank rank;
    (void)unused;
    if (!gpu_fatbin)
        skip();
    run(2, save_one, (struct plan){ALL_THERE, 1});
    fixture_run(&rank, 1, expect_spoiled, NULL);
}

/* Without kernels nothing is asked there, and all that is verified here is loaded. */
static void test_no_kernels(void **unused)
{
    (void)unused;
    run(1, save_one, (struct plan){ALL_THERE, 1});
    script("launch=209");
    run(1, load_one, (struct plan){ALL_THERE, 1});
    script("");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_every_way),
        CASE(test_many_blocks),
        CASE(test_waits_for_the_stream),
        CASE(test_beside_a_kernel),
        CASE(test_a_stream_that_is_stuck),
        CASE(test_the_programs_context_stays),
        CASE(test_prepare_registers),
        CASE(test_refusals),
        CASE(test_which_device),
        CASE(test_a_call_fails_in_save),
        CASE(test_a_device_is_lost_in_save),
        CASE(test_a_call_fails_in_load),
        CASE(test_a_device_is_lost_in_load),
        CASE(test_a_copy_is_lost),
        CASE(test_bytes_change_on_their_way),
        CASE(test_no_kernels),
    };
    if (!has_fake_driver() || !find_fakes())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

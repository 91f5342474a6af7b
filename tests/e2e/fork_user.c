/* A training that forks after every open, and while all is at work: children try each call on what
 * the parent made, close all of it and exit, some at once and some when the parent has ended. The
 * parent must train on as if there were none.
 *
 *   muster run --nproc 2 -- fork_user DATA CKPT STEPS fork|plain
 *   prints "final <digest>" on rank 0
 *
 * It opens what examples/loop.c opens, in words of its own: a fork stands between any two calls.
 * A child that finds an answer other than -ENOTSUP says which and exits with 1, as the parent then
 * does. */
#include "muster/muster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 8, RECORD = 128, SAVE_EVERY = 5, CHILDREN_MAX = 256 };

static struct mst_world *world;
static struct mst_kv *kv;
static struct mst_comm *comm;
static struct mst_loader *loader;
static struct mst_ckpt *ckpt;
static struct mst_job *job;
static struct mst_req *req; /* started, not waited for */

static bool forks;
static int leave[2]; /* closed by the parent's end: then the late children go */
static pid_t children[CHILDREN_MAX];
static int child_count;

static uint64_t model[1024], digest;
static uint8_t cursor[MST_CURSOR_BYTES];
static const struct mst_tensor tensors[] = {
    {.name = "model",
     .dtype = MST_U64,
     .dim_count = 1,
     .shape = {1024},
     .data = {model, sizeof model, MST_MEM_HOST}},
};
static const struct mst_state state = {
    .struct_bytes = sizeof(struct mst_state),
    .tensor_bytes = sizeof(struct mst_tensor),
    .tensors = tensors,
    .tensor_count = 1,
    .cursor = {cursor, sizeof cursor, MST_MEM_HOST},
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "fork_user: %s: %s\n", what, why);
    exit(1);
}

static uint64_t soon(void)
{
    return mst_deadline_ms(60000);
}

static bool strange;

static void refused(const char *call, int rc)
{
    if (rc == -ENOTSUP)
        return;
    fprintf(stderr, "fork_user: a child's %s answered %s\n", call, mst_err_meaning(rc));
    strange = true;
}

static void try_openings(void)
{
    struct mst_err err;
    struct mst_kv *own_kv;
    struct mst_comm *own_comm;
    struct mst_ckpt *own_ckpt;
    struct mst_job *own_job;
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    opts.uri = "/nowhere";
    refused("mst_kv_dial", mst_kv_dial(world, soon(), &own_kv, &err));
    refused("mst_comm_join", mst_comm_join(world, NULL, &own_comm, &err));
    refused("mst_ckpt_open", mst_ckpt_open(&opts, world, NULL, &own_ckpt, &err));
    refused("mst_job_open", mst_job_open(world, &own_job, &err));
}

static void try_kv(void)
{
    uint64_t version = 0;
    int64_t number;
    char byte;
    const struct mst_span value = {&byte, sizeof byte, MST_MEM_HOST};
    struct mst_kv *clone;
    struct mst_err err;
    refused("mst_kv_set", mst_kv_set(kv, "a", "b", 1, soon()));
    refused("mst_kv_get", mst_kv_get(kv, "a", NULL, 0, NULL, soon()));
    refused("mst_kv_wait", mst_kv_wait(kv, "a", NULL, 0, NULL, soon()));
    refused("mst_kv_add", mst_kv_add(kv, "a", 1, &number, soon()));
    refused("mst_kv_delete_prefix", mst_kv_delete_prefix(kv, "a", soon()));
    refused("mst_kv_watch", mst_kv_watch(kv, "a", &version, &value, NULL, soon()));
    refused("mst_kv_barrier", mst_kv_barrier(kv, "a", 1, soon()));
    refused("mst_kv_clone", mst_kv_clone(kv, soon(), &clone, &err));
    mst_kv_close(kv);
}

static void try_comm(void)
{
    uint64_t one[2] = {1};
    refused("mst_comm_allreduce", mst_comm_allreduce(comm, one, one, 1, MST_U64, MST_SUM, NULL));
    refused("mst_comm_broadcast", mst_comm_broadcast(comm, one, 1, MST_U64, 0, NULL));
    refused("mst_comm_allgather", mst_comm_allgather(comm, one, one, 1, MST_U64, NULL));
    refused("mst_comm_reduce_scatter",
            mst_comm_reduce_scatter(comm, one, one, 1, MST_U64, MST_SUM, NULL));
    refused("mst_comm_barrier", mst_comm_barrier(comm, NULL));
    if (req)
        refused("mst_req_wait", mst_req_wait(req));
    mst_comm_abort(comm);
    mst_comm_destroy(comm);
}

static void try_loader(void)
{
    struct mst_batch batch = MST_BATCH_INIT;
    struct mst_err err;
    uint8_t place[MST_CURSOR_BYTES];
    mst_loader_cursor(loader, place);
    refused("mst_loader_next", mst_loader_next(loader, &batch, soon()));
    refused("mst_loader_seek", mst_loader_seek(loader, place, sizeof place, &err));
    mst_loader_close(loader);
}

static void try_ckpt(void)
{
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    struct mst_ckpt_status status = MST_CKPT_STATUS_INIT;
    struct mst_err err;
    refused("mst_ckpt_prepare", mst_ckpt_prepare(ckpt, &state));
    refused("mst_ckpt_save", mst_ckpt_save(ckpt, 1 << 20, &state, soon()));
    refused("mst_ckpt_drain", mst_ckpt_drain(ckpt, soon()));
    refused("mst_ckpt_load", mst_ckpt_load(ckpt, &state, &loaded, soon(), &err));
    refused("mst_ckpt_get_status", mst_ckpt_get_status(ckpt, &status));
    mst_ckpt_close(ckpt);
}

static void be_a_child(bool late)
{
    char byte;
    close(leave[1]);
    if (late && read(leave[0], &byte, 1) != 0)
        strange = true;
    try_openings();
    if (kv)
        try_kv();
    if (comm)
        try_comm();
    if (loader)
        try_loader();
    if (ckpt)
        try_ckpt();
    if (job)
        refused("mst_job_step", mst_job_step(job, 1, soon()));
    mst_job_close(job);
    mst_world_destroy(world);
    exit(strange); /* and what libraries do at the end */
}

/* One child that goes at once, and one that outlives us. */
static void fork_here(void)
{
    for (int late = 0; forks && late < 2; late++) {
        pid_t pid = child_count < CHILDREN_MAX ? fork() : -1;
        if (pid < 0)
            die("fork", "no more");
        if (pid == 0)
            be_a_child(late);
        children[child_count++] = pid;
    }
}

static void start(const char *data, const char *root)
{
    struct mst_err err;
    struct mst_loader_opts texts = MST_LOADER_OPTS_INIT;
    struct mst_ckpt_opts saves = MST_CKPT_OPTS_INIT;
    texts.uri = data;
    texts.format = MST_FORMAT_RAW;
    texts.dtype = MST_U8;
    texts.record_elems = RECORD;
    texts.global_batch = BATCH;
    saves.uri = root;
    if (mst_world_from_env(&world, &err) < 0)
        die("world", err.text);
    fork_here();
    if (mst_kv_dial(world, soon(), &kv, &err) < 0)
        die("kv", err.text);
    fork_here();
    if (mst_comm_create(world, kv, NULL, &comm, &err) < 0)
        die("comm", err.text);
    fork_here();
    if (mst_loader_open(&texts, world, &loader, &err) < 0)
        die("loader", err.text);
    fork_here();
    if (mst_ckpt_open(&saves, world, kv, &ckpt, &err) < 0)
        die("ckpt", err.text);
    fork_here();
    if (mst_job_open(world, &job, &err) < 0)
        die("job", err.text);
    fork_here();
}

static void sum_in_two_parts(struct mst_call *started)
{
    size_t half = 512;
    if (mst_comm_allreduce(comm, model, model, half, MST_U64, MST_SUM, started) < 0)
        die("start", mst_comm_error(comm));
    if (child_count < CHILDREN_MAX / 2)
        fork_here();
    int rc = mst_req_wait(req);
    req = NULL;
    if (rc < 0 ||
        mst_comm_allreduce(comm, model + half, model + half, half, MST_U64, MST_SUM, NULL) < 0)
        die("sum", mst_comm_error(comm));
}

static void train(uint64_t steps)
{
    struct mst_batch batch = MST_BATCH_INIT;
    struct mst_call started = MST_CALL_INIT;
    started.ret_req = &req;
    for (uint64_t step = 1; step <= steps; step++) {
        if (mst_loader_next(loader, &batch, soon()) < 0)
            die("data", mst_loader_error(loader));
        memset(model, 0, sizeof model);
        for (uint32_t i = 0; i < batch.sample_count; i++) {
            const uint8_t *text = (const uint8_t *)batch.samples[i].data.data;
            for (size_t at = 0; at < RECORD; at++)
                model[at * 8 % 1024 + text[at] % 8]++;
        }
        sum_in_two_parts(&started);
        for (size_t i = 0; i < 1024; i++)
            digest = (digest ^ model[i]) * UINT64_C(0xD1342543DE82EF95);
        if (mst_job_step(job, step, soon()) != MST_JOB_GO)
            die("job", "another verdict than to go on");
        mst_loader_cursor(loader, cursor);
        if (step % SAVE_EVERY == 0 && mst_ckpt_save(ckpt, step, &state, soon()) < 0)
            die("save", mst_ckpt_error(ckpt));
    }
    if (mst_ckpt_drain(ckpt, soon()) < 0)
        die("drain", mst_ckpt_error(ckpt));
}

static void stop(void)
{
    mst_job_close(job);
    mst_ckpt_close(ckpt);
    mst_loader_close(loader);
    mst_comm_destroy(comm);
    mst_kv_close(kv);
    close(leave[1]);
    for (int i = 0; i < child_count; i++) {
        int status = 0;
        if (waitpid(children[i], &status, 0) != children[i] || status) {
            fprintf(stderr, "fork_user: child %d ended with status %#x\n", i, (unsigned)status);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 5 || pipe(leave))
        return 64;
    forks = strcmp(argv[4], "fork") == 0;
    start(argv[1], argv[2]);
    train(strtoull(argv[3], NULL, 10));
    stop();
    if (mst_world_rank(world) == 0)
        printf("final %016" PRIx64 " children %d\n", digest, child_count);
    mst_world_destroy(world);
    return 0;
}

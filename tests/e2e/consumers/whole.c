/* whole DATA ROOT: a program that includes everything, reads a batch of the file DATA, and saves
 * and loads a checkpoint in ROOT. C11 and C++17. */
#include <muster/muster.h>

#include <stdio.h>
#include <string.h>

struct program {
    struct mst_world *world;
    struct mst_kv *kv;
    struct mst_loader *loader;
    struct mst_ckpt *ckpt;
    struct mst_job *job;
};

static int open_all(struct program *program, const char *data, const char *root,
                    struct mst_err *err)
{
    struct mst_loader_opts loader = MST_LOADER_OPTS_INIT;
    struct mst_ckpt_opts ckpt = MST_CKPT_OPTS_INIT;
    loader.uri = data;
    loader.format = MST_FORMAT_RAW;
    loader.dtype = MST_U8;
    loader.record_elems = 16;
    loader.global_batch = 4;
    ckpt.uri = root;
    int rc = mst_world_single(&program->world);
    if (rc == 0)
        rc = mst_kv_dial(program->world, mst_deadline_ms(10000), &program->kv, err);
    if (rc == 0)
        rc = mst_loader_open(&loader, program->world, &program->loader, err);
    if (rc == 0)
        rc = mst_ckpt_open(&ckpt, program->world, program->kv, &program->ckpt, err);
    if (rc == 0)
        rc = mst_job_open(program->world, &program->job, err);
    return rc;
}

/* A batch's first byte becomes a tensor, which is saved, spoiled and loaded. */
static int run(struct program *program, struct mst_err *err)
{
    uint64_t deadline_ns = mst_deadline_ms(30000);
    struct mst_batch batch = MST_BATCH_INIT;
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    struct mst_state state = MST_STATE_INIT;
    struct mst_tensor tensor;
    uint8_t cursor[MST_CURSOR_BYTES], first, value;
    int rc = mst_loader_next(program->loader, &batch, deadline_ns);
    if (rc < 0 || batch.sample_count != 4)
        return -1;
    first = value = *(const uint8_t *)batch.samples->data.data;
    mst_loader_cursor(program->loader, cursor);
    memset(&tensor, 0, sizeof tensor);
    tensor.name = "first";
    tensor.dtype = MST_U8;
    tensor.data.data = &value;
    tensor.data.size_bytes = 1;
    state.tensors = &tensor;
    state.tensor_count = 1;
    state.cursor.data = cursor;
    state.cursor.size_bytes = sizeof cursor;
    rc = mst_ckpt_save(program->ckpt, 1, &state, deadline_ns);
    if (rc == 0)
        rc = mst_ckpt_drain(program->ckpt, deadline_ns);
    value = (uint8_t)~first;
    if (rc == 0)
        rc = mst_ckpt_load(program->ckpt, &state, &loaded, deadline_ns, err);
    if (rc == 0)
        rc = mst_loader_seek(program->loader, loaded.cursor, loaded.cursor_bytes, err);
    if (rc == 0)
        rc = mst_job_step(program->job, loaded.step, deadline_ns);
    return rc == MST_JOB_GO && loaded.step == 1 && value == first ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct program program = {NULL, NULL, NULL, NULL, NULL};
    struct mst_err err = {0, ""};
    if (argc != 3)
        return 64;
    int rc = open_all(&program, argv[1], argv[2], &err);
    if (rc == 0)
        rc = run(&program, &err);
    printf("muster %s: %s\n", mst_version(), rc == 0 ? "read, saved, loaded" : err.text);
    mst_job_close(program.job);
    mst_ckpt_close(program.ckpt);
    mst_loader_close(program.loader);
    mst_kv_close(program.kv);
    mst_world_destroy(program.world);
    return rc == 0 ? 0 : 1;
}

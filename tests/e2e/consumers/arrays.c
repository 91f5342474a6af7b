/* arrays DATA ROOT: elements of arrays of another minor version, compiled against headers in which
 * the last field of a sample is missing, and against some in which samples and tensors have one
 * more (SHINY is what it is set to in the second tensor). Reads two samples of the file DATA, saves
 * them as two tensors in ROOT, loads these, and says what each call answers and what arrived. */
#include <muster/muster.h>

#include <stdio.h>
#include <string.h>

enum { BYTES = 4 };

static struct mst_world *world;
static struct mst_kv *kv;
static struct mst_loader *loader;
static struct mst_ckpt *ckpt;
static char texts[2][BYTES + 1];

static int open_all(const char *data, const char *root, struct mst_err *err)
{
    struct mst_loader_opts records = MST_LOADER_OPTS_INIT;
    struct mst_ckpt_opts saves = MST_CKPT_OPTS_INIT;
    records.uri = data;
    records.format = MST_FORMAT_RAW;
    records.dtype = MST_U8;
    records.record_elems = BYTES;
    records.global_batch = 2;
    records.sequential = 1;
    saves.uri = root;
    int rc = mst_world_single(&world);
    if (rc == 0)
        rc = mst_kv_dial(world, mst_deadline_ms(10000), &kv, err);
    if (rc == 0)
        rc = mst_loader_open(&records, world, &loader, err);
    return rc == 0 ? mst_ckpt_open(&saves, world, kv, &ckpt, err) : rc;
}

static int read_samples(void)
{
    struct mst_batch batch = MST_BATCH_INIT;
    int rc = mst_loader_next(loader, &batch, mst_deadline_ms(10000));
    for (uint32_t i = 0; rc == 0 && i < 2; i++) {
        memcpy(texts[i], batch.samples[i].data.data, BYTES);
        printf("sample %s\n", texts[i]);
#ifdef SHINY
        printf("shiny %llu\n", (unsigned long long)batch.samples[i].shiny);
#endif
    }
    return rc;
}

static int save_and_load(struct mst_err *err)
{
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    struct mst_state state = MST_STATE_INIT;
    struct mst_tensor tensors[2] = {{0}};
    for (int i = 0; i < 2; i++) {
        tensors[i].name = i == 0 ? "first" : "second";
        tensors[i].dtype = MST_U8;
        tensors[i].dim_count = 1;
        tensors[i].shape[0] = BYTES;
        tensors[i].data.data = texts[i];
        tensors[i].data.size_bytes = BYTES;
    }
#ifdef SHINY
    tensors[1].shiny = SHINY;
#endif
    state.tensors = tensors;
    state.tensor_count = 2;
    int rc = mst_ckpt_save(ckpt, 1, &state, mst_deadline_ms(10000));
    printf("save %d %s\n", rc, mst_ckpt_error(ckpt));
    if (rc == 0)
        rc = mst_ckpt_drain(ckpt, mst_deadline_ms(10000));
    memset(texts, 0, sizeof texts);
    if (rc == 0)
        rc = mst_ckpt_load(ckpt, &state, &loaded, mst_deadline_ms(10000), err);
    printf("tensors %s %s\n", texts[0], texts[1]);
    return rc;
}

int main(int argc, char **argv)
{
    struct mst_err err = {0, ""};
    if (argc != 3)
        return 64;
    int rc = open_all(argv[1], argv[2], &err);
    if (rc == 0)
        rc = read_samples();
    if (rc == 0)
        rc = save_and_load(&err);
    printf("end %d %s\n", rc, err.text);
    mst_ckpt_close(ckpt);
    mst_loader_close(loader);
    mst_kv_close(kv);
    mst_world_destroy(world);
    return rc == 0 ? 0 : 1;
}

/* An environment as execve lays it out, "NAME=value" texts ended by NUL: whatever it says, to the
 * contract of `muster run` and to the resolver, the world that comes out holds together. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "muster/core/err.h"
#include "muster/core/resolve/resolve.h"
#include "muster/core/world/answer.h"
#include "muster/core/world/env.h"
#include "muster/core/world/state.h"

#define VARS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct block {
    char *text;
    size_t size;
};

static const char *find(void *arg, const char *name)
{
    const struct block *block = arg;
    size_t length = strlen(name);
    for (size_t at = 0; at < block->size; at += strlen(block->text + at) + 1)
        if (strncmp(block->text + at, name, length) == 0 && block->text[at + length] == '=')
            return block->text + at + length + 1;
    return NULL;
}

static void check(const struct mst_world *world, int secret_fd)
{
    if (world->rank >= world->size || world->local_rank >= world->local_size ||
        world->node >= world->node_count || world->local_size > world->size ||
        world->node_count > world->size)
        abort();
    if (secret_fd < -1 || world->page_fd < -1 || world->shm_fd < -1 || world->secret_bytes != 0)
        abort();
    if (world->source == MST_WORLD_MUSTER && world->size > 1 && !world->kv_addr[0])
        abort();
}

static const char *no_file(void *arg, const char *path)
{
    (void)arg; /* there are none, of whatever name */
    (void)path;
    return NULL;
}

static int ask_resolver(const struct block *block, struct mst_world *world, struct mst_err *err)
{
    static struct mst_answer answer;
    char *vars[VARS_MAX + 1];
    size_t count = 0;
    for (size_t at = 0; at < block->size && count < VARS_MAX; at += strlen(block->text + at) + 1)
        vars[count++] = block->text + at;
    vars[count] = NULL;
    struct mst_machine machine = {
        .env = vars, .hostname = "job-worker-1", .pod_ip = "", .read_file = no_file};
    (void)mst_resolve(&machine, NULL, &answer); /* it has the error */
    return world_from_answer(&answer, world, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    struct block block = {text, size};
    struct world_env env = {.lookup = find, .arg = &block};
    struct mst_err err = {0};
    int secret_fd;
    struct mst_world world;
    int rc = world_env_decode(&env, &world, &secret_fd, &err);
    if (rc == 0)
        rc = ask_resolver(&block, &world, &err);
    if (rc >= 0)
        check(&world, secret_fd);
    else if (err.code != rc || !err.text[0])
        abort();
    free(text);
    return 0;
}

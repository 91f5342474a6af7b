/* blobctl COMMAND URI …: the public face of core/blob/blob.h by hand, for end-to-end tests.
 *   put URI KEY FILE [new] · get URI KEY FILE [CHUNK_BYTES] · stat URI KEY · list URI PREFIX
 *   rm URI KEY · fill URI PREFIX COUNT
 * BLOBCTL_TIMEOUT_MS is the timeout of one request. The exit code is the positive errno. */
#include "muster/core/blob/blob.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 8

static int put(struct mst_blob *blob, char **args, struct mst_err *err)
{
    uint32_t flags = args[2] && strcmp(args[2], "new") == 0 ? MST_BLOB_NEW : 0;
    return mst_blob_put_file(blob, args[0], args[1], flags, MST_NEVER, err);
}

/* Puts COUNT small objects. */
static int fill(struct mst_blob *blob, char **args, struct mst_err *err)
{
    long count = strtol(args[1], NULL, 10);
    int rc = 0;
    for (long i = 0; i < count && rc == 0; i++) {
        char key[256];
        (void)snprintf(key, sizeof key, "%s/%05ld", args[0], i);
        rc = mst_blob_put(blob, key, (struct mst_cspan){key, strlen(key), MST_MEM_HOST}, 0,
                          MST_NEVER, err);
    }
    return rc;
}

static int stat_key(struct mst_blob *blob, char **args, struct mst_err *err)
{
    struct mst_blob_info info;
    int rc = mst_blob_stat(blob, args[0], &info, MST_NEVER, err);
    if (rc == 0)
        printf("%llu %s\n", (unsigned long long)info.size_bytes, info.version);
    return rc;
}

static int print_key(void *arg, const char *key, const struct mst_blob_info *info)
{
    (void)arg;
    printf("%llu %s\n", (unsigned long long)info->size_bytes, key);
    return 0;
}

static int list(struct mst_blob *blob, char **args, struct mst_err *err)
{
    return mst_blob_list(blob, args[0], print_key, NULL, MST_NEVER, err);
}

static int remove_key(struct mst_blob *blob, char **args, struct mst_err *err)
{
    return mst_blob_remove(blob, args[0], MST_NEVER, err);
}

/* Reads an object in chunks, DEPTH of them in flight, pinned to the version that stat saw. */
static int read_chunks(struct mst_blob *blob, const char *key, const struct mst_blob_info *info,
                       char *data, size_t chunk_bytes, struct mst_err *err)
{
    uint64_t next = 0, arrived = 0, flying = 0;
    while (arrived < info->size_bytes) {
        uint64_t left = info->size_bytes - next;
        struct mst_blob_read read = {.key = key,
                                     .offset = next,
                                     .data = data + next,
                                     .size_bytes = left < chunk_bytes ? (size_t)left : chunk_bytes,
                                     .version = info->version};
        if (left > 0 && flying < DEPTH && mst_blob_submit(blob, &read, 1) == 1) {
            next += read.size_bytes;
            flying++;
            continue;
        }
        struct mst_blob_done done;
        int count = mst_blob_reap(blob, &done, 1, 1, MST_NEVER);
        if (count < 0)
            return mst_err_set(err, count, "reap failed");
        if (done.result < 0)
            return mst_err_set(err, (int)done.result, "%s", mst_blob_error(blob));
        arrived += (uint64_t)done.result;
        flying--;
        if (done.result == 0)
            return mst_err_set(err, -EIO, "a chunk came empty");
    }
    return 0;
}

static int get(struct mst_blob *blob, char **args, struct mst_err *err)
{
    struct mst_blob_info info;
    size_t chunk_bytes = args[2] ? (size_t)strtoul(args[2], NULL, 10) : (size_t)4 << 20;
    int rc = mst_blob_stat(blob, args[0], &info, MST_NEVER, err);
    if (rc < 0)
        return rc;
    char *data = malloc((size_t)info.size_bytes + 1);
    FILE *file = data ? fopen(args[1], "wb") : NULL;
    if (!file)
        rc = mst_err_set(err, -ENOMEM, "%s cannot be written", args[1]);
    if (rc == 0)
        rc = read_chunks(blob, args[0], &info, data, chunk_bytes, err);
    if (rc == 0 && fwrite(data, 1, (size_t)info.size_bytes, file) != info.size_bytes)
        rc = mst_err_set(err, -EIO, "%s cannot be written", args[1]);
    if (file)
        (void)fclose(file); /* the comparison that follows would see it */
    free(data);
    return rc;
}

struct command {
    const char *name;
    int arg_count;
    int (*run)(struct mst_blob *blob, char **args, struct mst_err *err);
};

static const struct command commands[] = {
    {"put", 2, put},   {"get", 2, get},       {"stat", 1, stat_key},
    {"list", 1, list}, {"rm", 1, remove_key}, {"fill", 2, fill},
};

static const struct command *find_command(const char *name, int arg_count)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0 && arg_count >= commands[i].arg_count)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct command *command = argc > 2 ? find_command(argv[1], argc - 3) : NULL;
    if (!command) {
        fprintf(stderr, "usage: blobctl put|get|stat|list|rm|fill URI …\n");
        return 2;
    }
    const char *timeout = getenv("BLOBCTL_TIMEOUT_MS");
    struct mst_blob_opts opts = {.depth = DEPTH,
                                 .timeout_ms = timeout ? (uint32_t)strtoul(timeout, NULL, 10) : 0};
    struct mst_blob *blob = NULL;
    struct mst_err err = {0};
    int rc = mst_blob_open(argv[2], &opts, &blob, &err);
    if (rc == 0)
        rc = command->run(blob, argv + 3, &err);
    mst_blob_close(blob);
    if (rc < 0)
        fprintf(stderr, "blobctl: %s\n", err.text);
    return -rc;
}

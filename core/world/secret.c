#include "muster/core/world/secret.h"

#include "muster/core/err.h"
#include "muster/core/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t trim(const uint8_t *secret, size_t size)
{
    while (size > 0 && (secret[size - 1] == '\n' || secret[size - 1] == '\r'))
        size--;
    return size;
}

static int read_file(const char *path, uint8_t *secret, size_t cap, struct mst_err *err)
{
    FILE *file = mst_file_read(path);
    if (!file)
        return mst_err_set(err, -errno, "MST_JOB_SECRET_FILE=%s: %s", path,
                           mst_file_meaning(errno));
    setbuf(file, NULL); /* no copy of the secret stays in a buffer */
    size_t size = fread(secret, 1, cap, file);
    int rc = ferror(file) ? -errno : 0;
    fclose(file);
    if (rc)
        return mst_err_set(err, rc, "MST_JOB_SECRET_FILE=%s: %s", path, mst_err_meaning(rc));
    size = trim(secret, size);
    if (size == 0)
        return mst_err_set(err, -EINVAL, "MST_JOB_SECRET_FILE=%s holds no secret", path);
    return (int)size;
}

int mst_secret_from_env(uint8_t secret[MST_SECRET_BYTES_MAX], struct mst_err *err)
{
    uint8_t found[MST_SECRET_BYTES_MAX + 1]; /* one more, so that a longer secret is seen */
    const char *text = getenv("MST_JOB_SECRET");
    const char *path = getenv("MST_JOB_SECRET_FILE");
    int size = 0;
    if (path && *path) {
        size = read_file(path, found, sizeof found, err);
    } else if (text) {
        size = (int)strnlen(text, sizeof found);
        memcpy(found, text, (size_t)size);
        size = (int)trim(found, (size_t)size);
    }
    if (size > MST_SECRET_BYTES_MAX)
        size = mst_err_set(err, -EINVAL, "the job secret is over %d bytes: shorten it",
                           MST_SECRET_BYTES_MAX);
    if (size > 0)
        memcpy(secret, found, (size_t)size);
    explicit_bzero(found, sizeof found);
    return size;
}

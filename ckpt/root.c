/* Names, listing and reading; root_change.c holds what changes the directory. */
#include "muster/ckpt/root.h"

#include "muster/ckpt/manifest.h"
#include "muster/ckpt/owner.h"
#include "muster/core/err.h"
#include "muster/core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void root_step_name(char name[ROOT_NAME_MAX], uint64_t step)
{
    snprintf(name, ROOT_NAME_MAX, "step_%" PRIu64, step);
}

void root_temp_name(char name[ROOT_NAME_MAX], uint64_t step, const char *claim)
{
    snprintf(name, ROOT_NAME_MAX, "step_%" PRIu64 ".tmp.%s", step, claim);
}

void root_file_name(char name[ROOT_NAME_MAX], uint32_t rank)
{
    snprintf(name, ROOT_NAME_MAX, "rank_%" PRIu32 ".h5", rank);
}

void root_owner_name(char name[ROOT_NAME_MAX], uint64_t epoch)
{
    snprintf(name, ROOT_NAME_MAX, "OWNER.%" PRIu64, epoch);
}

void root_owner_temp_name(char name[ROOT_NAME_MAX], uint64_t unique)
{
    snprintf(name, ROOT_NAME_MAX, "OWNER.tmp.%016" PRIx64, unique);
}

void root_claim_name(char name[ROOT_NAME_MAX], uint64_t epoch, uint64_t token)
{
    snprintf(name, ROOT_NAME_MAX, "e%" PRIu64 ".%016" PRIx64, epoch, token);
}

void root_file_path(char path[ROOT_PATH_MAX], const struct manifest *manifest, uint32_t file)
{
    snprintf(path, ROOT_PATH_MAX, "step_%" PRIu64 "/%s%srank_%" PRIu32 ".h5", manifest->step,
             manifest->commit, manifest->commit[0] ? "/" : "", file);
}

typedef void (*name_fn)(char name[ROOT_NAME_MAX], uint64_t number);

/* Whether `name` is `prefix` and a number up to `max`, exactly as `print` prints it. */
static bool parse_number(const char *name, const char *prefix, name_fn print, uint64_t max,
                         uint64_t *ret_number)
{
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0)
        return false;
    uint64_t number = strtoull(name + length, NULL, 10);
    char canonical[ROOT_NAME_MAX];
    print(canonical, number);
    if (number > max || strcmp(name, canonical) != 0)
        return false;
    *ret_number = number;
    return true;
}

bool root_parse_step(const char *name, uint64_t *ret_step)
{
    return parse_number(name, "step_", root_step_name, INT64_MAX, ret_step);
}

bool root_parse_owner(const char *name, uint64_t *ret_epoch)
{
    return parse_number(name, "OWNER.", root_owner_name, OWNER_EPOCH_MAX - 1, ret_epoch);
}

/* "<generation>.<attempt>.<nonce>" */
static bool is_commit_without_owner(const char *name)
{
    char *end;
    uint32_t generation = (uint32_t)strtoul(name, &end, 10);
    if (*end != '.')
        return false;
    uint32_t attempt = (uint32_t)strtoul(end + 1, &end, 10);
    if (*end != '.')
        return false;
    char canonical[ROOT_NAME_MAX];
    snprintf(canonical, sizeof canonical, "%" PRIu32 ".%" PRIu32 ".%016" PRIx64, generation,
             attempt, (uint64_t)strtoull(end + 1, NULL, 16));
    return strcmp(name, canonical) == 0;
}

bool root_parse_claim(const char *name, uint64_t *ret_epoch, uint64_t *ret_token)
{
    uint64_t epoch = 0, token = 0;
    if (name[0] == 'e') {
        char *end, canonical[ROOT_NAME_MAX];
        epoch = strtoull(name + 1, &end, 10);
        token = *end == '.' ? strtoull(end + 1, NULL, 16) : 0;
        root_claim_name(canonical, epoch, token);
        if (strcmp(name, canonical) != 0)
            return false;
    } else if (!is_commit_without_owner(name)) {
        return false;
    }
    *ret_epoch = epoch;
    *ret_token = token;
    return true;
}

/* The name that was made in the directory above `path` stays through a loss of power. Best effort:
 * who may make a directory may yet not be allowed to open the one above. */
static void sync_parent(const char *path)
{
    char above[PATH_MAX + 3];
    snprintf(above, sizeof above, "%s/..", path);
    int fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd); /* best effort */
    close(fd);
}

static int make_parents(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return -ENAMETOOLONG;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) == 0)
            sync_parent(part);
        else if (errno != EEXIST)
            return -errno;
    }
    return 0;
}

/* A directory that is only readable is found out now, not at the first save. */
int root_open(const char *path, int *ret_fd, struct mst_err *err)
{
    int rc = make_parents(path);
    if (rc < 0)
        return mst_err_set(err, rc, "checkpoint directory %.150s: cannot make it: %s", path,
                           mst_err_meaning(rc));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mst_err_set(err, -errno, "checkpoint directory %.150s: %s", path,
                           mst_err_meaning(errno));
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) < 0) {
        rc = mst_err_set(err, -errno, "checkpoint directory %.150s: not writable: %s", path,
                         mst_err_meaning(errno));
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

static int compare_descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

void root_sort_steps(uint64_t *steps, size_t count)
{
    if (count > 0)
        qsort(steps, count, sizeof *steps, compare_descending);
}

static int collect(DIR *dir, root_parse_fn parse, uint64_t **numbers, size_t *count)
{
    struct dirent *entry;
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        uint64_t number;
        if (!parse(entry->d_name, &number))
            continue;
        uint64_t *grown = realloc(*numbers, (*count + 1) * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        *numbers = grown;
        grown[(*count)++] = number;
    }
    return -errno;
}

DIR *root_open_folder(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int error = errno;
    if (!dir && fd >= 0)
        close(fd);
    errno = error;
    return dir;
}

int root_list(int root_fd, root_parse_fn parse, uint64_t **ret_numbers, size_t *ret_count)
{
    DIR *dir = root_open_folder(root_fd, ".");
    if (!dir)
        return -errno;
    uint64_t *numbers = NULL;
    size_t count = 0;
    int rc = collect(dir, parse, &numbers, &count);
    closedir(dir);
    if (rc < 0) {
        free(numbers);
        return rc;
    }
    root_sort_steps(numbers, count);
    *ret_numbers = numbers;
    *ret_count = count;
    return 0;
}

/* Opening a FIFO would wait for its writer, for ever; the flag that keeps it from that is of no use
 * to a regular file, and in the way of reads in a ring. */
int root_open_file(int dir_fd, const char *path, int flags)
{
    int fd = openat(dir_fd, path, flags | O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(st.st_mode))
        rc = -EBADMSG;
    if (rc == 0 && fcntl(fd, F_SETFL, flags) < 0)
        rc = -errno;
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

const char *root_fault(int rc)
{
    return rc == -EBADMSG ? "is no regular file" : mst_err_meaning(rc);
}

/* The whole file, to be freed. 0; -EFBIG over the limit; -EBADMSG no regular
 * file; -ENOMEM; -errno. */
static int slurp(int dir_fd, const char *path, char **ret_text, size_t *ret_bytes)
{
    int fd = root_open_file(dir_fd, path, 0);
    if (fd < 0)
        return fd;
    struct stat st;
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    if (rc == 0 && (st.st_size < 0 || (uint64_t)st.st_size > MANIFEST_BYTES_MAX))
        rc = -EFBIG;
    char *text = NULL;
    if (rc == 0 && !(text = malloc((size_t)st.st_size + 1)))
        rc = -ENOMEM;
    int64_t size = rc == 0 ? mst_file_pread(fd, text, (size_t)st.st_size, 0) : rc;
    close(fd);
    if (size < 0) {
        free(text);
        return (int)size;
    }
    *ret_text = text;
    *ret_bytes = (size_t)size;
    return 0;
}

int root_decode_manifest(const char *text, size_t size_bytes, uint64_t step,
                         struct manifest *ret_manifest, struct mst_err *err)
{
    struct manifest manifest = {0};
    int rc = manifest_decode(text, size_bytes, &manifest, err);
    if (rc == 0 && manifest.step != step)
        rc = mst_err_set(err, -EBADMSG, "belongs to step %" PRIu64, manifest.step);
    if (rc < 0) {
        mst_err_wrap(err, "step_%" PRIu64 "/%s", step, MANIFEST_NAME);
        manifest_fini(&manifest);
        return rc;
    }
    *ret_manifest = manifest;
    return 0;
}

static int read_manifest_in(int root_fd, const char *folder, uint64_t step,
                            struct manifest *ret_manifest, struct mst_err *err)
{
    char path[ROOT_NAME_MAX + sizeof MANIFEST_NAME];
    snprintf(path, sizeof path, "%.*s/%s", ROOT_NAME_MAX - 1, folder, MANIFEST_NAME);
    char *text = NULL;
    size_t size = 0;
    int rc = slurp(root_fd, path, &text, &size);
    if (rc == -ENOMEM)
        return mst_err_set(err, rc, "%s: no memory to read it", path);
    if (rc < 0)
        return mst_err_set(err, -EBADMSG, "%s: %s", path, root_fault(rc));
    rc = root_decode_manifest(text, size, step, ret_manifest, err);
    free(text);
    return rc;
}

int root_read_manifest(int root_fd, uint64_t step, struct manifest *ret_manifest,
                       struct mst_err *err)
{
    char name[ROOT_NAME_MAX];
    root_step_name(name, step);
    return read_manifest_in(root_fd, name, step, ret_manifest, err);
}

int root_read_epoch(int root_fd, const char *folder, uint64_t step, uint64_t *ret_epoch)
{
    struct manifest manifest = {0};
    int rc = read_manifest_in(root_fd, folder, step, &manifest, NULL);
    if (rc == 0)
        *ret_epoch = manifest.epoch;
    manifest_fini(&manifest);
    return rc;
}

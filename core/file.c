#include "muster/core/file.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_kind(mode_t mode)
{
    return S_ISREG(mode) ? 0 : S_ISDIR(mode) ? EISDIR : ENOTSUP;
}

FILE *mst_file_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    if (fd < 0)
        return NULL;
    int error = fstat(fd, &status) ? errno : check_kind(status.st_mode);
    FILE *file = error ? NULL : fdopen(fd, "r");
    if (file)
        return file;
    error = error ? error : errno;
    (void)close(fd); /* nothing was read */
    errno = error;
    return NULL;
}

bool mst_file_line(char *line, size_t cap, const char *format, ...)
{
    char path[PATH_MAX];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(path, sizeof path, format, args);
    va_end(args);
    FILE *file = size < (int)sizeof path ? mst_file_read(path) : NULL;
    if (!file)
        return false;
    bool ok = fgets(line, (int)cap, file);
    (void)fclose(file); /* only read */
    if (ok)
        line[strcspn(line, "\n")] = '\0';
    return ok;
}

int64_t mst_file_pread(int fd, void *data, size_t size_bytes, uint64_t offset)
{
    size_t at = 0;
    ssize_t got = 1;
    while (at < size_bytes && got != 0) {
        got = pread(fd, (char *)data + at, size_bytes - at, (off_t)(offset + at));
        if (got < 0 && errno != EINTR)
            return -errno;
        at += got > 0 ? (size_t)got : 0;
    }
    return (int64_t)at;
}

int mst_file_pwrite(int fd, const void *data, size_t size_bytes, uint64_t offset)
{
    size_t at = 0;
    while (at < size_bytes) {
        ssize_t put = pwrite(fd, (const char *)data + at, size_bytes - at, (off_t)(offset + at));
        if (put < 0 && errno != EINTR)
            return -errno;
        at += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

void mst_file_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* as the caller says */
    *fd = -1;
}

char *mst_file_absolute(const char *path)
{
    char *folder = *path == '/' ? NULL : getcwd(NULL, 0), *whole = NULL;
    int length = folder ? asprintf(&whole, "%s/%s", folder, path) : asprintf(&whole, "%s", path);
    free(folder);
    return length < 0 ? NULL : whole;
}

const char *mst_file_meaning(int error)
{
    return error == ENOTSUP || error == -ENOTSUP ? "is no regular file" : mst_err_meaning(error);
}

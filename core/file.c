#include "muster/core/file.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

FILE *mst_file_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    if (fd < 0)
        return NULL;
    int error = fstat(fd, &status) ? errno : S_ISREG(status.st_mode) ? 0 : EINVAL;
    FILE *file = error ? NULL : fdopen(fd, "r");
    if (file)
        return file;
    error = error ? error : errno;
    (void)close(fd); /* nothing was read */
    errno = error;
    return NULL;
}

const char *mst_file_meaning(int error)
{
    return error == EINVAL ? "is no regular file" : mst_err_meaning(error);
}

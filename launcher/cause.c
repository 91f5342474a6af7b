#include "muster/launcher/cause.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cause_write(const char *path, int64_t rank, const char *what, const char *last_words)
{
    char text[CAUSE_BYTES_MAX], who[32] = "";
    struct stat kind;
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    bool is_file = fstat(fd, &kind) == 0 && S_ISREG(kind.st_mode);
    if (rank >= 0)
        snprintf(who, sizeof who, "rank %" PRId64 ": ", rank);
    snprintf(text, sizeof text, "muster: %s%s\n%s", who, what,
             last_words); /* they fit: TAIL_BYTES */
    int rc = 0;
    if (is_file && (ftruncate(fd, 0) || write(fd, text, strlen(text)) != (ssize_t)strlen(text)))
        rc = errno ? -errno : -EIO;
    close(fd);
    return rc;
}

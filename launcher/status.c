#include "muster/launcher/status.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/launcher/pass.h"
#include "muster/launcher/status_json.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 2000
#define ANSWER_BYTES_MAX (1 << 20)
#define SOCKET_BYTES_MAX (64 << 10)
#define NAME_BYTES 64

struct status {
    int fd;
};

/* An abstract name has a zero in front and none behind. Returns the address's size. */
static socklen_t abstract_address(const char *name, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path + 1, name, strlen(name));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

static bool peer_uid(int fd, uid_t *ret_uid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
        return false;
    *ret_uid = peer.uid;
    return true;
}

/* Anybody may take any abstract name: what counts is who listens. -EAGAIN: as many wait there as
 * may. */
static int dial(const char *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    uid_t uid;
    struct sockaddr_un address;
    socklen_t size = abstract_address(name, &address);
    int rc = connect(fd, (const struct sockaddr *)&address, size) ? -errno : 0;
    if (rc == 0 && peer_uid(fd, &uid) && uid == getuid())
        return fd;
    close(fd);
    return rc == -EAGAIN ? rc : -ECONNREFUSED;
}

/* Reads until the agent hangs up; a file that it hands over stands for all. The text is the
 * caller's, NULL if it did not come in time, and empty of one that ended meanwhile. */
static char *read_answer(int fd)
{
    size_t used = 0;
    char *text = malloc(ANSWER_BYTES_MAX + 1);
    uint64_t deadline_ns = mst_deadline_ms(ANSWER_MS);
    while (text && used < ANSWER_BYTES_MAX) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int file = -1;
        if (poll(&ready, 1, mst_deadline_left_ms(deadline_ns)) <= 0)
            break;
        ssize_t size = pass_receive(fd, text + used, ANSWER_BYTES_MAX - used, &file);
        used += size > 0 ? (size_t)size : 0;
        int64_t whole = file < 0 ? -EBADF : mst_file_pread(file, text, ANSWER_BYTES_MAX - 1, 0);
        used = whole < 0 ? used : (size_t)whole;
        mst_file_close(&file);
        if (size <= 0) {
            text[used] = '\0';
            return text;
        }
    }
    free(text);
    return NULL;
}

static int pid_in(const char *name)
{
    int pid = 0;
    (void)sscanf(name, "muster-%*u-%d-", &pid); /* NOLINT(cert-err34-c): 0 if it has none */
    return pid;
}

/* Whether there is such an agent. */
static bool ask_one(const char *name, status_answer_fn answer, void *arg)
{
    int fd = dial(name);
    if (fd < 0 && fd != -EAGAIN)
        return false;
    char *text = fd >= 0 ? read_answer(fd) : NULL;
    bool is_there = !text || text[0];
    if (fd >= 0)
        close(fd);
    if (is_there)
        answer(arg, pid_in(name), text);
    free(text);
    return is_there;
}

/* A line is "number references protocol flags type state inode path"; one that listens has but this
 * flag, and an abstract path starts with @. */
static bool is_listening(const char *line, const char *prefix, char name[NAME_BYTES])
{
    char flags[16];
    return sscanf(line, "%*s %*s %*s %15s %*s %*s %*s @%63s", flags, name) == 2 &&
           strcmp(flags, "00010000") == 0 && strncmp(name, prefix, strlen(prefix)) == 0;
}

int status_ask_all(status_answer_fn answer, void *arg)
{
    FILE *file = fopen("/proc/net/unix", "re");
    if (!file)
        return -errno;
    char prefix[32], line[256], name[NAME_BYTES];
    int count = 0;
    snprintf(prefix, sizeof prefix, "muster-%u-", getuid());
    while (fgets(line, sizeof line, file)) {
        if (is_listening(line, prefix, name))
            count += ask_one(name, answer, arg);
    }
    fclose(file);
    return count;
}

/* Two containers on the host's network may both have a PID 1: the pid alone is no name. */
static int listen_at_new_name(int fd)
{
    uint32_t unique;
    if (getrandom(&unique, sizeof unique, 0) != sizeof unique)
        return -EIO;
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "muster-%u-%d-%08x", getuid(), (int)getpid(), unique);
    struct sockaddr_un address;
    socklen_t size = abstract_address(name, &address);
    if (bind(fd, (const struct sockaddr *)&address, size) || listen(fd, 8))
        return -errno;
    return 0;
}

int status_create(struct status **ret_status, struct mst_err *err)
{
    struct status *status = calloc(1, sizeof *status);
    if (!status)
        return mst_err_set(err, -ENOMEM, "no memory for the status socket");
    status->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = status->fd < 0 ? -errno : listen_at_new_name(status->fd);
    if (rc) {
        status_destroy(status);
        return mst_err_set(err, rc, "status socket: %s", mst_err_meaning(rc));
    }
    *ret_status = status;
    return 0;
}

void status_destroy(struct status *status)
{
    if (!status)
        return;
    if (status->fd >= 0)
        close(status->fd);
    free(status);
}

int status_fd(const struct status *status)
{
    return status->fd;
}

static bool may_ask(int fd)
{
    uid_t uid;
    return peer_uid(fd, &uid) && (uid == getuid() || uid == 0);
}

/* -1: there is no memory for it. */
static int make_file(const char *text, size_t size)
{
    int file = memfd_create("muster-status", MFD_CLOEXEC);
    if (file >= 0 && mst_file_pwrite(file, text, size, 0) < 0)
        mst_file_close(&file);
    return file;
}

/* A socket takes as much as the kernel allows, some 200 KiB: what is longer goes over as a file,
 * with a blank in its place. Without a file a long answer is cut, which the asker sees. */
static void answer(int fd, const char *text)
{
    size_t size = strlen(text);
    int file = size > SOCKET_BYTES_MAX ? make_file(text, size) : -1;
    /* (void): who does not wait for the answer needs none */
    (void)pass_send(fd, file >= 0 ? " " : text, file >= 0 ? 1 : size, file);
    mst_file_close(&file);
}

void status_run(struct status *status, const struct node *node)
{
    int fd;
    while ((fd = accept4(status->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        char *text = may_ask(fd) ? status_json(node) : NULL;
        if (text)
            answer(fd, text);
        free(text);
        close(fd);
    }
}

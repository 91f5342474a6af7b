#include "muster/launcher/outlog.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES_MAX (64u << 10)
#define SINK_BYTES_HIGH (1u << 20) /* ranks wait while more than this is unwritten */
#define PREFIX_BYTES_MAX 16
#define FLUSH_MS 2000
#define FINAL_READS_MAX 32 /* covers a full pipe; a stray that still writes is not waited for */

/* One of the agent's own outputs. */
struct sink {
    int fd;
    bool watched; /* in the epoll set, for EPOLLOUT */
    char *data;
    size_t used, cap;
};

/* One pipe of one rank. */
struct source {
    int fd;
    int file_fd; /* -1 without a log directory; shared by the rank's two pipes */
    bool owns_file;
    bool watched; /* in the epoll set */
    bool ended;
    struct sink *sink;
    size_t used;
    char prefix[PREFIX_BYTES_MAX];
    char *line; /* LINE_BYTES_MAX */
};

struct outlog {
    int epoll_fd;
    char *log_dir;
    struct sink sinks[2];
    struct source **sources;
    size_t source_count;
};

static int set_log_dir(struct outlog *outlog, const char *log_dir, struct mst_err *err)
{
    outlog->log_dir = strdup(log_dir);
    if (!outlog->log_dir)
        return mst_err_set(err, -ENOMEM, "no memory for the output of ranks");
    if ((mkdir(log_dir, 0777) && errno != EEXIST) || access(log_dir, W_OK | X_OK))
        return mst_err_set(err, -errno, "log directory %s: %s", log_dir, mst_err_meaning(errno));
    return 0;
}

int outlog_create(const char *log_dir, int out_fd, int err_fd, struct outlog **ret_outlog,
                  struct mst_err *err)
{
    struct outlog *outlog = calloc(1, sizeof *outlog);
    if (!outlog)
        return mst_err_set(err, -ENOMEM, "no memory for the output of ranks");
    outlog->sinks[0].fd = out_fd;
    outlog->sinks[1].fd = err_fd;
    outlog->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int rc = 0;
    if (outlog->epoll_fd < 0)
        rc = mst_err_set(err, -errno, "epoll_create1: %s", mst_err_meaning(errno));
    if (rc == 0 && log_dir)
        rc = set_log_dir(outlog, log_dir, err);
    if (rc) {
        outlog_destroy(outlog);
        return rc;
    }
    *ret_outlog = outlog;
    return 0;
}

/* ---- the agent's own outputs ----------------------------------------------------------------- */

static bool sink_room(struct sink *sink, size_t bytes)
{
    if (sink->used + bytes <= sink->cap)
        return true;
    size_t cap = sink->cap ? sink->cap : 4096;
    while (cap < sink->used + bytes)
        cap *= 2;
    char *data = realloc(sink->data, cap);
    if (!data)
        return false;
    sink->data = data;
    sink->cap = cap;
    return true;
}

/* A line that finds no memory is lost: the job matters more than its output. */
static void sink_line(struct sink *sink, const char *prefix, const char *line, size_t size)
{
    size_t prefix_size = strlen(prefix);
    if (!sink_room(sink, prefix_size + size + 1))
        return;
    memcpy(sink->data + sink->used, prefix, prefix_size);
    memcpy(sink->data + sink->used + prefix_size, line, size);
    sink->data[sink->used + prefix_size + size] = '\n';
    sink->used += prefix_size + size + 1;
    assert(sink->used <= sink->cap);
}

/* A pipe that polls as writable takes PIPE_BUF bytes without blocking, so the fd, which others may
 * share, can stay blocking. Cuts behind a line where it can. */
static size_t next_chunk(const struct sink *sink, size_t sent)
{
    size_t left = sink->used - sent;
    if (left <= PIPE_BUF)
        return left;
    const char *last = memrchr(sink->data + sent, '\n', PIPE_BUF);
    return last ? (size_t)(last - (sink->data + sent)) + 1 : PIPE_BUF;
}

static void sink_write(struct sink *sink)
{
    size_t sent = 0;
    while (sent < sink->used) {
        struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
        if (poll(&ready, 1, 0) <= 0)
            break;
        ssize_t size = write(sink->fd, sink->data + sent, next_chunk(sink, sent));
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        sent = size < 0 ? sink->used : sent + (size_t)size; /* a broken output takes nothing */
    }
    if (sent == 0)
        return;
    sink->used -= sent;
    memmove(sink->data, sink->data + sent, sink->used);
}

static void watch_sink(struct outlog *outlog, struct sink *sink)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = NULL};
    bool wanted = sink->used > 0;
    if (wanted == sink->watched)
        return;
    if (epoll_ctl(outlog->epoll_fd, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, sink->fd, &event) == 0)
        sink->watched = wanted;
}

/* ---- pipes of ranks -------------------------------------------------------------------------- */

/* A paused source leaves the set: one whose writers are gone would report EPOLLHUP for ever. */
static int watch_source(struct outlog *outlog, struct source *source, bool wanted)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    if (wanted == source->watched)
        return 0;
    if (epoll_ctl(outlog->epoll_fd, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, source->fd, &event))
        return -errno;
    source->watched = wanted;
    return 0;
}

static void take_lines(struct source *source)
{
    size_t start = 0;
    char *end;
    while ((end = memchr(source->line + start, '\n', source->used - start))) {
        sink_line(source->sink, source->prefix, source->line + start,
                  (size_t)(end - source->line) - start);
        start = (size_t)(end - source->line) + 1;
    }
    source->used -= start;
    memmove(source->line, source->line + start, source->used);
    if (source->used == LINE_BYTES_MAX) {
        sink_line(source->sink, source->prefix, source->line, source->used);
        source->used = 0;
    }
}

static void copy_to_file(struct source *source, const char *data, size_t size)
{
    while (source->file_fd >= 0 && size > 0) {
        ssize_t written = write(source->file_fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* a full disk does not stop the job */
        data += written;
        size -= (size_t)written;
    }
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void source_close(struct source *source)
{
    if (!source)
        return;
    if (source->line && source->used > 0)
        sink_line(source->sink, source->prefix, source->line, source->used);
    close_fd(source->fd);
    if (source->owns_file)
        close(source->file_fd);
    free(source->line);
    free(source);
}

/* False once the pipe has nothing more to give, now or for ever. */
static bool source_read(struct source *source)
{
    char *at = source->line + source->used;
    ssize_t size = read(source->fd, at, LINE_BYTES_MAX - source->used);
    if (size <= 0) {
        source->ended = size == 0 || (errno != EAGAIN && errno != EINTR);
        return false;
    }
    copy_to_file(source, at, (size_t)size);
    source->used += (size_t)size;
    assert(source->used <= LINE_BYTES_MAX);
    take_lines(source);
    return true;
}

static int open_file(const struct outlog *outlog, uint32_t rank, uint32_t generation,
                     struct mst_err *err)
{
    if (!outlog->log_dir)
        return -1;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/rank_%u.gen_%u.log", outlog->log_dir, rank, generation);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    return fd >= 0 ? fd : mst_err_set(err, -errno, "log file %s: %s", path, mst_err_meaning(errno));
}

static int add_source(struct outlog *outlog, struct source *source)
{
    size_t bytes = (outlog->source_count + 1) * sizeof(struct source *);
    struct source **sources = realloc(outlog->sources, bytes);
    if (!sources)
        return -ENOMEM;
    outlog->sources = sources;
    int rc = watch_source(outlog, source, true);
    if (!rc)
        sources[outlog->source_count++] = source;
    return rc;
}

static int open_source(struct outlog *outlog, uint32_t rank, struct sink *sink, int file_fd,
                       int *ret_write_fd)
{
    struct source *source = calloc(1, sizeof *source);
    if (!source)
        return -ENOMEM;
    *source = (struct source){.fd = -1, .file_fd = file_fd, .sink = sink};
    snprintf(source->prefix, sizeof source->prefix, "[%u] ", rank);
    source->line = malloc(LINE_BYTES_MAX);
    int pipe_fds[2] = {-1, -1};
    int rc = source->line ? 0 : -ENOMEM;
    if (rc == 0 && pipe2(pipe_fds, O_CLOEXEC))
        rc = -errno;
    source->fd = pipe_fds[0];
    /* only this end: the rank's writes block */
    if (rc == 0 && fcntl(source->fd, F_SETFL, O_NONBLOCK))
        rc = -errno;
    if (rc == 0)
        rc = add_source(outlog, source);
    if (rc) {
        close_fd(pipe_fds[1]);
        source_close(source);
        return rc;
    }
    *ret_write_fd = pipe_fds[1];
    return 0;
}

int outlog_add_rank(struct outlog *outlog, uint32_t rank, uint32_t generation, int *ret_out_fd,
                    int *ret_err_fd, struct mst_err *err)
{
    int file_fd = open_file(outlog, rank, generation, err);
    if (file_fd < -1)
        return file_fd;
    int out_fd, err_fd;
    int rc = open_source(outlog, rank, &outlog->sinks[0], file_fd, &out_fd);
    if (rc) {
        close_fd(file_fd);
        return mst_err_set(err, rc, "output pipe of rank %u: %s", rank, mst_err_meaning(rc));
    }
    outlog->sources[outlog->source_count - 1]->owns_file = file_fd >= 0;
    rc = open_source(outlog, rank, &outlog->sinks[1], file_fd, &err_fd);
    if (rc) {
        close(out_fd);
        return mst_err_set(err, rc, "output pipe of rank %u: %s", rank, mst_err_meaning(rc));
    }
    *ret_out_fd = out_fd;
    *ret_err_fd = err_fd;
    return 0;
}

int outlog_fd(const struct outlog *outlog)
{
    return outlog->epoll_fd;
}

/* ---- both ------------------------------------------------------------------------------------ */

static void flush(struct outlog *outlog)
{
    for (int i = 0; i < 2; i++) {
        sink_write(&outlog->sinks[i]);
        watch_sink(outlog, &outlog->sinks[i]);
    }
    for (size_t i = 0; i < outlog->source_count; i++) {
        struct source *source = outlog->sources[i];
        bool wanted = !source->ended && source->sink->used <= SINK_BYTES_HIGH;
        (void)watch_source(outlog, source, wanted); /* tried again at the next run */
    }
}

void outlog_run(struct outlog *outlog)
{
    struct epoll_event events[64];
    int count = epoll_wait(outlog->epoll_fd, events, 64, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr)
            (void)source_read(events[i].data.ptr); /* more of it shows in the set */
    }
    flush(outlog);
}

void outlog_finish_ranks(struct outlog *outlog)
{
    for (size_t i = 0; i < outlog->source_count; i++) {
        for (int reads = 0; reads < FINAL_READS_MAX && source_read(outlog->sources[i]); reads++)
            continue;
    }
    for (size_t i = 0; i < outlog->source_count; i++) /* two share a file: not before both read */
        source_close(outlog->sources[i]);
    outlog->source_count = 0;
    flush(outlog);
}

void outlog_destroy(struct outlog *outlog)
{
    if (!outlog)
        return;
    outlog_finish_ranks(outlog);
    uint64_t deadline_ns = mst_deadline_ms(FLUSH_MS);
    for (int i = 0; i < 2; i++) {
        struct sink *sink = &outlog->sinks[i];
        struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
        while (sink->used > 0 && poll(&ready, 1, mst_deadline_left_ms(deadline_ns)) > 0)
            sink_write(sink);
        free(sink->data);
    }
    close_fd(outlog->epoll_fd);
    free(outlog->sources);
    free(outlog->log_dir);
    free(outlog);
}

#include "muster/launcher/sink.h"

#include "muster/core/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void sink_init(struct sink *sink, int fd)
{
    struct stat kind = {0};
    *sink = (struct sink){.fd = fd};
    if (fstat(fd, &kind))
        return; /* closed: the first write says so */
    sink->is_socket = S_ISSOCK(kind.st_mode);
    sink->is_pipe = S_ISFIFO(kind.st_mode);
    sink->is_terminal = S_ISCHR(kind.st_mode) && isatty(fd);
    sink->in_chunks = sink->is_pipe || sink->is_terminal;
    if (!sink->in_chunks)
        return;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        return;
    sink->fd = own;
    sink->is_own = true;
    sink->in_chunks = sink->is_pipe;
}

void sink_fini(struct sink *sink)
{
    if (sink->is_own)
        close(sink->fd); /* a pipe or a terminal: nothing to lose */
    free(sink->data);
    *sink = (struct sink){.fd = -1};
}

size_t sink_pending(const struct sink *sink)
{
    return sink->end - sink->begin;
}

/* Moves what waits to the front when half of the room is free, so that a byte is moved once. */
static bool make_room(struct sink *sink, size_t size)
{
    size_t pending = sink_pending(sink), cap = sink->cap ? sink->cap : 4096;
    if (sink->end + size <= sink->cap)
        return true;
    while (cap < 2 * (pending + size))
        cap *= 2;
    char *data = cap > sink->cap ? malloc(cap) : sink->data;
    if (!data)
        return false;
    if (pending > 0)
        memmove(data, sink->data + sink->begin, pending);
    if (data != sink->data)
        free(sink->data);
    sink->data = data;
    sink->cap = cap;
    sink->begin = 0;
    sink->end = pending;
    return true;
}

char *sink_reserve(struct sink *sink, size_t size)
{
    if (sink->broken || sink_pending(sink) + size > SINK_BYTES_MAX || !make_room(sink, size))
        return NULL;
    return sink->data + sink->end;
}

void sink_lose(struct sink *sink, size_t size)
{
    sink->lost_bytes += size;
}

void sink_commit(struct sink *sink, size_t size)
{
    if (size > 0 && sink_pending(sink) == 0)
        sink->moved_ns = mst_now_ns();
    sink->end += size;
    assert(sink->end <= sink->cap);
}

void sink_put(struct sink *sink, const char *text, size_t size)
{
    char *to = sink_reserve(sink, size);
    if (!to) {
        sink_lose(sink, size);
        return;
    }
    memcpy(to, text, size);
    sink_commit(sink, size);
}

/* A pipe takes up to PIPE_BUF bytes whole: lines of several programs do not mix. Cuts behind a line
 * where it can. */
static size_t next_chunk(const struct sink *sink)
{
    size_t pending = sink_pending(sink);
    if (pending <= PIPE_BUF || !sink->in_chunks)
        return pending;
    const char *from = sink->data + sink->begin, *last = memrchr(from, '\n', PIPE_BUF);
    return last ? (size_t)(last - from) + 1 : PIPE_BUF;
}

static ssize_t write_some(const struct sink *sink, const char *bytes, size_t size)
{
    struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
    if (sink->is_socket)
        return send(sink->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sink->is_own || poll(&ready, 1, 0) > 0)
        return write(sink->fd, bytes, size);
    errno = EAGAIN;
    return -1;
}

/* A disk that is full may have room again; a reader that is gone does not come back. */
static void lose_chunk(struct sink *sink, size_t size, int error)
{
    bool is_over = error != ENOSPC && error != EDQUOT && error != EIO;
    sink->broken = is_over;
    sink->error = -error;
    size = is_over ? sink_pending(sink) : size;
    sink->lost_bytes += size;
    sink->begin += size;
}

void sink_flush(struct sink *sink)
{
    bool moved = false;
    while (sink_pending(sink) > 0) {
        size_t size = next_chunk(sink);
        ssize_t written = write_some(sink, sink->data + sink->begin, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && errno == EAGAIN)
            break;
        if (written < 0)
            lose_chunk(sink, size, errno);
        else
            sink->begin += (size_t)written;
        moved = true;
    }
    if (moved)
        sink->moved_ns = mst_now_ns();
    if (sink_pending(sink) == 0)
        sink->begin = sink->end = 0;
}

void sink_drain(struct sink *sink, uint64_t deadline_ns)
{
    struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
    sink_flush(sink);
    while (sink_pending(sink) > 0 && poll(&ready, 1, mst_deadline_left_ms(deadline_ns)) > 0)
        sink_flush(sink);
}

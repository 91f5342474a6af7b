/* Sink: one of the agent's own outputs, which others may share, and behind which nobody may read.
 * What goes there waits in memory until it is taken, up to a bound; no call waits for a reader.
 *
 *   init → (reserve, fill, commit or lose → flush)* → fini
 *
 * Decision: a write to a pipe that is full, or a terminal that stands still, blocks unless its
 * description has O_NONBLOCK, and setting that would set it for all who share the description, the
 * shell among them. So a pipe, FIFO or terminal is opened anew by /proc/self/fd, a description of
 * our own; a socket has MSG_DONTWAIT; where neither is to be had, a pipe that polls as writable
 * takes PIPE_BUF bytes. pwritev2 with RWF_NOWAIT would do for pipes too, on Linux 6.4 and later. A
 * regular file is written as it is: its description holds the place where the others write, too. */
#ifndef MUSTER_LAUNCHER_SINK_H
#define MUSTER_LAUNCHER_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SINK_BYTES_HIGH (1u << 20) /* ranks are to wait while more than this is unwritten */
#define SINK_BYTES_MAX (8u << 20)  /* what does not fit is lost, and counted */

struct sink {
    int fd;
    bool is_own; /* a description of ours, which does not block */
    bool is_socket, is_pipe, is_terminal;
    bool in_chunks;  /* of PIPE_BUF bytes */
    bool watched;    /* the owner's: waits for it in an epoll set */
    bool broken;     /* takes nothing any more */
    bool told;       /* the owner's: has said so */
    int error;       /* why something was lost last, or 0: it did not fit */
    const void *bar; /* whose unended line the cursor stands in, or NULL; terminals only */
    char *data;
    size_t begin, end, cap;
    uint64_t moved_ns;   /* when it took something, or began to hold something */
    uint64_t lost_bytes; /* since it was last asked */
};

/* `fd` stays the caller's, and open. */
void sink_init(struct sink *sink, int fd);

/* What it still holds is lost. */
void sink_fini(struct sink *sink);

/* Room for `size` bytes at its end, or NULL: over the bound, no memory, or broken. */
char *sink_reserve(struct sink *sink, size_t size);

/* `size` bytes that found no room are lost. */
void sink_lose(struct sink *sink, size_t size);

/* `size` bytes of what was reserved are filled. */
void sink_commit(struct sink *sink, size_t size);

/* All of that. */
void sink_put(struct sink *sink, const char *text, size_t size);

/* Writes what is taken without waiting. */
void sink_flush(struct sink *sink);

/* Bytes that wait. */
size_t sink_pending(const struct sink *sink);

/* Waits until everything is written, the deadline, or for good: nobody will take it. */
void sink_drain(struct sink *sink, uint64_t deadline_ns);

#endif

/* What a piece of code says on stderr. */
#ifndef MUSTER_TESTS_SAID_H
#define MUSTER_TESTS_SAID_H

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

struct said {
    int saved_fd, pipe_fds[2];
    char text[16384]; /* once it has ended */
};

/* Stderr goes into a pipe from now on. */
static inline bool said_begin(struct said *said)
{
    *said = (struct said){.saved_fd = dup(STDERR_FILENO), .pipe_fds = {-1, -1}};
    return said->saved_fd >= 0 && pipe2(said->pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0 &&
           dup2(said->pipe_fds[1], STDERR_FILENO) >= 0;
}

/* Stderr is what it was; returns said->text. */
static inline const char *said_end(struct said *said)
{
    ssize_t size = read(said->pipe_fds[0], said->text, sizeof said->text - 1);
    said->text[size > 0 ? size : 0] = '\0';
    (void)dup2(said->saved_fd, STDERR_FILENO); /* it was open before */
    (void)close(said->saved_fd);
    (void)close(said->pipe_fds[0]);
    (void)close(said->pipe_fds[1]);
    return said->text;
}

#endif

/* Process: tells a forked child from the process that made an object. Threads do not follow a fork,
 * and sockets, rings and shared pages do, but are the parent's: what was made before a fork answers
 * -ENOTSUP to the child, and closing it there does nothing. */
#ifndef MUSTER_CORE_PROCESS_H
#define MUSTER_CORE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_err;

/* A number of this process: never 0, the same until its end, another one in a child, however it was
 * forked. A load, but the first time. Safe from any thread. */
uint32_t mst_process_mark(void);

/* Whether an object that bears `mark` was made in this process. */
bool mst_process_owns(uint32_t mark);

/* 0; -ENOTSUP with a text that says so of `what`, if it was made before a fork. */
int mst_process_check(uint32_t mark, const char *what, struct mst_err *err);

/* Keeps whole pages out of children, which then do not copy what a device or the kernel still
 * writes there: whoever touches them in a child dies of it. Best effort. */
void mst_process_keep(void *pages, size_t size_bytes);

/* A descriptor that a child of fork() does not get, where its copy would hold on to what ends with
 * the parent: a lock. It stays in its place while it is kept; in the child its fd is -1. */
struct mst_process_fd {
    int fd; /* -1: none is kept */
    struct mst_process_fd *next, *previous;
};

/* Keeps it until it is closed. Safe from any thread, as is close. */
void mst_process_keep_fd(struct mst_process_fd *kept, int fd);

/* Closes it, if one is kept. */
void mst_process_close_fd(struct mst_process_fd *kept);

#endif

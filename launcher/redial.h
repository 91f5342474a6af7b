/* Redial: a process that dials node 0 and hands the connection over. Name servers, dialing and a
 * handshake keep one waiting, and an agent that waits is to hear its signals; a process, unlike a
 * thread, can be left alone and ended at any time. */
#ifndef MUSTER_LAUNCHER_REDIAL_H
#define MUSTER_LAUNCHER_REDIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mst_auth_hello;
struct mst_err;

struct redial_request {
    const char *address;
    bool once; /* the first failure is the result, whatever it is */
    const struct mst_auth_hello *hello;
    const uint8_t *secret;
    size_t secret_bytes;
};

/* Starts it, a child like any other. Unless it is to try once, it tries until *ret_fd, the caller's
 * to close, is closed, or its parent dies; the fd is readable when there is a result. 0; errors of
 * socketpair and fork with text. */
int redial_start(const struct redial_request *request, int *ret_fd, pid_t *ret_pid,
                 struct mst_err *err);

/* The result: a connection that has passed the handshake, non-blocking, the caller's; with text
 * -ECONNREFUSED nobody listens there any longer, -EACCES, -EPROTO, -ESTALE refused, and after one
 * try errors of mst_sock_try and mst_auth_dial; without text
 * -EAGAIN not yet; -ECHILD the process has ended without a result. */
int redial_take(int fd, struct mst_err *err);

#endif

/* Pass: bytes over a unix socket, and a descriptor with them. */
#ifndef MUSTER_LAUNCHER_PASS_H
#define MUSTER_LAUNCHER_PASS_H

#include <stddef.h>
#include <sys/types.h>

/* Sends the bytes, at least one, and `fd`, which stays the caller's, unless it is -1. As send, and
 * without SIGPIPE. */
ssize_t pass_send(int socket, const void *bytes, size_t size_bytes, int fd);

/* Receives what there is, without waiting; *ret_fd is the caller's, close-on-exec, or -1. As
 * recv. */
ssize_t pass_receive(int socket, void *bytes, size_t size_bytes, int *ret_fd);

#endif

/* What glibc has only since 2.32, and musl not at all, for a launcher that starts in any image:
 * every build uses these in its place. Safe from any thread; the names are constants. */
#ifndef MUSTER_CORE_LIBC_H
#define MUSTER_CORE_LIBC_H

#include <sys/types.h>

/* "KILL" for SIGKILL; NULL for real-time signals and for what is none. */
const char *libc_signal_name(int signal);

/* A descriptor of the process, readable once it has ended and closed by execve; -errno: -ENOSYS
 * before Linux 5.3, -EPERM in some sandboxes. */
int libc_pidfd_open(pid_t pid);

/* Closes every descriptor from `first` on. Async-signal-safe. */
void libc_close_from(int first);

#endif

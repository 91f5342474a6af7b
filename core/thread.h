/* Threads of the library: named, and with all signals blocked, so that the program's signals are
 * handled on the program's own threads. */
#ifndef MUSTER_CORE_THREAD_H
#define MUSTER_CORE_THREAD_H

#include <pthread.h>

/* Runs `run(arg)` on a new thread called `name` (15 characters at most) that the caller joins;
 * NULL: it calls itself something, which is faster than from outside, through /proc. 0; -EAGAIN,
 * -ENOMEM as pthread_create. Does not block. Safe from any thread. */
int mst_thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg);

#endif

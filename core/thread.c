#include "muster/core/thread.h"

#include <signal.h>

int mst_thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    /* Neither a set of all signals nor a mask of this thread can fail. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
    int rc = pthread_create(ret_thread, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0 && name)
        (void)pthread_setname_np(*ret_thread, name); /* a name only helps debugging */
    return -rc;
}

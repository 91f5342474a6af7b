#include "muster/launcher/inherited.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
    bool taken;
    sigset_t mask, ignored; /* as they were found */
    bool raised;
    struct rlimit fds; /* as it was found, if it was raised */
} found;

/* Execve keeps what is ignored, and nothing else that a program has set. */
static void find_ignored(void)
{
    struct sigaction action;
    sigemptyset(&found.ignored);
    for (int number = 1; number <= SIGRTMAX; number++) {
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            (void)sigaddset(&found.ignored, number); /* it is a signal */
    }
}

static bool was_ignored(int number)
{
    return sigismember(&found.ignored, number) == 1;
}

/* The lowest number that is free is the one that is closed, as those below it are open by now. */
static int fill_standard_fds(struct mst_err *err)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return mst_err_set(err, -errno,
                               "/dev/null in place of descriptor %d, which is closed: %s", fd,
                               mst_err_meaning(errno));
    }
    return 0;
}

int inherited_take(struct mst_err *err)
{
    sigset_t all;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &found.mask); /* fails for a wrong first argument only */
    found.taken = true;
    find_ignored();
    (void)signal(SIGCHLD, SIG_DFL); /* cannot fail for a signal that may be caught */
    return fill_standard_fds(err);
}

void inherited_give_back(void)
{
    if (!found.taken)
        return;
    (void)signal(SIGCHLD, was_ignored(SIGCHLD) ? SIG_IGN : SIG_DFL); /* as above */
    (void)sigprocmask(SIG_SETMASK, &found.mask, NULL);               /* as above */
}

void inherited_raise_fd_limit(void)
{
    struct rlimit most;
    if (getrlimit(RLIMIT_NOFILE, &found.fds))
        return;
    most = (struct rlimit){found.fds.rlim_max, found.fds.rlim_max};
    found.raised = setrlimit(RLIMIT_NOFILE, &most) == 0;
}

void inherited_hand_on(bool deaf)
{
    sigset_t none;
    if (found.raised)
        (void)setrlimit(RLIMIT_NOFILE, &found.fds); /* it was so before */
    (void)signal(SIGPIPE, SIG_IGN); /* forgets one that a guard has left which is gone */
    (void)signal(SIGPIPE, SIG_DFL); /* this and the following cannot fail */
    for (int number = 1; number <= SIGRTMAX; number++) {
        bool is_kept = number == SIGHUP || number == SIGINT || number == SIGQUIT;
        if (was_ignored(number) && !is_kept)
            (void)signal(number, SIG_DFL);
    }
    if (deaf) {
        (void)signal(SIGINT, SIG_IGN);
        (void)signal(SIGQUIT, SIG_IGN);
        (void)signal(SIGTERM, SIG_IGN);
        (void)signal(SIGUSR1, SIG_IGN);
    }
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

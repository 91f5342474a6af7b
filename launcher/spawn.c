#include "muster/launcher/spawn.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void become_own_group_that_dies_with(pid_t agent)
{
    (void)setpgid(0, 0); /* cannot fail: the child leads nothing yet */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != agent)
        _exit(128 + SIGKILL); /* the agent died before the line above */
}

static void reset_signals(void)
{
    sigset_t none;

    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int set_up_fds(const struct spawn_request *request)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0)
        return -errno;
    if (dup2(request->out_fd, STDOUT_FILENO) < 0 || dup2(request->err_fd, STDERR_FILENO) < 0)
        return -errno;
    for (size_t i = 0; i < request->keep_fd_count; i++) {
        if (fcntl(request->keep_fds[i], F_SETFD, 0) < 0)
            return -errno;
    }
    return 0;
}

static void run_child(const struct spawn_request *request, pid_t agent, int report_fd)
{
    become_own_group_that_dies_with(agent);
    int result = set_up_fds(request);
    if (!result && request->cores && sched_setaffinity(0, sizeof *request->cores, request->cores))
        result = -errno;
    if (!result) {
        reset_signals();
        execvpe(request->argv[0], request->argv, request->env);
        result = -errno;
    }
    ssize_t written = write(report_fd, &result, sizeof result);
    _exit(written == sizeof result ? 127 : 126);
}

/* The report pipe closes by itself when execve succeeds; an int in it is why it did not. */
static int read_report(int report_fd)
{
    int result = 0;
    ssize_t size;

    do
        size = read(report_fd, &result, sizeof result);
    while (size < 0 && errno == EINTR);
    return size == sizeof result ? result : 0;
}

int spawn_start(const struct spawn_request *request, pid_t *ret_pid, struct mst_err *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC))
        return mst_err_set(err, -errno, "start %s: no pipe: %s", request->argv[0], strerror(errno));

    pid_t agent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        run_child(request, agent, report[1]);
    int result = pid < 0 ? -errno : 0;
    close(report[1]);
    if (!result) {
        (void)setpgid(pid, pid); /* whoever of the two is first; the other's call changes nothing */
        result = read_report(report[0]);
        if (result)
            (void)waitpid(pid, NULL, 0);
    }
    close(report[0]);
    if (result)
        return mst_err_set(err, result, "cannot start %s: %s", request->argv[0], strerror(-result));
    *ret_pid = pid;
    return 0;
}

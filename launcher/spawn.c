#include "muster/launcher/spawn.h"

#include "muster/core/err.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/guard.h"
#include "muster/launcher/inherited.h"
#include "muster/launcher/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_MS 500

static void become_own_session_that_dies_with(pid_t agent, const struct guard *guard)
{
    (void)setsid();                         /* cannot fail: the child leads nothing yet */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail for a valid signal */
    if (guard)
        guard_add(guard->fd, getpid());
    if (getppid() != agent)
        _exit(128 + SIGKILL); /* the agent died before the lines above */
}

static int set_up_fds(const struct spawn_request *request)
{
    int null_fd = request->keeps_stdin ? STDIN_FILENO : open("/dev/null", O_RDONLY | O_CLOEXEC);
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
    become_own_session_that_dies_with(agent, request->guard);
    int rc = set_up_fds(request);
    if (!rc && request->cores && sched_setaffinity(0, sizeof *request->cores, request->cores))
        rc = -errno;
    if (!rc) {
        inherited_hand_on(request->deaf);
        execvpe(request->argv[0], request->argv, request->env);
        rc = -errno;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail; an agent that no longer reads has its code */
    (void)!write(report_fd, &rc, sizeof rc);
    _exit(exitcode_of_exec(-rc));
}

/* The report pipe closes by itself when execve succeeds; an int in it is why it did not. What is
 * late stands in a file system that does not answer, and is watched like any other rank. */
static int read_report(int report_fd)
{
    int rc = 0;
    struct pollfd report = {.fd = report_fd, .events = POLLIN};
    bool is_late = poll(&report, 1, REPORT_MS) <= 0;
    ssize_t size = is_late ? 0 : read(report_fd, &rc, sizeof rc);
    return size == sizeof rc ? rc : 0;
}

/* A child of ours that ends by itself. */
static void bury(struct guard *guard, pid_t pid)
{
    siginfo_t info;
    (void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT); /* it is there to be waited for */
    guard_forget(guard, pid);
    (void)waitpid(pid, NULL, 0);
}

int spawn_start(const struct spawn_request *request, pid_t *ret_pid, struct mst_err *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC))
        return mst_err_set(err, -errno, "start %s: no pipe: %s", request->argv[0],
                           mst_err_meaning(errno));
    pid_t agent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        run_child(request, agent, report[1]);
    int rc = pid < 0 ? -errno : 0;
    close(report[1]);
    if (!rc) {
        rc = read_report(report[0]);
        if (rc)
            bury(request->guard, pid);
    }
    close(report[0]);
    if (rc)
        return program_refuse(request->argv[0], rc, err);
    *ret_pid = pid;
    return 0;
}

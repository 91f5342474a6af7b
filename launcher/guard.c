#include "muster/launcher/guard.h"

#include "muster/core/err.h"
#include "muster/launcher/helper.h"
#include "muster/launcher/log.h"
#include "muster/launcher/procs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEADERS_MAX 2048
#define GATHER_MS 20
#define ROUNDS_MAX 16 /* whoever forks faster than this gets away */

/* ---- the guard itself ------------------------------------------------------------------------ */

struct leaders {
    pid_t pids[LEADERS_MAX];
    size_t count;
};

/* A number over 0 joins, one below it leaves. */
static void take(struct leaders *leaders, pid_t word)
{
    pid_t pid = word < 0 ? -word : word;
    size_t at = 0;
    while (at < leaders->count && leaders->pids[at] != pid)
        at++;
    if (word < 0 && at < leaders->count)
        leaders->pids[at] = leaders->pids[--leaders->count];
    else if (word > 0 && at == leaders->count && at < LEADERS_MAX)
        leaders->pids[leaders->count++] = pid;
}

/* Words are written whole, as they are smaller than PIPE_BUF, and so they are read. They come many
 * at once, when ranks start and end, and then processors are wanted for that: but for the pipe's
 * end, they wait a while for one another. */
static void listen(int fd, struct leaders *leaders)
{
    pid_t words[1024];
    ssize_t size;
    while ((size = read(fd, words, sizeof words)) > 0) {
        for (size_t i = 0; i < (size_t)size / sizeof words[0]; i++)
            take(leaders, words[i]);
        struct pollfd end = {.fd = fd};
        (void)poll(&end, 1, GATHER_MS); /* the end, time or a failure: all are read next */
    }
}

static void stand_guard(int fd)
{
    static struct leaders leaders;
    (void)setsid(); /* cannot fail for a new process: a SIGKILL to the agent's group passes it by */
    helper_begin("muster-guard", &fd, 1);
    listen(STDIN_FILENO, &leaders);
    for (size_t i = 0; i < leaders.count; i++)
        (void)kill(-leaders.pids[i], SIGKILL); /* what is left of it, be there a /proc or not */
    for (int round = 0; leaders.count > 0 && round < ROUNDS_MAX; round++) {
        if (procs_kill(leaders.pids, leaders.count) == 0)
            break;
    }
    _exit(0);
}

/* ---- the agent's side ------------------------------------------------------------------------ */

/* A fork whose end raises no signal: then waitpid(-1) and SIGCHLD are about ranks and orphans. */
static pid_t fork_silently(void)
{
    return (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
}

int guard_open(struct guard *guard, struct mst_err *err)
{
    int fds[2];
    *guard = (struct guard){.fd = -1};
    if (pipe2(fds, O_CLOEXEC))
        return mst_err_set(err, -errno, "guard over the ranks: no pipe: %s",
                           mst_err_meaning(errno));
    pid_t pid = fork_silently();
    if (pid == 0)
        stand_guard(fds[0]);
    int rc = pid < 0 ? -errno : 0;
    close(fds[0]);
    if (!rc && fcntl(fds[1], F_SETFL, O_NONBLOCK))
        rc = -errno;
    if (rc) {
        close(fds[1]);
        return mst_err_set(err, rc, "guard over the ranks: %s", mst_err_meaning(rc));
    }
    *guard = (struct guard){.fd = fds[1], .pid = pid};
    return 0;
}

void guard_dismiss(struct guard *guard)
{
    if (guard->fd < 0)
        return;
    (void)kill(guard->pid, SIGKILL); /* before it sees the pipe's end; it may be dead already */
    close(guard->fd);
    guard->fd = -1;
}

void guard_close(struct guard *guard)
{
    guard_dismiss(guard);
    if (guard->pid > 0)
        (void)waitpid(guard->pid, NULL, (int)__WCLONE); /* a child of ours that ends */
    guard->pid = 0;
}

static bool tell(int fd, pid_t word)
{
    return write(fd, &word, sizeof word) == sizeof word;
}

void guard_add(int guard_fd, pid_t leader)
{
    if (guard_fd >= 0)
        (void)tell(guard_fd, leader); /* one that is gone, or stopped for long, guards nothing */
}

void guard_forget(struct guard *guard, pid_t leader)
{
    if (!guard || guard->fd < 0 || tell(guard->fd, -leader))
        return;
    guard_close(guard);
    log_line(
        LOG_WARN,
        "the guard is gone: should this agent be killed, processes that ranks started may stay",
        NULL);
}
